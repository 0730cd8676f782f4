"""Corpora in little: rows as a Read step leaves them, written as shards of documents."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ramify.ground.ids import digest
from ramify.ground.step import Input

Row = dict[str, Any]


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def row(text: str, origin: str, part: int = 0, **more: Any) -> Row:
    """Return a document."""
    return {"id": digest(origin, part), "text": text, "origin": origin, "part": part, **more}


def prose(seed: object, words: int = 60) -> str:
    """Return words that no other seed has in this order."""
    chance = random.Random(str(seed))
    return " ".join(f"word{chance.randrange(10_000)}" for _ in range(words))


def write_corpus(folder: Path, shards: Mapping[str, Iterable[Row]]) -> Input:
    """Write shards, named like `documents/00000`, and return the corpus as an input."""
    for name, rows in shards.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return Input(folder, {}, folder.name)


def rows_of(folder: Path) -> list[Row]:
    """Return the rows of a folder's parquet files in order."""
    paths = sorted(folder.glob("*.parquet"))
    return [found for path in paths for found in pq.read_table(path).to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every finished file of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".tmp"
    }
