"""What is asked of an evaluation, and of a forecast of one; torch-free."""

from __future__ import annotations

import re
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step
from ramify.ground.units import Tokens

DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]*")


class Evaluate(Step):
    """Bits per byte of one model on the held-out documents of tokenized sources, by domain.

    `model` is a point of a run or an average. Every chosen document is scored whole, in windows of
    `seq_len`; how rows are batched changes nothing but rounding, and is conduct.
    """

    conduct: ClassVar[frozenset[str]] = frozenset({"rows", "loss_chunk"})

    model: Ref
    corpora: dict[str, Ref] = Field(min_length=1)
    seq_len: int = Field(ge=1)
    limit_tokens: Tokens | None = None  # of each domain; None: every document
    rows: int = Field(default=8, ge=1)  # a batch has at most rows × seq_len slots
    loss_chunk: int = Field(default=256, ge=1)  # rows of logits that exist at once

    @field_validator("corpora")
    @classmethod
    def _domains_can_be_files(cls, corpora: dict[str, Ref]) -> dict[str, Ref]:
        for domain in corpora:
            if not DOMAIN.fullmatch(domain):
                raise BadInput(
                    f"{domain!r} cannot name a domain", hint="use letters, digits, '_' and '-'"
                )
        return corpora


class Cooled(BaseModel):
    """A cooldown that was run, to learn from: the point it left, what was known there, its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    trunk: Ref  # the point where it left
    left: Ref  # the evaluation of that point
    averaged: Ref | None = None  # the evaluation of an average of the trunk's last windows there
    ended: Ref  # the evaluation of its end


class Forecast(Step):
    """The loss that a cooldown will reach, told from its trunk alone before it is run.

    It would leave `trunk`, a point, and end at `ends_at` tokens. `left` evaluates that point,
    `averaged` an average of the trunk's last windows there; `learned` are cooldowns of like shape
    that were run. It never reads the cooldown that it foretells, is made before that one is
    started, and is scored by it afterwards. See scaling/forecast.py for the method.
    """

    trunk: Ref
    ends_at: Tokens
    shape: str = "sqrt"  # of the descent
    left: Ref
    averaged: Ref | None = None
    learned: tuple[Cooled, ...] = ()
    level: float = Field(default=0.9, gt=0, lt=1)  # of the interval

    @model_validator(mode="after")
    def _leaves_before_it_ends(self) -> Self:
        for point in (self.trunk, *(cooled.trunk for cooled in self.learned)):
            if point.at is None:
                raise BadInput(
                    f"{self.name} takes {point.name}, and not where it was left",
                    hint=f"give Ref(name={point.name!r}, at=...)",
                )
        if self.trunk.at is not None and self.ends_at <= self.trunk.at:
            raise BadInput(
                f"{self.name} foretells a cooldown from {self.trunk.at} to {self.ends_at} tokens",
                hint=f"let it end above {self.trunk.at}",
            )
        return self


class Pair(BaseModel):
    """Two evaluations of one seed: of a model that had what is tried, and of its sibling that had not."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    having: Ref
    lacking: Ref


class Trial(BaseModel):
    """One thing that is tried: the two tokenized corpora that differ by it, and pairs of evaluations."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    having: Ref
    lacking: Ref
    pairs: tuple[Pair, ...] = Field(min_length=1)


class Ablation(Step):
    """What each part of a funnel was worth: what it removed, what it gained, and whether that can be told.

    The gain is the bits per byte of the sibling without it less those of the model with it, paired
    by seed, so that more is better; its interval is Student's over the seeds. The verdict is by the
    plain mean over the domains `judged_on` (none: all that were evaluated): it "earned its place"
    or was "a cost" where the interval leaves out 0, and else "cannot be told", as with one seed.
    """

    trials: tuple[Trial, ...] = Field(min_length=1)
    judged_on: tuple[str, ...] = ()
    level: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> Self:
        names = [trial.name for trial in self.trials]
        if len({*names}) < len(names):
            raise BadInput(f"{self.name} tries {names}", hint="give each trial a name of its own")
        return self
