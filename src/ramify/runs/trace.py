"""Which steps and runs saw a document, and at which tokens: read from tables, computed for runs.

id or URL ─► rows of every corpus, kept or dropped ─► stretches of tokenized sources ─► rows of runs
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.ground.errors import NotFound
from ramify.runs.find import line_of, sources_of
from ramify.runs.lab import Lab, Place
from ramify.tokens.path import SourceSize
from ramify.tokens.shards import Source
from ramify.train import places

ID = re.compile(r"[0-9a-f]{6,32}")
TABLES = ("documents", "held_out", "dropped")
HELD_OUT = "held_out.parquet"  # of a tokenized source
NAMED = ("id", "url", "origin", "part", "reason", "start", "tokens")


class Stretch(NamedTuple):
    """Where a document lies in a tokenized source: its tokens, the end of text left out."""

    source: str
    start: int
    tokens: int


def trace(lab: Lab, document: str) -> Iterator[str]:
    """Yield what became of a document in each step of a lab, then each run's sights of it.

    `document` is an id, its first 6 digits or more, or a URL. A run tells of its own tokens, a
    branch not of its parent's. Raises NotFound where no step has it.
    """
    found = _in_order(lab)
    ids = {document} if ID.fullmatch(document) else _of_url(found, document)
    seen: set[str] = set()
    stretches: list[Stretch] = []
    for place in found:
        for told, id_, stretch in _in_step(place, sorted(ids)):
            if id_ not in seen:
                seen.add(id_)
                yield f"── {id_}"
            yield told
            stretches += [stretch] if stretch else []
    if not seen:
        raise NotFound(
            f"no step of {lab.folder} has {document}",
            hint="give an id as ramify look shows it, or the URL of a page",
        )
    for place in lab.places():
        if place.is_run:
            yield from _in_run(lab, place, stretches)


def _in_order(lab: Lab) -> list[Place]:
    """Return the finished steps that are no runs, each after those that it was made from."""
    waiting = {x.name: x for x in lab.places() if not (x.is_run or x.is_partial)}
    found: list[Place] = []

    def take(name: str) -> None:
        place = waiting.pop(name, None)
        if place is not None:
            for parent in lab.parents(place).values():
                take(parent["name"])
            found.append(place)

    for name in list(waiting):
        take(name)
    return found


def _of_url(steps: Sequence[Place], url: str) -> set[str]:
    """Return the ids of the documents that a URL, or an origin of this name, led to."""
    ids = set()
    for place in steps:
        for path in (*_tables(place.folder), *_indexes(place.folder)):
            for row in _rows(path, lambda t: _equal(t, "url", url) | _equal(t, "origin", url)):
                ids.add(str(row["id"]))
    return ids


def _tables(folder: Path) -> Iterator[Path]:
    """Yield the tables of a step's documents, those of its parts too."""
    for name in TABLES:
        yield from sorted(folder.glob(f"{name}/*.parquet"))
        yield from sorted(folder.glob(f"*/{name}/*.parquet"))
    if (folder / HELD_OUT).is_file():
        yield folder / HELD_OUT


def _indexes(folder: Path) -> list[Path]:
    """Return the lists of documents of a tokenized source, a shard each."""
    return sorted(folder.glob("shards/*.docs.parquet"))


def _rows(path: Path, which: Any) -> list[dict[str, Any]]:
    schema = pq.read_schema(path)
    names = [name for name in NAMED if name in schema.names and _is_plain(schema.field(name).type)]
    table = pq.read_table(path, columns=names)
    rows: list[dict[str, Any]] = table.filter(pa.array(which(table))).to_pylist()
    return rows


def _is_plain(kind: pa.DataType) -> bool:
    return not pa.types.is_list(kind)  # of held-out documents the tokens themselves


def _equal(table: pa.Table, name: str, value: str) -> Any:
    if name not in table.column_names:
        return pc.is_null(table["id"]).to_numpy()
    return pc.fill_null(pc.equal(table[name].cast(pa.string()), value), False).to_numpy()


def _begins(table: pa.Table, ids: Sequence[str]) -> Any:
    hits = [pc.starts_with(table["id"], pattern=each).to_numpy() for each in ids]
    first, *rest = hits
    for each in rest:
        first = first | each
    return first


def _in_step(place: Place, ids: Sequence[str]) -> Iterator[tuple[str, str, Stretch | None]]:
    """Yield (line, id, stretch of tokens if it has any) for what a step has of some documents."""
    if not ids:
        return
    for path in _tables(place.folder):
        where = path.relative_to(place.folder).as_posix()
        for row in _rows(path, lambda table: _begins(table, ids)):
            kind = "held_out" if path.name == HELD_OUT else path.parent.name
            kept = {"documents": "kept", "held_out": "held out"}.get(kind)
            told = kept or f"dropped, {row.get('reason')}"
            yield f"{place.name}: {told} ({where})", row["id"], None
    for path in _indexes(place.folder):
        for row in _rows(path, lambda table: _begins(table, ids)):
            stretch = Stretch(place.name, row["start"], row["tokens"])
            last = stretch.start + stretch.tokens
            yield f"{place.name}: tokens {stretch.start:,} to {last:,}", row["id"], stretch


def _in_run(lab: Lab, place: Place, stretches: Sequence[Stretch]) -> Iterator[str]:
    """Yield a line per run and stretch that it read, with every token at which it did."""
    until = max(places.points(place.folder), default=0)
    line = line_of(lab, place.name)
    folders = sources_of(lab, line)
    sources = {name: Source.open(folder) for name, folder in folders.items()}
    path = line.path({n: SourceSize(s.segments, s.segment) for n, s in sources.items()})
    names = {lab.at(name): name for name in {stretch.source for stretch in stretches}}
    for source, folder in folders.items():
        for stretch in stretches:
            if names.get(folder) != stretch.source:
                continue
            last = stretch.start + stretch.tokens
            sights = path.sights(source, stretch.start, last, until)
            own = {x.tokens: x.epoch for x in sights if x.tokens >= line.begins_at}
            told = ", ".join(f"{at:,} (epoch {epoch})" for at, epoch in sorted(own.items()))
            if told:
                yield f"{place.name}: {source}, read in the batches at tokens {told}"
            else:
                yield f"{place.name}: {source}, not read by {until:,} tokens"
