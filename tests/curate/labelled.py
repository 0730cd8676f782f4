"""Corpora and steps in little, for the tests about quality."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ramify.ground.ids import digest
from ramify.ground.step import Input

Row = dict[str, Any]
PLAIN = [
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "is",
    "it",
    "that",
    "was",
    "for",
    "on",
    "with",
    "as",
    "they",
    "at",
    "this",
    "have",
    "from",
    "by",
]
RARE = [
    "theorem",
    "lemma",
    "proof",
    "integral",
    "because",
    "therefore",
    "derive",
    "factor",
    "limit",
    "proves",
]


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def row(text: str, number: int, **columns: Any) -> Row:
    origin = f"https://www.site{number % 20}.org/{number}"
    return {"id": digest(origin, 0), "text": text, "origin": origin, "part": 0, **columns}


def graded(count: int, seed: int = 0) -> list[Row]:
    """Return documents of like length whose true score, 0 to 3, is the share of rare words in them."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        score = draw.randrange(4)
        words = [
            draw.choice(RARE if draw.random() < score / 4 else PLAIN)
            for _ in range(draw.randrange(60, 140))
        ]
        rows.append(row(" ".join(words), number, label=float(score)))
    return rows


def written(folder: Path, rows: Sequence[Row], per_file: int = 40, **record: Any) -> Input:
    """Write rows as the folder of a corpus, and return it as a step is given it."""
    (folder / "documents").mkdir(parents=True)
    table = pa.Table.from_pylist(list(rows))
    for number, first in enumerate(range(0, len(rows), per_file)):
        path = folder / "documents" / f"{number:05}.parquet"
        pq.write_table(table.slice(first, per_file), path)
    return Input(folder, {"name": folder.name, **record}, folder.name)


def made(folder: Path) -> list[Row]:
    """Return the rows of a folder of parquet files, in order."""
    return [x for path in sorted(folder.glob("*.parquet")) for x in pq.read_table(path).to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file by name, bit for bit; what a killed process left to be removed is no file."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".tmp"
    }
