"""Products and attention that take less time on a CPU than what torch calls by itself.

Both are for fp32 without autocast; anything else goes to torch's own operators.
Letters: B batch, T sequence, H query heads, K key-value heads, G = H / K, E head_dim, Q a block.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import Library, register_fake
from torch.utils.flop_counter import register_flop_formula

QUERY_BLOCKS = 4  # each sees only the keys up to its end: 5/8 of the T × T products are left

# what computes the fp32 products of a Linear on this CPU; a constant, since Dynamo cannot ask
_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's
PRODUCTS = "onednn" if _HAS_ONEDNN and hasattr(torch.ops.mkldnn, "_linear_pointwise") else "torch"


def _ours(x: Tensor) -> bool:
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    return plain and not torch.is_autocast_enabled("cpu")


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return x @ weight.T [..., out] of x [..., in] and weight [out, in], with its gradients.

    On a CPU in fp32 the product and the gradient of x are oneDNN's, which for the shapes of small
    models is faster than the BLAS that torch calls: docs/decisions/0007.
    """
    if _ours(x) and PRODUCTS == "onednn":
        y: Tensor = _Linear.apply(x, weight)  # type: ignore[no-untyped-call]  # torch's
        return y
    return F.linear(x, weight)


# An operator of its own: inductor would take oneDNN's for one whose weights never change. Defined
# in torch's plainer way, since `custom_op` takes 0.2 ms a call.
_OPERATORS: Any = Library("ramify", "DEF")  # type: ignore[no-untyped-call]  # torch's
_OPERATORS.define("product(Tensor x, Tensor weight) -> Tensor")


def _product(x: Tensor, weight: Tensor) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return y


def _product_shape(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _product_flops(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * math.prod(x) * weight[0]


_OPERATORS.impl("product", _product, "CPU")
register_fake("ramify::product", _product_shape, lib=_OPERATORS)
register_flop_formula(torch.ops.ramify.product)(_product_flops)


def product(x: Tensor, weight: Tensor) -> Tensor:
    """Return x @ weight.T [..., out] by oneDNN, without a gradient; fp32 on a CPU."""
    y: Tensor = torch.ops.ramify.product(x, weight)
    return y


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight)

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        d_x = product(d_y, weight.t()) if ctx.needs_input_grad[0] else None
        # both operands would have to be turned for oneDNN: BLAS takes them as they lie
        d_weight = d_y.flatten(0, -2).t() @ x.flatten(0, -2) if ctx.needs_input_grad[1] else None
        return d_x, d_weight


def attention(q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor) -> Tensor:
    """Return causal softmax(q k / sqrt(E)) v [B, H, T, E]; H is a multiple of K.

    In a compiled block on a CPU in fp32 it is plain products over blocks of queries, which there
    take less time than torch's tiled kernel. They hold B H T²/4 scores of one layer at a time.
    """
    if _ours(q_BHTE) and torch.compiler.is_compiling():
        mixed: Tensor = _Attention.apply(q_BHTE, k_BKTE, v_BKTE)  # type: ignore[no-untyped-call]
        return mixed
    grouped = q_BHTE.shape[1] != k_BKTE.shape[1]
    return F.scaled_dot_product_attention(
        q_BHTE, k_BKTE, v_BKTE, is_causal=True, enable_gqa=grouped
    )


class _Attention(torch.autograd.Function):
    """Keeps no probabilities for backward but the logarithm of their sums (Dao et al., 2022)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mixed, log_sums = [], []
        for rows in _blocks(q.shape[2]):
            scores = _scores(q, k, rows)
            log_sum = scores.logsumexp(-1, keepdim=True)
            mixed.append(_ungrouped(torch.bmm((scores - log_sum).exp(), _seen(v, rows)), q))
            log_sums.append(log_sum)
        out = torch.cat(mixed, 2)
        ctx.save_for_backward(q, k, v, out, *log_sums)
        return out

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out, *log_sums = ctx.saved_tensors
        scale = q.shape[3] ** -0.5
        # by the softmax's gradient: each row's sum of probabilities times their gradients
        inner = (d_out * out).sum(-1, keepdim=True)
        d_q, d_k, d_v = [], torch.zeros_like(_seen(k)), torch.zeros_like(_seen(v))
        for rows, log_sum in zip(_blocks(q.shape[2]), log_sums, strict=True):
            probs = (_scores(q, k, rows) - log_sum).exp()
            d_mixed = _grouped(d_out, k, rows)
            d_probs = torch.bmm(d_mixed, _seen(v, rows).transpose(1, 2))
            d_scores = probs * (d_probs - _grouped(inner, k, rows)) * scale
            d_v[:, : rows.stop] += torch.bmm(probs.transpose(1, 2), d_mixed)
            d_k[:, : rows.stop] += torch.bmm(d_scores.transpose(1, 2), _grouped(q, k, rows))
            d_q.append(_ungrouped(torch.bmm(d_scores, _seen(k, rows)), q))
        return torch.cat(d_q, 2), d_k.view_as(k), d_v.view_as(v)


def _blocks(T: int) -> list[slice]:
    size = -(-T // QUERY_BLOCKS)
    return [slice(start, min(start + size, T)) for start in range(0, T, size)]


def _grouped(x_BHTE: Tensor, k_BKTE: Tensor, rows: slice) -> Tensor:
    """Return a block of queries [B K, G Q, E], side by side with those of the same keys."""
    return x_BHTE[:, :, rows].reshape(k_BKTE.shape[0] * k_BKTE.shape[1], -1, x_BHTE.shape[3])


def _ungrouped(x: Tensor, q_BHTE: Tensor) -> Tensor:
    return x.view(*q_BHTE.shape[:2], -1, q_BHTE.shape[3])


def _seen(x_BKTE: Tensor, rows: slice = slice(None)) -> Tensor:
    """Return the keys or values [B K, ., E] up to the end of a block of queries."""
    return x_BKTE[:, :, : rows.stop].flatten(0, 1)


def _scores(q_BHTE: Tensor, k_BKTE: Tensor, rows: slice) -> Tensor:
    """Return a block's scores [B K, G Q, .] scaled; -inf where a query would see ahead."""
    G = q_BHTE.shape[1] // k_BKTE.shape[1]
    places = torch.arange(rows.stop, device=q_BHTE.device)
    later = (places > places[rows, None]).repeat(G, 1)
    scores = torch.bmm(_grouped(q_BHTE, k_BKTE, rows), _seen(k_BKTE, rows).transpose(1, 2))
    scale: float = q_BHTE.shape[3] ** -0.5
    return (scores * scale).masked_fill(later, -torch.inf)
