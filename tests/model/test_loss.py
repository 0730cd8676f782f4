"""The chunked loss: torch's plain cross-entropy, to the last gradient, without its logits."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from ramify.model.loss import IGNORED, linear_cross_entropy, token_losses


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    losses = F.cross_entropy(hidden @ weight.t(), targets, reduction="none", ignore_index=IGNORED)
    return losses.sum() if weights is None else (losses * weights).sum()


def drawn(rows: int, width: int, vocab: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    hidden = torch.randn(rows, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(vocab, width, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(vocab, (rows,)).masked_fill(torch.rand(rows) < 0.2, IGNORED)
    weights = torch.rand(rows).masked_fill(torch.rand(rows) < 0.2, 0.0)
    return hidden.float().detach().requires_grad_(), weight.float().detach().requires_grad_(), targets, weights  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 30),
    width=st.integers(1, 8),
    vocab=st.integers(1, 40),
    chunk=st.integers(1, 33),
    weighted=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_loss_and_gradients_equal_plain_torch_for_every_chunk(
    rows: int, width: int, vocab: int, chunk: int, weighted: bool, seed: int
) -> None:
    hidden, weight, targets, all_weights = drawn(rows, width, vocab, seed)
    weights = all_weights if weighted else None
    ours = linear_cross_entropy(hidden, weight, targets, weights, chunk=chunk)
    theirs = plain(hidden, weight, targets, weights)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)
    # a gradient comes in, as from a division by the count of loss tokens
    mine = torch.autograd.grad(ours * 0.125, (hidden, weight))
    yours = torch.autograd.grad(theirs * 0.125, (hidden, weight))
    for a, b in zip(mine, yours, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_rows_that_bear_no_loss_have_exactly_no_gradient() -> None:
    hidden, weight, targets, _ = drawn(12, 4, 9, 1)
    targets[3], weights = IGNORED, torch.ones(12)
    weights[5] = 0.0
    torch.autograd.backward(linear_cross_entropy(hidden, weight, targets, weights, chunk=5))
    assert hidden.grad is not None
    assert not hidden.grad[3].any()
    assert not hidden.grad[5].any()


def test_losses_of_rows_sum_to_the_loss_and_are_told_on_request() -> None:
    hidden, weight, targets, weights = drawn(23, 6, 31, 2)
    rows = torch.empty(23)
    total = linear_cross_entropy(hidden, weight, targets, weights, chunk=7, losses_N=rows)
    torch.testing.assert_close(rows.sum(), total.detach())
    alone = token_losses(hidden, weight, targets, chunk=4)
    torch.testing.assert_close(alone * weights, rows)
    assert not alone.requires_grad


def test_logits_far_apart_neither_overflow_nor_lose_the_loss() -> None:
    hidden = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, torch.tensor([1, 1]), chunk=2)
    torch.autograd.backward(loss)
    assert loss.item() == 2000.0
    torch.testing.assert_close(hidden.grad, torch.tensor([[2.0], [0.0]]))


def test_no_more_than_a_chunk_of_logits_ever_exists() -> None:
    rows, vocab, chunk = 64, 9999, 8
    hidden, weight, targets, _ = drawn(rows, 4, vocab, 3)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as told:
        linear_cross_entropy(hidden, weight, targets, chunk=chunk)
        token_losses(hidden, weight, targets, chunk=chunk)
    most = max(event.cpu_memory_usage for event in told.events())
    assert chunk * vocab * 4 <= most < 2 * chunk * vocab * 4


def test_bf16_gathers_its_weight_gradient_in_fp32() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(512, 16).bfloat16().requires_grad_()
    weight = torch.randn(8, 16).bfloat16().requires_grad_()
    targets = torch.randint(8, (512,))
    (mine,) = torch.autograd.grad(linear_cross_entropy(hidden, weight, targets, chunk=2), weight)
    exact = weight.detach().double().requires_grad_()
    (yours,) = torch.autograd.grad(plain(hidden.double(), exact, targets, None), exact)
    assert mine.dtype == torch.bfloat16
    torch.testing.assert_close(mine.double(), yours, atol=0.2, rtol=0.02)


def test_a_frozen_head_gets_no_gradient_and_no_work() -> None:
    hidden, weight, targets, _ = drawn(9, 4, 5, 4)
    loss = linear_cross_entropy(hidden, weight.detach(), targets, chunk=4)
    (mine,) = torch.autograd.grad(loss, hidden)
    (yours,) = torch.autograd.grad(plain(hidden, weight, targets, None), hidden)
    torch.testing.assert_close(mine, yours)


def test_a_second_backward_is_refused() -> None:
    hidden, weight, targets, _ = drawn(9, 4, 5, 5)
    loss = linear_cross_entropy(hidden, weight, targets, chunk=4)
    torch.autograd.backward(loss, retain_graph=True)
    with pytest.raises(TypeError):
        torch.autograd.backward(loss)


def test_autocast_multiplies_in_bf16_and_keeps_gradients_in_fp32() -> None:
    hidden, weight, targets, _ = drawn(40, 6, 31, 6)
    plainly = linear_cross_entropy(hidden, weight, targets, chunk=7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = linear_cross_entropy(hidden, weight, targets, chunk=7)
    torch.testing.assert_close(rough, plainly, rtol=0.01, atol=0)
    assert not torch.equal(rough, plainly)
    mine = torch.autograd.grad(rough, (hidden, weight))
    yours = torch.autograd.grad(plainly, (hidden, weight))
    for a, b in zip(mine, yours, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)
