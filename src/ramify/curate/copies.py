"""Where a source's files are read: in place, or in copies of what lies far away, a few files ahead.

listing (pinned) ─► copies begun ahead, in order ─► read ─► removed

A listing is made once. Copies are made where they are read, which may be another machine.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
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
    """The files of a source, and where each is when it is read.

    `place` is where they lie, None if on this machine; pickled, it holds no credential.
    """

    def __init__(self, source: Source, out: Path) -> None:
        """List the source, at the commit that an earlier attempt in `out` pinned; see `listing`."""
        self._copies = out / COPIES
        if self._copies.exists():
            files.remove(self._copies)
        self.place: Far | None = None
        if isinstance(source, Files | Pages) and is_far(source.path):
            self.place = far(source.path, _pinned(source.path, out))
        self.files = listing(source, self.place)
        self.facts: dict[str, Any] = {}
        if self.place is not None and self.place.commit is not None:
            self.facts = {"commit": self.place.commit}
            _pin(source, self.place.commit, out)

    def near(self, asked: Iterable[SourceFile]) -> Generator[SourceFile]:
        """Yield files as they can be read; see `near`."""
        return near(self.place, asked, self._copies)


def near(place: Far | None, asked: Iterable[SourceFile], copies: Path) -> Generator[SourceFile]:
    """Yield files as they can be read; a copy below `copies` is removed when the next is asked for.

    Raises what the place raises where a file is not the one that was listed, or is refused.
    """
    if place is None:
        yield from asked
        return
    waiting = enumerate(asked)
    coming: deque[tuple[SourceFile, Future[Path]]] = deque()
    copies.mkdir()  # and nothing above it: a task whose folder was removed must not make it anew
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begin = partial(pool.submit, partial(_copy, place, copies))
        try:
            while _begun_ahead(begin, waiting, coming):
                file, copied = coming.popleft()
                path = copied.result()
                _begun_ahead(begin, waiting, coming)
                yield replace(file, path=path)
                files.remove(copies / path.relative_to(copies).parts[0])
        finally:
            pool.shutdown(cancel_futures=True)
            files.remove(copies)


def _begun_ahead(
    begin: Callable[[int, SourceFile], Future[Path]],
    waiting: Iterator[tuple[int, SourceFile]],
    coming: deque[tuple[SourceFile, Future[Path]]],
) -> bool:
    """Begin copies while few wait, at least one; say whether any do."""
    while len(coming) < AT_ONCE and sum(file.bytes for file, _ in coming) < AHEAD_BYTES:
        number, file = next(waiting, (0, None))
        if file is None:
            break
        coming.append((file, begin(number, file)))
    return bool(coming)


def _copy(place: Far, copies: Path, number: int, file: SourceFile) -> Path:
    assert file.tag is not None
    folder = copies / f"{number:06}"
    folder.mkdir()
    return place.copy(FarFile(file.origin, str(file.path), file.bytes, file.tag), folder)


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
