"""Make a folder, killed before and after every file operation in turn; run by test_artifact.py.

For each k the folder is begun and killed at its k-th file operation, looked at, and made again to
its end. Prints, for each k, what was found after the kill and at the end, as JSON. It forks: a
process that has nothing but the ground loaded dies and is born in milliseconds.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ramify.ground import artifact, files
from ramify.ground.artifact import Record

ASKED = {"kind": "made", "seed": 1}


def make(home: Path, asked: dict[str, Any] = ASKED) -> None:
    """Do what a step does: begin, write files, go on with those that are there, seal."""
    work = artifact.begin(home / "grid" / "made", asked)
    (work / "inner").mkdir(exist_ok=True)
    for name in ("one", "inner/two"):
        if not (work / name).exists():
            files.write_text(work / name, f"{name} of {asked['seed']}")
    record = Record(name="made", kind="made", fingerprint="f", asked=asked, step={})
    artifact.seal(work, home / "grid" / "made", record)


def forked(work: Callable[[], None], failpoint: int | None = None) -> int:
    """Return how a forked process ended that did `work`, killed at a file operation if one is given."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            files._passed = 0
            if failpoint is not None:
                os.environ["RAMIFY_FAILPOINT"] = str(failpoint)
            work()
            code = 0
        except BaseException:  # noqa: BLE001  # the fork must not go on as its parent would
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def state(home: Path) -> str:
    """Return what a reader finds: nothing, or a finished folder that is sound, or not."""
    folder = home / "grid" / "made"
    record = artifact.read_record(folder)
    if record is None:
        return "nothing"
    return "sound" if not artifact.unsound(folder, record) else "unsound"


def attempt(here: Path, k: int, before: dict[str, Any] | None, last: dict[str, Any]) -> list[Any]:
    """Make, killed at operation k, where `before` had begun; then make `last`: what was found?"""
    here.mkdir()
    if before is not None:  # killed while sealing: all its files are there, and its record
        assert forked(lambda: make(here, before), 17) == -9
    ended = forked(lambda: make(here), k)
    seen = state(here)
    again = 0 if seen == "sound" else forked(lambda: make(here, last))
    text = (here / "grid/made/inner/two").read_text()
    left = sorted(p.name for p in here.rglob("*") if p.suffix in (".tmp", ".partial"))
    return [ended, seen, again, state(here), text, left]


def main(home: Path) -> None:
    """Kill `make` everywhere: on an empty place, and where another asking had begun, or comes back."""
    os.fsync = lambda fd: None  # a killed process loses nothing by it
    other = {"kind": "made", "seed": 2}
    ways = {"fresh": (None, ASKED), "after": (other, ASKED), "back": (other, other)}
    told: dict[str, list[Any]] = {way: [] for way in ways}
    for way, (before, last) in ways.items():
        while not told[way] or told[way][-1][0] != 0:
            k = len(told[way]) + 1
            told[way].append(attempt(home / f"{way}-{k}", k, before, last))
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
