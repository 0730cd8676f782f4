"""Whether this process was told to stop: asked between documents, so that no shard holds it up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ramify.ground.errors import Stopped

_asked: Callable[[], bool] | None = None


@contextlib.contextmanager
def heeding(stopping: Callable[[], bool]) -> Iterator[None]:
    """Let `look` ask `stopping` for as long as the block lasts."""
    global _asked
    before, _asked = _asked, stopping
    try:
        yield
    finally:
        _asked = before


def look() -> None:
    """Raise Stopped if this process was told to stop; where nobody can tell it, do nothing.

    What a step has under way is given up then and made again; what its ledger vouches for stays.
    """
    if _asked is not None and _asked():
        raise Stopped("told to stop")
