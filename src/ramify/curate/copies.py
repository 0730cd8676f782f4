"""Where a source's files are read: in place, or in copies of what lies far away, a few files ahead.

listing (pinned) ─► copies begun ahead, in order ─► read ─► removed
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from ramify.curate.sources import SourceFile, listing
from ramify.curate.steps import Files, Pages, Source
from ramify.ground import files
from ramify.ground.far import Far, FarFile, far, is_far

PINNED = "pinned.json"  # which commit the first attempt found: later ones read the same
COPIES = "copies"
AT_ONCE = 4
AHEAD_BYTES = 256 << 20  # of copies that wait; one may be larger


class Shelf:
    """The files of a source, and where each is when it is read."""

    def __init__(self, source: Source, out: Path) -> None:
        """List the source, at the commit that an earlier attempt in `out` pinned; see `listing`."""
        self._copies = out / COPIES
        if self._copies.exists():
            files.remove(self._copies)
        self._far: Far | None = None
        if isinstance(source, Files | Pages) and is_far(source.path):
            self._far = far(source.path, _pinned(source.path, out))
        self.files = listing(source, self._far)
        self.facts: dict[str, Any] = {}
        if self._far is not None and self._far.commit is not None:
            self.facts = {"commit": self._far.commit}
            _pin(source, self._far.commit, out)

    @property
    def is_far(self) -> bool:
        """Whether its files are copied before they are read."""
        return self._far is not None

    def near(self, asked: Iterable[SourceFile]) -> Generator[SourceFile]:
        """Yield files as they can be read; a copy is removed when the next is asked for."""
        if self._far is None:
            yield from asked
            return
        waiting = enumerate(asked)
        coming: deque[tuple[SourceFile, Future[Path]]] = deque()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                while self._copy_ahead(pool, waiting, coming):
                    file, copied = coming.popleft()
                    path = copied.result()
                    self._copy_ahead(pool, waiting, coming)
                    yield replace(file, path=path)
                    files.remove(self._copies / path.relative_to(self._copies).parts[0])
            finally:
                pool.shutdown(cancel_futures=True)
                files.remove(self._copies)

    def _copy_ahead(
        self,
        pool: ThreadPoolExecutor,
        waiting: Iterator[tuple[int, SourceFile]],
        coming: deque[tuple[SourceFile, Future[Path]]],
    ) -> bool:
        """Begin copies while few wait, at least one; say whether any do."""
        while len(coming) < AT_ONCE and sum(file.bytes for file, _ in coming) < AHEAD_BYTES:
            number, file = next(waiting, (0, None))
            if file is None:
                break
            coming.append((file, pool.submit(self._copy, number, file)))
        return bool(coming)

    def _copy(self, number: int, file: SourceFile) -> Path:
        assert self._far is not None
        assert file.tag is not None
        folder = self._copies / f"{number:06}"
        folder.mkdir(parents=True)
        return self._far.copy(FarFile(file.origin, str(file.path), file.bytes, file.tag), folder)


def _pinned(path: str, out: Path) -> str | None:
    if not (out / PINNED).is_file():
        return None
    told: dict[str, str] = json.loads((out / PINNED).read_bytes())
    return told["commit"] if told["path"] == path else None


def _pin(source: Source, commit: str, out: Path) -> None:
    assert isinstance(source, Files | Pages)
    told = {"path": source.path, "commit": commit}
    if not (out / PINNED).is_file() or json.loads((out / PINNED).read_bytes()) != told:
        files.write_json(out / PINNED, told)
