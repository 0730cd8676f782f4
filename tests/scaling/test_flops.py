"""Counted FLOPs against torch's own counter, the authors' notebook, and the papers' savings."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ramify.ground.errors import BadInput
from ramify.model.config import ModelConfig
from ramify.model.network import Transformer
from ramify.scaling.flops import (
    flops_per_sequence,
    forward_flops,
    one_by_one_tokens,
    six_nd,
    train_flops,
    tree_tokens,
)

NO_PRODUCTS = {"embedding", "softmax"}  # counted by the papers, though no product of matrices
M = 10**6


@dataclass(frozen=True)
class Dims:
    """The dimensions of a network, and nothing else."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffw: int
    vocab: int


@st.composite
def dims(draw: st.DrawFn) -> Dims:
    """Draw small dimensions with grouped queries."""
    kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    number = st.integers(1, 12)
    return Dims(
        layers=draw(st.integers(1, 3)),
        width=draw(number),
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=draw(number),
        ffw=draw(number),
        vocab=draw(number),
    )


def weights(c: Dims) -> list[Tensor]:
    """Return one layer's matrices: queries, keys, values, output, gate, up, down."""
    query, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
    shapes = [(c.width, query), (c.width, kv), (c.width, kv), (query, c.width)]
    shapes += [(c.width, c.ffw), (c.width, c.ffw), (c.ffw, c.width)]
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def layer(c: Dims, x_BTD: Tensor) -> Tensor:
    """Compute a decoder layer, each product of matrices written out."""
    B, T, _ = x_BTD.shape
    wq, wk, wv, wo, gate, up, down = weights(c)

    def heads(x: Tensor, n: int) -> Tensor:
        return x.view(B, T, n, c.head_dim).transpose(1, 2)

    group = c.heads // c.kv_heads
    q = heads(x_BTD @ wq, c.heads)
    k = heads(x_BTD @ wk, c.kv_heads).repeat_interleave(group, 1)
    v = heads(x_BTD @ wv, c.kv_heads).repeat_interleave(group, 1)
    mixed = (q @ k.transpose(-1, -2)).softmax(-1) @ v
    x_BTD = x_BTD + mixed.transpose(1, 2).reshape(B, T, -1) @ wo
    inner: Tensor = torch.nn.functional.silu(x_BTD @ gate) * (x_BTD @ up)
    return x_BTD + inner @ down


@settings(max_examples=25, deadline=None)
@given(c=dims(), seq_len=st.integers(2, 9), rows=st.integers(1, 3))
def test_the_products_are_those_that_torch_counts_forward_and_backward(
    c: Dims, seq_len: int, rows: int
) -> None:
    embed = torch.randn(c.vocab, c.width, requires_grad=True)
    tokens = torch.randint(0, c.vocab, (rows, seq_len))
    with FlopCounterMode(display=False) as counter:
        x = embed[tokens]
        for _ in range(c.layers):
            x = layer(c, x)
        logits = x @ embed.T
        forward = counter.get_total_flops()
        torch.autograd.backward(logits.sum())
    parts = flops_per_sequence(c, seq_len)
    products = sum(flops for part, flops in parts.items() if part not in NO_PRODUCTS)
    assert forward == rows * products
    assert counter.get_total_flops() == 3 * rows * products


@pytest.mark.parametrize("fused", [False, True])
def test_of_the_network_that_is_trained_torch_counts_every_product_and_no_more(fused: bool) -> None:
    """The papers count a look-up as a product with one-hot rows, and the softmax; torch neither.

    Nor does torch's counter know the fused attention of CPUs: its two products are ours alone.
    """
    config = ModelConfig(layers=3, width=32, heads=4, kv_heads=2, ffw=48, vocab=96)
    model, rows, seq_len = Transformer(config), 2, 16
    model.init_weights(0)
    backend = SDPBackend.FLASH_ATTENTION if fused else SDPBackend.MATH
    with FlopCounterMode(display=False) as counter, sdpa_kernel(backend):
        logits = model(torch.randint(0, config.vocab, (rows, seq_len))) @ model.head_weight.T
        forward = counter.get_total_flops()
        torch.autograd.backward(logits.sum())
    parts = {name: rows * flops for name, flops in flops_per_sequence(config, seq_len).items()}
    products = sum(flops for name, flops in parts.items() if name not in NO_PRODUCTS)
    counted = products - (parts["scores"] + parts["values"] if fused else 0)
    assert forward == counted
    assert counter.get_total_flops() == 3 * counted


@pytest.mark.parametrize(
    ("width", "layers", "printed"),
    [
        (384, 8, 171_834_605_568),
        (512, 8, 254_882_611_200),
        (512, 10, 279_079_550_976),
        (640, 12, 409_294_602_240),
        (768, 12, 527_392_309_248),
    ],
)
def test_a_sequence_costs_what_the_authors_notebook_prints(
    width: int, layers: int, printed: int
) -> None:
    # flops.ipynb of epfml/schedules-and-scaling: its sizes, vocabulary 50257, sequences of 512
    heads, ffw = width // 64, -(-int(8 / 3 * width) // 256) * 256
    c = Dims(layers, width, heads, heads, 64, ffw, 50_257)
    assert train_flops(c, 512, 512) == printed


def test_six_nd_of_the_largest_smollm2_is_the_papers_compute() -> None:
    assert six_nd(1_711_376_384, 10_990_000_000_000) == pytest.approx(1.128e23, rel=1e-3)


@settings(deadline=None)
@given(c=dims(), seq_len=st.integers(1, 9), sequences=st.integers(0, 10**6))
def test_training_costs_three_times_reading_and_grows_with_tokens(
    c: Dims, seq_len: int, sequences: int
) -> None:
    tokens = sequences * seq_len
    once = sum(flops_per_sequence(c, seq_len).values())
    assert forward_flops(c, seq_len, tokens) == pytest.approx(sequences * once)
    assert train_flops(c, seq_len, tokens) == pytest.approx(3 * sequences * once)


@pytest.mark.parametrize(
    ("budgets", "fraction", "share"),
    [
        ([10, 20, 30], 0.2, 0.600),  # Hägele et al., Figure 13a, nominal
        ([300, 700, 1000], 0.2, 0.600),  # 33M of Table 3
        ([5100, 7700, 10_200], 0.2, 0.5548),  # 360M of Table 3
        ([10, 15, 20, 25], 0.1, 0.421),  # Chinchilla's ratios; the paper's 2.36e23 / 5.59e23
    ],
)
def test_a_tree_costs_the_papers_share_of_one_by_one(
    budgets: list[int], fraction: float, share: float
) -> None:
    tree = tree_tokens(budgets, fraction)
    assert tree / one_by_one_tokens(budgets) == pytest.approx(share, abs=5e-4)


def test_the_whole_suite_of_table_3_costs_55_4_percent_in_6nd() -> None:
    table = {  # parameters in M, tokens in M
        33.5: (300, 700, 1000),
        53.0: (400, 800, 1200),
        59.8: (800, 1300, 1800),
        93.2: (1000, 1800, 2600),
        123.6: (1500, 2600, 3600),
        151.9: (2600, 3800, 5100),
        208.5: (3800, 5100, 6400),
        359.8: (5100, 7700, 10_200),
    }
    tree = sum(six_nd(round(n * M), round(tree_tokens(d, 0.2) * M)) for n, d in table.items())
    alone = sum(six_nd(round(n * M), one_by_one_tokens(d) * M) for n, d in table.items())
    assert tree / alone == pytest.approx(0.554, abs=5e-4)


@settings(deadline=None)
@given(
    budgets=st.lists(st.integers(1, 10**13), min_size=1, max_size=8),
    fraction=st.floats(0.001, 1),
)
def test_a_tree_never_costs_more_than_one_by_one_nor_less_than_its_largest(
    budgets: list[int], fraction: float
) -> None:
    tree = tree_tokens(budgets, fraction)
    assert max(budgets) * (1 - 1e-9) <= tree <= one_by_one_tokens(budgets) * (1 + 1e-9)


@pytest.mark.parametrize(("budgets", "fraction"), [([], 0.2), ([10], 0.0), ([10], 1.1)])
def test_a_tree_of_nothing_has_no_cost(budgets: list[int], fraction: float) -> None:
    with pytest.raises(BadInput, match="are no tree"):
        tree_tokens(budgets, fraction)
