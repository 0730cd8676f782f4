"""The journal of a run: one JSON line per event, of which the last telling is the true one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ramify.ground.errors import Corrupt


class Journal:
    """Appends lines of one incarnation: the life of a run between a start and its end or death.

    A line carries (incarnation, tokens). A run that was killed after its last checkpoint tells
    those tokens again in its next incarnation, so `read` drops what a later one tells anew.
    """

    def __init__(self, path: Path, tokens: int) -> None:
        """Open `path` at a run's position, mending a torn last line, and begin a new incarnation."""
        self.incarnation = 1 + max((line["incarnation"] for line in _lines(path)), default=0)
        self._file = path.open("a", encoding="utf-8")
        if _torn(path):
            self._file.write("\n")
        self.write("begin", tokens)

    def write(self, kind: str, tokens: int, **values: Any) -> None:
        """Append one line; it reaches the disk at the next `sync`."""
        line = {"incarnation": self.incarnation, "tokens": tokens, "kind": kind, **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Flush every line so far to the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close."""
        self.sync()
        self._file.close()


def _torn(path: Path) -> bool:
    """Say whether the last line has no end: what a kill, or a full disk, leaves of it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return size > 0 and file.read(1) != b"\n"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open("rb") as file:  # one by one: a long run has millions
        for number, text in enumerate(file):
            try:
                line = json.loads(text)
            except ValueError:
                continue  # torn by a kill: the tokens it told of are told again
            if not isinstance(line, dict) or not {"incarnation", "tokens", "kind"} <= line.keys():
                raise Corrupt(f"{path}:{number + 1} is not a journal line")
            yield line


def read(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Return the lines that hold, in order: those that no later incarnation tells anew."""
    kept: list[dict[str, Any]] = []
    for line in _lines(path):
        if line["kind"] == "begin":
            kept = [old for old in kept if old["tokens"] <= line["tokens"]]
        kept.append(line)
    return [line for line in kept if kind is None or line["kind"] == kind]
