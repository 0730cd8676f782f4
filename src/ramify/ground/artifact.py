"""A finished folder and its record: written last, with every file's size and hash."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ramify.ground import files
from ramify.ground.errors import Busy, Corrupt, Mismatch

RECORD = "record.json"
ASKED = "asked.json"
PACKAGES = (
    "ramify",
    "torch",
    "numpy",
    "daft",
    "tokenizers",
    "fastokens",
    "safetensors",
    "transformers",
    "scikit-learn",
    "sentence-transformers",
    "openai",
)


class File(BaseModel):
    """A file as it was when its folder was finished."""

    model_config = ConfigDict(frozen=True)
    bytes: int
    sha256: str


class Record(BaseModel):
    """What was asked, what was made, from which parents, by which versions, at what cost."""

    model_config = ConfigDict(frozen=True)
    format: int = 1
    name: str
    kind: str
    fingerprint: str
    asked: dict[str, Any]
    step: dict[str, Any]
    parents: dict[str, dict[str, Any]] = {}
    files: dict[str, File] = {}
    facts: dict[str, Any] = {}
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    cost: dict[str, float] = {}
    made: str = ""


def digest(asked: Mapping[str, Any]) -> str:
    """Return the fingerprint of what was asked: the SHA-256 of its canonical JSON, cut to 32 hex digits."""
    text = json.dumps(
        asked, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Return one line per field in which two askings differ, as `optimizer.beta2 was 0.95, now 0.99`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        dot = f"{where}." if where else ""
        return [
            line for key in keys for line in differences(old.get(key), new.get(key), f"{dot}{key}")
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{where}[{i}]")]
    if old == new:
        return []
    return [f"{where} was {_short(old)}, now {_short(new)}"]


def _short(value: Any) -> str:
    text = "the default" if value is None else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@functools.cache
def hardware() -> dict[str, Any]:
    """Return the kind of machine: processor, cores, system; never its name or address."""
    model = platform.machine()  # platform.processor() would start a process to ask
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "system": platform.system()}


def now() -> str:
    """Return the time in UTC to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def read_record(folder: Path) -> Record | None:
    """Return a folder's record, None where there is none; Corrupt if it cannot be read."""
    path = folder / RECORD
    try:
        return Record.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise Corrupt(f"{path} is not a record", hint="type: ramify verify") from error


def unsound(folder: Path, record: Record, *, hashes: bool = True) -> list[str]:
    """Return what is wrong with a finished folder: files missing, of another size, of another hash."""
    wrong = []
    for name, made in record.files.items():
        path = folder / name
        if not path.is_file():
            wrong.append(f"{path} is missing")
        elif path.stat().st_size != made.bytes:
            wrong.append(f"{path} has {path.stat().st_size} bytes, its record says {made.bytes}")
        elif hashes and files.sha256(path) != made.sha256:
            wrong.append(f"{path} is not the file that its record names (its hash differs)")
    return wrong


def require_sound(folder: Path, *, hashes: bool = True) -> Record:
    """Return the record of a folder whose every file was found with its size and hash, else Corrupt."""
    record = read_record(folder)
    if record is None:
        raise Corrupt(f"{folder} has no record", hint="type the same command again to make it")
    wrong = unsound(folder, record, hashes=hashes)
    if wrong:
        at = f"@{record.facts['tokens']}" if record.kind == "point" else ""
        raise Corrupt(wrong[0], hint=f"type: ramify forget {record.name}{at}, then run again")
    return record


def partial(folder: Path) -> Path:
    """Return the working folder of a folder that is not finished."""
    return folder.with_name(folder.name + ".partial")


def begin(folder: Path, asked: Mapping[str, Any]) -> Path:
    """Return `NAME.partial`, kept if an earlier attempt asked for the very same, else made empty."""
    work = partial(folder)
    if work.exists():
        if _asked_of(work) == json.loads(json.dumps(asked)):
            return work
        for note in (ASKED, RECORD):  # first, so that nobody goes on with what a kill leaves
            files.remove(work / note)
        files.remove(work)
    files.make_folder(work)
    files.write_json(work / ASKED, asked)
    return work


def _asked_of(work: Path) -> Any:
    """Return what a working folder was begun for: its note, or its record if killed while sealing."""
    try:
        return json.loads((work / ASKED).read_bytes())
    except (FileNotFoundError, ValueError):
        pass
    try:
        record = read_record(work)
    except Corrupt:
        return None
    return record.asked if record else None


def seal(work: Path, folder: Path, record: Record) -> Record:
    """Hash every file, write the record last, flush, and rename `NAME.partial` to `NAME`."""
    made = {}
    for path in sorted(p for p in work.rglob("*") if p.is_file()):
        if path in (work / ASKED, work / RECORD):
            continue
        if path.name.startswith(".") and path.name.endswith(".tmp"):
            files.remove(path)
            continue
        files.sync_file(path)
        name = path.relative_to(work).as_posix()
        made[name] = File(bytes=path.stat().st_size, sha256=files.sha256(path))
    for inner in (work, *(p for p in work.rglob("*") if p.is_dir())):
        files.sync_folder(inner)
    whole = record.model_copy(
        update={"files": made, "made": now(), "versions": versions(), "hardware": hardware()}
    )
    files.write_text(work / RECORD, whole.model_dump_json(indent=1) + "\n")
    files.remove(work / ASKED)
    _clear(folder)
    files.rename(work, folder)
    return whole


def discard(folder: Path) -> None:
    """Remove a folder if it is there, its record first, so that nobody takes the rest for finished."""
    if folder.exists():
        files.remove(folder / RECORD)
        files.remove(folder)


def _clear(folder: Path) -> None:
    """Remove what a removal that was killed left under a name; never anything that is finished."""
    if not folder.exists():
        return
    if read_record(folder) is not None:
        raise Mismatch(f"{folder} was finished by another process meanwhile")
    inside = next(folder.rglob(RECORD), None)
    if inside is not None:
        raise Mismatch(f"{folder} is the folder of {inside.parent}", hint="give one another name")
    files.remove(folder)


@contextlib.contextmanager
def lock(
    path: Path, *, what: str | None = None, driver: int | None = None, wait: bool = False
) -> Iterator[None]:
    """Hold an exclusive `flock` that any death frees; Busy, naming the owner, if another holds it.

    `what` is what it guards, if its name does not say so. `driver` is the process on whose behalf
    it is held. An owner whose driver has died is about to leave: that is waited for, as any owner
    is with `wait`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            claim = _read_claim(handle)
            if not (wait or _is_orphan(claim)):
                raise Busy(
                    f"{what or path.stem.replace('+', '/')} is being made by {_owner(claim)}",
                    hint="wait for it to end, or stop it with Ctrl-C where it runs",
                ) from error
            fcntl.flock(handle, fcntl.LOCK_EX)
        claim = {"process": os.getpid(), "driver": driver, "boot": _boot(), "epoch": 1}
        data = json.dumps({**claim, "since": now()}).encode()
        os.pwrite(handle, data, 0)  # over the old one, so that a reader finds one or the other
        os.ftruncate(handle, len(data))
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _boot() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text().strip() if boot.exists() else ""


def _read_claim(handle: int) -> dict[str, Any]:
    try:
        claim = json.loads(os.pread(handle, 4096, 0))
    except ValueError:
        return {}
    return claim if isinstance(claim, dict) else {}


def _is_orphan(claim: dict[str, Any]) -> bool:
    """Say whether the process on whose behalf a lock is held has died, on this very machine."""
    driver = claim.get("driver")
    return isinstance(driver, int) and claim.get("boot") == _boot() and not is_alive(driver)


def is_alive(process: int) -> bool:
    """Say whether a process of this machine is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _owner(claim: dict[str, Any]) -> str:
    if "process" not in claim:
        return "another process"
    return f"process {claim['process']} since {claim.get('since')}"
