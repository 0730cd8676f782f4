"""Where a run keeps what it makes; torch-free, for readers."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ramify.ground import artifact, files
from ramify.ground.errors import Corrupt, Diverged

RUN = "run.json"
JOURNAL = "journal.jsonl"
DIVERGED = "diverged.json"
DIGITS = 15


def point_folder(run: Path, tokens: int) -> Path:
    """Return where a run keeps its point at `tokens`."""
    return run / "at" / f"{tokens:0{DIGITS}d}"


def window_folder(run: Path, tokens: int) -> Path:
    """Return where a run keeps the window of weights that ends at `tokens`."""
    return run / "windows" / f"{tokens:0{DIGITS}d}"


def points(run: Path) -> dict[int, Path]:
    """Return the finished points of a run by token, in order."""
    return finished(run / "at")


def windows(run: Path) -> dict[int, Path]:
    """Return the finished windows of a run by the token at which each ends, in order."""
    return finished(run / "windows")


def finished(home: Path) -> dict[int, Path]:
    """Return the folders named by tokens that have their record."""
    try:
        names = sorted(entry for entry in os.listdir(home) if entry.isdigit())  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return {}  # most of a large plan: asked of every run, so it is one call
    return {int(n): home / n for n in names if (home / n / artifact.RECORD).exists()}


def tidy(run: Path, keep: Collection[int], newest: int | None = None) -> None:
    """Remove what no longer serves: points before the newest that only served to go on, and halves."""
    there = points(run)
    last = max(there, default=0) if newest is None else newest
    for tokens, folder in there.items():
        if tokens < last and tokens not in keep and _only_served(folder):
            artifact.discard(folder)
    for home in (run / "at", run / "windows"):
        for folder in home.glob("[0-9]*"):
            if folder.suffix == ".partial" or not (folder / artifact.RECORD).exists():
                artifact.discard(folder)


def _only_served(folder: Path) -> bool:
    try:
        record = artifact.read_record(folder)
    except Corrupt:  # `verify` tells, and whoever needs it
        return False
    return record is not None and bool(record.facts.get("passing"))


def write_diverged(
    run: Path, tokens: int, error: Diverged, asked: dict[str, Any], skip_limit: int
) -> None:
    """Write that a run cannot be made beyond a token as it is asked for, so that none tries again."""
    told = {"tokens": tokens, "why": error.message, "hint": error.hint, "asked": asked}
    files.write_json(run / DIVERGED, {**told, "skip_limit": skip_limit})


def read_diverged(run: Path) -> dict[str, Any] | None:
    """Return where and how a run blew up (tokens, why, asked, skip_limit), None if it did not."""
    return _told(run / DIVERGED)


def read_run(run: Path) -> dict[str, Any] | None:
    """Return what a run was born with (what was asked, the card, the lineage), None if it was not."""
    return _told(run / RUN)


def _told(path: Path) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except json.JSONDecodeError as error:
        raise Corrupt(f"{path} cannot be read", hint="type: ramify verify") from error
    return told
