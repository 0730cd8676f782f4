"""A finished corpus passed on shard by shard: each document kept as it is or dropped with its reason.

corpus ─► shards of documents and held_out ─► verdicts ─┬─► documents, held_out
                                                        └─► dropped (why)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate.ledger import Ledger
from ramify.curate.read import COUNTS
from ramify.curate.tables import shards_of, writing
from ramify.ground import files, stop
from ramify.ground.errors import BadInput
from ramify.ground.step import Input

PLACES = ("documents", "held_out")
MADE_IN = tuple(f"{place}/*.parquet" for place in (*PLACES, "dropped"))
BATCH_ROWS = 1024
BATCH_BYTES = 2 << 20  # of text looked at at once, so that what is made of it stays in the cache

Mask = npt.NDArray[np.bool_]
Verdict = Callable[[pa.Table], Sequence[str | None]]


@dataclass(frozen=True)
class Shard:
    """One parquet file of a corpus and which of its two folders it lies in."""

    place: str
    path: Path

    @property
    def name(self) -> str:
        """What files made of it are called where both folders' lie together."""
        return self.path.name if self.place == "documents" else f"{self.place}-{self.path.name}"


def corpus_shards(given: Input, part: str | None = None) -> list[Shard]:
    """Return a corpus' shards in order; BadInput where there is none."""
    folder = given.path / part if part else given.path
    found = [Shard(place, path) for place in PLACES for path in shards_of(folder / place)]
    if not found:
        inside = sorted(x.parent.name for x in given.path.glob("*/documents"))
        hint = f"its parts: {', '.join(inside)}" if inside else "name a step that makes a corpus"
        raise BadInput(f"{folder} holds no documents", hint=hint)
    return found


def plan_of(shards: Sequence[Shard], given: Input, **more: Any) -> dict[str, Any]:
    """Return what the work is cut from, for the ledger."""
    listing = [[shard.name, shard.path.stat().st_size] for shard in shards]
    return {"input": given.fingerprint, "listing": listing, **more}


def batches(path: Path, wanted: Mask | None = None) -> Iterator[pa.Table]:
    """Yield a shard's rows with all their columns, some at a time; of its rows only those `wanted`.

    Raises Stopped between them where this process was told to stop.
    """
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS) if wanted is None else _picked(file, wanted):
            size = pc.fill_null(pc.binary_length(batch["text"]), 0).to_numpy(zero_copy_only=False)
            cuts = np.flatnonzero(np.diff(np.cumsum(size) // BATCH_BYTES)) + 1
            for first, last in pairwise([0, *cuts.tolist(), batch.num_rows]):
                stop.look()
                yield pa.Table.from_batches([batch.slice(first, last - first)])


def _picked(file: pq.ParquetFile, wanted: Mask) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file that are wanted; row groups without one are not read."""
    first = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if wanted[first : first + rows].any():
            at = first
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group]):
                mask = wanted[at : at + batch.num_rows]
                at += batch.num_rows
                if mask.any():
                    yield batch.filter(pa.array(mask))
        first += rows


def sift_shard(shard: Shard, out: Path, verdict: Verdict) -> tuple[dict[str, Any], list[Path]]:
    """Write a shard's kept and dropped documents; return its counts and the files made."""
    schema = pq.read_schema(shard.path)
    paths = {
        out / shard.place / shard.path.name: schema,
        out / "dropped" / shard.name: schema.append(pa.field("reason", pa.string())),
    }
    dropped: Counter[str] = Counter()
    size = {"kept": 0, "dropped": 0}
    seen = 0
    with writing(paths) as (kept_table, dropped_table):
        for rows in batches(shard.path):
            reasons = pa.array(verdict(rows), pa.string())
            keeps = pc.is_null(reasons)
            kept, lost = rows.filter(keeps), rows.filter(pc.invert(keeps))
            why = reasons.filter(pc.invert(keeps))
            kept_table.write(kept)
            dropped_table.write(lost.append_column("reason", why))
            dropped.update(reason.split(":", 1)[0] for reason in why.to_pylist())
            seen += rows.num_rows
            for name, some in (("kept", kept), ("dropped", lost)):
                size[name] += pc.sum(pc.binary_length(some["text"])).as_py() or 0
    counts = {
        "place": shard.place,
        "seen": seen,
        "kept": kept_table.rows,
        "dropped": dict(dropped),
        "bytes": size,
    }
    assert seen == kept_table.rows + dropped.total(), "a document was lost or doubled"
    return counts, list(paths)


def total(shards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the counts of all shards together: seen is kept and dropped; `held_out` is of the kept."""
    dropped: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for shard in shards:
        dropped.update(shard["dropped"])
        size.update(shard["bytes"])
    return {
        "seen": sum(shard["seen"] for shard in shards),
        "kept": sum(shard["kept"] for shard in shards),
        "held_out": sum(x["kept"] for x in shards if x["place"] == "held_out"),
        "dropped": dict(sorted(dropped.items())),
        "bytes": {"kept": size["kept"], "dropped": size["dropped"]},
    }


def write_counts(ledger: Ledger, out: Path, **more: Any) -> dict[str, Any]:
    """Write counts.json from the ledger's shards and return it."""
    facts = {**total(ledger.shards), **more}
    files.write_json(out / COUNTS, facts)
    return facts
