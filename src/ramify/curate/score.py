"""Scores every document of a corpus by a classifier, or by a cascade of two; drops nothing.

documents, held_out ─► first classifier ─► near a threshold? ─► second classifier ─► the same (+ score)
                                                 no ───────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from ramify.curate import corpora, measures
from ramify.curate.classifier import Classifier
from ramify.curate.corpora import Floats, Shard
from ramify.curate.ledger import Ledger
from ramify.curate.passing import MADE_IN, batches, plan_of, total
from ramify.curate.quality_steps import Score
from ramify.curate.read import COUNTS
from ramify.curate.tables import writing
from ramify.ground import files
from ramify.ground.errors import NotFound
from ramify.ground.spread import Made, each
from ramify.ground.step import Input, Tell

STEPS = 20  # of the curve of what is kept, from one whole score to the next
UNITS = ("documents", "bytes", "tokens")


class Cascade:
    """One classifier, or two: the second where the first is near a threshold."""

    def __init__(self, step: Score, inputs: Mapping[str, Input]) -> None:
        self.first = Classifier.load(inputs["classifier"].path, step.batch)
        self._second = None
        if step.refine is not None:
            self._second = Classifier.load(inputs["refine"].path, step.batch)
        self._near = np.array([measures.cut_of(threshold) for threshold in step.near])
        self._margin = step.margin
        scales = [each.model for each in (self.first, self._second) if each is not None]
        self.lowest = min(model.lowest for model in scales)
        self.highest = max(model.highest for model in scales)

    def score(self, texts: list[str]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return the scores, and which of them are the second classifier's."""
        scores = self.first.score(texts)
        if self._second is None:
            return scores, np.zeros(len(texts), np.bool_)
        near = (np.abs(scores[:, None] - self._near[None, :]) <= self._margin).any(axis=1)
        if near.any():
            chosen = np.flatnonzero(near).tolist()
            scores[near] = self._second.score([texts[index] for index in chosen])
        return scores, near


def run_score(step: Score, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make in `out` the corpus with its scores, the counts, and the curve of what each cut keeps.

    What was held out stays so, and is in all counts and in the curve. Goes on after the last shard
    that an earlier attempt finished. Raises NoDocuments where there is no corpus.
    """
    found = corpora.shards(inputs["corpus"], step.part)
    ledger = Ledger(out, plan_of(found, inputs["corpus"]), MADE_IN)
    cascade = Cascade(step, inputs)
    # from the lowest score there can be, so that the first cut keeps everything
    cuts = cascade.lowest + np.arange((cascade.highest - cascade.lowest) * STEPS + 1) / STEPS
    count = _counter(inputs.get("tokenizer"))
    work = partial(_score_shard, step, cascade, cuts, count)
    for entry, made in each(work, found[len(ledger.shards) :], out):
        ledger.add(entry, made)
        tell(len(ledger.shards), len(found), "shards")
    return _finish(step, ledger, cuts, count is not None, out)


def _counter(given: Input | None) -> Any:
    """Return a function from texts to their numbers of tokens, None without a tokenizer."""
    if given is None:
        return None
    path = given.path / "tokenizer.json"
    if not path.is_file():
        raise NotFound(f"{given.path.name} holds no tokenizer.json", hint="name a Tokenizer step")
    tokenizer = Tokenizer.from_file(str(path))
    return partial(_numbers, tokenizer)


def _numbers(tokenizer: Tokenizer, texts: list[str]) -> list[int]:
    return [len(found.ids) for found in tokenizer.encode_batch(texts, add_special_tokens=False)]


def _score_shard(
    step: Score, cascade: Cascade, cuts: Floats, count: Any, shard: Shard, out: Path
) -> Made:
    by = f"{step.column}_by"
    fields = [(step.column, pa.float64())]
    if step.refine is not None:
        fields.append((by, pa.string()))
    target = out / shard.place / shard.path.name
    schema = corpora.schema_with(pq.read_schema(shard.path).remove_metadata(), *fields)
    sizes = {unit: np.zeros(len(cuts), np.int64) for unit in UNITS}
    refined = text_bytes = 0
    with writing({target: schema}) as (table,):
        for rows in batches(shard.path):
            texts = rows["text"].to_pylist()
            scores, second = cascade.score(texts)
            columns = {step.column: pa.array(scores)}
            if step.refine is not None:
                columns[by] = pa.array(
                    np.where(second, "refine", "classifier").tolist(), pa.string()
                )
            table.write(corpora.with_columns(rows, columns))
            refined += int(second.sum())
            size = {
                "documents": np.ones(len(texts), np.int64),
                "bytes": pc.binary_length(rows["text"]).to_numpy().astype(np.int64),
                "tokens": np.array(count(texts) if count else np.zeros(len(texts)), np.int64),
            }
            text_bytes += int(size["bytes"].sum())
            for unit, of_each in size.items():
                sizes[unit] += kept_at(scores, of_each, cuts)
    entry = {
        "place": shard.place,
        "seen": table.rows,
        "kept": table.rows,
        "dropped": {},
        "bytes": {"kept": text_bytes},
        "refined": refined,
        "kept_at": {unit: size.tolist() for unit, size in sizes.items()},
    }
    return entry, [target]


def kept_at(scores: Floats, size: npt.NDArray[np.int64], cuts: Floats) -> npt.NDArray[np.int64]:
    """Return the total size of what scores at least each of the cuts, which ascend."""
    order = np.argsort(scores, kind="stable")
    above = np.concatenate([np.cumsum(size[order][::-1])[::-1], [0]])
    return np.asarray(above[np.searchsorted(scores[order], cuts, side="left")], np.int64)


def _finish(step: Score, ledger: Ledger, cuts: Floats, tokens: bool, out: Path) -> dict[str, Any]:
    units = UNITS if tokens else UNITS[:-1]
    curve = {
        unit: np.sum([shard["kept_at"][unit] for shard in ledger.shards], axis=0).tolist()
        for unit in units
    }
    whole = {"cut": cuts.round(6).tolist(), **curve}
    counts = total(ledger.shards)
    counts["bytes"]["seen"] = counts["bytes"]["kept"]  # nothing is dropped
    counts["refined"] = sum(shard["refined"] for shard in ledger.shards)
    files.write_json(out / COUNTS, {**counts, "column": step.column, "kept_at": whole})
    return {**counts, "kept_at": _at_thresholds(whole)}


def _at_thresholds(curve: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return the curve at what rounds to each whole score or more, for the record."""
    return {
        f"{cut + 0.5:g}": {unit: values[index] for unit, values in curve.items() if unit != "cut"}
        for index, cut in enumerate(curve["cut"])
        if (cut + 0.5) % 1 == 0
    }
