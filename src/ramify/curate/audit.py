"""How far labels can be trusted: a sheet for people, and agreement with all who labelled the same.

labels ─► Sheet ─► sheet.csv ─► people ─► filled in ─┐
   └──────────────────────────────────────────────────┼─► Audit ─► audit.json
other labels (repeat, second model, other prompt) ────┘
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ramify.curate import corpora, measures
from ramify.curate.labels import from_file
from ramify.curate.quality_steps import Audit, FromFile, Sheet
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.extras import need
from ramify.ground.seeds import derive
from ramify.ground.step import Input, Tell

SHEET, AUDIT, RUBRIC = "sheet.csv", "audit.json", "rubric.txt"
LEAST_OF_A_DOMAIN = 5  # documents, for an error of it to be told
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would take a cell for

Floats = npt.NDArray[np.float64]


def run_sheet(step: Sheet, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make `sheet.csv` (id, domain, text, score to fill in) and `rubric.txt`, which says how.

    As many documents of each whole label, the lowest keyed hashes of their ids; rows in the order of
    another hash, so that the order tells nothing of the label.
    """
    rows = []
    for path in corpora.documents(inputs["labels"]):
        corpora.column_of(path, step.column)
        table = pq.read_table(path)
        where = corpora.domains(table)
        keys = corpora.keys(table["id"].to_pylist(), step.seed, "sheet").tolist()
        columns = (
            table["id"].to_pylist(),
            table["text"].to_pylist(),
            table[step.column].to_pylist(),
        )
        rows += list(zip(keys, *columns, where, strict=True))
    chosen = [row for some in _strata(rows).values() for row in sorted(some)[: step.per_label]]
    order = corpora.keys([row[1] for row in chosen], step.seed, "order").tolist()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "domain", "text", "score"))
    for _, row in sorted(zip(order, chosen, strict=True)):
        _, id_, body, _, where_ = row
        writer.writerow((id_, _cell(where_), _cell(body[: step.excerpt_characters]), ""))
    files.write_text(out / SHEET, text.getvalue())
    rubric = inputs["labels"].record.get("step", {}).get("rubric") or {}
    files.write_text(out / RUBRIC, str(rubric.get("text", "")).strip() + "\n")
    tell(len(chosen), len(chosen), "documents")
    counts = Counter(f"{row[3]:g}" for row in chosen)
    return {"documents": len(chosen), "labels": dict(sorted(counts.items()))}


def _strata(rows: Sequence[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        if row[3] is not None and row[3] == row[3]:
            found[int(np.floor(row[3] + 0.5))].append(row)
    if not found:
        raise BadInput("there are no labels to make a sheet of", hint="name an Annotate step")
    return dict(sorted(found.items()))


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def run_audit(step: Audit, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make `audit.json`: against each other labelling, kappa, errors and shifts with intervals.

    Raises BadInput where two labellings share no document, or a person's score is off the scale.
    """
    mine = _labels(inputs["labels"], step.column)
    told: dict[str, Any] = {}
    for name in step.others:
        others = _labels(inputs[f"others.{name}"], step.column)
        told[name] = compared(step, mine, _scores(others), name, weighted=False)
    for name, path in step.people.items():
        filled_in = from_file(FromFile(path=path))
        _refuse_off_the_scale(path, filled_in, inputs["labels"])
        told[name] = compared(step, mine, filled_in, name, weighted=True)
        told[name]["sheet"] = {"sha256": files.sha256(Path(path))}
    tell(1, 1, "audit")
    files.write_json(out / AUDIT, told)
    brief = ("documents", "kappa", "kappa_interval", "mean_difference")
    return {"compared": {name: {key: one[key] for key in brief} for name, one in told.items()}}


def _refuse_off_the_scale(path: str, scores: Mapping[str, float], labels: Input) -> None:
    """Raise BadInput for a slip of the pen: one 33 in place of 3 would decide the whole kappa."""
    rubric = labels.record.get("step", {}).get("rubric")
    if not rubric:
        return
    lowest, highest = rubric["lowest"], rubric["highest"]
    for id_, score in scores.items():
        if not lowest <= score <= highest:
            raise BadInput(
                f"{path} gives {id_} the score {score:g}, which is not in {lowest} to {highest}",
                hint="mend that row, or leave its score empty",
            )


Labelled = Mapping[str, tuple[float, str]]
"""Score and domain by id."""


def _labels(given: Input, column: str) -> dict[str, tuple[float, str]]:
    found: dict[str, tuple[float, str]] = {}
    for path in corpora.documents(given):
        corpora.column_of(path, column)
        table = pq.read_table(path)
        pairs = zip(table[column].to_pylist(), corpora.domains(table), strict=True)
        found.update(zip(table["id"].to_pylist(), pairs, strict=True))
    return found


def _scores(labels: Labelled) -> dict[str, float]:
    return {id_: score for id_, (score, _) in labels.items()}


def compared(
    step: Audit, mine: Labelled, others: Mapping[str, float], name: str, *, weighted: bool
) -> dict[str, Any]:
    """Return how far two labellings of the same documents agree.

    Kappa is Cohen's with quadratic weights on whole scores; intervals are of 95%, from resampled
    documents. With `weighted` each document stands for as many as its label has in all of `mine`,
    which undoes a sheet's even draw.
    """
    shared = sorted(mine.keys() & others.keys())
    if not shared:
        raise BadInput(
            f"{name} shares no document with {step.labels}",
            hint="both must label the same sample, by the same ids",
        )
    a = np.array([mine[id_][0] for id_ in shared], np.float64)
    b = np.array([others[id_] for id_ in shared], np.float64)
    weights = _weights(mine, a) if weighted else np.ones(len(shared))
    draw = np.random.default_rng(derive(step.seed, "audit", name))
    picks = [draw.integers(0, len(a), len(a)) for _ in range(step.resamples)]
    kappas = [kappa(a[p], b[p], weights[p]) for p in picks]
    shifts = [float(np.average(b[p] - a[p], weights=weights[p])) for p in picks]
    error = np.abs(a - b)
    return {
        "documents": len(shared),
        "kappa": kappa(a, b, weights),
        "kappa_interval": _interval(kappas),
        "exact": float(np.average(_whole(a) == _whole(b), weights=weights)),
        "within_one": float(np.average(error <= 1, weights=weights)),
        "mean_absolute_error": float(np.average(error, weights=weights)),
        "mean_difference": float(np.average(b - a, weights=weights)),
        "mean_difference_interval": _interval(shifts),
        "thresholds": {f"{t:g}": _at(a, b, weights, t) for t in step.thresholds},
        "confusion": _confusion(a, b),
        "domains": _by_domain([mine[id_][1] for id_ in shared], b - a),
        "weighted_by_label": weighted,
    }


def _weights(mine: Labelled, labels: Floats) -> Floats:
    """Return for each label how many documents of the whole one of the shared ones stands for."""
    whole = Counter(_whole(np.array([score for score, _ in mine.values()])).tolist())
    drawn = Counter(_whole(labels).tolist())
    return np.array([whole[x] / drawn[x] for x in _whole(labels).tolist()], np.float64)


def _whole(scores: Floats) -> npt.NDArray[np.int64]:
    return np.floor(scores + 0.5).astype(np.int64)


def kappa(a: Floats, b: Floats, weights: Floats) -> float | None:
    """Return Cohen's kappa with quadratic weights; None where all scores are one and the same."""
    first, second = _whole(a), _whole(b)
    if first.min() == first.max() == second.min() == second.max():
        return None
    metrics = need("sklearn.metrics", extra="labels")
    scale = list(
        range(int(min(first.min(), second.min())), int(max(first.max(), second.max())) + 1)
    )
    found = metrics.cohen_kappa_score(
        first, second, labels=scale, weights="quadratic", sample_weight=weights
    )
    return float(found)


def _interval(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None and value == value]
    if not known:
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return [float(low), float(high)]


def _at(a: Floats, b: Floats, weights: Floats, threshold: float) -> dict[str, float]:
    """Return the share that each labelling keeps, and on how much of it they agree."""
    first, second = a >= threshold, b >= threshold
    return {
        "kept": float(np.average(first, weights=weights)),
        "kept_by_other": float(np.average(second, weights=weights)),
        "agree": float(np.average(first == second, weights=weights)),
    }


def _confusion(a: Floats, b: Floats) -> dict[str, Any]:
    lowest, highest = int(min(a.min(), b.min())), int(np.ceil(max(a.max(), b.max())))
    return measures.confusion(a, b, lowest, highest)


def _by_domain(domains: Sequence[str], differences: Floats) -> dict[str, dict[str, float]]:
    """Return the errors of every domain with enough documents, the worst first."""
    found: dict[str, list[float]] = defaultdict(list)
    for domain, difference in zip(domains, differences.tolist(), strict=True):
        found[domain].append(difference)
    told = {
        domain: {
            "documents": len(some),
            "mean_absolute_error": float(np.mean(np.abs(some))),
            "mean_difference": float(np.mean(some)),
        }
        for domain, some in found.items()
        if len(some) >= LEAST_OF_A_DOMAIN
    }
    return dict(sorted(told.items(), key=lambda pair: (-pair[1]["mean_absolute_error"], pair[0])))
