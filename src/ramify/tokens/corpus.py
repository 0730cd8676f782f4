"""A corpus folder's documents, streamed from parquet and ordered by a keyed hash of their ids."""

from __future__ import annotations

import contextlib
import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ramify.ground.errors import BadInput, Corrupt, NotFound
from ramify.tokens import provenance

COLUMNS = ("id", "text", "origin", "part")
BATCH_ROWS = 1024
BATCH_BYTES = 4 << 20  # of text that exists as Python strings at a time


@dataclass(frozen=True)
class RowGroup:
    """One row group of a corpus file: the smallest stretch of documents that is read by itself."""

    path: Path
    index: int
    rows: int
    bytes: int  # uncompressed


@dataclass(frozen=True)
class Documents:
    """Some documents in a row: columns as Arrow arrays, the text also as Python strings."""

    table: pa.RecordBatch
    texts: list[str]
    bytes: npt.NDArray[np.int64]


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a damaged file into Corrupt, which names the file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Corrupt(
            f"{path} cannot be read as parquet ({reason})",
            hint="type: ramify verify, then forget and make that corpus again",
        ) from error


def row_groups(folder: Path) -> list[RowGroup]:
    """Return every row group of a folder's parquet files, in the order of file names; [] if no folder.

    Raises Corrupt for a file that is no parquet, BadInput for one without the columns of a corpus.
    """
    groups = []
    for path in sorted(folder.glob("*.parquet")):
        with naming(path), pq.ParquetFile(path) as file:
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise BadInput(f"{path} has no column {', '.join(missing)}")
            for index in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(index)
                groups.append(RowGroup(path, index, group.num_rows, group.total_byte_size))
    return [group for group in groups if group.rows]


def train_row_groups(corpus: Path) -> list[RowGroup]:
    """Return the row groups of a corpus' training documents.

    Raises NotFound where there is no corpus and BadInput where it holds no document.
    """
    folder = corpus / "documents"
    if not folder.is_dir():
        raise NotFound(f"{corpus} is no corpus: it has no folder documents")
    groups = row_groups(folder)
    if not groups:
        raise BadInput(f"{folder} holds no documents", hint="look at what was dropped: ramify look")
    return groups


def read(group: RowGroup, *, rows: int = BATCH_ROWS) -> Iterator[Documents]:
    """Yield a row group's documents in order, at most `rows` and about BATCH_BYTES of text at a time."""
    with naming(group.path), pq.ParquetFile(group.path, memory_map=True) as file:
        there = set(file.schema_arrow.names)
        columns = [*COLUMNS, *(name for name in provenance.COLUMNS if name in there)]
        batches = file.iter_batches(
            rows, row_groups=[group.index], columns=columns, use_threads=False
        )
        for batch in batches:
            if batch.num_rows:
                yield from _cut(batch, group.path)


def _cut(batch: pa.RecordBatch, path: Path) -> Iterator[Documents]:
    text = batch.column("text")
    if text.null_count or batch.column("id").null_count:
        raise BadInput(f"{path} holds a document without text or id")
    size = _byte_lengths(text)
    ends = np.flatnonzero(np.diff(np.cumsum(size) // BATCH_BYTES, append=-1)) + 1
    for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        rows = batch.slice(start, end - start)
        yield Documents(
            rows, rows.column("text").to_numpy(zero_copy_only=False).tolist(), size[start:end]
        )


def _byte_lengths(text: Any) -> npt.NDArray[np.int64]:
    """Return the UTF-8 length of every string of an Arrow string array."""
    wide = text.cast(pa.large_string())
    offsets = np.frombuffer(wide.buffers()[1], np.int64)[wide.offset : wide.offset + len(wide) + 1]
    return np.diff(offsets)


def order_key(document: str, seed: int) -> bytes:
    """Return the 16 bytes that documents are ordered by: BLAKE2b of the id, keyed with the seed."""
    key = seed.to_bytes(8, "little", signed=True)
    return hashlib.blake2b(document.encode(), digest_size=16, key=key).digest()


def order_keys(documents: Sequence[str], seed: int) -> npt.NDArray[np.uint64]:
    """Return the order keys of many ids, [documents, 2]: two big-endian words each, high word first."""
    joined = b"".join(order_key(document, seed) for document in documents)
    return np.frombuffer(joined, ">u8").astype(np.uint64).reshape(-1, 2)


def sample(corpus: Path, cap_bytes: int, seed: int) -> list[str]:
    """Return the texts that come first in the order of keys, as many as reach `cap_bytes`.

    The whole corpus is read once; no more than the sample is held. Which files hold a document, and
    in which order, changes nothing.
    """
    heap: list[tuple[int, str, int]] = []  # the latest key first: (-key, text, bytes)
    held = 0
    for group in train_row_groups(corpus):
        for documents in read(group):
            ids = documents.table.column("id").to_pylist()
            sizes = documents.bytes.tolist()
            for document, text, size in zip(ids, documents.texts, sizes, strict=True):
                key = int.from_bytes(order_key(document, seed))
                heapq.heappush(heap, (-key, text, size))
                held += size
                while held - heap[0][2] >= cap_bytes:
                    held -= heapq.heappop(heap)[2]
    return [text for _, text, _ in sorted(heap, key=lambda entry: -entry[0])]


def glance(groups: Sequence[RowGroup], cap_bytes: int, places: int = 8) -> list[str]:
    """Return the first texts of up to `places` row groups spread evenly, about `cap_bytes` together."""
    chosen = groups[:: -(-len(groups) // places)]
    texts = []
    for group in chosen:
        left = cap_bytes // len(chosen)
        for documents in read(group, rows=16):
            for text in documents.texts:
                if left > 0:
                    texts.append(text[:left])
                    left -= len(text)
            if left <= 0:
                break
    return texts
