"""Sizes × budgets × cooldowns × seeds as one line of a recipe, and sweeps of learning rates; torch-free.

grid/33M/s0/trunk ──●──────●────────▶      a trunk for each size and seed
                     ╲      ╲
   cool-sqrt20-300M   ●      ● cool-sqrt20-700M   branches that end on each budget
   cosine-300M ────────▶  cosine-700M ────────▶   on request: the honest comparison
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations, product
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ramify.evals.steps import Cooled, Evaluate, Forecast
from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step, check_name
from ramify.ground.units import Tokens, parse_count, show_count
from ramify.model.config import ModelConfig, preset
from ramify.optim import schedule
from ramify.optim.config import AdamW, Ema, Optimizer, Windows
from ramify.optim.schedule import Constant
from ramify.tokens.mixture import Stage
from ramify.train.steps import Average, Cooldown, Cosine, Numerics, Probe, Trunk

Learned = dict[str, list[Cooled]]
"""By the shape of a descent, the cooldowns that a forecast may learn from."""

COSINE_OVER_CONSTANT = 2.0  # Hägele et al., Fig. 3: the best constant rate is half the best maximum


class Size(BaseModel):
    """One size of a grid; what it leaves out holds as the grid says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: ModelConfig
    budgets: tuple[Tokens, ...] = ()  # none: the grid's
    peak: float | None = None  # the constant rate
    cosine_peak: float | None = None  # None: the constant rate × cosine_over_constant
    rows: int | None = None
    warmup: Tokens | None = None


class _Family(BaseModel):
    """What all runs of a grid or a sweep share, and the one way that their steps are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    sources: dict[str, Ref] = Field(min_length=1)
    stages: tuple[Stage, ...] = Field(min_length=1)
    seq_len: int
    rows: int
    warmup: Tokens = 0
    budgets: tuple[Tokens, ...] = ()  # each is where a branch, and a cosine run, ends
    cooldowns: tuple[tuple[float, schedule.Shape], ...] = ((0.2, "sqrt"),)  # (fraction, shape)
    seeds: tuple[int, ...] = (0,)
    cosine: bool = False  # a cosine run from fresh weights for each budget, too
    cosine_over_constant: float = Field(default=COSINE_OVER_CONSTANT, gt=0)
    vocab: int | None = None  # of every network; None: as each says
    optimizer: Optimizer = AdamW()
    numerics: Numerics = Numerics(threads=1)
    probe: Probe | None = None
    windows: Windows | None = None
    ema: Ema | None = None
    averages: tuple[int, ...] = ()  # so many last windows, averaged where each branch leaves
    evaluate: bool = True  # each end point
    evaluate_left: bool = False  # the trunk too, wherever a branch leaves it
    forecast: bool = False  # what each branch will end at, told before it is run
    held_out: Tokens | None = None  # of each source, read by an evaluation; None: all
    mask_documents: bool = False
    log_every: int = 1
    skip_limit: int = 10

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_name(self.name)
        for what in ("seeds", "cooldowns", "averages"):
            given: tuple[object, ...] = getattr(self, what)
            if len(set(given)) < len(given) or (not given and what != "averages"):
                raise BadInput(
                    f"{self.name} has {what}={given}", hint="give at least one, and each once"
                )
        if min(self.seeds) < 0:
            raise BadInput(f"{self.name} has seeds={self.seeds}", hint="give seeds from 0 on")
        if self.held_out is not None and self.held_out < 1:
            raise BadInput(
                f"{self.name} has held_out={self.held_out}",
                hint="give tokens above 0, or leave it out: all that is held out is read",
            )
        if self.forecast and not self.evaluate:
            raise BadInput(
                f"{self.name} forecasts, and evaluates nothing", hint="leave out evaluate="
            )
        for fraction, shape in self.cooldowns:
            self._descent(shape)
            if not 0 < fraction < 1:
                raise BadInput(
                    f"{self.name} has a cooldown over fraction={fraction} of its tokens",
                    hint="give a number between 0 and 1, like 0.2",
                )
        if self.averages and (self.windows is None or min(self.averages) < 1):
            raise BadInput(
                f"{self.name} averages the last {self.averages} windows of windows={self.windows}",
                hint="give windows=Windows(steps=..., every=...) and counts from 1",
            )
        return self

    def _descent(self, shape: schedule.Shape) -> schedule.Cooldown:
        return schedule.Cooldown.model_validate({"shape": shape})

    def _lines(self, home: str, size: Size, seed: int, learned: Learned) -> Iterator[Step]:
        """Yield the steps of one size and seed; `learned` is what its forecasts learn from, and grows."""
        assert size.peak is not None
        trunk = self._trunk(home, size, seed)
        budgets = [(label(tokens), tokens) for tokens in size.budgets or self.budgets]
        cools = [
            self._cooldown(trunk, f"{home}/cool-{_named(fraction, shape)}-{name}", tokens, fraction, shape)
            for (name, tokens), (fraction, shape) in product(budgets, self.cooldowns)
        ]  # fmt: skip
        _refuse_twins(cools)
        left = sorted({cool.leaves_at for cool in cools})
        yield trunk.but(tokens=left[-1])
        yield from cools
        cosines = [
            trunk.cosine(f"{home}/cosine-{name}", tokens, peak=size.cosine_peak or size.peak * self.cosine_over_constant)
            for name, tokens in budgets
            if self.cosine
        ]  # fmt: skip
        yield from cosines
        means = [self._mean(trunk, at, last) for at in left for last in self.averages]
        yield from means
        evaluations = list(self._evaluations(home, trunk, [*cools, *cosines], means, left))
        yield from evaluations
        if self.forecast:
            by_model = {evaluation.model: evaluation.name for evaluation in evaluations}
            yield from self._forecasts(home, cools, by_model, learned)

    def _forecasts(
        self, home: str, cools: Sequence[Cooldown], by_model: dict[Ref, str], learned: Learned
    ) -> Iterator[Forecast]:
        for cool in sorted(cools, key=lambda run: (run.tokens, run.leaves_at)):
            shape = str(cool.descent.shape)
            before = learned.setdefault(shape, [])
            mean = None
            if self.averages:
                name = f"{home}/mean{self.averages[0]}-{label(cool.leaves_at)}"
                mean = Ref(name=by_model[Ref(name=name)])
            left = Ref(name=by_model[cool.parent])
            what = cool.name.removeprefix(f"{home}/cool-")
            yield Forecast(
                # how many it learned from is in its name: a grid that grows makes a new forecast
                name=f"{home}/forecast-{what}-from{len(before)}",
                trunk=cool.parent,
                ends_at=cool.tokens,
                shape=shape,
                left=left,
                averaged=mean,
                learned=tuple(before),
            )
            end = Ref(name=by_model[Ref(name=cool.name, at=cool.tokens)])
            before.append(Cooled(trunk=cool.parent, left=left, averaged=mean, ended=end))

    def _trunk(self, home: str, size: Size, seed: int) -> Trunk:
        model = size.model if self.vocab is None else size.model.with_vocab(self.vocab)
        rows = self.rows if size.rows is None else size.rows
        warmup = self.warmup if size.warmup is None else size.warmup
        assert size.peak is not None
        return Trunk(
            name=f"{home}/trunk",
            model=model,
            sources=self.sources,
            stages=self.stages,
            seq_len=self.seq_len,
            rows=rows,
            schedule=Constant(peak=size.peak, warmup=warmup),
            tokens=rows * self.seq_len,
            optimizer=self.optimizer,
            numerics=self.numerics,
            probe=self.probe,
            windows=self.windows,
            ema=self.ema,
            mask_documents=self.mask_documents,
            log_every=self.log_every,
            skip_limit=self.skip_limit,
            seed=seed,
        )

    def _cooldown(
        self, trunk: Trunk, name: str, tokens: int, fraction: float, shape: schedule.Shape
    ) -> Cooldown:
        kept = {"log_every": self.log_every, "skip_limit": self.skip_limit}
        fields: dict[str, Any] = {"fraction": fraction, "shape": shape, **kept}
        step, warmup = trunk.step_tokens, trunk.schedule.warmup
        leaves = round(tokens * (1 - fraction) / step) * step
        if leaves < max(warmup, step):
            least = max(warmup, step)
            raise BadInput(
                f"{name} would leave its trunk at {leaves} tokens, below its warm-up of {warmup}",
                hint=f"give a budget of {round(least / (1 - fraction) / step + 1) * step} or more",
            )
        return trunk.cooldown(name, tokens, **fields)

    def _mean(self, trunk: Trunk, at: int, last: int) -> Average:
        assert self.windows is not None
        home = trunk.name.removesuffix("/trunk")
        name = f"{home}/mean{last}-{label(at)}"
        return Average(name=name, run=trunk.point(at), last=last, windows=self.windows)

    def _evaluations(
        self,
        home: str,
        trunk: Trunk,
        ends: Sequence[Cooldown | Cosine],
        means: Sequence[Average],
        left: Sequence[int],
    ) -> Iterator[Evaluate]:
        points: dict[str, Ref] = {}
        if self.evaluate:
            points |= {run.name: Ref(name=run.name, at=run.tokens) for run in ends}
            points |= {mean.name: Ref(name=mean.name) for mean in means}
        if self.evaluate_left or self.forecast:
            points |= {f"{trunk.name}-{label(at)}": trunk.point(at) for at in left}
        for name, model in points.items():
            yield Evaluate(
                name=f"{home}/evals/{name.removeprefix(f'{home}/')}",
                model=model,
                corpora=self.sources,
                seq_len=self.seq_len,
                limit_tokens=self.held_out,
            )


class Grid(_Family):
    """A suite of runs: sizes × budgets × (cooldown fraction, shape) × seeds, as Hägele et al., section 5.

    `sizes` names each network: a ModelConfig, the name of a preset, or a Size with budgets, rates
    and batch of its own. One trunk is made for each size and seed; a branch ends on each budget,
    and with `cosine` a run from fresh weights ends there too. Raises BadInput for a size unknown or
    without budget or rate, a budget that is no whole number of steps, that leaves within the
    warm-up, and for two that give the same branch.
    """

    name: str = "grid"
    sizes: Mapping[str, Size | ModelConfig | str] = Field(min_length=1)
    peak: float | None = None  # the constant rate of the sizes that have none of their own

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for name, size in self._sizes.items():
            if not (size.budgets or self.budgets):
                raise BadInput(f"{self.name}/{name} has no budget", hint="give budgets=(...)")
            if size.peak is None and self.peak is None:
                raise BadInput(f"{self.name}/{name} has no learning rate", hint="give peak=1e-3")
        self.steps()
        return self

    def steps(self) -> tuple[Step, ...]:
        """Return the steps of the grid, to be put into a recipe: `steps=(*data, *grid.steps())`."""
        smallest_first = sorted(self._sizes.items(), key=lambda size: size[1].model.parameters)
        made: dict[tuple[str, int], tuple[Step, ...]] = {}
        for seed in self.seeds:
            learned: Learned = {}
            for name, size in smallest_first:
                home = f"{self.name}/{name}/s{seed}"
                made[name, seed] = tuple(self._lines(home, self._filled(size), seed, learned))
        return tuple(step for key in product(self.sizes, self.seeds) for step in made[key])

    @cached_property
    def _sizes(self) -> dict[str, Size]:
        return {name: _sized(size) for name, size in self.sizes.items()}

    def _filled(self, size: Size) -> Size:
        return size if size.peak is not None else size.model_copy(update={"peak": self.peak})


def _sized(size: Size | ModelConfig | str) -> Size:
    """Take the name of a preset, or a network alone, for a size."""
    if isinstance(size, Size):
        return size
    return Size(model=preset(size) if isinstance(size, str) else size)


class Sweep(_Family):
    """A sweep of learning rates over one network: for each rate and seed a trunk with its branches.

    `peaks` are constant rates. With `cosine`, each has beside it cosine runs whose maximum is
    `cosine_over_constant` times as high: 2 is the half rule of Hägele et al. (Fig. 3 and section
    5: sweep the constant rate at half of the cosine maximum); 1 compares both at the same rates.
    """

    name: str = "sweep"
    model: ModelConfig | str  # a network, or the name of a preset
    peaks: tuple[float, ...] = Field(min_length=1)
    cosine: bool = True

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.budgets:
            raise BadInput(f"{self.name} has no budget", hint="give budgets=(...)")
        if len({rate_label(peak) for peak in self.peaks}) < len(self.peaks):
            raise BadInput(f"{self.name} has peaks={self.peaks}", hint="give each once")
        self.steps()
        return self

    def steps(self) -> tuple[Step, ...]:
        """Return the steps of the sweep, to be put into a recipe."""
        size = _sized(self.model)
        return tuple(
            step
            for peak, seed in product(self.peaks, self.seeds)
            for step in self._lines(
                f"{self.name}/lr{rate_label(peak)}/s{seed}",
                size.model_copy(update={"peak": peak}),
                seed,
                {},
            )
        )


def label(tokens: int) -> str:
    """Return a count as a part of a name, exact: `300M`, or every digit where it is not round."""
    short = show_count(tokens)
    return short if parse_count(short) == tokens else str(tokens)


def rate_label(rate: float) -> str:
    """Return a learning rate as a part of a name: `0.002`."""
    return f"{rate:g}"


def _named(fraction: float, shape: schedule.Shape) -> str:
    power = f"{shape:g}power" if isinstance(shape, float) else shape
    return f"{power}{100 * fraction:g}"


def _refuse_twins(cools: Sequence[Cooldown]) -> None:
    for one, other in combinations(cools, 2):
        same = (one.leaves_at, one.tokens) == (other.leaves_at, other.tokens)
        if same and one.descent == other.descent:
            raise BadInput(
                f"{one.name} and {other.name} are the same branch: both leave at {one.leaves_at} "
                f"and end at {one.tokens} tokens",
                hint="leave one out, or give a smaller batch",
            )
