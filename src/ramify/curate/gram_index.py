"""Where the n-grams of a finished corpus are, kept so that a later benchmark is looked up, not searched for.

documents ─► hashed words ─► marks: of every run of `shortest` words its lowest n-gram ─► ngrams/NAME.parquet
items ─► runs that a document must hold ─► their marks ─► documents that have them all ─► find

Two texts with `shortest` words in a row in common have a mark in common, for the lowest n-gram of
that run is the same in both (winnowing: Schleimer, Wilkerson, Aiken 2003). So what the marks refuse
holds no item, and what they do not refuse is read and searched: the answer is that of a search.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ramify.curate import corpora
from ramify.curate.corpora import Shard
from ramify.curate.items import Items
from ramify.curate.ledger import Ledger
from ramify.curate.passing import Mask, batches, plan_of
from ramify.curate.selection_steps import NgramIndex
from ramify.curate.words import I64, U64, Hashed, hashed, ngrams, whole
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.step import Input, Tell

FOLDER = "ngrams"
COUNTS = "counts.json"
MARK = pa.schema([("gram", pa.uint32()), ("row", pa.uint32())])  # sorted within each row group
ENCODING = dict.fromkeys(MARK.names, "DELTA_BINARY_PACKED")
PART_BYTES = 64 << 20  # of text whose marks are one row group, so that memory is bounded
PAIRS = 1 << 22  # (what must be there, document) that are looked at together
STRIDE = 4  # words between the beginnings of the blocks that a long item is cut into
LOW = np.uint64(32)


def marks(texts: Hashed, shortest: int) -> tuple[U64, I64]:
    """Return the marks of texts, 32 bits each, and the place at which each of their runs begins.

    A run has `shortest` words and lies within one text; its mark is the lowest hash of its n-grams of
    half that length. Of neighbours in one text that have the same mark the first alone is returned.
    """
    n = (shortest + 1) // 2
    grams = ngrams(texts.words, n)
    runs = max(0, len(texts.words) - shortest + 1)
    lowest = grams[:runs].copy()
    for shift in range(1, shortest - n + 1):
        np.minimum(lowest, grams[shift : shift + runs], out=lowest)
    places = np.flatnonzero(whole(texts.starts, np.arange(runs), shortest))
    found = lowest[places] >> LOW
    begins = np.zeros(len(texts.words) + 1, np.bool_)
    begins[texts.starts] = True
    again = np.zeros(len(places), np.bool_)
    again[1:] = (found[1:] == found[:-1]) & ~begins[places[1:]]
    return found[~again], places[~again]


def run_index(
    step: NgramIndex, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Write the marks of every shard of a corpus; goes on after the last that is there."""
    given = inputs["corpus"]
    shards = corpora.shards(given, step.part)
    ledger = Ledger(out, plan_of(shards, given), [f"{FOLDER}/*.parquet"])
    for number, shard in enumerate(shards):
        if number >= len(ledger.shards):
            path = out / FOLDER / shard.name
            ledger.add(_write(shard, path, step.shortest), [path])
        tell(number + 1, len(shards), "shards")
    facts = {
        "corpus": given.fingerprint,
        "part": step.part,
        "shortest": step.shortest,
        **{
            name: sum(shard[name] for shard in ledger.shards) for name in ("seen", "words", "marks")
        },
        "index_bytes": sum(sum(shard["made"].values()) for shard in ledger.shards),
    }
    files.write_json(out / COUNTS, facts)
    return facts


def _write(shard: Shard, path: Path, shortest: int) -> dict[str, Any]:
    seen = words = kept = 0
    path.parent.mkdir(exist_ok=True)
    with (
        files.replacing(path) as temporary,
        pq.ParquetWriter(
            temporary, MARK, compression="lz4", use_dictionary=False, column_encoding=ENCODING
        ) as writer,
    ):
        waiting: list[U64] = []
        size = 0
        for rows in batches(shard.path):
            texts = hashed(rows["text"].combine_chunks())
            grams, places = marks(texts, shortest)
            which = (texts.texts_at(places) + seen).astype(np.uint64)
            waiting.append(np.unique(grams << LOW | which))
            seen += rows.num_rows
            words += len(texts.words)
            size += rows["text"].nbytes
            if size >= PART_BYTES:
                kept += _flush(writer, waiting)
                waiting, size = [], 0
        kept += _flush(writer, waiting)
    return {"seen": seen, "words": words, "marks": kept}


def _flush(writer: pq.ParquetWriter, waiting: list[U64]) -> int:
    """Write marks as one row group, in order; return how many there are."""
    if not waiting:
        return 0
    keys = np.concatenate(waiting)
    keys.sort()
    columns = [(keys >> LOW).astype(np.uint32), keys.astype(np.uint32)]
    writer.write_table(pa.Table.from_arrays(columns, schema=MARK), row_group_size=len(keys) or 1)
    return len(keys)


def _parts(path: Path) -> Iterator[U64]:
    """Yield the marks of a shard, part by part, as sorted keys: the gram above the row."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            gram, row = (table[name].to_numpy().astype(np.uint64) for name in MARK.names)
            yield gram << LOW | row


class Lookup:
    """Says which documents of a shard may hold which items, by an index of the corpus.

    `served` are the items that it knows of, by number; `left` those too short for it, in their text
    and in their answer: whether a document holds those, only its text can tell.
    """

    def __init__(self, folder: Path, items: Items) -> None:
        facts = json.loads((folder / COUNTS).read_text())
        self._folder = folder / FOLDER
        self._shortest: int = facts["shortest"]
        long = items.long & (items.ngram >= self._shortest)
        answers = np.diff(items.answers.starts)
        short = items.short & (np.maximum(items.sizes, answers) >= self._shortest)
        self.served = np.flatnonzero(long | short)
        self.left = np.flatnonzero((items.long | items.short) & ~(long | short))
        self._values, self._which, self._starts = self._wanted(items)

    def _wanted(self, items: Items) -> tuple[U64, I64, I64]:
        """Return all marks looked for, sorted, and by set of them which: documents hold a set whole.

        A short item's text and answer are one set. Of a long one each block is: whatever n-gram of it
        a document has, it has one of the blocks within.
        """
        grams, places = marks(items.texts, self._shortest)
        more, answered = marks(items.answers, self._shortest)
        length = max(self._shortest, items.ngram - STRIDE + 1)
        stride = items.ngram - length + 1
        long = self.served[items.long[self.served]]
        short = self.served[~items.long[self.served]]
        of, block = _expanded(
            np.zeros(len(long), np.int64), (items.sizes[long] - length) // stride + 1
        )
        begins = items.texts.starts[long][of] + block * stride
        blocks = self._held(places, begins, np.full(len(begins), length))
        asked = self._held(places, items.texts.starts[short], items.sizes[short])
        answers = self._held(
            answered, items.answers.starts[short], np.diff(items.answers.starts)[short]
        )
        nothing = np.zeros_like(blocks)
        first = np.concatenate([blocks, asked])
        second = np.concatenate([nothing, answers + len(grams)])
        sizes = np.diff(first)[:, 0] + np.diff(second)[:, 0]
        _, flat = _expanded(*np.hstack([first, second]).reshape(-1, 2).T)
        values, which = np.unique(np.concatenate([grams, more])[flat], return_inverse=True)
        return values, which.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)])

    def _held(self, places: I64, begins: I64, words: I64) -> I64:
        """Return which marks, from and to, all runs have that lie within some words from a place on.

        The mark of a run is the last that began at or before it.
        """
        runs = words - self._shortest
        first = np.searchsorted(places, begins, side="right") - 1
        last = np.searchsorted(places, begins + runs, side="right")
        return np.stack([np.where(runs < 0, 0, first), np.where(runs < 0, 0, last)], axis=1)

    def candidates(self, shard: Shard, rows: int) -> Mask:
        """Say of each of the rows of a shard whether it may hold an item that is served."""
        mask = np.zeros(rows, np.bool_)
        path = self._folder / shard.name
        if len(self._values):
            for keys in _parts(path):
                for found in self._in_part(keys):
                    mask[found] = True
        return mask

    def _in_part(self, keys: U64) -> Iterator[I64]:
        """Yield rows that have every mark of some set."""
        begins = np.searchsorted(keys, self._values << LOW)
        ends = np.searchsorted(keys, (self._values << LOW) | np.uint64(0xFFFFFFFF), side="right")
        counts = (ends - begins)[self._which]
        fewest = np.minimum.reduceat(counts, self._starts[:-1])
        alive = np.flatnonzero(fewest)
        total = np.cumsum(fewest[alive])
        for _, sets in _grouped(alive, total // PAIRS):
            yield self._holders(keys, begins, ends, sets)

    def _holders(self, keys: U64, begins: I64, ends: I64, sets: I64) -> I64:
        """Return the rows that have all marks of one of the sets: those of its rarest, looked at for the rest."""
        first, last = self._starts[sets], self._starts[sets + 1]
        number, at = _expanded(first, last)
        counts = (ends - begins)[self._which[at]]
        bounds = np.cumsum(last - first) - (last - first)
        fewest = np.minimum.reduceat(counts, bounds)[number]
        rarest = np.minimum.reduceat(np.where(counts == fewest, at, len(self._which)), bounds)
        value = self._which[rarest]
        pair_set, place = _expanded(begins[value], ends[value])
        rows = keys[place] & np.uint64(0xFFFFFFFF)
        for step in range(int((last - first).max())):
            at = first[pair_set] + step
            there = at < last[pair_set]
            asked = self._values[self._which[np.where(there, at, 0)]] << LOW | rows
            found = np.searchsorted(keys, asked)
            found[found == len(keys)] = 0
            keep = ~there | (keys[found] == asked)
            pair_set, rows = pair_set[keep], rows[keep]
        return np.unique(rows).astype(np.int64)


def _grouped(values: I64, by: I64) -> Iterator[tuple[int, I64]]:
    """Yield values that share a group; groups do not fall."""
    cuts = np.flatnonzero(np.diff(by)) + 1
    for group in np.split(values, cuts) if len(values) else ():
        yield len(group), group


def _expanded(begins: I64, ends: I64) -> tuple[I64, I64]:
    """Return for each of several ranges its number, and each place in it, end to end."""
    sizes = ends - begins
    number = np.repeat(np.arange(len(sizes)), sizes)
    return number, np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes - begins, sizes)


def lookup(given: Input, corpus: Input, part: str | None, items: Items) -> Lookup:
    """Return the lookup of items in an index; BadInput if it is of another corpus."""
    facts = json.loads((given.path / COUNTS).read_text())
    if (facts["corpus"], facts["part"]) != (corpus.fingerprint, part):
        raise BadInput(
            f"the index {given.path.name} is not of the corpus {corpus.path.name}"
            f"{f'/{part}' if part else ''}",
            hint="index=Ref(...) of an NgramIndex of the same corpus and part, or none",
        )
    return Lookup(given.path, items)
