"""The network: causal, blind to other documents, the same whatever the way it is run."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.model.config import ModelConfig, preset
from ramify.model.network import (
    Cache,
    Transformer,
    attend,
    document_blocks,
    document_mask,
    initial_weight,
)

WARNS = pytest.mark.filterwarnings("ignore:::torch")  # torch's compiler warns of itself
TINY = ModelConfig(layers=2, width=24, heads=6, kv_heads=2, ffw=20, vocab=31)


def built(config: ModelConfig = TINY, seed: int = 0) -> Transformer:
    model = Transformer(config)
    model.init_weights(seed)
    return model


def tokens_of(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(TINY.vocab, shape, generator=torch.Generator().manual_seed(seed))


def test_no_position_sees_what_comes_after_it() -> None:
    model, tokens = built(), tokens_of(2, 12)
    changed = tokens.clone()
    changed[:, 7:] = (tokens[:, 7:] + 1) % TINY.vocab
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7], rtol=0, atol=0)
    assert not torch.equal(before[:, 7:], after[:, 7:])


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_a_packed_document_computes_what_it_computes_alone(lengths: list[int], seed: int) -> None:
    model = built(seed=seed)
    pieces = [tokens_of(1, length, seed=seed + n) for n, length in enumerate(lengths)]
    documents = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    packed = model(torch.cat(pieces, dim=1), documents_BT=documents.unsqueeze(0))
    alone = torch.cat([model(piece) for piece in pieces], dim=1)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-4)


def test_documents_are_parted_in_backward_too() -> None:
    model = built()
    documents = torch.tensor([[0, 0, 0, 1, 1]])
    seen = []
    model.embed.register_forward_hook(lambda *a: seen.append(a[2]) or a[2].retain_grad())  # type: ignore[func-returns-value]
    model(tokens_of(1, 5), documents_BT=documents)[:, 3:].sum().backward()
    assert not seen[0].grad[:, :3].any()
    assert seen[0].grad[:, 3:].any()


@WARNS
def test_flex_attention_masks_as_the_dense_mask_does() -> None:
    documents = torch.tensor([[0, 0, 1, 1, 1, 2], [5, 5, 5, 5, 5, 5]])
    q, k, v = torch.randn(2, 4, 6, 16), torch.randn(2, 2, 6, 16), torch.randn(2, 2, 6, 16)
    with torch.no_grad():
        sparse = attend(q, k, v, document_blocks(documents))
        torch.testing.assert_close(sparse, attend(q, k, v, document_mask(documents)))


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_a_cache_changes_nothing_however_the_tokens_come(cuts: list[int]) -> None:
    model, tokens = built(), tokens_of(2, sum(cuts))
    cache = Cache.empty(model, 2, sum(cuts) + 3)
    with torch.no_grad():
        pieces = [model(piece, cache=cache) for piece in torch.split(tokens, cuts, dim=1)]
        whole = model(tokens)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=1e-4)


def test_weights_are_drawn_by_name_alone() -> None:
    model, other = built(seed=3), built(seed=4)
    for name, parameter in reversed(list(model.named_parameters())):
        again = initial_weight(TINY, name, parameter.shape, 3)
        assert torch.equal(parameter, again)
        if parameter.ndim > 1:
            assert not torch.equal(parameter, dict(other.named_parameters())[name])


def test_outputs_to_the_residual_stream_are_drawn_smaller_by_depth() -> None:
    config = preset("mini")
    weights = dict(built(config).named_parameters())
    std = 256**-0.5
    assert weights["embed.weight"].std().item() == pytest.approx(std, rel=0.02)
    assert weights["blocks.0.attention.qkv.weight"].std().item() == pytest.approx(std, rel=0.02)
    for name in ("blocks.5.attention.out.weight", "blocks.5.mlp.down.weight"):
        assert weights[name].std().item() == pytest.approx(std / 12**0.5, rel=0.02)
    assert torch.equal(weights["norm.weight"], torch.ones(256))


def test_the_first_loss_is_near_the_logarithm_of_the_vocabulary() -> None:
    config = preset("micro", vocab=997)
    model = built(config)
    tokens = torch.randint(997, (2, 65), generator=torch.Generator().manual_seed(0))
    logits = model(tokens[:, :-1]) @ model.head_weight.t()
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(torch.tensor(997.0).log().item(), abs=0.8)


def test_tied_heads_share_and_untied_heads_do_not() -> None:
    tied, untied = built(), built(TINY.changed(tied=False))
    assert tied.head_weight is tied.embed.weight
    assert untied.head_weight is not untied.embed.weight
    assert untied.head_weight.shape == (TINY.vocab, TINY.width)


@WARNS
def test_compiled_blocks_keep_names_and_compute_the_same() -> None:
    model, compiled = built(), built()
    compiled.compile_blocks()
    assert list(compiled.state_dict()) == list(model.state_dict())
    tokens = tokens_of(2, 9)
    documents = torch.tensor([[0] * 4 + [1] * 5] * 2)
    for kwargs in ({}, {"documents_BT": documents}):
        mine, yours = compiled(tokens, **kwargs), model(tokens, **kwargs)
        torch.testing.assert_close(mine, yours, atol=1e-5, rtol=1e-4)
        mine.square().sum().backward()
        yours.square().sum().backward()
    for a, b in zip(model.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-3, rtol=1e-3)


def test_autocast_runs_in_bf16_and_stays_close() -> None:
    model, tokens = built(), tokens_of(2, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(tokens)
    torch.testing.assert_close(rough.float(), model(tokens), atol=0.1, rtol=0.1)
