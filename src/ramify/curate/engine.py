"""Daft with its telemetry and progress bars off: the one place that imports it."""

from __future__ import annotations

import glob
import os
from pathlib import Path

os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
os.environ.setdefault(
    "DAFT_RUNNER", "native"
)  # inside a task of Ray too, where it would take Ray's

import daft  # reads the environment when it is imported

__all__ = ["daft", "read_parquet"]


def read_parquet(*paths: Path) -> daft.DataFrame:
    """Return the rows of parquet files; Daft takes paths for patterns, so theirs are escaped."""
    return daft.read_parquet([glob.escape(str(path)) for path in paths])
