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
    [("id", pa.string()), ("text", pa.string()), ("origin", pa.string()), ("part", pa.int64())]
)
DROPPED = DOCUMENT.append(pa.field("reason", pa.string()))
DROPPED_OF = DROPPED.append(pa.field("corpus", pa.string()))

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


def shards_of(folder: Path) -> list[Path]:
    """Return a folder's parquet files in sorted name order, which is the order of the corpus."""
    return sorted(folder.glob("*.parquet"))
