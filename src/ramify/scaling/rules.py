"""Published rules for the peak learning rate and the batch, each with its source and its range; torch-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from ramify.ground.errors import BadInput
from ramify.ground.units import show_count, show_flops
from ramify.scaling.flops import six_nd

HALF = (
    0.5  # of the best cosine maximum: the best constant rate, Hägele et al., Fig. 3 and section 5
)


@dataclass(frozen=True)
class Advice:
    """What a rule says of one run, and where it is from."""

    cosine_peak: float
    batch_tokens: float | None  # None: the rule says nothing of it
    source: str

    @property
    def constant_peak(self) -> float:
        """The rate of a trunk: half of the cosine's maximum."""
        return HALF * self.cosine_peak


@dataclass(frozen=True)
class Rule:
    """A published rule: what it takes for the size, what it was seen to hold over, and the rule."""

    source: str
    counts: str  # which parameters are its N
    parameters: tuple[float, float]
    tokens: tuple[float, float]
    flops: tuple[float, float]  # 6·N·D
    peak: Callable[[float, float], float]  # (N, D) -> the best maximum of a rate that decays
    batch: Callable[[float, float], float] | None  # (N, D) -> tokens


EVERY = (0.0, float("inf"))

RULES = MappingProxyType(
    {
        "haegele": Rule(
            source="Hägele et al., arXiv 2405.18392, Table 3: a batch of 0.1M tokens, of 0.2M at 360M",
            counts="all parameters",
            parameters=(33e6, 360e6),
            tokens=(0.3e9, 10.2e9),
            flops=EVERY,
            peak=lambda n, d: 2e-3 if n < 108e6 else 1e-3,  # a step between their 93M and 124M
            batch=lambda n, d: 102_400 if n < 285e6 else 204_800,  # between their 210M and 360M
        ),
        "step_law": Rule(
            source="Li et al., Step Law, arXiv 2503.04715: 1.79·N^-0.713·D^0.307 and 0.58·D^0.571",
            counts="parameters without embeddings",
            parameters=(60e6, 1.1e9),
            tokens=(2e9, 100e9),
            flops=EVERY,
            peak=lambda n, d: 1.79 * n**-0.713 * d**0.307,
            batch=lambda n, d: 0.58 * d**0.571,
        ),
        "deepseek": Rule(
            source="DeepSeek LLM, arXiv 2401.02954, section 3.1: 0.3118·C^-0.1250 and 0.2920·C^0.3271",
            counts="parameters without embeddings",
            parameters=EVERY,
            tokens=EVERY,
            flops=(1e17, 1e20),  # fitted up to 2e19, held at 1e20
            peak=lambda n, d: 0.3118 * six_nd(round(n), round(d)) ** -0.1250,
            batch=lambda n, d: 0.2920 * six_nd(round(n), round(d)) ** 0.3271,
        ),
    }
)
"""The rules by name. Each was fitted with AdamW on decoder language models."""

WIDTH_SOURCE = "Yang et al., Tensor Programs V, arXiv 2203.03466, Table 8: Adam on hidden matrices"


def advise(rule: str, *, parameters: int, tokens: int) -> Advice:
    """Return the peak learning rate and the batch that a published rule gives a run.

    `parameters` are counted as RULES[rule].counts says, `tokens` is the budget. Raises BadInput
    for a rule that is not known, and outside the range over which its authors saw it hold.
    """
    if rule not in RULES:
        raise BadInput(f"no rule is called {rule!r}", hint=f"use one of {', '.join(RULES)}")
    found = RULES[rule]
    flops = six_nd(parameters, tokens)
    _within(rule, found.counts, parameters, found.parameters, show_count)
    _within(rule, "tokens", tokens, found.tokens, show_count)
    _within(rule, "FLOPs (6ND)", flops, found.flops, show_flops)
    batch = found.batch(parameters, tokens) if found.batch else None
    return Advice(found.peak(parameters, tokens), batch, found.source)


def scaled_to_width(peak: float, *, width: int, tuned_at: int) -> float:
    """Return the rate of the hidden matrices at another width than it was tuned at: peak × tuned_at / width.

    Source: WIDTH_SOURCE. It holds for widths; the paper asks for its own initialization and output
    scale beside it. Raises BadInput beyond 16 times the width, further than the paper looked.
    """
    if not 1 <= max(width, tuned_at) / max(min(width, tuned_at), 1) <= 16:
        raise BadInput(
            f"width={width} is too far from tuned_at={tuned_at} for the rule of {WIDTH_SOURCE}",
            hint="tune within a factor of 16 of the width",
        )
    return peak * tuned_at / width


def _within(
    rule: str, what: str, value: float, span: tuple[float, float], show: Callable[[float], str]
) -> None:
    if not span[0] <= value <= span[1]:
        raise BadInput(
            f"the rule {rule} was seen to hold from {show(span[0])} to {show(span[1])} {what}, "
            f"not at {show(value)}",
            hint="sweep there: ramify.Sweep(model=..., peaks=(...), ...)",
        )
