"""Rows and bytes out of files: what every reader of curation stands on.

file ─┬─► rows of jsonl or parquet ─► dict, or Bad with the reason
      └─► the bytes of it all
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa

from ramify.curate.engine import batches, read_parquet
from ramify.curate.sources import SourceFile

LIMIT_BYTES = 64 << 20  # of one line or one text file; beyond it nothing is a document
SKIP_BYTES = 1 << 20
LOST_BYTES = 1 << 12  # at most, ahead of where a compressed file breaks off; larger is no faster
COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document:
    """One document: `part` is its ordinal within `origin`; `broken` is why it cannot be used."""

    id: str
    text: str
    origin: str
    part: int
    broken: str | None = None
    url: str | None = None
    license: str | None = None
    source: str | None = None
    formulas: tuple[int, int] | None = None  # seen in a page's markup, kept in its text
    bytes: int | None = None  # of which the text is the beginning; None: it is whole


Chosen = Callable[[int], bool]
"""Says of a document, by its number within its file, whether it is read."""


def every_one(number: int) -> bool:
    """Choose every document."""
    return True


def picked(found: Iterable[T], chosen: Chosen) -> Iterator[tuple[int, T]]:
    """Yield those of a file's rows or pieces that are chosen, with their numbers."""
    return ((number, each) for number, each in enumerate(found) if chosen(number))


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that is no row: why, and what was there."""

    reason: str
    text: str
    bytes: int | None = None  # of the row, where the text is only its beginning


def rows_of(
    file: SourceFile, columns: Mapping[str, str], needed: str
) -> Iterator[dict[str, Any] | Bad] | None:
    """Return a file's rows, or None if it holds none and is a document by itself.

    Of a parquet file only `columns` are read; where it lacks `needed`, every row of it is Bad.
    """
    if file.reader == "table":
        return _table_rows(file.path, columns, needed)
    lines = file.reader == "rows" or (file.reader == "json" and _begins_with_a_row(file.path))
    return _json_rows(file.path) if lines else None


def _begins_with_a_row(path: Path) -> bool:
    with opened(path) as stream:
        return isinstance(_json_row(stream.readline(LIMIT_BYTES)), dict)


def opened(path: Path) -> BinaryIO:
    kind = COMPRESSION.get(path.suffix.lower())
    if kind is None:
        return path.open("rb")
    stream = pa.input_stream(str(path), compression=kind, buffer_size=1 << 18)
    return io.BufferedReader(stream, LOST_BYTES)


def text_of(data: bytes) -> str:
    """Decode UTF-8; bytes that are not become lone surrogates, which NotText finds."""
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def whole_bytes(path: Path) -> bytes | None:
    """Return a file's bytes, decompressed, or None if there are too many of them."""
    with opened(path) as stream:
        data = stream.read(LIMIT_BYTES + 1)
    return None if len(data) > LIMIT_BYTES else data


def _json_rows(path: Path) -> Iterator[dict[str, Any] | Bad]:
    """Yield the objects of JSON lines; blank lines are nothing, any other line is a row or Bad.

    Not by Daft's reader: that of 0.7.26 panics on a blank or malformed line and turns a lone
    surrogate into a NUL without a word.
    """
    with opened(path) as stream:
        while line := stream.readline(LIMIT_BYTES + 1):
            if len(line) > LIMIT_BYTES:
                size = len(line) + _skip_line(stream)
                yield Bad(f"too_long: a line of {size} bytes", text_of(line[:SKIP_BYTES]), size)
            elif line.strip():
                yield _json_row(line)


def _skip_line(stream: BinaryIO) -> int:
    skipped = 0
    while piece := stream.readline(SKIP_BYTES):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def _json_row(line: bytes) -> dict[str, Any] | Bad:
    text = text_of(line)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Bad(f"malformed: {error}", text)
    return row if isinstance(row, dict) else Bad(f"malformed: a {type(row).__name__}", text)


def _table_rows(
    path: Path, columns: Mapping[str, str], needed: str
) -> Iterator[dict[str, Any] | Bad]:
    """Yield the rows of a parquet file by Daft, in order, only the columns asked for."""
    frame = read_parquet(path)
    there = frame.column_names
    if needed not in there:  # rows are counted all the same
        missing = Bad(no_column(needed, there), "")
        yield from (missing for _ in range(frame.count_rows()))
        return
    wanted = [name for name in columns.values() if name in there]
    for batch in batches(frame.select(*dict.fromkeys(wanted))):
        yield from batch.to_pylist()


def columns_in(file: SourceFile) -> list[str]:
    """Return the names of the columns of a file of rows, by its first row; none if it holds no rows."""
    if file.reader == "table":
        return list(read_parquet(file.path).column_names)
    rows = rows_of(file, {}, "")
    first = None if rows is None else next(rows, None)
    return list(first) if isinstance(first, dict) else []


def no_column(name: str, there: list[str]) -> str:
    """Return the reason to drop a row without a column, with those that there are."""
    shown = ", ".join(there[:12]) + (", ..." if len(there) > 12 else "")
    return f"no_text: no column {name!r}, only {shown or 'none'}"


def provenance(columns: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, str | None]:
    """Return where a row says that it is from, as text; what it does not say is None.

    Of a list, as of the licences found in a file, all hold: `mit AND isc`.
    """
    return {
        field: _said(row.get(columns[field]))
        for field in ("url", "license", "source")
        if field in columns
    }


def _said(value: Any) -> str | None:
    if isinstance(value, list):
        return " AND ".join(str(each) for each in value if each is not None) or None
    return None if value is None else str(value)
