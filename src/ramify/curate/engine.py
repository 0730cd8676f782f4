"""Daft with its telemetry and progress bars off: the one place that imports it."""

from __future__ import annotations

import asyncio
import glob
import os
import threading
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import cast

import pyarrow as pa

os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
os.environ.setdefault(
    "DAFT_RUNNER", "native"
)  # inside a task of Ray too, where it would take Ray's

import daft  # reads the environment when it is imported

__all__ = ["batches", "daft", "read_parquet"]


def read_parquet(path: Path) -> daft.DataFrame:
    """Return the rows of a parquet file; Daft takes a path for a pattern, so it is escaped."""
    return daft.read_parquet(glob.escape(str(path)))


def batches(frame: daft.DataFrame) -> Iterator[pa.RecordBatch]:
    """Return the rows of a frame as record batches, computed as they are asked for.

    They may be left at any time. Daft's own iterator may not: a cycle that holds it is freed by
    whatever thread allocates next, and in Daft's event loop its end waits for that loop for ever.
    """
    return _Batches(cast("Generator[pa.RecordBatch]", frame.to_arrow_iter()))


class _Batches:
    """Iterates over a generator that is closed, whoever frees this, outside of any event loop."""

    def __init__(self, read: Generator[pa.RecordBatch]) -> None:
        self._read = read
        weakref.finalize(self, _close, read).atexit = False  # which keeps it alive until then

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        return next(self._read)


def _close(read: Generator[pa.RecordBatch]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        read.close()
    else:
        threading.Thread(target=read.close, daemon=True).start()
