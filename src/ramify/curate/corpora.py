"""A finished corpus as the next step takes it: its shards, whatever columns they have, and their keys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ramify.curate.tables import shards_of
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.seeds import derive
from ramify.ground.step import Input

PLACES = ("documents", "held_out")

Floats = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]


class NoDocuments(NotFound, BadInput):
    """A corpus, or the part of one, without documents: none are there, so it cannot be used."""


@dataclass(frozen=True)
class Shard:
    """One parquet file of a corpus and which of its two folders it lies in."""

    place: str
    path: Path

    @property
    def name(self) -> str:
        """What files made of it are called where both folders' lie together."""
        return self.path.name if self.place == "documents" else f"{self.place}-{self.path.name}"


def shards(given: Input, part: str | None = None) -> list[Shard]:
    """Return the shards of a corpus, or of the part of one, that hold any: documents, then held out.

    Raises NoDocuments where there are none.
    """
    folder = given.path / part if part else given.path
    every = [Shard(place, path) for place in PLACES for path in shards_of(folder / place)]
    found = [shard for shard in every if pq.read_metadata(shard.path).num_rows]
    if not found:
        raise _nothing(given, part, empty=bool(every))
    return found


def documents(given: Input, part: str | None = None) -> list[Path]:
    """Return the shards that may be learned from: those of `shards` that were not held out.

    Raises NoDocuments where there are none.
    """
    found = [shard.path for shard in shards(given, part) if shard.place == "documents"]
    if not found:
        raise NoDocuments(
            f"{given.path.name} holds no documents but those held out",
            hint="lower held_out of the step that made it",
        )
    return found


def _nothing(given: Input, part: str | None, empty: bool) -> NoDocuments:
    parts = sorted(x.parent.name for x in given.path.glob("*/documents"))
    hint = f"name a part: {', '.join(parts)}" if parts else "name a step that makes a corpus"
    return NoDocuments(
        f"{given.path.name} holds no documents{f' of {part!r}' if part else ''}",
        hint="look at what was dropped: ramify look" if empty else hint,
    )


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
