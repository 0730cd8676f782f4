"""What passes through the steps of a dry run, counted by the files or documents that were drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate.selection_steps import Apportion
from ramify.curate.steps import Dedup, Read
from ramify.ground.seeds import derive
from ramify.ground.step import Ref, Step
from ramify.runs.lab import Lab, read_json
from ramify.runs.recipe import Recipe
from ramify.runs.resampling import Floats, Repeats, Units

GROUPS = 1000  # of documents, where they are drawn one by one
LEADER = re.compile(r"(?:near_)?duplicate: of ([0-9a-f]+)")
Place = tuple[str, str | None]
"""A corpus of a lab: a step, and which of its corpora."""
NDInt = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Drawn:
    """One source of a dry run: its units, and in which of them each document is."""

    read: str
    units: Units
    unit_of: Mapping[str, int] | None  # None: documents are in groups by their ids

    def where(self, ids: list[str]) -> NDInt:
        """Return the unit of each document."""
        if self.unit_of is None:
            return np.array([int(x[:8], 16) % GROUPS for x in ids], np.int64)
        return np.array([self.unit_of[x] for x in ids], np.int64)

    def whose(self, id_: str) -> int | str:
        """Return what a document was drawn with: its file, or itself."""
        return id_ if self.unit_of is None else self.unit_of.get(id_, -1)


@dataclass(frozen=True)
class Flow:
    """Documents and bytes of one corpus: of the sample, and drawn again in the whole."""

    documents: int
    docs: Floats  # [1 + resamples], the estimate first
    bytes: Floats
    low: float = 1.0  # factors by which the whole may differ from what the sample tells
    high: float = 1.0


class Flows:
    """The corpora of a finished dry run; `limits` are the bytes at which reading the whole would end."""

    def __init__(self, lab: Lab, recipe: Recipe, limits: Mapping[str, int]) -> None:
        self.lab, self.recipe, self.limits = lab, recipe, limits
        self._known: dict[Place, Flow] = {}
        self._drawn: dict[str, Drawn] = {}

    def source_of(self, place: Place) -> Drawn | None:
        """Return the source that all documents of a corpus are of; None if it is not there."""
        step = self.recipe.by_name[place[0]]
        while not isinstance(step, Read):
            ref = corpus_of(step, place[1])
            if ref is None:
                return None
            place = ref
            step = self.recipe.by_name[place[0]]
        return self.drawn(step)

    def drawn(self, read: Read) -> Drawn | None:
        """Return what was drawn of a source; None before it was read."""
        if read.name not in self._drawn:
            record = self.lab.record(read.name)
            if record is None:
                return None
            limit = self.limits.get(read.name)
            self._drawn[read.name] = _drawn(self.lab.at(read.name), read.name, record.facts, limit)
        return self._drawn[read.name]

    def entering(self, read: Read) -> tuple[int, Floats]:
        """Return the documents of a source, kept or not: of the sample, and in the whole."""
        drawn = self.drawn(read)
        assert drawn is not None
        tables = [*self._tables((read.name, None)), *_parquet(self.lab.at(read.name) / "dropped")]
        columns = _counted(tables, drawn)
        return int(columns[:, 0].sum()), drawn.units.totals(columns, _seed(read.name))[:, 0]

    def flow(self, place: Place, low: float = 1.0, high: float = 1.0) -> Flow | None:
        """Return what is in a corpus; None if it is not there. The factors are kept with it."""
        if place not in self._known:
            drawn, tables = self.source_of(place), self._tables(place)
            if drawn is None or not tables or self.lab.record(place[0]) is None:
                return None
            columns = _counted(tables, drawn)
            totals = drawn.units.totals(columns, _seed(drawn.read))
            counted = int(columns[:, 0].sum())
            self._known[place] = Flow(counted, totals[:, 0], totals[:, 1], low, high)
        return self._known[place]

    def repeats(self, place: Place) -> Repeats:
        """Return the duplicates that a Read or a Dedup found in one corpus of the sample."""
        name, part = place
        drawn = self.source_of(place)
        assert drawn is not None
        met: dict[str, set[int | str]] = {}
        gone = 0
        for path in _parquet(self.lab.at(name) / "dropped"):
            rows = pq.read_table(path).select(
                [c for c in ("id", "reason", "corpus") if c in pq.read_schema(path).names]
            )
            for row in rows.to_pylist():
                found = LEADER.match(row["reason"])
                if found and part in (None, row.get("corpus")):
                    gone += 1
                    leader = found.group(1)
                    met.setdefault(leader, {drawn.whose(leader)}).add(drawn.whose(row["id"]))
        stayed = sum(pq.read_metadata(path).num_rows for path in self._tables(place))
        return Repeats(stayed + gone, stayed, sum(len(units) > 1 for units in met.values()))

    def texts(self, place: Place) -> Iterator[str]:
        """Yield the texts of a corpus."""
        for path in self._tables(place):
            for batch in pq.ParquetFile(path).iter_batches(256, columns=["text"]):
                yield from batch["text"].to_pylist()

    def _tables(self, place: Place) -> list[Path]:
        home = self.lab.at(place[0])
        home = home / place[1] if place[1] else home
        return [*_parquet(home / "documents"), *_parquet(home / "held_out")]


def corpus_of(step: Step, part: str | None) -> Place | None:
    """Return the corpus that a step's corpus (of a Dedup, one of them) was made from."""
    if isinstance(step, Dedup):
        return None if part is None else (step.corpora[part].name, None)
    if isinstance(step, Apportion):
        return None if part is None else (step.corpora[part].name, step.parts.get(part))
    found = getattr(step, "corpus", None)
    if isinstance(found, Ref):
        return found.name, getattr(step, "part", None)
    ref = getattr(found, "ref", None)  # of a Tokenize
    return (ref.name, getattr(found, "part", None)) if isinstance(ref, Ref) else None


def _parquet(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def _seed(read: str) -> int:
    return derive(0, "dry", read)


def _counted(tables: list[Path], drawn: Drawn) -> Floats:
    """Return documents and bytes of text by unit: [units, 2]."""
    columns = np.zeros((len(drawn.units.sizes), 2))
    for path in tables:
        for batch in pq.ParquetFile(path).iter_batches(4096, columns=["id", "text"]):
            where = drawn.where(batch["id"].to_pylist())
            sizes = pc.binary_length(batch["text"]).to_numpy(zero_copy_only=False)
            columns[:, 0] += np.bincount(where, minlength=len(columns))
            columns[:, 1] += np.bincount(where, sizes, len(columns))
    return columns


def _drawn(folder: Path, name: str, facts: Mapping[str, Any], limit: int | None) -> Drawn:
    drawn = _drawn_of_all(folder, name, facts)
    kept = float(facts["bytes"]["kept"]) * drawn.units.expansion
    if limit is None or kept <= limit:
        return drawn
    units = replace(drawn.units, whole=drawn.units.whole * limit / kept)
    return replace(drawn, units=units)


def _drawn_of_all(folder: Path, name: str, facts: Mapping[str, Any]) -> Drawn:
    read = {file["path"]: file["bytes"] for file in read_json(folder / "manifest.json")["files"]}
    sample = facts["sample"]
    rows = [row for path in (*_parquet(folder / "documents"), *_parquet(folder / "dropped")) for row in _rows(path)]  # fmt: skip
    numbers = {path: number for number, path in enumerate(read)}
    files = [numbers.get(o, numbers.get(o.rsplit(":", 1)[0])) for _, o in rows]
    whole = facts["files_not_read"] == 0
    if whole or None in files:
        by_group = np.zeros(GROUPS)
        for id_, _ in rows:
            by_group[int(id_[:8], 16) % GROUPS] += 1
        scale = sample["of_bytes"] / max(sum(read.values()), 1) / sample["thinned"]
        drawn = 0 if whole and sample["thinned"] >= 1 else len(rows)
        return Drawn(name, Units(by_group, len(rows) * scale, 1.0, drawn, "documents"), None)
    sizes = np.array(list(read.values()), np.float64)
    units = Units(sizes, float(sample["of_bytes"]), sample["thinned"], len(read), "files")
    of_files = {id_: file for (id_, _), file in zip(rows, files, strict=True) if file is not None}
    return Drawn(name, units, of_files)


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    table = pq.read_table(path, columns=["id", "origin"])
    yield from zip(table["id"].to_pylist(), table["origin"].to_pylist(), strict=True)
