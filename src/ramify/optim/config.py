"""What an optimizer and its windows of averaged weights are asked for; torch-free."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ramify.ground.errors import BadInput


class _Adam(BaseModel):
    """What both ask for: the decay of weights, and the clip before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    beta1: float
    beta2: float
    eps: float = 1e-8
    weight_decay: float = 0.1  # Hägele et al.; SmolLM2: 0.01
    decay_embeddings: bool = False  # theirs exempts the (tied) embedding; an untied head is decayed
    decay_norms: bool = False  # theirs exempts norms and biases: every parameter below two axes
    clip: float | None = 1.0  # global norm of the gradient, both papers; None: not clipped

    @model_validator(mode="after")
    def _check(self) -> Self:
        of = type(self).__name__
        for name in ("beta1", "beta2"):
            if not 0 <= (beta := getattr(self, name)) < 1:
                raise BadInput(f"{name}={beta} of {of}", hint=f"give 0 <= {name} < 1, like 0.95")
        if not (isfinite(self.eps) and self.eps > 0):
            raise BadInput(f"eps={self.eps} of {of}", hint="give a positive number, like 1e-8")
        if not (isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise BadInput(
                f"weight_decay={self.weight_decay} of {of}", hint="give 0 or more, like 0.1"
            )
        if self.clip is not None and not (isfinite(self.clip) and self.clip > 0):
            raise BadInput(
                f"clip={self.clip} of {of}", hint="give a positive norm, like 1.0, or None"
            )
        return self


class AdamW(_Adam):
    """AdamW (Loshchilov and Hutter, 2019) with the values of Hägele et al., section A.1.

    SmolLM2 differs in one number and two choices: its published configs say weight_decay 0.01 and
    name no parameter as exempt, so nanotron decays everything. Asked for as
    `AdamW(weight_decay=0.01, decay_embeddings=True, decay_norms=True)`.
    As in torch, what is taken off a weight in a step is rate × weight_decay × weight.
    """

    kind: Literal["adamw"] = "adamw"
    beta1: float = 0.9
    beta2: float = 0.95


class ScheduleFree(_Adam):
    """Schedule-free AdamW (Defazio et al., 2024): a mean of the line is kept in place of a descent.

    Gradients are taken at y, between the line z and its mean x; x is what is evaluated and exported.
    A step weighs in the mean by the square of the largest rate so far, so a warm-up counts little.
    With AdamW's (0.9, 0.95) it does badly and its loss rises towards the end; (0.95, 0.99), the
    default here, is remarkably good, and a cooldown matches or beats both (Hägele et al., Fig. 11).
    Nothing cools down off such a run. Needs the extra `schedulefree`.
    """

    kind: Literal["schedulefree"] = "schedulefree"
    beta1: float = 0.95
    beta2: float = 0.99

    @model_validator(mode="after")
    def _has_a_mean(self) -> Self:
        if not self.beta1:
            raise BadInput(
                "beta1=0.0 of ScheduleFree takes gradients off its mean altogether",
                hint="give beta1 above 0, like 0.95",
            )
        return self


Optimizer = Annotated[AdamW | ScheduleFree, Field(discriminator="kind")]
"""What moves the weights of a whole line."""


class Windows(BaseModel):
    """Means of the weights over windows of `steps` optimizer steps, saved one after another.

    Windows lie on an absolute grid: window k (from 0) covers the steps k·steps + 1 to
    (k + 1)·steps, and takes the weights after every `every`-th of them, its last one among them.
    Defaults are those of Hägele et al., section 4.1, and their code: 500 and 5. Windows that a
    branch does not cover whole are not saved. Sums are fp32, as by default in their code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: int = 500
    every: int = 5

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.every < 1 or self.steps < 1 or self.steps % self.every:
            raise BadInput(
                f"a window of steps={self.steps} cannot take weights every={self.every} steps",
                hint="let every divide steps, like steps=500, every=5",
            )
        return self

    @property
    def count(self) -> int:
        """How many sets of weights a whole window is the mean of."""
        return self.steps // self.every

    def takes(self, step: int) -> bool:
        """Say whether the weights after `step` steps (counted from the root, from 1) are taken."""
        return step > 0 and step % self.every == 0

    def closes(self, step: int) -> bool:
        """Say whether a window ends with the weights after `step` steps."""
        return step > 0 and step % self.steps == 0

    def ordinal(self, step: int) -> int:
        """Return which window, from 0, the weights after `step` steps belong to."""
        return (step - 1) // self.steps


class Ema(BaseModel):
    """An exponential moving average of the weights: decay × average + (1 - decay) × weights.

    It takes the weights after every `every`-th step of an absolute grid, and begins as the first
    that it takes. Defaults are those of the code of Hägele et al., who found it worse than windows
    (section 4.1). Sums are fp32, as by default in their code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    decay: float = 0.95
    every: int = 10

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 0 <= self.decay < 1:
            raise BadInput(
                f"decay={self.decay} of an average", hint="give 0 <= decay < 1, like 0.95"
            )
        if self.every < 1:
            raise BadInput(
                f"an average that takes weights every={self.every} steps", hint="give 1 or more"
            )
        return self

    def takes(self, step: int) -> bool:
        """Say whether the weights after `step` steps (counted from the root, from 1) are taken."""
        return step > 0 and step % self.every == 0

    def taken(self, begins: int, step: int) -> int:
        """Return how many sets a run that begins after `begins` steps has taken after `step`."""
        return step // self.every - begins // self.every
