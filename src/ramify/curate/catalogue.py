"""Every document of several corpora without its text: its rank, its corpus, where it is looked up.

A rank is a document's place in the order of who is kept: those of an earlier deduplication, then what
was held out, so that what is measured on stays as it is, then by corpus, then by id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate import corpora
from ramify.curate.corpora import PLACES
from ramify.curate.steps import Dedup
from ramify.curate.tables import shards_of
from ramify.ground import stop
from ramify.ground.errors import BadInput, Corrupt
from ramify.ground.seeds import derive
from ramify.ground.step import Input

BATCH_ROWS = 4096
SIZE = "cluster_size"
INDEX = "index"

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Shard:
    """One parquet file of a corpus, and where its documents stand in the catalogue.

    `index` is where its signatures lie if an earlier deduplication kept the file: such a shard is
    compared with, and never written.
    """

    label: str
    path: Path
    file: str  # what its files are called among those of its corpus
    first: int
    documents: int
    index: Path | None = None

    @property
    def name(self) -> str:
        """What its files are called where those of all corpora lie together."""
        return f"{self.label}-{self.file}"

    @property
    def stretch(self) -> slice:
        """Where its documents stand in the catalogue."""
        return slice(self.first, self.first + self.documents)

    @property
    def was_held_out(self) -> bool:
        """Whether its documents were held out earlier."""
        return self.path.parent.name == "held_out"


@dataclass(frozen=True)
class Catalogue:
    """Every document of every corpus, in file order: its rank, its corpus, and its hold-out key."""

    shards: list[Shard]
    ids: pa.ChunkedArray
    rank: I64  # 0 is the first that would be kept
    place: I64  # the inverse: the document of a rank
    corpus: npt.NDArray[np.uint16]  # by priority; the number of corpora: kept earlier
    key: U64  # hash of the origin (or of the document), keyed by the seed
    scope: U64 | None  # hash of what two documents must share to be compared; None: nothing
    weight: I64 | None  # documents that each stands for already; None: itself

    @property
    def new(self) -> list[Shard]:
        """The shards that this deduplication writes."""
        return [shard for shard in self.shards if shard.index is None]

    def id_of(self, rank: int) -> str:
        """Return the id of the document of a rank."""
        found: str = self.ids[int(self.place[rank])].as_py()
        return found


def read_catalogue(step: Dedup, inputs: Mapping[str, Input]) -> Catalogue:
    """Return the catalogue of all corpora in the order of their priority; texts are not read.

    Raises BadInput for a corpus without documents, Corrupt for ids that are not 32 hex digits, once
    each in a corpus.
    """
    shards: list[Shard] = []
    tables: list[pa.Table] = []
    for label, path, file, index in _paths(step, inputs):
        table = _columns(step, label, path)
        if table.num_rows:
            first = sum(shard.documents for shard in shards)
            shards.append(Shard(label, path, file, first, table.num_rows, index))
            tables.append(table)
    for label in step.priority:
        here = [x for x in shards if x.label == label and x.index is None]
        if all(shard.was_held_out for shard in here):
            raise BadInput(
                f"corpus {label!r} holds no documents",
                hint="name a corpus that a Read step has made",
            )
    return _catalogue(step, shards, pa.concat_tables(tables))


def _paths(
    step: Dedup, inputs: Mapping[str, Input]
) -> Iterator[tuple[str, Path, str, Path | None]]:
    """Yield (label, path, file, index): of what was kept earlier with its index, of the corpora without."""
    for number in range(len(step.against)):
        folder = inputs[f"against.{number}"].path
        for index in sorted((folder / INDEX).glob("*/*.parquet")):
            label = index.parent.name
            for place in PLACES:
                path = folder / label / place / index.name
                if path.exists():
                    yield label, path, index.name, index
    for label in step.priority:
        for place in PLACES:
            for path in shards_of(inputs[f"corpora.{label}"].path / place):
                yield (
                    label,
                    path,
                    corpora.Shard(place, path).name,
                    None,
                )  # of what goes to either place


def _columns(step: Dedup, label: str, path: Path) -> pa.Table:
    """Return id, key, scope and weight of a file's documents."""
    there = pq.read_schema(path).names
    wanted = {"id", "origin", *({step.within, SIZE} & set(there))}
    table = pq.read_table(path, columns=[name for name in there if name in wanted])
    seed = derive(step.seed, "held_out").to_bytes(8, "little")
    columns = {
        "id": table["id"].cast(pa.string()),
        "key": hashes(table["origin" if step.held_out_by == "origin" else "id"], seed),
        "weight": np.ones(len(table), np.int64),
    }
    if SIZE in there:
        columns["weight"] = pc.fill_null(table[SIZE].cast(pa.int64()), 1)
    if step.within == "corpus":
        columns["scope"] = np.full(len(table), _hash(label, b"scope"), np.uint64)
    elif step.within is not None:
        if step.within not in there:
            raise BadInput(
                f"{path} has no column {step.within!r} to deduplicate within",
                hint=f"its columns: {', '.join(there)}; or write within='corpus'",
            )
        columns["scope"] = hashes(pc.fill_null(table[step.within].cast(pa.string()), ""), b"scope")
    return pa.table(columns)


def _hash(value: str, key: bytes) -> int:
    return int.from_bytes(
        hashlib.blake2b(value.encode(), digest_size=8, key=key).digest(), "little"
    )


def hashes(column: pa.ChunkedArray, key: bytes) -> U64:
    """Return the keyed hash of every value; equal values are hashed once."""
    encoded = column.combine_chunks().dictionary_encode()
    hashed = [_hash(value, key) for value in encoded.dictionary.to_pylist()]
    which: I64 = encoded.indices.to_numpy(zero_copy_only=False)
    return np.array(hashed, np.uint64)[which]


def _catalogue(step: Dedup, shards: list[Shard], table: pa.Table) -> Catalogue:
    last = len(step.priority)
    labels = [last if x.index else step.priority.index(x.label) for x in shards]
    corpus = np.repeat(np.array(labels, np.uint16), [shard.documents for shard in shards])
    held = np.repeat([x.was_held_out for x in shards], [x.documents for x in shards])
    place = _order(table["id"], np.where(corpus == last, 0, corpus + 1 + np.where(held, 0, last)))
    rank = np.empty_like(place)
    rank[place] = np.arange(len(place))
    weight = table["weight"].to_numpy()
    return Catalogue(
        shards,
        table["id"],
        rank,
        place,
        corpus,
        table["key"].to_numpy(),
        table["scope"].to_numpy() if step.within else None,
        weight if (weight != 1).any() else None,
    )


def _order(ids: pa.ChunkedArray, first: npt.NDArray[Any]) -> I64:
    """Return the documents by what goes first, then id: who is kept first."""
    halves = _numbers(ids)
    order = np.lexsort((halves[:, 1], halves[:, 0], first))
    same = (np.diff(halves[order], axis=0) == 0).all(axis=1) & (np.diff(first[order]) == 0)
    same &= first[order][1:] > 0  # two earlier ones may have kept one and the same
    if same.any():
        twice = ids[int(order[int(np.argmax(same))])].as_py()
        raise Corrupt(
            f"two documents of a corpus have the id {twice}", hint="read the corpus again"
        )
    return order.astype(np.int64)


def _numbers(ids: pa.ChunkedArray) -> U64:
    """Return ids of 32 hex digits as two big-endian 64-bit numbers each."""
    if not pc.all(pc.match_substring_regex(ids, "^[0-9a-f]{32}$"), skip_nulls=False).as_py():
        raise Corrupt("the ids of a corpus are not 32 hex digits", hint="read the corpus again")
    parts = [bytes.fromhex("".join(chunk.to_pylist())) for chunk in ids.chunks]
    return np.frombuffer(b"".join(parts), ">u8").reshape(-1, 2).astype(np.uint64)


def batches(
    shard: Shard, catalogue: Catalogue, columns: list[str]
) -> Iterator[tuple[pa.Table, I64]]:
    """Yield a shard's rows and their ranks, some at a time; Stopped where told to stop."""
    first = shard.first
    with pq.ParquetFile(shard.path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            stop.look()
            yield pa.Table.from_batches([batch]), catalogue.rank[first : first + batch.num_rows]
            first += batch.num_rows
