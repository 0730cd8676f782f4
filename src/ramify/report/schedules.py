"""The loss of one model under any schedule, by the multi-power law, from the journals of a lab.

journals ─► curves of one model ─► law ─┬─► each decayed run foretold from the others
                                        └─► ends of schedules that were not run
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from ramify.ground.errors import BadInput, NotFound
from ramify.ground.units import show_count
from ramify.optim.schedule import Cooldown, Cosine, rate, warmup_of
from ramify.report.arms import OF_RUNS, picked
from ramify.report.fit_terminal import plain_table
from ramify.report.series import Series
from ramify.report.tree import RunFolder
from ramify.runs.lab import Lab
from ramify.scaling.curves import Curve, MultiPowerLaw, fit_curves
from ramify.scaling.law import Floats
from ramify.train.line import Line
from ramify.train.steps import Trunk

BUCKETS = 60  # that the journal of a run is averaged over
LEAST_STEPS = 4  # of a bucket: single batches are noise
LAST = 0.1  # of a run's steps: their mean is the end that is foretold
FRACTIONS = (0.05, 0.1, 0.2, 0.4, 0.8)
RESTARTS = 6
MOST_FORETOLD = 12  # each costs a fit


@dataclass(frozen=True)
class Ran:
    """One run's own stretch of a line: its curve, whether its rate falls, and where it ends."""

    name: str
    curve: Curve
    falls: bool
    tokens: int
    steps: int  # of its own
    step_tokens: int

    @property
    def end(self) -> float:
        """The mean loss of its last tenth, in nats."""
        return float(self.curve.loss[self._last].mean())

    def told_by(self, law: MultiPowerLaw) -> float:
        """Return that mean as the law has it."""
        curve = self.curve
        told = law.predict(curve.rates, curve.at[self._last], warmup=curve.warmup)
        return float(told.mean())

    @property
    def _last(self) -> Any:
        return self.curve.at >= len(self.curve.rates) - max(LAST * self.steps, LEAST_STEPS)


@dataclass(frozen=True)
class Schedules:
    """The law of one model, what it said of runs that it was not shown, and of others not run."""

    law: MultiPowerLaw
    runs: tuple[Ran, ...]
    foretold: Mapping[str, float]  # decayed run -> its end, from a law fitted without it
    ahead: tuple[tuple[str, float], ...]  # schedule of the longest trunk -> the loss at its end
    tokens: int  # at which those end
    notes: tuple[str, ...]

    @property
    def error(self) -> float | None:
        """The mean absolute error of what was foretold, in nats; None without any."""
        seen = {run.name: run.end for run in self.runs}
        off = [abs(seen[name] - told) for name, told in self.foretold.items()]
        return float(np.mean(off)) if off else None

    def json(self) -> dict[str, Any]:
        """Return it as plain data, as `ramify fit --law schedule --json` prints it."""
        return {
            "law": self.law.constants,
            "points": sum(len(run.curve.loss) for run in self.runs),
            "unit": "nats per token of the training batches",
            "runs": [
                {"run": run.name, "end": run.end, "foretold": self.foretold.get(run.name)}
                for run in self.runs
            ],
            "mean_absolute_error": self.error,
            "ahead": [
                {"schedule": name, "tokens": self.tokens, "loss": x} for name, x in self.ahead
            ],
            "notes": list(self.notes),
        }


def schedules(lab: Lab, where: Sequence[str] = ()) -> Schedules:
    """Fit the multi-power law to the training losses of one model of a lab; `where` picks its runs.

    Runs count as of one model if they differ in nothing but seed, schedule and length. Raises
    NotFound without journals, BadInput for several models, or where no run lowers its rate.
    """
    found = _picked(lab, where)
    of_model: dict[str, list[RunFolder]] = {}
    for run in found:
        of_model.setdefault(_model(run.line), []).append(run)
    if len(of_model) > 1:
        sizes = sorted({run.line.root.model.parameters for run in found})
        raise BadInput(
            f"{len(of_model)} models, of {', '.join(map(show_count, sizes))} parameters; "
            "this law is of one",
            hint=f"pick one: --where parameters={sizes[0]}, or --where run=NAME for each",
        )
    runs = tuple(ran for run in found if (ran := _ran(run)) is not None)
    law = fit_curves([run.curve for run in runs], restarts=RESTARTS)
    ahead, tokens = _ahead(found, law)
    return Schedules(
        law, runs, dict(_foretold(runs)), ahead, tokens, tuple(_notes(found, runs, law))
    )


def _picked(lab: Lab, where: Sequence[str]) -> list[RunFolder]:
    if strange := [one for one in where if one.partition("=")[0] not in OF_RUNS]:
        raise BadInput(f"--where {strange[0]}", hint=f"pick runs by {', '.join(OF_RUNS)}")
    runs = [
        run for run in picked(lab, where) if run.series.tokens and not run.line.is_schedule_free
    ]
    if not runs:
        raise NotFound(f"no run of {lab.folder} has a journal", hint="type: ramify run RECIPE")
    return runs


def _model(line: Line) -> str:
    told = line.root.model_dump(mode="json")
    kept = ("model", "optimizer", "rows", "seq_len", "sources", "stages")
    return json.dumps({key: told.get(key) for key in kept}, sort_keys=True)


def _ran(run: RunFolder) -> Ran | None:
    """Return a run's own stretch; None for one too short to be averaged, or within its warm-up."""
    line, series = run.line, run.series
    step, warmup = line.step_tokens, warmup_of(line.schedule)
    first = warmup // step  # steps of the warm-up
    told = list(_averaged(series, step, first))
    if len(told) < 2:
        return None
    steps = series.tokens[-1] // step
    rates = np.array([line.rate(i * step) for i in range(steps)])
    at, loss = (np.array(column) for column in zip(*told, strict=True))
    curve = Curve(rates[first:], at.astype(np.int64), loss, float(rates[:first].sum()))
    falls = bool((np.diff(rates[max(first, run.begins_at // step) :]) < 0).any())
    return Ran(run.name, curve, falls, steps * step, steps - run.begins_at // step, step)


def _averaged(series: Series, step: int, first: int) -> Iterator[tuple[int, float]]:
    """Yield (step after the warm-up, mean loss) of each bucket, at its middle."""
    steps = np.array(series.tokens, np.int64) // step - 1 - first
    loss = np.array(series.loss)
    good = np.isfinite(loss) & (steps >= 0)
    steps, loss = steps[good], loss[good]
    buckets = min(BUCKETS, len(steps) // LEAST_STEPS)
    for part in np.array_split(np.arange(len(steps)), buckets) if buckets else ():
        yield int(steps[part[len(part) // 2]]), float(loss[part].mean())


def _foretold(runs: Sequence[Ran]) -> Iterator[tuple[str, float]]:
    """Yield each decayed run's end from a law of the others, where one of those decays too."""
    falling = [run for run in runs if run.falls]
    if len(falling) < 2:
        return
    for run in falling[:: -(-len(falling) // MOST_FORETOLD)]:
        others = [other.curve for other in runs if other is not run]
        yield run.name, run.told_by(fit_curves(others, restarts=RESTARTS))


def _ahead(
    found: Sequence[RunFolder], law: MultiPowerLaw
) -> tuple[tuple[tuple[str, float], ...], int]:
    """Return what schedules would reach that end where the longest trunk does."""
    trunks = [run for run in found if isinstance(run.line.root, Trunk) and run.line.root is run.run]
    if not trunks:
        return (), 0
    longest = max(trunks, key=lambda run: run.series.tokens[-1])
    root, step, tokens = longest.line.root, longest.line.step_tokens, longest.series.tokens[-1]
    assert isinstance(root, Trunk)
    peak, warmup = root.schedule.peak, root.schedule.warmup
    if tokens <= 2 * warmup:
        return (), 0
    lines: list[tuple[str, Floats]] = []
    for fraction in FRACTIONS:
        leaves = round((1 - fraction) * tokens / step) * step
        if warmup <= leaves < tokens:
            line = Cooldown().leaving(root.schedule, leaves_at=leaves, ends_at=tokens)
            lines.append((f"cooldown of {fraction:.0%}", _rates(line, tokens, step)))
    cosine = Cosine(peak=peak, warmup=warmup, horizon=tokens)
    lines += [
        ("cosine of the same peak", _rates(cosine, tokens, step)),
        ("constant", _rates(root.schedule, tokens, step)),
    ]
    first = warmup // step
    told = [
        (name, float(law.predict(r[first:], np.array([len(r) - first - 1]), warmup=r[:first].sum())[0]))
        for name, r in lines
    ]  # fmt: skip
    return tuple(told), tokens


def _rates(schedule: Any, tokens: int, step: int) -> Floats:
    return np.array([rate(schedule, i * step) for i in range(tokens // step)])


def _notes(found: Sequence[RunFolder], runs: Sequence[Ran], law: MultiPowerLaw) -> Iterator[str]:
    if loose := law.at_their_ends:
        yield f"{' and '.join(loose)} went to the end of the range: these curves do not fix the law"
    short = sorted({run.name for run in found} - {run.name for run in runs})
    if short:
        yield f"left out {len(short)} runs too short for means of {LEAST_STEPS} steps, like {short[0]}"
    if any(len(run.line.stages(run.series.tokens[-1])) > 1 for run in found):
        yield "the mixture changes along these runs, and the loss with it: the law knows of rates alone"
    if sum(run.falls for run in runs) < 2:
        yield "nothing is foretold here: that takes two runs that lower their rate"


def shown(told: Schedules) -> RenderableType:
    """Return the law, what it foretold and what lies ahead, for a terminal."""
    constants = plain_table("constant", "value")
    for name, value in told.law.constants.items():
        constants.add_row(name, f"{value:.4g}")
    parts: list[RenderableType] = [
        Text.assemble(
            ("the multi-power law", "bold"), f"   of one model, fitted to {len(told.runs)} runs"
        ),
        constants,
        Text("losses in nats per token of the training batches", style="dim"),
        Text(),
    ]
    if told.foretold:
        seen = {run.name: run.end for run in told.runs}
        table = plain_table("foretold without it", "told", "seen", "off")
        for name, value in told.foretold.items():
            table.add_row(name, f"{value:.4f}", f"{seen[name]:.4f}", f"{seen[name] - value:+.4f}")
        parts += [table, Text(f"mean error {told.error:.4f} nats", style="dim"), Text()]
    if told.ahead:
        table = plain_table(f"to {show_count(told.tokens)} tokens", "loss at the end")
        for name, value in told.ahead:
            table.add_row(name, f"{value:.4f}")
        parts.append(table)
    parts += [Text.assemble(("note ", "yellow"), note) for note in told.notes]
    return Group(*parts)
