"""Where pages lie in web archives: the rows of an index, and range reads of the records they name."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ramify.ground.errors import BadInput, Failed, NotFound, RamifyError
from ramify.ground.extras import check_scheme, need

COLUMNS = ("url", "warc_filename", "warc_record_offset", "warc_record_length")
FURTHER = ("fetch_status", "content_mime_type")  # of Common Crawl's columnar index
GZIP = b"\x1f\x8b"


@dataclass(frozen=True, order=True)
class Place:
    """Where a page's record lies: `length` bytes from `offset` of an archive."""

    file: str
    offset: int
    length: int
    url: str


@dataclass(frozen=True)
class Entry:
    """A row of an index: a place, and what was answered there, if the index says."""

    place: Place
    status: str | None
    media: str | None


def file_system(path: str, **options: Any) -> tuple[Any, str]:
    """Return the file system of fsspec that a path is of, and the path there.

    Raises MissingExtra where the package for it is not installed, BadInput where there is none.
    """
    check_scheme(path)
    system, inner = need("fsspec.core", extra="curate").url_to_fs(path, **options)
    return system, inner


def index_files(path: str) -> list[tuple[Any, str]]:
    """Return (file system, path) of every file of an index, sorted; NotFound where there is none."""
    with _reading(path):
        system, inner = file_system(path)
        if any(mark in path for mark in "*?["):
            found = sorted(system.glob(inner))
        elif system.isdir(inner):
            found = sorted(name for name in system.find(inner) if _is_index(name))
        else:
            found = [inner] if system.exists(inner) else []
    if not found:
        raise NotFound(f"no index at {path}", hint="give .parquet, .cdx or .cdxj files")
    return [(system, name) for name in found]


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Tell in one line which index could not be read, and why."""
    try:
        yield
    except (*failures(), pa.ArrowException, EOFError, zlib.error) as error:
        said = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise Failed(
            f"the index {path} cannot be read: {said}",
            hint="look whether it is whole and can be reached, then type: ramify run",
        ) from error


def _is_index(name: str) -> bool:
    return name.removesuffix(".gz").endswith((".parquet", ".cdx", ".cdxj"))


def entries(system: Any, path: str) -> Iterator[Entry | str]:
    """Yield the rows of one file of an index; a line that is none is yielded as it is."""
    compression = "gzip" if path.endswith(".gz") else None
    with _reading(path), system.open(path, "rb", compression=compression) as file:
        if path.endswith(".parquet"):
            yield from _columnar(file, path)
        else:
            for line in file:
                if line.strip():
                    yield _cdx(line.decode("utf-8", "replace"))


def _columnar(file: Any, path: str) -> Iterator[Entry]:
    table = pq.ParquetFile(file)
    there = table.schema_arrow.names
    missing = [name for name in COLUMNS if name not in there]
    if missing:
        raise BadInput(
            f"the index {path} has no column {missing[0]!r}", hint=f"it needs {', '.join(COLUMNS)}"
        )
    columns = [*COLUMNS, *(name for name in FURTHER if name in there)]
    for batch in table.iter_batches(columns=columns):
        for row in batch.to_pylist():
            place = Place(row[COLUMNS[1]], int(row[COLUMNS[2]]), int(row[COLUMNS[3]]), row["url"])
            status, media = (row.get(name) for name in FURTHER)
            yield Entry(place, None if status is None else str(status), media)


def _cdx(line: str) -> Entry | str:
    """Return what a line of `key timestamp {JSON}` says."""
    try:
        row = json.loads(line[line.index("{") :])
        place = Place(str(row["filename"]), int(row["offset"]), int(row["length"]), str(row["url"]))
    except (ValueError, KeyError, TypeError):
        return line
    status = row.get("status")
    return Entry(place, None if status is None else str(status), row.get("mime"))


def wanted(entry: Entry, media: Sequence[str]) -> bool:
    """Say whether an entry was answered with 200 and is of a media type asked for, if it says."""
    answered = entry.status in (None, "200")
    return answered and (not media or entry.media is None or entry.media in media)


class Unfetched(RamifyError):
    """A record that is not there as the index says; trying again would not help."""


def read_range(base: str, place: Place, timeout: float) -> bytes:
    """Return a record as one gzip member, read by range.

    Raises Unfetched for what is no record of its length, and what the file system raises.
    """
    options: dict[str, Any] = {}
    path = place.file if "://" in place.file else base.rstrip("/") + "/" + place.file
    if path.startswith("http"):
        options = {"client_kwargs": {"timeout": _timeout(timeout)}}
    system, inner = file_system(path, **options)
    data: bytes = system.cat_file(inner, start=place.offset, end=place.offset + place.length)
    if len(data) != place.length:
        raise Unfetched(f"{len(data)} bytes came, {place.length} were asked for")
    if not data.startswith(GZIP):
        data = gzip.compress(data, mtime=0)
    try:
        begins = zlib.decompressobj(31).decompress(data, 5)
    except zlib.error as error:
        raise Unfetched(f"no gzip member: {error}") from error
    if begins != b"WARC/":
        raise Unfetched("no WARC record begins there")
    return data


def _timeout(seconds: float) -> Any:
    return need("aiohttp", extra="curate").ClientTimeout(total=seconds)


def failures() -> tuple[type[Exception], ...]:
    """Return what a read may raise that is worth another try, or a line in the counts."""
    client: type[Exception] = need("aiohttp", extra="curate").ClientError
    return (OSError, TimeoutError, client)
