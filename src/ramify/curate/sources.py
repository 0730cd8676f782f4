"""Which files a source is made of, by names that are the same on every machine."""

from __future__ import annotations

import bisect
import hashlib
import importlib.util
import itertools
import json
import os
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ramify.curate.steps import Fetched, Files, Pages, PythonInstallation, Read, Sample, Source
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.far import Far, is_far
from ramify.ground.files import sha256
from ramify.ground.seeds import derive

MANIFEST = "manifest.json"
MUCH = 1.25  # times what was asked of a sample: beyond it, its files are thinned
Reader = Literal["whole", "python", "docstrings", "description", "rows", "table", "json", "archive"]

ROWS = frozenset({".jsonl", ".ndjson"})
COMPRESSED = frozenset({".gz", ".zst"})
ARCHIVES = frozenset({".warc", ".arc", ".wet"})
COMPRESSED_ARCHIVES = frozenset({".gz", ".lz4", ".zst"})
DOCUMENTATION = frozenset({".md", ".rst", ".txt"})
TESTS = frozenset({"test", "tests", "idle_test", "testing"})
NOT_STANDARD = frozenset({"site-packages", "dist-packages"}) | TESTS
NOT_PROSE = frozenset({"sympy", "ramify"}) | TESTS


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source: its name in ids and manifests, where it lies, and how it is read.

    Of one that lies far away, `path` is only its name, and `tag` vouches for its bytes.
    """

    origin: str
    path: Path
    bytes: int
    changed_ns: int
    reader: Reader
    tag: str | None = None


def listing(source: Source, far: Far | None = None) -> list[SourceFile]:
    """Return a source's files in the order of a hash of their names: any prefix is a fair sample.

    `far` is where they lie, if not on this machine. Raises NotFound if nothing is there, BadInput if
    it holds no file to read.
    """
    match source:
        case Files() | Pages() if far is not None:
            found = list(_far_files(source, far))
        case Files() | Pages():
            found = list(_files(source))
        case Fetched():
            raise BadInput(f"{source.ref.name} is read where it was fetched")
        case PythonInstallation(part="code"):
            found = list(_standard_library())
        case PythonInstallation(part="prose"):
            found = list(_packages())
        case _:
            found = list(_sympy())
    if not found:
        raise BadInput(f"{_where(source)} holds no file to read", hint=_give(source))
    return sorted(found, key=lambda file: (_order(file.origin), file.origin))


@dataclass(frozen=True, slots=True)
class Sampled:
    """Some files of a source, and the share of their documents that is read."""

    files: list[SourceFile]
    thinned: float  # 1: every document of them
    of_files: int
    of_bytes: int
    seed: int

    def chosen(self, file: SourceFile) -> Callable[[int], bool]:
        """Return whether a document is read, by its number within `file`: keyed hashes decide."""
        if self.thinned >= 1:
            return lambda number: True
        key = derive(self.seed, "sample", file.origin).to_bytes(8, "little")
        limit = int(self.thinned * 2**64)

        def is_chosen(number: int) -> bool:
            hashed = hashlib.blake2b(number.to_bytes(8, "little"), digest_size=8, key=key).digest()
            return int.from_bytes(hashed, "little") < limit

        return is_chosen


def sampled(found: list[SourceFile], sample: Sample | None) -> Sampled:
    """Return the first of a listing's files that hold the share asked for, thinned to it."""
    total = sum(file.bytes for file in found)
    if sample is None:
        return Sampled(found, 1.0, len(found), total, 0)
    asked = min(max(sample.share * total, sample.least_bytes), total)
    ends = list(itertools.accumulate(file.bytes for file in found))
    enough = 1 + bisect.bisect_left(ends, asked)
    some = found[: max(enough, sample.least_files)]
    held = sum(file.bytes for file in some)
    thinned = asked / held if held > MUCH * asked else 1.0
    return Sampled(some, thinned, len(found), total, sample.seed)


def _where(source: Source) -> str:
    if isinstance(source, Fetched):
        return source.ref.name
    return source.path if isinstance(source, Files | Pages) else f"this Python's {source.part}"


def _give(source: Source) -> str:
    if isinstance(source, Pages):
        return (
            "give a folder with .warc, .html, .jsonl or .parquet files (hidden ones are left out)"
        )
    if isinstance(source, Files):
        return "give a folder with .jsonl, .parquet or text files (hidden ones are left out)"
    return "use a Python that was installed with its source files"


def _order(origin: str) -> bytes:
    return hashlib.blake2b(origin.encode(), digest_size=8).digest()


def _standard_library() -> Iterator[SourceFile]:
    for path, name in _walk(Path(sysconfig.get_path("stdlib")), NOT_STANDARD):
        if path.suffix == ".py" and not name.startswith("_sysconfigdata"):  # of the machine
            yield _source_file(path, f"python/{name}", "python")


def _sympy() -> Iterator[SourceFile]:
    spec = importlib.util.find_spec("sympy")
    if spec is None or not spec.origin:
        raise NotFound(
            "SymPy, the corpus of mathematics, is not installed", hint="type: pip install sympy"
        )
    for path, name in _walk(Path(spec.origin).parent, TESTS):
        if path.suffix == ".py":
            yield _source_file(path, f"packages/sympy/{name}", "python")


def _packages() -> Iterator[SourceFile]:
    roots = [Path(sysconfig.get_path(kind)).resolve() for kind in ("platlib", "purelib")]
    found = {name: path for root in roots for path, name in _walk(root, NOT_PROSE)}
    for name, path in found.items():
        reader = _package_reader(path, name)
        if reader:
            yield _source_file(path, f"packages/{name}", reader)


def _package_reader(path: Path, name: str) -> Reader | None:
    if path.suffix == ".py":
        return "docstrings"
    top = name.split("/", 1)[0]
    if top.endswith(".dist-info"):  # licences and lists are no documentation, the description is
        ours = top.lower().startswith(("ramify-", "sympy-"))
        return "description" if path.name == "METADATA" and not ours else None
    return "whole" if path.suffix in DOCUMENTATION else None


def _files(source: Files | Pages) -> Iterator[SourceFile]:
    root = Path(source.path).expanduser()
    reader = _page_reader if isinstance(source, Pages) else _reader
    if root.is_file():
        yield _source_file(root, root.name, reader(root))
    elif root.is_dir():
        for path, name in _walk(root, frozenset(), links=True):
            yield _source_file(path, name, reader(path))
    else:
        raise NotFound(
            f"{source.path} is not there", hint="give the path of a file or folder that exists"
        )


def _far_files(source: Files | Pages, far: Far) -> Iterator[SourceFile]:
    reader = _page_reader if isinstance(source, Pages) else _reader
    for file in far.listing():
        name = Path(file.at)
        yield SourceFile(file.name, name, file.bytes, 0, reader(name), file.tag)


def _page_reader(path: Path) -> Reader:
    inner = Path(path.stem) if path.suffix.lower() in COMPRESSED_ARCHIVES else path
    return "archive" if inner.suffix.lower() in ARCHIVES else _reader(path)


def _reader(path: Path) -> Reader:
    inner = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    suffix = inner.suffix.lower()
    if suffix in ROWS:
        return "rows"
    if suffix == ".json":  # lines of rows, or one document: its first line tells
        return "json"
    return "table" if suffix == ".parquet" and inner is path else "whole"


def _walk(
    root: Path, without: frozenset[str], *, links: bool = False
) -> Iterator[tuple[Path, str]]:
    """Yield every plain file below `root` with its relative name; hidden ones are left out.

    With `links`, links to folders are followed, but not back into a folder that they lie in.
    """
    for folder, inner, names in os.walk(root, followlinks=links):
        if links:
            real = Path(folder).resolve()
            inner[:] = [x for x in inner if (real / x).resolve() not in (real, *real.parents)]
        inner[:] = [
            x for x in inner if not x.startswith(".") and x != "__pycache__" and x not in without
        ]
        here = Path(folder)
        prefix = here.relative_to(root).as_posix()
        for name in names:
            if not name.startswith("."):
                yield here / name, name if prefix == "." else f"{prefix}/{name}"


def _source_file(path: Path, origin: str, reader: Reader) -> SourceFile:
    origin = origin.encode("utf-8", "backslashreplace").decode()  # a name may be no UTF-8
    try:
        found = path.stat()
    except OSError:  # a dangling link: reading it will fail, and be counted
        return SourceFile(origin, path, 0, 0, reader)
    return SourceFile(origin, path, found.st_size, found.st_mtime_ns, reader)


def changed(step: Read, folder: Path) -> list[str]:
    """Return how the files that `folder` was read from differ from those on the disk now.

    Cheap: a file's bytes are hashed only where its size is the same and its date is later than the
    manifest's; a source far away is not asked. What is finished stays as it is; this only says that
    it is no longer what is there.
    """
    if isinstance(step.source, Fetched):  # a finished step's, which does not change
        return []
    if isinstance(step.source, Files | Pages) and is_far(step.source.path):
        return []
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    before = path.stat().st_mtime_ns
    try:
        now = {file.origin: file for file in listing(step.source)}
    except (NotFound, BadInput):
        return [f"{_where(step.source)} is gone"]
    lines = []
    for was in manifest["files"]:
        file = now.pop(was["path"], None)
        if file is None:
            lines.append(f"{was['path']} is gone")
        elif file.bytes != was["bytes"]:
            lines.append(f"{was['path']} had {was['bytes']} bytes, now {file.bytes}")
        elif file.changed_ns > before and sha256(file.path) != was["sha256"]:
            lines.append(f"{was['path']} has other content")
    added = len(now) - manifest["not_read"]
    return [*lines, f"{added} more files are there"] if added > 0 else lines
