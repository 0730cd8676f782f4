"""Trains a classifier on labels, and tells out of fold what it is worth.

labels ─► features ─► folds by domain and text ─► scores out of fold ─► calibration ─► card.json
               └────► ridge on all ───────────────────────────────────────┴─► classifier.json, weights
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse
from scipy.sparse import csgraph

from ramify.curate import corpora, measures
from ramify.curate.classifier import Classifier, Model
from ramify.curate.features import EXTRA, Floats, Head, featurizer
from ramify.curate.passing import batches
from ramify.curate.quality_steps import Classify
from ramify.curate.sieve import digest
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.extras import need
from ramify.ground.seeds import derive
from ramify.ground.step import Input, Tell

CARD = "card.json"
PREDICTIONS = "predictions.parquet"
FITTED_ON = (
    "the scores out of fold that this card measures: slope and offset have seen their labels, which"
    " can flatter errors, F1 at a threshold, confusion and reliability; AUC and best F1 go by"
    " order, which no slope above 0 changes"
)
CHUNK = 512  # texts whose features are made at a time


@dataclass(frozen=True)
class Labelled:
    """The labelled documents but their texts, which are read again for features, some at a time."""

    ids: list[str]
    labels: Floats
    groups: list[str]  # never on both sides of a fold
    texts: list[bytes]  # the hash of each
    words: list[int]  # in each


def run_classify(
    step: Classify, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Make in `out` the classifier, its card and its predictions out of fold; return the card's sum.

    Raises BadInput for labels of one class, or for fewer groups than folds.
    """
    data = read_labelled(step, inputs["labels"])
    thresholds = _thresholds(step, data.labels)
    groups = joined(data.groups, data.texts)
    folds = fold_numbers(groups, step.folds, step.group, step.seed)
    features = _features(step, inputs["labels"], len(data.ids), tell)
    raw = out_of_fold(features, data.labels, folds, step.method.alpha)
    slope, offset = measures.line(raw, data.labels)
    scores = slope * raw + offset
    head = Head.fit(features, data.labels, step.method.alpha)
    lowest, highest = math.floor(data.labels.min()), math.ceil(data.labels.max())
    model = Model(
        method=step.method,
        column=step.column,
        lowest=lowest,
        highest=highest,
        intercept=head.intercept,
        slope=slope,
        offset=offset,
        thresholds=thresholds,
    )
    Classifier(model, head.weights).save(out)
    card = _card(step, inputs["labels"], data, folds, scores, model)
    files.write_json(out / CARD, card)
    _write_predictions(out / PREDICTIONS, data, folds, scores)
    return {
        "documents": len(data.ids),
        "method": step.method.kind,
        "learned": slope > 0,  # or its scores run against the labels, out of fold
        "thresholds": card["classifier"]["thresholds"],
        "length_alone": card["length_alone"]["thresholds"],
    }


def read_labelled(step: Classify, given: Input) -> Labelled:
    """Return the labelled documents in the order of the corpus; BadInput if all have one label."""
    ids: list[str] = []
    labels: list[Floats] = []
    groups: list[str] = []
    hashes: list[bytes] = []
    words: list[int] = []
    for rows in _labelled_rows(step, given):
        texts = rows["text"].to_pylist()
        labels.append(rows[step.column].cast(pa.float64()).to_numpy())
        ids += rows["id"].to_pylist()
        groups += _groups(step, rows)
        hashes += map(digest, texts)
        words += (len(text.split()) for text in texts)
    every = np.concatenate(labels)
    if len(every) and np.ptp(every) == 0:
        raise BadInput(
            f"all {len(every)} labels are {every[0]:g}: there is nothing to tell apart",
            hint="label more documents, or others",
        )
    if len(every) < 2 * step.folds:
        raise BadInput(
            f"{len(every)} labels are too few for {step.folds} folds", hint="label more documents"
        )
    return Labelled(ids, every, groups, hashes, words)


def _labelled_rows(step: Classify, given: Input) -> Iterator[pa.Table]:
    """Yield the rows that have a label, some at a time, in the order of the corpus."""
    for path in corpora.documents(given):
        corpora.column_of(path, step.column)
        for rows in batches(path):
            labels = rows[step.column].cast(pa.float64()).to_numpy()
            yield rows.filter(pa.array(np.isfinite(labels)))


def _features(step: Classify, given: Input, total: int, tell: Tell) -> Any:
    """Return the features of all labelled documents; their texts are held a CHUNK at a time."""
    featurize = featurizer(step.method, step.batch)
    texts = (text for rows in _labelled_rows(step, given) for text in rows["text"].to_pylist())
    made: list[Any] = []
    while some := list(islice(texts, CHUNK)):
        made.append(featurize(some))
        tell(min(len(made) * CHUNK, total), total, "documents", "features")
    return _stacked(made)


def _groups(step: Classify, table: pa.Table) -> list[str]:
    match step.group:
        case "domain":
            return corpora.domains(table)
        case "origin":
            return [str(x) for x in table["origin"].to_pylist()]
        case "document":
            return [str(x) for x in table["id"].to_pylist()]


def _thresholds(step: Classify, labels: Floats) -> tuple[float, ...]:
    if step.thresholds is not None:
        return step.thresholds
    return tuple(map(float, range(math.floor(labels.min()) + 1, math.ceil(labels.max()) + 1)))


def _stacked(made: Sequence[Any]) -> Any:
    if isinstance(made[0], np.ndarray):
        return np.concatenate(made)
    return sparse.vstack(made, format="csr")


def joined(groups: Sequence[str], texts: Sequence[bytes]) -> list[str]:
    """Return each document's group, groups that share a text being one, by the name of its first.

    `texts` are the hashes of the documents' texts.
    """
    group, text = _numbered(groups), _numbered(texts)
    names = list(dict.fromkeys(groups))
    size = len(names) + int(text.max(initial=-1)) + 1
    edges = sparse.coo_array((np.ones(len(group)), (group, len(names) + text)), (size, size))
    _, component = csgraph.connected_components(edges, directed=False)
    _, first, which = np.unique(component[: len(names)], return_index=True, return_inverse=True)
    return [names[number] for number in first[which[group]].tolist()]


def _numbered(values: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    """Return a number for each value, equal ones the same, in the order of their first."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def fold_numbers(
    groups: Sequence[str], folds: int, by: str, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return the fold of each document: groups are never divided, and folds are of like size."""
    different = len(set(groups))
    if different < folds:
        raise BadInput(
            f"the labels come from {different} {by}{'s' * (different != 1)}, fewer than {folds} folds"
            " (those that share a text count as one)",
            hint="set group=document (ramify run ... --set group=document), or fewer folds",
        )
    numbers = np.empty(len(groups), np.int64)
    split = need("sklearn.model_selection", extra=EXTRA).GroupKFold(
        n_splits=folds, shuffle=True, random_state=derive(seed, "folds") % 2**32
    )
    for number, (_, tested) in enumerate(split.split(np.zeros(len(groups)), groups=groups)):
        numbers[tested] = number
    return numbers


def out_of_fold(
    features: Any, labels: Floats, folds: npt.NDArray[np.int64], alpha: float
) -> Floats:
    """Return for every document the raw score of a model that saw nothing of its fold."""
    raw = np.empty(len(labels), np.float64)
    for fold in np.unique(folds):
        tested = folds == fold
        raw[tested] = Head.fit(features[~tested], labels[~tested], alpha).predict(features[tested])
    return raw


def length_alone(words: Sequence[int], labels: Floats, folds: npt.NDArray[np.int64]) -> Floats:
    """Return scores out of fold of a baseline that knows how many words there are, and nothing else."""
    raw = out_of_fold(np.log1p(words).reshape(-1, 1), labels, folds, 1e-6)
    slope, offset = measures.line(raw, labels)
    return slope * raw + offset


def _card(
    step: Classify,
    given: Input,
    data: Labelled,
    folds: npt.NDArray[np.int64],
    scores: Floats,
    model: Model,
) -> dict[str, Any]:
    baseline = length_alone(data.words, data.labels, folds)
    return {
        "trained_on": {
            "labels": given.record.get("name"),
            "fingerprint": given.fingerprint,
            "documents": len(data.ids),
            f"{step.group}s": len(set(data.groups)),
            "label_counts": _counts(data.labels),
            "annotation": _annotation(given),
        },
        "method": step.method.model_dump(),
        "measured": f"out of fold, {step.folds} folds by {step.group}, equal texts in one fold",
        "calibration": {
            "slope": model.slope,
            "offset": model.offset,
            "fitted_on": FITTED_ON,
            "reliability": measures.reliability(data.labels, scores),
        },
        "classifier": measures.measured(data.labels, scores, model.thresholds),
        "length_alone": measures.measured(data.labels, baseline, model.thresholds),
        "confusion": measures.confusion(data.labels, scores, model.lowest, model.highest),
    }


def _annotation(given: Input) -> dict[str, Any]:
    """Return how the labels were made, as their record tells it."""
    asked = given.record.get("step", {})
    rubric = asked.get("rubric") or {}
    return {
        "labeller": asked.get("labeller"),
        "rubric": rubric.get("name"),
        "text": rubric.get("text"),
    }


def _counts(labels: Floats) -> dict[str, int]:
    return {f"{label:g}": n for label, n in sorted(Counter(labels.tolist()).items())}


def _write_predictions(
    path: Path, data: Labelled, folds: npt.NDArray[np.int64], scores: Floats
) -> None:
    table = pa.table(
        {
            "id": pa.array(data.ids, pa.string()),
            "group": pa.array(data.groups, pa.string()),
            "fold": folds,
            "label": data.labels,
            "score": scores,
        }
    )
    with files.replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
