"""Which shards are finished: one line each, written after the shard's files are in place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ramify.ground import files

NAME = "ledger.jsonl"


class Ledger:
    """The finished shards of a folder, in order; whatever no line vouches for is removed.

    `plan` is what the shards are cut from: where it differs from the plan of an earlier attempt, the
    folder is begun afresh, and `began_afresh` says so.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any], made_in: Iterable[str]) -> None:
        self._path = folder / NAME
        self.folder = folder
        lines = self._sound_lines()
        self.began_afresh = bool(lines) and lines[0] != plan
        if not lines or self.began_afresh:
            lines = [dict(plan)]
        self.shards: list[dict[str, Any]] = self._vouched(lines[1:])
        self._remove_all_but(made_in)
        text = "".join(_line(x) + "\n" for x in (lines[0], *self.shards))
        if not self._path.exists() or self._path.read_text() != text:
            files.write_text(self._path, text)

    def add(self, entry: Mapping[str, Any], made: Iterable[Path]) -> None:
        """Enter a shard whose files `made` are in place."""
        sizes = {str(x.relative_to(self.folder)): x.stat().st_size for x in made if x.exists()}
        line = _line({**entry, "made": sizes})
        files.append_line(self._path, line)
        self.shards.append(json.loads(line))  # as a later attempt would find it

    def _sound_lines(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        found: list[dict[str, Any]] = []
        for line in self._path.read_bytes().split(b"\n")[:-1]:  # a torn last line has no end
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        return found

    def _vouched(self, shards: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the shards before the first whose files are not there as they were written."""
        for index, shard in enumerate(shards):
            for name, size in shard["made"].items():
                path = self.folder / name
                if not path.is_file() or path.stat().st_size != size:
                    return shards[:index]
        return shards

    def _remove_all_but(self, made_in: Iterable[str]) -> None:
        keep = {name for shard in self.shards for name in shard["made"]}
        for pattern in made_in:
            for path in sorted(self.folder.glob(pattern)):
                if str(path.relative_to(self.folder)) not in keep:
                    files.remove(path)


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"))
