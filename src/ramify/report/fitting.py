"""What `ramify fit` answers: points out of a lab or a table, a law, its intervals, its trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ramify.ground.errors import BadInput, NotFound
from ramify.report import arms
from ramify.runs.lab import MARK, Lab
from ramify.scaling.compare import Comparison, compare
from ramify.scaling.fit import Fit, fit
from ramify.scaling.isoflop import IsoFlop, fit_isoflop
from ramify.scaling.law import Optimum
from ramify.scaling.one_size import TokensLaw, fit_tokens
from ramify.scaling.points import Points, joined, without_lowest_ratio
from ramify.scaling.table import Columns, cell, chosen, points_of, read_rows
from ramify.scaling.trust import Errors, extrapolation, leave_one_out, residuals, worst_points

SCHEDULE = "schedule"  # the law of a lab's loss curves: schedules.py
LAWS = ("chinchilla", "isoflop", "tokens", SCHEDULE)
AHEAD = (1, 2, 4, 10)  # times the most tokens, for which the law of one size is told
NO_FLOOR = 0.01  # of the least loss
USUAL_FLOPS = (1.0, 100.0)  # for each parameter and token: attention and small heads add to 6
DOUBTFUL = 0.5  # of an exponent, either way
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Asked:
    """What a person asks: columns (None: of a lab), which rows, which law, and how carefully."""

    columns: Columns | None = None
    where: tuple[str, ...] = ()
    exclude_lowest_ratio: int = 0
    law: str = "chinchilla"
    arms: tuple[str, str] | None = None  # two to compare
    budget: float | None = None  # FLOPs; None: the largest among the points
    draws: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Fitted:
    """The parametric law with its optimum and how far to trust it."""

    fit: Fit
    optimum: Optimum
    optimum_intervals: Mapping[str, tuple[float, float]]
    on_points: Errors
    left_out: Errors | None
    extrapolated: Errors | str
    worst: Sequence[Mapping[str, float]]

    def json(self) -> dict[str, Any]:
        """Return the fit as plain data."""
        found = self.fit.bootstrap
        return {
            "law": self.fit.law.constants,
            "intervals": found.intervals() if found else {},
            "optimum": {
                **self.optimum.json(),
                "parameters_exponent": self.fit.law.parameters_exponent,
                "intervals": dict(self.optimum_intervals),
            },
            "points": len(self.fit.points),
            "errors": {
                "points": self.on_points.json(),
                "leave_one_out": self.left_out.json() if self.left_out else None,
                "extrapolation": self.extrapolated
                if isinstance(self.extrapolated, str)
                else self.extrapolated.json(),
                "worst": list(self.worst),
            },
        }


@dataclass(frozen=True)
class Answer:
    """All that was found; one of `fitted`, `isoflop`, `one_size` and `comparison` is there."""

    points: Points
    unit: str  # of losses; "": the table did not say
    notes: tuple[str, ...]
    budget: float
    draws: int
    fitted: Fitted | None = None
    isoflop: IsoFlop | None = None
    one_size: TokensLaw | None = None
    comparison: Comparison | None = None
    arms: Mapping[str, Points] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return the answer as plain data, as `ramify fit --json` prints it."""
        told: dict[str, Any] = {"notes": list(self.notes), "unit": self.unit, "draws": self.draws}
        if self.fitted is not None:
            return {**self.fitted.json(), **told}
        if self.isoflop is not None:
            return {**_isoflop_json(self.isoflop, self.budget), "points": len(self.points), **told}
        if self.one_size is not None:
            return {**_tokens_json(self.one_size, self.points), "points": len(self.points), **told}
        assert self.comparison is not None
        return {**_comparison_json(self.comparison), "points": len(self.points), **told}


def answer(path: Path, asked: Asked, tell: Tell | None = None) -> Answer:
    """Read a lab or a table and fit what is asked; raises BadInput or NotFound with what to type."""
    if asked.law not in LAWS:
        raise BadInput(f"--law {asked.law}", hint=f"one of: {', '.join(LAWS)}")
    if asked.law == SCHEDULE:
        raise BadInput(
            f"--law {SCHEDULE} of {path}: it is fitted to the loss curves of a lab",
            hint="name a lab, without columns or --compare",
        )
    rows, columns, unit, notes = _rows(path, asked.columns)
    if asked.arms is not None:
        return _compared(rows, columns, asked, unit, notes)
    where = asked.where
    if asked.columns is None and not any(w.startswith("arm=") for w in where):
        where = (*where, "arm=branches")
    points = _points(rows, columns, where, asked)
    told = Answer(points, unit, (*notes, *points.notes), _budget(points, asked), asked.draws)
    if asked.law == "isoflop":
        found = fit_isoflop(points, draws=asked.draws, seed=asked.seed)
        return replace(told, isoflop=found, notes=(*told.notes, *found.notes))
    if asked.law == "tokens":
        return replace(told, one_size=fit_tokens(points, draws=asked.draws, seed=asked.seed))
    fitted = _fitted(points, told.budget, asked, tell)
    return replace(told, fitted=fitted, notes=(*told.notes, *_doubts(fitted)))


def is_lab(path: Path) -> bool:
    """Whether a path is a lab, and so no table."""
    return (path / MARK).is_file()


def _rows(
    path: Path, columns: Columns | None
) -> tuple[Sequence[Mapping[str, Any]], Columns, str, tuple[str, ...]]:
    if is_lab(path):
        table = arms.table(Lab.open(path))
        loss = columns.loss if columns else "loss"
        # a lab counts tokens one by one: `*1` says so, however few they are beside parameters
        mine = Columns("parameters", loss, tokens="tokens*1", flops="flops", arm="arm", seed="seed")
        return table.rows, mine, arms.UNIT, table.notes
    if path.is_dir():
        raise NotFound(f"{path} is no lab", hint="name a lab, or a CSV or JSON-lines file")
    if not path.exists():
        raise NotFound(f"there is no file {path}", hint="name a lab, or a CSV or JSON-lines file")
    if columns is None:
        raise BadInput(
            f"which columns of {path.name}?",
            hint="type: --params COLUMN --tokens COLUMN --loss COLUMN",
        )
    return read_rows(path), columns, "", ()


def _points(
    rows: Sequence[Mapping[str, Any]], columns: Columns, where: Sequence[str], asked: Asked
) -> Points:
    return without_lowest_ratio(points_of(rows, columns, where), asked.exclude_lowest_ratio)


def _budget(points: Points, asked: Asked) -> float:
    return asked.budget or float(points.flops.max())


def _fitted(points: Points, budget: float, asked: Asked, tell: Tell | None) -> Fitted:
    found = fit(points, draws=asked.draws, seed=asked.seed, tell=tell)
    return Fitted(
        fit=found,
        optimum=found.law.optimum(budget, points.flops_each),
        optimum_intervals=found.bootstrap.optimum(budget, points.flops_each)
        if found.bootstrap
        else {},
        on_points=residuals(found),
        left_out=leave_one_out(found),
        extrapolated=extrapolation(points),
        worst=worst_points(found),
    )


def _doubts(found: Fitted) -> Iterator[str]:
    """Yield what of a fit is not to be built on, and what would mend it."""
    law, bootstrap = found.fit.law, found.fit.bootstrap
    each = found.fit.points.flops_each
    if not USUAL_FLOPS[0] <= each <= USUAL_FLOPS[1]:
        yield (
            f"FLOPs are {each:.2g} for each parameter and token, and near 6 as a rule: "
            "are they in another unit? write --flops 'COLUMN*NUMBER'"
        )
    if NO_FLOOR * found.fit.points.loss.min() > law.E:
        yield "no floor E is seen in these losses: they are all far above it"
    intervals = bootstrap.intervals() if bootstrap else {}
    for name, symbol, what in (("alpha", "α", "sizes"), ("beta", "β", "budgets of tokens")):
        low, high = intervals.get(name, (0.0, 0.0))
        if high - low > 2 * DOUBTFUL * abs(law.constants[name]):
            yield (
                f"{symbol} is known to no better than {DOUBTFUL:.0%}, and so is no optimum: "
                f"add {what}, further apart"
            )


def _compared(
    rows: Sequence[Mapping[str, Any]],
    columns: Columns,
    asked: Asked,
    unit: str,
    notes: tuple[str, ...],
) -> Answer:
    assert asked.arms is not None
    if columns.arm is None:
        raise BadInput(
            f"--compare {','.join(asked.arms)}: which column names the arm of a row?",
            hint="type: --arm COLUMN",
        )
    there = chosen(rows, asked.where)
    named = sorted({str(cell(row, columns.arm)) for row in there})
    for arm in asked.arms:
        if arm not in named:
            raise NotFound(f"there are no points of {arm}", hint=f"arms there: {', '.join(named)}")
    parts = {
        arm: _points([r for r in there if str(cell(r, columns.arm)) == arm], columns, (), asked)
        for arm in asked.arms
    }
    first, second = (parts[arm] for arm in asked.arms)
    found = compare(first, second, arms=asked.arms, draws=asked.draws, seed=asked.seed)
    both = joined([first, second])
    said = [f"{arm}: {note}" for arm, points in parts.items() for note in points.notes]
    return Answer(
        both, unit, (*notes, *said), _budget(both, asked), asked.draws, comparison=found, arms=parts
    )


def _isoflop_json(found: IsoFlop, budget: float) -> dict[str, Any]:
    n = found.parameters(budget)
    near = min(found.parabolas, key=lambda p: abs(p.flops / budget - 1))
    tokens = near.parameters * near.tokens / near.flops * budget / n
    ends = found.optima or (None,) * len(found.parabolas)
    return {
        "law": {"parameters_exponent": found.exponent, "parameters_factor": found.factor},
        "intervals": {f"parameters_{name}": ends for name, ends in found.intervals.items()},
        "optimum": {
            "flops": budget,
            "parameters": n,
            "tokens": tokens,
            "tokens_per_parameter": tokens / n,
        },
        "budgets": [
            {
                "flops": p.flops,
                "parameters": p.parameters,
                "interval": interval,
                "tokens": p.tokens,
                "tokens_per_parameter": p.tokens / p.parameters,
                "loss": p.loss,
                "interpolated_parameters": p.interpolated,
                "points": p.points,
            }
            for p, interval in zip(found.parabolas, ends, strict=True)
        ],
    }


def ahead(law: TokensLaw, points: Points) -> list[dict[str, Any]]:
    """Return what the law of one size promises for some times the most tokens measured."""
    most = float(points.tokens.max())
    return [
        {
            "tokens": times * most,
            "loss": float(law.loss(times * most)),
            "interval": law.loss_interval(times * most),
        }
        for times in AHEAD
    ]


def _tokens_json(found: TokensLaw, points: Points) -> dict[str, Any]:
    return {
        "law": found.constants,
        "intervals": found.intervals(),
        "ahead": ahead(found, points),
    }


def _comparison_json(found: Comparison) -> dict[str, Any]:
    fits = found.fits or ()
    pairs = found.pairs
    return {
        "compare": list(found.arms),
        "verdict": found.verdict,
        "why": found.why,
        "arms": {
            arm: {
                "law": one.law.constants,
                "intervals": one.bootstrap.intervals() if one.bootstrap else {},
                "points": len(one.points),
            }
            for arm, one in zip(found.arms, fits, strict=False)
        },
        "differences": found.differences,
        "pairs": {
            "count": len(pairs.first),
            "mean_difference": pairs.difference,
            "interval": pairs.interval,
            "line": vars(pairs.line) if pairs.line else None,
        }
        if pairs
        else None,
    }
