"""The evaluated points of a lab as a table that laws are fitted to, each in the arm it belongs to.

branches   cooldowns, at their ends       cosine     cosine runs, at their ends
trunk      at a constant rate             averages   of the trunk's weights
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ramify.ground.errors import NotFound
from ramify.report.series import grid, thin
from ramify.report.summary import Evaluation, Summary, summary
from ramify.report.tree import RunFolder, runs_of
from ramify.runs.lab import Lab
from ramify.scaling.law import Floats
from ramify.scaling.table import chosen
from ramify.train.steps import Average, Cooldown, Cosine, EmaAverage, Run

ARMS = ("branches", "cosine", "trunk", "averages")
AVERAGES = (Average.kind(), EmaAverage.kind())
OF_RUNS = ("run", "parameters", "seed")
UNIT = "bits per byte"
MOST_BUCKETS = 300  # of a training curve that is drawn


@dataclass(frozen=True)
class Table:
    """Rows with the columns run, arm, parameters, tokens, flops, seed, peak, loss, and one per domain.

    Of a cooldown also its shape, and its fraction to a hundredth.
    """

    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def table(lab: Lab) -> Table:
    """Return every point of a lab that the same evaluation looked at, its loss in bits per byte.

    Bits per byte of held-out text, the plain mean over domains, compare models of any tokenizer;
    of evaluations that differ in corpora, length or limit, those that most models had are taken.
    Raises NotFound where nothing was evaluated.
    """
    told = summary(lab)
    if not told.evaluations:
        raise NotFound(
            f"nothing was evaluated in {lab.folder}",
            hint="add an Evaluate step for the end of each cooldown, then type: ramify run RECIPE",
        )
    common, *others = Counter(one.like for one in told.evaluations).most_common()
    used = {(e.model, e.at): e for e in told.evaluations if e.like == common[0]}
    rows = [row for e in used.values() if (row := _row(told, e)) is not None]
    return Table(tuple(rows), tuple(_notes(told, used.values(), rows, sum(n for _, n in others))))


@dataclass(frozen=True)
class TrainingCurve:
    """The training loss of one run in nats over the FLOPs spent by then, its parents' included."""

    run: str
    parameters: int
    decays: bool
    flops: Floats
    loss: Floats


def training_curves(lab: Lab, where: Sequence[str] = ()) -> list[TrainingCurve]:
    """Return the training losses of the runs of a lab, a mean over each stretch of steps.

    Of `where` (COLUMN=VALUE), what is said of run, parameters and seed picks among them.
    """
    runs = picked(lab, where)
    edges = grid([run.series.tokens for run in runs], MOST_BUCKETS)
    return [curve for run in runs if (curve := _curve(run, edges)) is not None]


def picked(lab: Lab, where: Sequence[str]) -> list[RunFolder]:
    """Return the runs of a lab of which all that `where` says of run, parameters and seed holds."""
    runs = list(runs_of(lab))
    rows = [
        {"run": run.name, "parameters": run.line.root.model.parameters, "seed": run.line.root.seed}
        for run in runs
    ]
    told = [one for one in where if one.partition("=")[0] in OF_RUNS]
    names = {row["run"] for row in chosen(rows, told)} if rows else set()
    return [run for run in runs if run.name in names]


def _curve(run: RunFolder, edges: Sequence[int]) -> TrainingCurve | None:
    thinned = thin(run.series, edges)
    at = np.array(edges[thinned.first : thinned.first + len(thinned.loss)])
    loss = np.array(thinned.loss)
    told = np.isfinite(loss)
    if not told.any():
        return None
    flops = np.array([run.flops(int(tokens)) for tokens in at[told]])
    parameters = run.line.root.model.parameters
    return TrainingCurve(run.name, parameters, run.run.kind() != "trunk", flops, loss[told])


def _row(told: Summary, one: Evaluation) -> dict[str, Any] | None:
    run, arm = _run_and_arm(told, one)
    if run is None or arm is None or one.at is None:
        return None
    return {
        "run": one.model,
        "arm": arm,
        "parameters": run.line.root.model.parameters,
        "tokens": one.at,
        "flops": run.flops(one.at),
        "seed": run.line.root.seed,
        "peak": run.line.root.model_dump(include={"schedule"})["schedule"]["peak"],
        **_descent(run.run),
        "loss": sum(one.bits.values()) / len(one.bits),
        **one.bits,
    }


def _descent(run: Run) -> dict[str, Any]:
    if not isinstance(run, Cooldown):
        return {"shape": None, "fraction": None}
    return {"shape": str(run.descent.shape), "fraction": round(1 - run.leaves_at / run.tokens, 2)}


def _run_and_arm(told: Summary, one: Evaluation) -> tuple[RunFolder | None, str | None]:
    if (run := told.runs.get(one.model)) is not None:
        if one.decay == "constant":
            return run, "trunk"
        arm = "cosine" if isinstance(run.run, Cosine) else "branches"
        return run, arm if one.decay == "decayed" else None
    record = told.records.get(one.model)
    if record is None or record.kind not in AVERAGES:
        return None, None
    return told.runs.get(record.parents["run"]["name"]), "averages"


def _notes(
    told: Summary, used: Sequence[Evaluation] | Any, rows: Sequence[dict[str, Any]], others: int
) -> Iterator[str]:
    if others:
        yield (
            f"left out {others} evaluations of other corpora, length or limit than most: "
            "their losses are on another scale"
        )
    part_way = [e.model for e in used if e.decay == "part way"]
    if part_way:
        yield f"left out {len(part_way)} points in the middle of a decay, like {part_way[0]}"
    names = {row["run"] for row in rows}
    rest = [e.model for e in used if e.decay != "part way" and e.model not in names]
    if rest:
        yield f"left out {len(rest)} evaluations of models of no arm, like {rest[0]}"
    missing = [
        r.name for r in told.rows if r.kind in ("cooldown", "cosine") and r.name not in names
    ]
    if missing:
        yield f"left out {len(missing)} runs that are unfinished or not evaluated, like {missing[0]}"
    arms = Counter(row["arm"] for row in rows)
    yield "points there: " + ", ".join(f"{arm} {arms[arm]}" for arm in ARMS if arms[arm])
