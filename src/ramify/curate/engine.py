"""Daft with its telemetry and progress bars off: the one place that imports it."""

from __future__ import annotations

import os

os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")

import daft  # reads the environment when it is imported

__all__ = ["daft"]
