"""Every write, rename and removal in one place, so that a test can kill the process between any two."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20
_passed = 0


def failpoint(label: str) -> None:
    """Die here by SIGKILL if this is the RAMIFY_FAILPOINT-th file operation; otherwise only count.

    With RAMIFY_FAILPOINT_LOG set to a file, each label passed is appended to it.
    """
    global _passed
    _passed += 1
    log = os.environ.get("RAMIFY_FAILPOINT_LOG")
    if log:
        with Path(log).open("a") as lines:
            lines.write(f"{os.getpid()} {_passed} {label}\n")
    if os.environ.get("RAMIFY_FAILPOINT") == str(_passed):
        os.kill(os.getpid(), signal.SIGKILL)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Flush a file's bytes to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def rename(source: Path, target: Path) -> None:
    """Rename within one file system, then flush the folder that holds the new name."""
    failpoint(f"before rename {target.name}")
    source.rename(target)
    sync_folder(target.parent)
    failpoint(f"after rename {target.name}")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each flushed to the disk; one that is there is no error."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    failpoint(f"before make {folder.name}")
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
    failpoint(f"after make {folder.name}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, flush it and rename it there.

    When it ends in an error, such as that of a full disk, the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    failpoint(f"before write {path.name}")
    try:
        yield temporary
        sync_file(temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    rename(temporary, path)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all, indented, keys in their order."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Append one line and flush it to the disk."""
    failpoint(f"before append {path.name}")
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    failpoint(f"after append {path.name}")


def remove(path: Path) -> None:
    """Remove a file, or a folder and all in it one by one; nothing there is no error."""
    folder = path.is_dir() and not path.is_symlink()
    for inner in sorted(path.iterdir()) if folder else ():
        remove(inner)
    failpoint(f"before remove {path.name}")
    if folder:
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    failpoint(f"after remove {path.name}")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
