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
    leaves_at          with a rewarm: a hundredth of that, and all of it at leaves_at + rewarm
    ends_at - b        the branch's last step: f(1 - b / (ends_at - leaves_at)), not yet `final`
    ends_at and after  `final` × the rate it left from; no step of the branch starts here
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self, assert_never

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ramify.ground.errors import BadInput
from ramify.ground.units import Tokens

START = 0.01  # of peak, where the warm-up begins: `wsd_schedule(init_div_factor=100)` in their code
SHAPES = ("sqrt", "linear", "square", "cosine", "mirror_cosine", "exp")
EXPONENTS = {0.5: "sqrt", 1: "linear", 2: "square"}  # of 1 - x^a, by the name of the shape


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


def _as_named(shape: object) -> object:
    """Return the name of an exponent that has one, as one descent has one fingerprint; refuse others."""
    if isinstance(shape, str) and shape not in SHAPES:
        raise BadInput(
            f"no shape of a cooldown is called {shape!r}",
            hint=f"use {', '.join(SHAPES)}, or the exponent a of 1 - x^a",
        )
    return EXPONENTS.get(shape, shape) if isinstance(shape, int | float) else shape


Bounded = Literal["sqrt", "linear", "square", "cosine", "mirror_cosine"] | float
"""The shapes that come to 0 by themselves."""

Shape = Annotated[Bounded | Literal["exp"], BeforeValidator(_as_named)]
"""How a descent comes down: a name, or the exponent a of 1 - x^a."""


class Cooldown(_Frozen):
    """What a branch asks for: the shape of its descent, and the fraction of the rate it ends at.

    With x the share of the descent that is over, the rate it leaves from is multiplied by
    final + (1 - final)·f(x), where f(x) is

        "sqrt"           1 - √x, the best of them (Hägele et al., section 3.1 and appendix B.1)
        "linear"         1 - x, as SmolLM2 takes it, to 0
        "square"         1 - x²
        a number a       1 - x^a (appendix B.1, where 0.1 and 0.2 were clearly worse than 0.5)
        "cosine"         (1 + cos πx) / 2
        "mirror_cosine"  2·(1 - x) - (1 + cos πx) / 2

    and by final^x for "exp", as in their code; it must end above 0. Raises BadInput for a `final`
    or an exponent that is none.
    """

    kind: Literal["cooldown"] = "cooldown"
    shape: Shape = "sqrt"
    final: float = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_final(self.final)
        if isinstance(self.shape, float) and not (math.isfinite(self.shape) and self.shape > 0):
            raise BadInput(
                f"shape={self.shape} is no exponent of 1 - x^a", hint="give a number above 0"
            )
        if self.shape == "exp" and not self.final:
            raise BadInput(
                "an exponential descent never comes to final=0.0",
                hint="give it a final above 0, like 0.01, or another shape",
            )
        return self

    def leaving(
        self, parent: Schedule, *, leaves_at: int, ends_at: int, rewarm: int = 0
    ) -> Leaving:
        """Return the rate of a branch that leaves `parent` at a token and ends at another."""
        return Leaving(
            parent=parent, cooldown=self, leaves_at=leaves_at, ends_at=ends_at, rewarm=rewarm
        )

    def factor(self, over: float) -> float:
        """Return what the rate is multiplied by when a share `over` (0 to 1) of it is over."""
        if self.shape == "exp":
            return math.pow(self.final, over)
        return self.final + (1 - self.final) * _left(self.shape, over)


def _left(shape: Bounded, over: float) -> float:
    """Return f(x) of a descent to 0: 1 at its begin, 0 at its end."""
    match shape:
        case "sqrt":
            return 1 - math.sqrt(over)
        case "linear":
            return 1 - over
        case "square":
            return 1 - over * over
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * over))
        case "mirror_cosine":
            return 2 * (1 - over) - 0.5 * (1 + math.cos(math.pi * over))
        case float():
            return 1.0 - math.pow(over, shape)
        case _:
            assert_never(shape)


class Leaving(_Frozen):
    """A cooldown in its place: the parent's rate up to leaves_at, and from there down to ends_at.

    With `rewarm`, the rate first comes up over so many tokens, linearly from a hundredth of what it
    left at, as a warm-up does, for a branch whose optimizer starts anew. Raises BadInput if it ends
    before it leaves or is warm, if it leaves while a warm-up of its line is still going, or where
    the parent's own rate has come down to 0.
    """

    kind: Literal["leaving"] = "leaving"
    parent: Schedule
    cooldown: Cooldown
    leaves_at: Tokens
    ends_at: Tokens
    rewarm: Tokens = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        at, end = self.leaves_at, self.ends_at
        if end <= at:
            raise BadInput(
                f"a cooldown that leaves at {at} tokens ends at {end}",
                hint=f"let it end above {at}, or leave before {end}",
            )
        if self.rewarm >= end - at:
            raise BadInput(
                f"a cooldown from {at} to {end} tokens is over before its rewarm={self.rewarm} is",
                hint=f"give a rewarm below {end - at}, or a longer branch",
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
        case Leaving(parent=parent, leaves_at=leaves_at):
            if tokens < leaves_at:
                return rate(parent, tokens)
            return rate(parent, leaves_at) * _share(schedule, tokens)
        case _:
            assert_never(schedule)


def _share(branch: Leaving, tokens: int) -> float:
    """Return the share of the rate it left at that a branch has at a token of its own."""
    gone = tokens - branch.leaves_at
    if gone < branch.rewarm:
        return _warmed(gone, branch.rewarm)
    gone, length = gone - branch.rewarm, branch.ends_at - branch.leaves_at - branch.rewarm
    return branch.cooldown.factor(min(1.0, gone / length)) if gone else 1.0


def _warmed(tokens: int, warmup: int) -> float:
    return START + (1 - START) * tokens / warmup if tokens < warmup else 1.0


def warmup_of(schedule: Schedule) -> int:
    """Return the token at which the last warm-up of a line is over."""
    if isinstance(schedule, Leaving):
        again = schedule.leaves_at + schedule.rewarm
        return again if schedule.rewarm else warmup_of(schedule.parent)
    return schedule.warmup


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
