"""A finished corpus as the next step takes it: its shards, whatever columns they have, and their keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ramify.curate.tables import shards_of
from ramify.ground import stop
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.seeds import derive
from ramify.ground.step import Input

BATCH_ROWS = 1024

Floats = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]


def shards(given: Input, part: str | None = None) -> list[Path]:
    """Return the parquet files of a corpus, or of the part of one, that hold documents.

    Raises NotFound for a part that is not there, BadInput where there are no documents.
    """
    folder = given.path / part / "documents" if part else given.path / "documents"
    if not folder.is_dir():
        parts = sorted(x.parent.name for x in given.path.glob("*/documents"))
        raise NotFound(
            f"{given.path.name} has no documents{f' of {part!r}' if part else ''}",
            hint=f"name a part: {', '.join(parts)}" if parts else "name a corpus",
        )
    found = [path for path in shards_of(folder) if pq.read_metadata(path).num_rows]
    if not found:
        raise BadInput(
            f"{given.path.name} holds no documents", hint="look at what was dropped: ramify look"
        )
    return found


def batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield a shard's rows in order, some at a time; Stopped where this process was told to stop."""
    for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=columns):
        stop.look()
        yield pa.Table.from_batches([batch])


def keys(ids: list[str], seed: int, *names: str) -> U64:
    """Return a hash of every id, keyed by a seed and what it is for: even over 0 to 2**64."""
    key = derive(seed, *names).to_bytes(8, "little")
    hashed = [hashlib.blake2b(x.encode(), digest_size=8, key=key).digest() for x in ids]
    return np.frombuffer(b"".join(hashed), "<u8").astype(np.uint64)


def domains(table: pa.Table) -> list[str]:
    """Return where each document is from: the host of its url or origin, else the origin's folder."""
    origins = table["origin"].to_pylist()
    urls = table["url"].to_pylist() if "url" in table.column_names else [None] * len(origins)
    return [domain(url or origin) for url, origin in zip(urls, origins, strict=True)]


def domain(address: str) -> str:
    """Return the host of an address without `www.`, or the first folder of what is no address."""
    if "://" in address:
        try:
            host = urlsplit(address).hostname
        except ValueError:  # brackets that are no IPv6 address
            host = None
        return (host or "").removeprefix("www.") or address
    return address.split("/", 1)[0]


def with_columns(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    """Return a table with columns at its end, in place of those that it had by these names."""
    left = [name for name in table.column_names if name not in columns]
    table = table.select(left)
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def schema_with(schema: pa.Schema, *fields: tuple[str, pa.DataType]) -> pa.Schema:
    """Return the schema of rows after `with_columns` has put these fields there."""
    named = {name for name, _ in fields}
    kept = [field for field in schema if field.name not in named]
    return pa.schema([*kept, *fields])


def column_of(path: Path, column: str) -> None:
    """Raise BadInput, naming the columns there are, for a shard without a column of numbers."""
    schema = pq.read_schema(path)
    numbers = [
        f.name for f in schema if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)
    ]
    if column not in numbers:
        raise BadInput(
            f"{path.parent.parent.name} has no scores called {column!r}",
            hint="columns of numbers: " + ", ".join(n for n in numbers if n != "part"),
        )
