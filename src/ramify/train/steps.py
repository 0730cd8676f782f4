"""What a training run is asked for: a root (trunk or cosine), a branch, means of weights; torch-free.

Trunk ──●───────●──────▶        no length: `tokens` only says how far it is wanted
         ╲       ╲
          Cooldown╲             leaves at an exact token, ends at another
                   Cooldown
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step, canonical
from ramify.ground.units import Tokens, parse_count
from ramify.model.config import ModelConfig
from ramify.optim import schedule
from ramify.optim.config import AdamW, Ema, Optimizer, ScheduleFree, Windows
from ramify.optim.schedule import Shape
from ramify.tokens.mixture import Mixture, Stage, check_stages

NOT_AVERAGED: Mapping[str, None] = {"windows": None, "ema": None}  # of a control, unless asked for
ROUNDING = 0.01  # an asked token count further than this from a whole step is refused


class Numerics(BaseModel):
    """How a run is computed: what decides bits, fixed on its card at birth. None: chosen then."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    threads: int | None = None  # None: every core
    compile: bool | None = None  # None: if the run is long enough to pay for it
    dtype: Literal["float32", "bfloat16"] | None = None  # None: bfloat16 on GPU or amx_bf16
    micro_rows: int | None = None  # rows of a batch that are computed at once
    loss_chunk: int | None = None  # rows of logits that exist at once


class Probe(BaseModel):
    """Bits per byte of held-out documents along a run, every so many tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    every: Tokens
    limit_tokens: Tokens = 10_000  # of each domain; which documents is fixed by their ids


class Run(Step, ABC):
    """A training line. Fields in `conduct` decide what is kept and told, never a weight."""

    conduct: ClassVar[frozenset[str]] = frozenset(
        {"asked_tokens", "numerics", "probe", "windows", "ema", "points", "log_every", "skip_limit"}
    )
    tokens: Tokens
    asked_tokens: int | None = None  # before rounding to whole steps
    numerics: Numerics = Numerics()
    probe: Probe | None = None
    windows: Windows | None = None
    ema: Ema | None = None
    points: tuple[Tokens, ...] = ()  # kept besides those that the plan asks for
    log_every: int = 1  # steps between lines of the journal
    skip_limit: int = 10  # steps with a loss or gradient that is not finite, before it stops


class Root(Run, ABC):
    """A run from fresh weights: its network, data and optimizer hold for all that leaves it."""

    model: ModelConfig
    sources: dict[str, Ref]
    stages: tuple[Stage, ...]
    seq_len: int
    rows: int
    optimizer: Optimizer = AdamW()
    seed: int = 0
    mask_documents: bool = False  # attention within documents only

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_stages(self.stages, self.sources)
        if self.seq_len < 1 or self.rows < 1:
            raise BadInput(
                f"a batch of rows={self.rows} of seq_len={self.seq_len}", hint="give 1 or more"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _round(cls, fields: Any) -> Any:
        """Round tokens, warm-up, horizon and stages to whole steps; keep what was asked."""
        if not isinstance(fields, dict) or not {"tokens", "rows", "seq_len"} <= fields.keys():
            return fields
        step = fields["rows"] * fields["seq_len"]
        wanted = parse_count(fields["tokens"])
        rounded = whole_steps(wanted, step, "tokens")
        stages = [Stage.model_validate(stage) for stage in fields.get("stages", ())]
        starts = [whole_steps(stage.at, step, "a stage's at") for stage in stages]
        return {
            **fields,
            "tokens": rounded,
            "asked_tokens": _asked(wanted, rounded, fields.get("asked_tokens"), step),
            "points": tuple(
                whole_steps(parse_count(point), step, "a point")
                for point in fields.get("points", ())
            ),
            "stages": tuple(
                Stage(at=at, mixture=stage.mixture)
                for at, stage in zip(starts, stages, strict=True)
            ),
        }

    @property
    def step_tokens(self) -> int:
        """Slots of one optimizer step: rows × seq_len."""
        return self.rows * self.seq_len

    def inputs(self, at: int | None = None) -> dict[str, Ref]:
        """Return the sources of the stages that begin before `at`."""
        used = {name for stage in self.stages_before(at) for name in stage.mixture}
        return {f"sources.{name}": ref for name, ref in self.sources.items() if name in used}

    def stages_before(self, at: int | None) -> tuple[Stage, ...]:
        """Return the stages that began before `at` tokens: all a result up to there depends on."""
        return tuple(s for s in self.stages if at is None or s.at < at or s.at == 0)

    def asked(self, at: int | None = None) -> dict[str, Any]:
        """Return the identity up to `at`: without later stages, and without how long it runs."""
        asked = super().asked(at)
        asked.pop("tokens")
        asked["stages"] = [canonical(stage) for stage in self.stages_before(at)]
        used = {path.removeprefix("sources.") for path in self.inputs(at)}
        asked["sources"] = {name: ref for name, ref in asked["sources"].items() if name in used}
        return asked

    def point(self, at: int | str) -> Ref:
        """Return the ref to this run at a token, rounded to a whole step."""
        return Ref(name=self.name, at=whole_steps(parse_count(at), self.step_tokens, "at"))

    def averages(
        self, at: int | str, lasts: Iterable[int], *, home: str | None = None
    ) -> tuple[Average, ...]:
        """Return the averages of the last 1, 2, ... windows up to a token: a sweep of the horizon.

        With an `Evaluate` of each it is the curve of Hägele et al., section 4.1 (LAWA). They are
        called `HOME/last-N`, HOME being `averages/NAME-TOKENS` unless given. Raises BadInput if the
        run saves no windows.
        """
        point = self.point(at)
        if self.windows is None:
            raise BadInput(
                f"{self.name} saves no windows to average",
                hint="give it windows=Windows(steps=..., every=...)",
            )
        home = home or f"averages/{self.name}-{point.at}"
        return tuple(
            Average(name=f"{home}/last-{last}", run=point, last=last, windows=self.windows)
            for last in lasts
        )


class Trunk(Root):
    """A run at constant learning rate after a warm-up: it has no length, `tokens` is conduct."""

    schedule: schedule.Constant

    def cooldown(
        self,
        name: str,
        tokens: int | str,
        *,
        fraction: float = 0.2,
        off: Average | EmaAverage | None = None,
        shape: Shape = "sqrt",
        final: float = 0.0,
        **fields: Any,
    ) -> Cooldown:
        """Return the branch that ends at `tokens`, after a descent over `fraction` of them.

        It leaves at the whole step nearest to (1 - fraction) × tokens, so that it ends on its
        budget (Hägele et al., section 3). A `mixture` may name any source of the trunk's; others
        come with `sources`. `off` an average it leaves where that stands, with its weights alone:
        give it a `rewarm`.
        """
        asked = parse_count(tokens)
        end = whole_steps(asked, self.step_tokens, f"tokens of {name}")
        at = round(end * (1 - fraction) / self.step_tokens) * self.step_tokens
        leaves: dict[str, Any] = {"parent": Ref(name=self.name, at=at)}
        if off is not None and off.run.at is not None:
            at = off.run.at
            leaves = {"parent": Ref(name=off.name), "carry": "weights", "stands_at": at}
        read = {name for stage in self.stages_before(at) for name in stage.mixture}
        mixture: Mapping[str, float] = fields.get("mixture") or {}
        new = {n: self.sources[n] for n in mixture if n in self.sources and n not in read}
        return Cooldown(
            name=name,
            tokens=end,
            asked_tokens=None if asked == end else asked,
            descent=schedule.Cooldown(shape=shape, final=final),
            numerics=self.numerics,
            **{"probe": self.probe, "sources": new, **leaves, **fields},
        )

    def cosine(
        self, name: str, tokens: int | str, *, peak: float | None = None, final: float = 0.1
    ) -> Cosine:
        """Return the comparison: same start, data and seeds, a cosine to `tokens` from its own peak.

        The peak is twice the trunk's unless given (Hägele et al., Fig. 3: the best constant rate is
        half of the best cosine maximum).
        """
        end = whole_steps(parse_count(tokens), self.step_tokens, f"tokens of {name}")
        own = schedule.Cosine(
            peak=2 * self.schedule.peak if peak is None else peak,
            warmup=self.schedule.warmup,
            horizon=end,
            final=final,
        )
        fields = {field: getattr(self, field) for field in Root.model_fields}
        return Cosine(**{**fields, "name": name, "tokens": tokens, "schedule": own, **NOT_AVERAGED})


class Cosine(Root):
    """A run whose rate comes down over a horizon fixed at its start: the honest comparison."""

    schedule: schedule.Cosine

    @model_validator(mode="after")
    def _ends_at_its_horizon(self) -> Self:
        if self.tokens != self.schedule.horizon:
            raise BadInput(
                f"{self.name} has tokens={self.tokens} and a horizon of {self.schedule.horizon}",
                hint="a cosine run ends at its horizon: give both the same",
            )
        if isinstance(self.optimizer, ScheduleFree):
            raise BadInput(
                f"{self.name} has a schedule and an optimizer that is schedule-free",
                hint="give it optimizer=AdamW()",
            )
        return self


class Cooldown(Run):
    """A branch that leaves its parent at a token and brings the rate down until it ends.

    It goes on through the data where its parent stood, with the mixture in force there, unless it
    names one: then it is an annealing run, and new `sources` may come with it.

    With carry="all" the optimizer's moments come along. With "weights" they begin anew, and so does
    the count of their bias correction: the rate then comes up again over `rewarm` tokens, from a
    hundredth of what it left at, before it descends. Such a branch may also leave an Average or an
    EmaAverage (a parent without `at`), which stands where its run stood, `stands_at`; the recipe
    that holds both fills that in.
    """

    parent: Ref
    descent: schedule.Cooldown = schedule.Cooldown()
    mixture: Mixture | None = None
    sources: dict[str, Ref] = Field(default_factory=dict)
    carry: Literal["all", "weights"] = "all"
    rewarm: Tokens = 0
    stands_at: Tokens | None = None  # of a parent that is an average: the token of its run

    @model_validator(mode="after")
    def _can_leave(self) -> Self:
        parent = self.parent.name
        if self.carry == "all" and self.parent.at is None:
            raise BadInput(
                f"a branch of {parent} must say where it leaves",
                hint=f"give parent=Ref(name={parent!r}, at=...), or carry='weights' if {parent} "
                "is an average, which has no moments to carry",
            )
        if self.carry == "all" and self.rewarm:
            raise BadInput(
                f"{self.name} carries its moments on and has rewarm={self.rewarm}",
                hint="give carry='weights', or leave rewarm out",
            )
        if self.parent.at is not None and self.stands_at is not None:
            raise BadInput(
                f"{self.name} leaves {self.parent} and has stands_at={self.stands_at}",
                hint="leave stands_at out: it is for a parent that is an average",
            )
        return self

    @model_validator(mode="after")
    def _ends_after_it_leaves(self) -> Self:
        if self.is_placed and self.tokens <= self.leaves_at:
            raise BadInput(
                f"{self.name} leaves at {self.leaves_at} tokens and ends at {self.tokens}",
                hint=f"let it end above {self.leaves_at}",
            )
        return self

    @property
    def is_placed(self) -> bool:
        """Whether it is known where it leaves: off an average, once a recipe holds both."""
        return self.parent.at is not None or self.stands_at is not None

    @property
    def leaves_at(self) -> int:
        """The token at which it leaves its parent; BadInput before that is known."""
        at = self.parent.at if self.parent.at is not None else self.stands_at
        if at is None:
            raise BadInput(
                f"{self.name} does not know where {self.parent.name} stands",
                hint="a recipe that holds both tells it, or trunk.cooldown(..., off=...)",
            )
        return at

    def placed(self, parent: Step | None) -> Self:
        """Return it with the token at which its parent stands, where that is an average.

        Raises BadInput if it says that it stands elsewhere, or leaves a run at no token.
        """
        if self.parent.at is not None:
            return self
        if isinstance(parent, Run):
            raise BadInput(
                f"{self.name} must say where it leaves {parent.name}",
                hint=f"give parent=Ref(name={parent.name!r}, at=...)",
            )
        if not isinstance(parent, Average | EmaAverage):
            return self
        at = parent.run.at
        if self.stands_at not in (None, at):
            raise BadInput(
                f"{self.name} has stands_at={self.stands_at}, and {parent.name} stands at {at}",
                hint="leave stands_at out",
            )
        return self if self.stands_at == at else self.but(stands_at=at)


class Average(Step):
    """The mean of a run's weights over its last windows up to a point; a point like any other."""

    run: Ref
    last: int = 1  # how many windows
    windows: Windows

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.last < 1 or self.run.at is None:
            raise BadInput(
                f"{self.name} averages last={self.last} windows of {self.run}",
                hint="give last >= 1 and run=Ref(name=..., at=...)",
            )
        return self


class EmaAverage(Step):
    """The exponential moving average of a run's weights, as it stood at a point; a model like any.

    The run must carry the very same `ema` from where it begins: an average that began late, or
    another one, is refused.
    """

    run: Ref
    ema: Ema = Ema()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.run.at is None:
            raise BadInput(
                f"{self.name} must say at which token it takes the average of {self.run}",
                hint=f"give run=Ref(name={self.run.name!r}, at=...)",
            )
        return self


class Interpolate(Step):
    """A model on the straight line between two: the weights of a × (1 - share) + b × share.

    Hägele et al., Fig. 7: from before a cooldown to after it, the loss falls smoothly
    all along it. A share below 0 or above 1 goes on beyond the ends. It stands at the later token.
    """

    a: Ref
    b: Ref
    share: float

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not math.isfinite(self.share):
            raise BadInput(
                f"share={self.share} of {self.name} is no place on a line",
                hint="give a number, 0 for a and 1 for b",
            )
        return self


AVERAGES = ("average", "emaaverage", "interpolate")  # kinds of steps that are means of weights


def _asked(wanted: int, rounded: int, before: int | None, step: int) -> int | None:
    """Return what was asked if it was rounded: now, or before a copy was made of what it became."""
    if wanted != rounded:
        return wanted
    return before if before is not None and round(before / step) * step == rounded else None


def whole_steps(tokens: int, step: int, what: str) -> int:
    """Return `tokens` rounded to whole steps of `step`; BadInput if that is more than 1% off."""
    rounded = max(1, round(tokens / step)) * step
    if tokens == 0:
        return 0
    if abs(rounded - tokens) > ROUNDING * tokens:
        raise BadInput(
            f"{what} = {tokens} is {tokens / step:.2f} steps of {step} tokens",
            hint=f"give {rounded}, or a smaller batch",
        )
    return rounded


def last_points(points: Iterable[int], upto: int) -> int | None:
    """Return the largest of `points` that is not above `upto`."""
    return max((point for point in points if point <= upto), default=None)
