"""The learning rate as a function of absolute tokens, and of nothing else; torch-free.

    Constant   peak ┤   ╭──────────────────
                    │ ╱                          Cosine is the comparison, with its own horizon.
    Leaving         │   ╭────────╮ parent
                    │ ╱           ╲ cooldown     A cooldown leaves any parent's rate.

A step takes the rate of the position where it starts: the tokens before it. So at batches of b
tokens:

    position           rate (Hägele et al., Eq. 1; warm-up as in their code)
    0                  peak / 100: a step at rate 0, as Eq. 1 has it, would move nothing
    warmup - b         the last step of the warm-up, still below peak
    warmup             peak, exactly
    leaves_at          the parent's rate there, exactly: the branch's first step is the trunk's next
    ends_at - b        the branch's last step: f(1 - b / (ends_at - leaves_at)), not yet `final`
    ends_at and after  `final` × the rate it left from; no step of the branch starts here
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self, assert_never

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ramify.ground.errors import BadInput
from ramify.ground.units import Tokens

START = 0.01  # of peak, where the warm-up begins: `wsd_schedule(init_div_factor=100)` in their code


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_peak(peak: float) -> None:
    if not (math.isfinite(peak) and peak > 0):
        raise BadInput(f"peak={peak} is no learning rate", hint="give a positive number, like 1e-3")


def _check_final(final: float) -> None:
    if not 0 <= final <= 1:
        raise BadInput(
            f"final={final} is no fraction of the rate", hint="give a number from 0 to 1, like 0.1"
        )


class Constant(_Frozen):
    """A linear warm-up from peak/100, then peak for ever: the rate of a trunk, without horizon."""

    kind: Literal["constant"] = "constant"
    peak: float
    warmup: Tokens = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_peak(self.peak)
        return self


class Cosine(_Frozen):
    """A linear warm-up from peak/100, then half a cosine down to final × peak at `horizon`."""

    kind: Literal["cosine"] = "cosine"
    peak: float
    warmup: Tokens = 0
    horizon: Tokens
    final: float = 0.1  # Hägele et al., section 2: "typically to 10%"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_peak(self.peak)
        _check_final(self.final)
        if self.horizon <= self.warmup:
            raise BadInput(
                f"a cosine with horizon={self.horizon} is over before its warmup={self.warmup} is",
                hint=f"give a horizon above {self.warmup}, or a shorter warmup",
            )
        return self


class Cooldown(_Frozen):
    """What a branch asks for: the shape of its descent, and the fraction of the rate it ends at.

    With x the share of the descent that is over, the rate it leaves from is multiplied by
    final + (1 - final)·(1 - √x), or by final + (1 - final)·(1 - x) if linear. (1 - √x) was the best
    of the shapes in Hägele et al., section 3.1 and appendix B.1; SmolLM2 takes linear to 0.
    """

    kind: Literal["cooldown"] = "cooldown"
    shape: Literal["sqrt", "linear"] = "sqrt"
    final: float = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_final(self.final)
        return self

    def leaving(self, parent: Schedule, *, leaves_at: int, ends_at: int) -> Leaving:
        """Return the rate of a branch that leaves `parent` at a token and ends at another."""
        return Leaving(parent=parent, cooldown=self, leaves_at=leaves_at, ends_at=ends_at)

    def factor(self, over: float) -> float:
        """Return what the rate is multiplied by when a share `over` (0 to 1) of it is over."""
        left = 1 - (math.sqrt(over) if self.shape == "sqrt" else over)
        return self.final + (1 - self.final) * left


class Leaving(_Frozen):
    """A cooldown in its place: the parent's rate up to leaves_at, and from there down to ends_at.

    Raises BadInput if it ends before it leaves, if it leaves while the warm-up of its line is
    still going, or where the parent's own rate has come down to 0.
    """

    kind: Literal["leaving"] = "leaving"
    parent: Schedule
    cooldown: Cooldown
    leaves_at: Tokens
    ends_at: Tokens

    @model_validator(mode="after")
    def _check(self) -> Self:
        at, end = self.leaves_at, self.ends_at
        if end <= at:
            raise BadInput(
                f"a cooldown that leaves at {at} tokens ends at {end}",
                hint=f"let it end above {at}, or leave before {end}",
            )
        if at < (warm := warmup_of(self.parent)):
            raise BadInput(
                f"a cooldown leaves at {at} tokens, before the warm-up ends at {warm}",
                hint=f"let it leave at {warm} or later, or shorten the warm-up",
            )
        if rate(self.parent, at) <= 0:
            raise BadInput(
                f"a cooldown leaves at {at} tokens, where its parent's rate is 0",
                hint="leave earlier, or give the parent's cooldown a final above 0",
            )
        return self


Schedule = Annotated[Constant | Cosine | Leaving, Field(discriminator="kind")]
"""The rate of a whole line, from its root: what `rate` takes."""

Asked = Annotated[Constant | Cosine | Cooldown, Field(discriminator="kind")]
"""What a run can ask for; a Cooldown becomes a Schedule by `leaving`, once its place is known."""

Leaving.model_rebuild()


def rate(schedule: Schedule, tokens: int) -> float:
    """Return the learning rate of the step that starts after `tokens` tokens of the line."""
    match schedule:
        case Constant(peak=peak, warmup=warmup):
            return peak * _warmed(tokens, warmup)
        case Cosine(peak=peak, warmup=warmup, horizon=horizon, final=final):
            if tokens < warmup:
                return peak * _warmed(tokens, warmup)
            over = min(1.0, (tokens - warmup) / (horizon - warmup))
            return peak * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * over)))
        case Leaving(parent=parent, cooldown=cooldown, leaves_at=leaves_at, ends_at=ends_at):
            if tokens <= leaves_at:
                return rate(parent, tokens)
            over = min(1.0, (tokens - leaves_at) / (ends_at - leaves_at))
            return rate(parent, leaves_at) * cooldown.factor(over)
        case _:
            assert_never(schedule)


def _warmed(tokens: int, warmup: int) -> float:
    return START + (1 - START) * tokens / warmup if tokens < warmup else 1.0


def warmup_of(schedule: Schedule) -> int:
    """Return the token at which the warm-up of a line is over."""
    return warmup_of(schedule.parent) if isinstance(schedule, Leaving) else schedule.warmup


def decayed(schedule: Schedule, tokens: int) -> bool:
    """Say whether a line at `tokens` has come to the end of its descent; a constant one never has.

    Models are compared with others of the same answer only (law 7 of the design).
    """
    match schedule:
        case Constant():
            return False
        case Cosine(horizon=end) | Leaving(ends_at=end):
            return tokens >= end
        case _:
            assert_never(schedule)
