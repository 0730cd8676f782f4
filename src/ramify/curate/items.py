"""Evaluation items as they are looked for in a corpus: read from parquet or JSON lines, then hashed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from ramify.curate.words import I64, U64, Hashed, growing, hashed, whole
from ramify.ground.errors import BadInput, NotFound

COLUMNS = ("id", "task", "text", "answer")
PROBE_PER_GRAM = 32  # places of the table by which most n-grams of a corpus are refused at one look
SUFFIXES = (".parquet", ".jsonl")


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files of items that paths name; of a folder, all below it.

    Raises NotFound for a path that is not there, BadInput where a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise NotFound(f"no items at {path}", hint="give a parquet or .jsonl file, or a folder")
        inside = (
            [path] if path.is_file() else sorted(p for s in SUFFIXES for p in path.rglob(f"*{s}"))
        )
        if not inside:
            raise BadInput(f"{path} holds no items", hint="give parquet or .jsonl files of items")
        found += inside
    return found


def read_items(paths: Sequence[Path]) -> pa.Table:
    """Return items as one table of the strings id, task, text, answer, nulls as empty strings.

    Raises BadInput for a file without these columns or that cannot be read, and for no items at all.
    """
    tables = [_read(path) for path in paths]
    table = pa.concat_tables(tables) if tables else None
    if table is None or not table.num_rows:
        names = ", ".join(path.name for path in paths) or "no files"
        raise BadInput(f"{names}: no evaluation items to look for", hint="give at least one item")
    return table.combine_chunks()


def _read(path: Path) -> pa.Table:
    if not path.stat().st_size:  # which is no JSON to Arrow
        return pa.table({name: pa.array([], pa.string()) for name in COLUMNS})
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else pj.read_json(path)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path} cannot be read ({str(error).splitlines()[0]})") from error
    missing = [name for name in COLUMNS[:3] if name not in table.column_names]
    if missing:
        raise BadInput(
            f"{path} has no column {missing[0]!r}", hint=f"items have {', '.join(COLUMNS)}"
        )
    empty = pa.nulls(table.num_rows, pa.string())
    columns = [table[name] if name in table.column_names else empty for name in COLUMNS]
    return pa.table({name: _strings(x) for name, x in zip(COLUMNS, columns, strict=True)})


def _strings(column: Any) -> pa.Array:
    return pa.array(["" if x is None else str(x) for x in column.to_pylist()], pa.string())


@dataclass(frozen=True)
class Grams:
    """n-grams of one length that items are found by: their hashes sorted, each with its item."""

    n: int
    hashes: U64
    items: I64
    places: I64  # the word of the item at which the n-gram begins

    @cached_property
    def probe(self) -> npt.NDArray[np.bool_]:
        """A table that says no of nearly every n-gram that no item has."""
        table = np.zeros(1 << (64 - int(self.shift)), np.bool_)
        table[self.hashes >> self.shift] = True
        return table

    @cached_property
    def shift(self) -> np.uint64:
        """How far a hash is shifted to its place in the table: as small as will do, for the cache."""
        return np.uint64(64 - (PROBE_PER_GRAM * len(self.hashes)).bit_length())

    def among(self, grams: U64) -> I64:
        """Return the places of those n-grams that an item has too."""
        maybe = np.flatnonzero(self.probe[grams >> self.shift])
        at = np.searchsorted(self.hashes, grams[maybe])
        at[at == len(self.hashes)] = 0
        found: I64 = maybe[self.hashes[at] == grams[maybe]]
        return found

    def holders(self, gram: np.uint64) -> tuple[I64, I64]:
        """Return the items that have an n-gram, and where in each it begins."""
        first, last = (int(np.searchsorted(self.hashes, gram, side)) for side in ("left", "right"))
        return self.items[first:last], self.places[first:last]


class Items:
    """All items, hashed: long ones by every n-gram, short ones by the whole of their text.

    An item of at least `ngram` words is long. A short one without an answer cannot be looked for, nor
    one without a word: `unchecked` counts them.
    """

    def __init__(self, table: pa.Table, ngram: int) -> None:
        self.table = table
        self.ngram = ngram
        self.texts = hashed(table["text"].combine_chunks())
        self.answers = hashed(table["answer"].combine_chunks())
        self.sizes = np.diff(self.texts.starts)
        self.long = self.sizes >= ngram
        answered = np.diff(self.answers.starts) > 0
        self.short = (self.sizes > 0) & ~self.long & answered
        self.unchecked = int((~self.long & ~self.short).sum())

    @cached_property
    def grams(self) -> dict[int, Grams]:
        """What is looked for, by the number of words."""
        found = {}
        for n, grams in growing(self.texts.words, self.ngram):
            places = np.arange(len(grams))
            of = self.texts.texts_at(places)
            places, of = (x[whole(self.texts.starts, places, n)] for x in (places, of))
            mine = self.long[of] if n == self.ngram else self.short[of] & (self.sizes[of] == n)
            if mine.any():
                at, items = places[mine], of[mine]
                order = np.argsort(grams[at], kind="stable")
                within = at - self.texts.starts[items]
                found[n] = Grams(n, grams[at][order], items[order], within[order])
        return found

    def only(self, numbers: I64) -> Items:
        """Return these items, under the numbers that they have among all, without hashing them again."""
        some = copy.copy(self)
        some.__dict__.pop("grams", None)
        asked = np.zeros(len(self.sizes), np.bool_)
        asked[numbers] = True
        some.long, some.short = self.long & asked, self.short & asked
        return some

    def row(self, item: int) -> dict[str, str]:
        """Return an item as it was given."""
        row: dict[str, str] = self.table.slice(item, 1).to_pylist()[0]
        return row


def words_at(texts: Hashed, text: int) -> list[int]:
    """Return the hashed words of one text as plain integers, for comparing sequences."""
    words: list[int] = texts.of(text).tolist()
    return words
