"""Tables of documents on disk: their columns, and a writer that streams, then renames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ramify.ground import files

DOCUMENT = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("origin", pa.string()),
        ("part", pa.int64()),
        ("url", pa.string()),  # where the document was found; null where nobody said
        ("license", pa.string()),
        ("source", pa.string()),  # the name of the crawl or data set it came with
    ]
)
DROPPED = DOCUMENT.append(pa.field("reason", pa.string()))

FLUSH_BYTES = 8 << 20
FLUSH_ROWS = 10_000


class Table:
    """One parquet file under way: made when its first row comes, flushed by row groups."""

    def __init__(self, path: Path, schema: pa.Schema, stack: ExitStack) -> None:
        self.path = path
        self.rows = 0
        self._schema = schema
        self._stack = stack
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[Mapping[str, Any]] = []
        self._waiting_bytes = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row; `text` must be valid UTF-8."""
        self._waiting.append(row)
        self._waiting_bytes += len(row["text"])
        if self._waiting_bytes > FLUSH_BYTES or len(self._waiting) >= FLUSH_ROWS:
            self.flush()

    def write(self, rows: pa.Table) -> None:
        """Add whole rows of this table's schema, as a row group."""
        if not rows.num_rows:
            return
        if self._writer is None:
            temporary = self._stack.enter_context(files.replacing(self.path))
            writer = pq.ParquetWriter(temporary, self._schema, compression="zstd")
            self._writer = self._stack.enter_context(writer)
        self._writer.write_table(rows)
        self.rows += rows.num_rows

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self.write(pa.Table.from_pylist(self._waiting, schema=self._schema))
            self._waiting, self._waiting_bytes = [], 0


@contextmanager
def writing(paths: Mapping[Path, pa.Schema]) -> Iterator[list[Table]]:
    """Yield a Table per path; those that got rows are whole and in place when the block ends well."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        tables = [Table(path, schema, stack) for path, schema in paths.items()]
        yield tables
        for table in tables:
            table.flush()


def with_further(path: Path) -> pa.Schema:
    """Return the columns of a corpus file: those of every document, then whatever else it has."""
    there = pq.read_schema(path)
    further = [field for field in there if field.name not in DOCUMENT.names]
    return pa.schema([*DOCUMENT, *further])


def columns_there(path: Path) -> list[str]:
    """Return the names of `with_further` that a file has; one of an earlier version has fewer."""
    there = pq.read_schema(path).names
    return [name for name in with_further(path).names if name in there]


def conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with exactly the columns of `schema`; one that is missing becomes null."""
    columns = [
        rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def shards_of(folder: Path) -> list[Path]:
    """Return a folder's parquet files in sorted name order, which is the order of the corpus."""
    return sorted(folder.glob("*.parquet"))
