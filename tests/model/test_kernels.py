"""The products and the attention of kernels.py beside torch's own, values and gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ramify.model import kernels
from ramify.model.config import preset
from ramify.model.network import Block, rope_table

needs_onednn = pytest.mark.skipif(kernels.PRODUCTS != "onednn", reason="torch without oneDNN")


def gradients(y: Tensor, d_y: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return y, *torch.autograd.grad(y, inputs, d_y)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 40),
    width=st.integers(1, 33),
    out=st.integers(1, 33),
    seed=st.integers(0, 9),
)
def test_a_product_and_its_gradients_are_those_of_torch(rows: int, width: int, out: int, seed: int) -> None:  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, rows, width, generator=generator, requires_grad=True)
    weight = torch.randn(out, width, generator=generator, requires_grad=True)
    d_y = torch.randn(2, rows, out, generator=generator)
    mine = gradients(kernels.linear(x, weight), d_y, x, weight)
    theirs = gradients(F.linear(x, weight), d_y, x, weight)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-5)


def test_a_gradient_that_is_one_number_spread_out_is_taken_too() -> None:
    x, weight = torch.randn(3, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    mine = torch.autograd.grad(kernels.linear(x, weight).sum(), (x, weight))
    theirs = torch.autograd.grad(F.linear(x, weight).sum(), (x, weight))
    torch.testing.assert_close(mine, theirs)


@needs_onednn
def test_what_is_not_plain_fp32_on_a_cpu_goes_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def take(x: Tensor, weight: Tensor) -> Tensor:
        taken.append("ours")
        return F.linear(x, weight)

    monkeypatch.setattr(kernels._Linear, "apply", take)
    x, weight = torch.randn(3, 5), torch.randn(4, 5)
    kernels.linear(x, weight)
    assert taken == ["ours"]
    with torch.autocast("cpu", torch.bfloat16):
        assert kernels.linear(x, weight).dtype == torch.bfloat16
    assert kernels.linear(x.double(), weight.double()).dtype == torch.float64
    assert kernels.linear(x.to("meta"), weight.to("meta")).shape == (3, 4)
    assert taken == ["ours"]


@needs_onednn
def test_torch_counts_the_flops_of_a_product() -> None:
    with FlopCounterMode(display=False) as counter:
        kernels.product(torch.randn(2, 3, 5), torch.randn(4, 5))
    assert counter.get_total_flops() == 2 * 2 * 3 * 5 * 4


@settings(max_examples=40, deadline=None)
@given(
    T=st.integers(1, 21),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_attention_by_blocks_is_attention(T: int, kv_heads: int, group: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (
        torch.randn(2, T, heads, 6, generator=generator).transpose(1, 2).requires_grad_()
        for heads in (kv_heads * group, kv_heads, kv_heads)
    )
    d_out = torch.randn(2, T, kv_heads * group, 6, generator=generator).transpose(1, 2)
    mine = gradients(kernels._Attention.apply(q, k, v), d_out, q, k, v)  # type: ignore[no-untyped-call]
    theirs = gradients(kernels.attention(q, k, v), d_out, q, k, v)  # not compiled: torch's
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("T", "sizes"), [(1, [1]), (3, [1, 1, 1]), (8, [2] * 4), (9, [3, 3, 3]), (10, [3, 3, 3, 1])])  # fmt: skip
def test_the_blocks_are_the_positions_in_order(T: int, sizes: list[int]) -> None:
    blocks = kernels._blocks(T)
    assert [x for block in blocks for x in range(T)[block]] == list(range(T))
    assert [block.stop - block.start for block in blocks] == sizes


@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about itself
def test_a_block_of_the_network_is_one_graph() -> None:
    """A break would part what the compiler could fuse, and nobody would see it but in time."""
    config = preset("nano")
    with torch.device("cpu"):
        block = Block(config)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter.detach(), std=0.05)
    graphs = itertools.count()

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> object:
        next(graphs)
        return graph.forward

    x = torch.randn(2, 12, config.width, requires_grad=True)
    rope = rope_table(config, 0, 12, x.device)
    y = torch.compile(block.forward, backend=backend, fullgraph=True, dynamic=False)(x, rope)
    torch.testing.assert_close(y, block(x, rope), atol=1e-4, rtol=1e-4)
    assert next(graphs) == 1
