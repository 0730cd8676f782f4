"""Cross-entropy of a linear head, a chunk of rows at a time, so that all logits never exist at once.

Shapes: N rows (batch times sequence), D width, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ramify.model import kernels

LOG2_E = math.log2(math.e)
IGNORED = -100  # the target of a row that bears no loss, as in torch and Hugging Face


class _LinearCrossEntropy(torch.autograd.Function):
    """Both gradients are made on the way forward, while a chunk's logits are still in cache.

    That costs the same three matrix products as the plain way and saves a second pass over the
    N x V logits; backward only scales by the gradient that comes in.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        weights_N: Tensor,
        chunk: int,
        losses_N: Tensor | None,
    ) -> Tensor:
        weight = weight_VD.to(hidden_ND.dtype)
        d_hidden = torch.empty_like(hidden_ND) if ctx.needs_input_grad[0] else None
        # bf16 would lose what small chunks add to the sum, so it is gathered in fp32
        d_weight = (
            torch.zeros_like(weight_VD, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        )
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        for start in range(0, hidden_ND.shape[0], chunk):
            rows = slice(start, start + chunk)
            hidden, weights = hidden_ND[rows], weights_N[rows].unsqueeze(1)
            index = targets_N[rows].unsqueeze(1)
            logits = kernels.linear(hidden, weight).float()
            top = logits.amax(1, keepdim=True)
            at_target = logits.gather(1, index) - top
            # in place, one pass each: e to a power as 2 to one, for which torch takes half the time
            # on a CPU; not yet divided by its sum, which is done with the row weights
            exps = torch.add(top.mul(-LOG2_E), logits, alpha=LOG2_E, out=logits).exp2_()
            sums = exps.sum(1, keepdim=True)
            losses = (sums.log() - at_target) * weights
            total += losses.sum()
            if losses_N is not None:
                losses_N[rows] = losses.squeeze(1)
            d_logits = exps.scatter_add_(1, index, -sums).to(hidden.dtype)
            # rows are weighted on the D side: D is narrower than V
            weights = (weights / sums).to(hidden.dtype)
            if d_hidden is not None:
                torch.mul(kernels.linear(d_logits, weight.t()), weights, out=d_hidden[rows])
            if d_weight is not None:
                _add_product(d_weight, d_logits.t(), hidden * weights)
        ctx.gradients = d_hidden, d_weight if d_weight is None else d_weight.to(weight_VD.dtype)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight = ctx.gradients
        ctx.gradients = None  # scaled in place: they serve one backward only
        if d_hidden is not None:
            d_hidden.mul_(grad)
        if d_weight is not None:
            d_weight.mul_(grad)
        return d_hidden, d_weight, None, None, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)


def _without_ignored(targets_N: Tensor, weights_N: Tensor | None) -> tuple[Tensor, Tensor]:
    bears = targets_N != IGNORED
    weights = bears.float() if weights_N is None else weights_N.float() * bears
    return targets_N.masked_fill(~bears, 0), weights


def linear_cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    weights_N: Tensor | None = None,
    *,
    chunk: int,
    losses_N: Tensor | None = None,
) -> Tensor:
    """Return the sum over rows of weight times cross-entropy, in fp32 nats; backward runs once.

    A target of -100 or a weight of 0 bears no loss. `chunk` rows of logits (chunk x V) exist at a
    time. The caller divides by the global count of loss tokens (a sum, never a mean of means).
    `losses_N`, if given, is filled with each row's weighted loss, for tables that part them.
    """
    targets, weights = _without_ignored(targets_N, weights_N)
    device = hidden_ND.device.type
    if torch.is_autocast_enabled(device):
        hidden_ND = hidden_ND.to(torch.get_autocast_dtype(device))
    # autocast leaves products into a given tensor alone: the dtypes are chosen here instead
    with torch.autocast(device, enabled=False):
        loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]  # torch's
            hidden_ND, weight_VD, targets, weights, chunk, losses_N
        )
    return loss


@torch.no_grad()
def token_losses(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, *, chunk: int) -> Tensor:
    """Return the cross-entropy of each row in fp32 nats [N], without gradient; 0 where ignored."""
    targets, weights = _without_ignored(targets_N, None)
    losses = torch.empty(targets.shape, dtype=torch.float32, device=hidden_ND.device)
    weight = weight_VD.to(hidden_ND.dtype)
    for start in range(0, hidden_ND.shape[0], chunk):
        rows = slice(start, start + chunk)
        log_probs = torch.log_softmax(kernels.linear(hidden_ND[rows], weight).float(), dim=-1)
        losses[rows] = -log_probs.gather(1, targets[rows].unsqueeze(1)).squeeze(1)
    return losses * weights
