"""A finished corpus passed on shard by shard: each document kept as it is or dropped with its reason.

corpus ─► shards of documents and held_out ─► verdicts ─┬─► documents, held_out
                                                        └─► dropped (why)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate.corpora import PLACES, Shard
from ramify.curate.ledger import Ledger
from ramify.curate.read import COUNTS
from ramify.curate.tables import writing
from ramify.ground import files, stop
from ramify.ground.step import Input

MADE_IN = tuple(f"{place}/*.parquet" for place in (*PLACES, "dropped"))
BATCH_ROWS = 1024
BATCH_BYTES = 2 << 20  # of text looked at at once, so that what is made of it stays in the cache

Mask = npt.NDArray[np.bool_]
Verdict = Callable[[pa.Table], Sequence[str | None]]


def plan_of(shards: Sequence[Shard], given: Input, **more: Any) -> dict[str, Any]:
    """Return what the work is cut from, for the ledger."""
    listing = [[shard.name, shard.path.stat().st_size] for shard in shards]
    return {"input": given.fingerprint, "listing": listing, **more}


def batches(
    path: Path, wanted: Mask | None = None, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """Yield a shard's rows in order, some at a time; where `wanted` is given, those rows alone.

    Raises Stopped between them where this process was told to stop.
    """
    with pq.ParquetFile(path) as file:
        for batch in _picked(file, wanted, columns):
            for first, last in pairwise(_cuts(batch)):
                stop.look()
                yield pa.Table.from_batches([batch.slice(first, last - first)])


def _picked(
    file: pq.ParquetFile, wanted: Mask | None, columns: list[str] | None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file that are wanted; row groups without one are not read."""
    if wanted is None:
        yield from file.iter_batches(BATCH_ROWS, columns=columns)
        return
    first = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if wanted[first : first + rows].any():
            at = first
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, row_groups=[group]):
                mask = wanted[at : at + batch.num_rows]
                at += batch.num_rows
                if mask.any():
                    yield batch.filter(pa.array(mask))
        first += rows


def _cuts(batch: pa.RecordBatch) -> list[int]:
    """Return where a batch is cut so that no piece is of much more than BATCH_BYTES of text."""
    if "text" not in batch.schema.names:
        return [0, batch.num_rows]
    size = pc.fill_null(pc.binary_length(batch["text"]), 0).to_numpy(zero_copy_only=False)
    inside = np.flatnonzero(np.diff(np.cumsum(size, dtype=np.int64) // BATCH_BYTES)) + 1
    return [0, *inside.tolist(), batch.num_rows]


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
