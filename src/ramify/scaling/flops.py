"""Floating-point operations of a network and of a tree, counted per matrix product; torch-free.

Letters: s sequence positions, d width, k head_dim, h query heads, g key-value heads, f ffw, V vocab.
Counted as in Hägele et al., appendix A.3, and Chinchilla, appendix F, with three SwiGLU matrices:
the token embedding as if it were a product with one-hot rows, attention as if it were not causal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ramify.ground.errors import BadInput

PASSES = 3  # forward once, backward twice: by the input and by the weight of each product


class Shape(Protocol):
    """The dimensions that cost something; a model's config has them."""

    @property
    def layers(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def kv_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def ffw(self) -> int: ...
    @property
    def vocab(self) -> int: ...


def flops_per_sequence(shape: Shape, seq_len: int) -> dict[str, float]:
    """Return the FLOPs of one forward pass over one sequence, by part, all layers together.

    Ours differs from the paper's 2·3·s·d·(k·h) for queries, keys and values only where key-value
    heads are fewer: 2·s·d·k·(h + 2g), which is the same where they are not.
    """
    s, d, n = seq_len, shape.width, shape.layers
    k, h, g = shape.head_dim, shape.heads, shape.kv_heads
    return {
        "embedding": 2.0 * s * shape.vocab * d,
        "qkv": n * 2.0 * s * d * k * (h + 2 * g),
        "scores": n * 2.0 * s * s * k * h,
        "softmax": n * 3.0 * h * s * s,
        "values": n * 2.0 * s * s * k * h,
        "output": n * 2.0 * s * k * h * d,
        "swiglu": n * 2.0 * s * 3 * d * shape.ffw,
        "logits": 2.0 * s * d * shape.vocab,
    }


def train_flops(shape: Shape, seq_len: int, tokens: int) -> float:
    """Return the FLOPs of training on `tokens` tokens in sequences of `seq_len`."""
    return PASSES * sum(flops_per_sequence(shape, seq_len).values()) * (tokens / seq_len)


def forward_flops(shape: Shape, seq_len: int, tokens: int) -> float:
    """Return the FLOPs of reading `tokens` tokens in sequences of `seq_len`, as evaluation does."""
    return sum(flops_per_sequence(shape, seq_len).values()) * (tokens / seq_len)


def six_nd(parameters: int, tokens: int) -> float:
    """Return 6·N·D, the rule of thumb that is shown beside the count."""
    return 6.0 * parameters * tokens


def one_by_one_tokens(budgets: Sequence[int]) -> int:
    """Return the tokens that answering each budget by a run of its own costs."""
    return sum(budgets)


def tree_tokens(budgets: Sequence[int], fraction: float) -> float:
    """Return the tokens that one trunk and a cooldown of `fraction` for each budget cost.

    (1 - f)·max + f·sum, the arithmetic behind Hägele et al., section 5: a cooldown leaves at
    (1 - f)·D so as to end at D, and the trunk need only reach where the last one leaves.
    """
    if not budgets or not 0 < fraction <= 1:
        raise BadInput(
            f"{len(budgets)} budgets with cooldowns of fraction={fraction} are no tree",
            hint="give at least one budget, and a fraction above 0 and up to 1, like 0.2",
        )
    return (1 - fraction) * max(budgets) + fraction * sum(budgets)
