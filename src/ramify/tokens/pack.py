"""Packing: documents in the order of their keys, an end after each, concatenated, cut into shards.

    row groups ── encode ── spool/NNNNN.arrow ── merge by key ── shards/NNNNN.bin + .docs.parquet

A spool file holds some row groups' documents, already encoded and in order; which row groups is
settled by the corpus alone, and every file appears whole or not at all. So a packing that was killed
goes on with the next file that is missing, and ends with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt
from ramify.ground.step import Tell
from ramify.tokens import corpus, provenance
from ramify.tokens.encode import Encoder, Ids, differs
from ramify.tokens.tokenizer import Codec

SPOOL_BYTES = 128 << 20  # of text in a spool file; its tokens are held in memory, twice
SEGMENT_MOST = 2**20
WASTE = 100  # a segment is at most this part of a source, so that an epoch wastes below 1%
AUDIT_ONE_IN = 2048  # documents encoded by the reference too
HELD_OUT = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "origin", "text", *provenance.COLUMNS)),
        ("bytes", pa.int64()),
        ("tokens", pa.list_(pa.uint32())),
    ]
)
INDEX = ("id", "origin", "part", "start", "tokens", "bytes", *provenance.COLUMNS)


@dataclass(frozen=True)
class Writer:
    """How documents become tokens: by which encoder and tokenizer, in which type and order."""

    codec: Codec
    encoder: Encoder
    dtype: np.dtype[Any]
    seed: int


@dataclass(frozen=True)
class Shard:
    """One finished shard: its file, tokens, and the documents that begin in it."""

    file: str
    tokens: int
    documents: int


def told_order(seed: int) -> str:
    """Return in words how documents are ordered."""
    return f"by the BLAKE2b-128 hash of the document's id, keyed with seed {seed}"


def choose_segment(tokens: int, max_context: int) -> int:
    """Return the largest max_context · 2^k of at most 2^20 and 1/100 of the source, or max_context."""
    segment = max_context
    while 2 * segment <= min(SEGMENT_MOST, tokens // WASTE):
        segment *= 2
    return segment


def spool_path(out: Path, index: int) -> Path:
    """Return where a spool file lies in a working folder."""
    return out / "spool" / f"{index:05d}.arrow"


def spool(
    writer: Writer,
    groups: Sequence[corpus.RowGroup],
    path: Path,
    encoded: Callable[[int], None],
) -> None:
    """Encode some row groups' documents and write them in order, with their keys and sizes.

    `encoded` is called with how many documents were encoded, whenever some were.
    """
    tables, ids = [], []
    for group in groups:
        for documents in corpus.read(group):
            table, pieces = _encoded(writer, documents, group.path)
            tables.append(table)
            ids += pieces
            encoded(len(pieces))
    write_spool(pa.concat_tables(tables), ids, path)


def write_spool(table: pa.Table, ids: list[npt.NDArray[Any]], path: Path) -> None:
    """Write documents, each with its ids and end of text, in the order of their keys."""
    order = np.lexsort((_column(table, "low"), _column(table, "high")))
    ids = [ids[at] for at in order.tolist()]
    offsets = np.cumsum([0, *(piece.size for piece in ids)], dtype=np.int64)
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(ids)))
    table = table.take(pa.array(order)).combine_chunks().append_column("ids", lists)
    with (
        files.replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as file,
    ):
        file.write_table(table)


def _encoded(
    writer: Writer, documents: corpus.Documents, path: Path
) -> tuple[pa.Table, list[npt.NDArray[Any]]]:
    """Return documents without their text, and the ids of each with the end of text."""
    ids, offsets = writer.encoder.encode(documents.texts)
    _check_ids(ids, writer.codec.vocab, path)
    names = documents.table.column("id").to_pylist()
    keys = corpus.order_keys(names, writer.seed)
    _audit(writer, documents.texts, keys)
    ended = np.insert(ids, offsets[1:], writer.codec.end_of_text).astype(writer.dtype)
    bounds = (offsets + np.arange(offsets.size)).tolist()
    table = pa.table(
        {
            "high": keys[:, 0],
            "low": keys[:, 1],
            "id": documents.table.column("id").cast(pa.string()),
            "origin": documents.table.column("origin").cast(pa.string()),
            "part": documents.table.column("part").cast(pa.int64()),
            "tokens": np.diff(offsets),
            "bytes": documents.bytes,
            **provenance.columns_of(documents.table),
        }
    )
    return table, [ended[start:end] for start, end in pairwise(bounds)]


def _check_ids(ids: Ids, vocab: int, path: Path) -> None:
    if ids.size and int(ids.max()) >= vocab:
        raise Corrupt(f"encoding {path} gave id {ids.max()}, beyond the vocabulary of {vocab}")


def _audit(writer: Writer, texts: Sequence[str], keys: npt.NDArray[np.uint64]) -> None:
    chosen = np.flatnonzero(keys[:, 1] % np.uint64(AUDIT_ONE_IN) == 0).tolist()
    wrong = differs(writer.encoder, writer.codec, [texts[at] for at in chosen]) if chosen else None
    if wrong is not None:
        raise BadInput(
            f"{writer.encoder.name} encodes a document differently than the reference: {wrong[:60]!r}",
            hint="write encoder='tokenizers': what was begun is made again",
        )


class Spooled:
    """The spool files of a corpus as one sequence of documents in the order of keys."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Map the files and merge their keys; raises BadInput where an id occurs twice."""
        tables = [_mapped(path) for path in paths]
        lists = [table.column("ids").chunk(0) for table in tables]
        self._ids = [(each.values.to_numpy(), each.offsets.to_numpy()) for each in lists]
        self._listed = [table.drop_columns(["ids", "high", "low"]) for table in tables]
        high, low = (np.concatenate([_column(t, name) for t in tables]) for name in ("high", "low"))
        order = np.lexsort((low, high))
        same = np.flatnonzero((np.diff(high[order]) == 0) & (np.diff(low[order]) == 0))
        if same.size:
            twice = pa.concat_tables(self._listed).column("id")[int(order[same[0]])]
            raise BadInput(
                f"document {twice} is in the corpus twice", hint="documents need ids of their own"
            )
        which = np.repeat(np.arange(len(tables), dtype=np.int32), [t.num_rows for t in tables])
        self._spool = which[order]
        lengths = np.concatenate([_column(table, "tokens") for table in tables])[order] + 1
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.bytes = sum(int(_column(table, "bytes").sum()) for table in tables)

    @property
    def tokens(self) -> int:
        """All tokens, ends of text included."""
        return int(self.starts[-1])

    def provenance(self) -> dict[str, list[dict[str, Any]]]:
        """Documents and tokens by licence and by source."""
        return provenance.counted(self._listed)

    @property
    def documents(self) -> int:
        """All documents."""
        return len(self.starts) - 1

    def _rows(self, first: int, last: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return spool file and row of documents `first` to `last`: together in every spool file."""
        within = self._spool[first:last]
        before = np.bincount(self._spool[:first], minlength=len(self._ids))
        counts = np.bincount(within, minlength=len(self._ids))
        rows = np.empty(last - first, np.int64)
        stretches = [np.arange(b, b + n) for b, n in zip(before, counts, strict=True)]
        rows[np.argsort(within, kind="stable")] = np.concatenate(stretches)
        return within, rows

    def ids(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return the tokens of documents `first` to `last`, each with its end of text."""
        within, rows = self._rows(first, last)
        pieces = []
        for spool_file, row in zip(within.tolist(), rows.tolist(), strict=True):
            values, offsets = self._ids[spool_file]
            pieces.append(values[offsets[row] : offsets[row + 1]])
        return np.concatenate(pieces)

    def listing(self, first: int, last: int) -> pa.Table:
        """Return the rows of INDEX of documents `first` to `last`."""
        within, rows = self._rows(first, last)
        sizes = [table.num_rows for table in self._listed]
        begins = np.concatenate([[0], np.cumsum(sizes[:-1], dtype=np.int64)])
        table = pa.concat_tables(self._listed).take(pa.array(begins[within] + rows))
        starts = pa.array(self.starts[first:last], pa.int64())
        table = table.append_column("start", starts).select(INDEX)
        fields = [
            f.with_type(pa.string()) if f.name in provenance.COLUMNS else f for f in table.schema
        ]
        return table.cast(pa.schema(fields))


def _mapped(path: Path) -> pa.Table:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise Corrupt(f"{path} cannot be read ({error})", hint="remove it and run again") from error


def _column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = table.column(name).to_numpy()
    return values


def write_shards(spooled: Spooled, out: Path, shard_tokens: int, tell: Tell) -> list[Shard]:
    """Write every shard that is not there yet; `shard_tokens` is a whole number of segments.

    Raises Corrupt if a document or a token would be in no shard, or in two.
    """
    (out / "shards").mkdir(exist_ok=True)
    shards = []
    for index, start in enumerate(range(0, spooled.tokens, shard_tokens)):
        end = min(start + shard_tokens, spooled.tokens)
        shards.append(_write_shard(spooled, out, index, start, end))
        tell(end, spooled.tokens, "tokens", "packing")
    documents, tokens = sum(s.documents for s in shards), sum(s.tokens for s in shards)
    if (documents, tokens) != (spooled.documents, spooled.tokens):
        raise Corrupt(
            f"the shards hold {documents} documents and {tokens} tokens, "
            f"{spooled.documents} and {spooled.tokens} went in"
        )
    return shards


def _write_shard(spooled: Spooled, out: Path, index: int, start: int, end: int) -> Shard:
    file = f"shards/{index:05d}.bin"
    # The first document that begins here, the first that begins later, and the first that reaches in.
    opens, closes = (int(at) for at in np.searchsorted(spooled.starts[:-1], [start, end]))
    reaches = int(np.searchsorted(spooled.starts, start, side="right")) - 1
    shard = Shard(file, end - start, closes - opens)
    binary, listed = out / file, out / f"shards/{index:05d}.docs.parquet"
    if binary.is_file() and listed.is_file():
        return shard
    skip = start - int(spooled.starts[reaches])
    ids = spooled.ids(reaches, closes)[skip : skip + end - start]
    if ids.size != end - start:
        raise Corrupt(f"shard {file} would hold {ids.size} tokens, not {end - start}")
    files.write_bytes(binary, ids.tobytes())
    with files.replacing(listed) as temporary:
        pq.write_table(spooled.listing(opens, closes), temporary, compression="zstd")
    return shard


def encode_held_out(writer: Writer, folder: Path, path: Path) -> dict[str, int]:
    """Write held-out documents with their tokens, in the corpus' order; return how many of each."""
    return write_held_out(_held_out(writer, folder), path)


def write_held_out(tables: Iterable[pa.Table], path: Path) -> dict[str, int]:
    """Write tables of HELD_OUT one after another; return how many documents, tokens and bytes."""
    count = {"documents": 0, "tokens": 0, "bytes": 0}
    with (
        files.replacing(path) as temporary,
        pq.ParquetWriter(temporary, HELD_OUT, compression="zstd") as file,
    ):
        for table in tables:
            file.write_table(table)
            count["documents"] += table.num_rows
            count["tokens"] += len(table.column("tokens").combine_chunks().values)
            count["bytes"] += int(_column(table, "bytes").sum())
    return count


def _held_out(writer: Writer, folder: Path) -> Iterator[pa.Table]:
    for group in corpus.row_groups(folder):
        for documents in corpus.read(group):
            ids, offsets = writer.encoder.encode(documents.texts)
            tokens = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(ids))
            columns = [documents.table.column(name) for name in ("id", "origin", "text")]
            columns += provenance.columns_of(documents.table).values()
            columns += [pa.array(documents.bytes), tokens]
            arrays = [c.cast(f.type) for c, f in zip(columns, HELD_OUT, strict=True)]
            yield pa.table(arrays, schema=HELD_OUT)
