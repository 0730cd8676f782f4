"""Every write is whole or not there, and every file operation can be the last one."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ramify.ground import files

SCRIPT = """
import sys
from pathlib import Path
from ramify.ground import files
home = Path(sys.argv[1])
files.write_text(home / "a", "new")
files.append_line(home / "b", "line")
files.make_folder(home / "c" / "d")
files.remove(home / "c")
"""
LABELS = [
    "before write a", "before rename a", "after rename a",
    "before append b", "after append b",
    "before make c", "after make c", "before make d", "after make d",
    "before remove d", "after remove d", "before remove c", "after remove c",
]  # fmt: skip


def run(home: Path, **environment: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(home)], env={**os.environ, **environment}, check=False
    )
    return done.returncode


def test_file_operations_are_counted_in_order_and_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "home").mkdir()
    assert run(tmp_path / "home", RAMIFY_FAILPOINT_LOG=str(log)) == 0
    told = [line.split(" ", 2)[1:] for line in log.read_text().splitlines()]
    assert told == [[str(n), label] for n, label in enumerate(LABELS, 1)]


@pytest.mark.parametrize(("last", "left"), [(1, []), (2, [".a.tmp"]), (3, ["a"]), (5, ["a", "b"])])
def test_a_failpoint_kills_just_there(tmp_path: Path, last: int, left: list[str]) -> None:
    assert run(tmp_path, RAMIFY_FAILPOINT=str(last)) == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == left


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_text(path, "old")

    def fill_the_disk() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fill_the_disk()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"π": [1, None]})
    assert (tmp_path / "x.json").read_bytes().decode() == '{\n "π": [\n  1,\n  null\n ]\n}\n'
    for line in ("one", "two"):
        files.append_line(tmp_path / "log", line)
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    assert files.sha256(tmp_path / "log") == hashlib.sha256(b"one\ntwo\n").hexdigest()


def test_removing_takes_a_folder_whole_and_a_link_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    files.make_folder(kept / "inner")
    (kept / "inner" / "file").touch()
    gone = tmp_path / "gone"
    files.make_folder(gone / "deep")
    (gone / "deep" / "file").touch()
    (gone / "link").symlink_to(kept)
    (gone / "dangling").symlink_to(tmp_path / "nowhere")
    files.remove(gone)
    files.remove(gone)
    assert not gone.exists()
    assert (kept / "inner" / "file").exists()
