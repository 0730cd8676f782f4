"""Answers out of WARC and ARC archives; what is malformed is passed over, counted, and not the end.

archive ─► records ─► answers of the web ─┬─► Answer (bytes, type, address)
                                          └─► Answer (why it is no page)
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ramify.ground.extras import need

EXTRA = "web"
MOST_BYTES = 64 << 20  # of one answer
RESYNC = 1 << 20  # bytes looked through at a time for the next record
GZIP, LZ4, ZSTD = b"\x1f\x8b\x08", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd"
HEAD = re.compile(rb"WARC/[01]\.[0-9]")
PAGES = ("response", "resource", "conversion")  # kinds of records that hold what was found
ARC_LINE = re.compile(rb"^(\S.*) (\S+) ([0-9]{8,14}) (\S+) ([0-9]+)\r?\n?$")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one address answered: the bytes, what they are said to be, or why they cannot be used."""

    url: str | None
    content: bytes
    media: str  # as `text/html`, empty where nobody said
    charset: str | None
    broken: str | None = None


def answers(path: Path) -> Iterator[Answer]:
    """Yield what an archive's addresses answered, in order.

    Records of other kinds (requests, information, metadata, revisits) are no answers. A record that
    cannot be read is a broken answer, and reading goes on at the next one that can be found.
    """
    with path.open("rb") as stream:
        arc = _is_arc(stream)
        stream.seek(0)
        yield from _arc(stream) if arc else _warc(stream)


def _is_arc(stream: BinaryIO) -> bool:
    head: bytes = _plain(stream).read(11)
    return head == b"filedesc://"


def _plain(stream: BinaryIO) -> Any:
    """Return a stream of what is compressed, or the stream itself."""
    kinds = need("fastwarc.stream_io", extra=EXTRA)
    head = stream.read(4)
    stream.seek(0)
    if head.startswith(GZIP):
        return kinds.GzipReader(stream)
    if head == LZ4:
        return kinds.Lz4Reader(stream)
    return kinds.ZstdReader(stream) if head == ZSTD else stream


class _From(io.RawIOBase):
    """A stream that begins at `start` of another."""

    def __init__(self, stream: BinaryIO, start: int) -> None:
        self._stream, self._start = stream, start
        stream.seek(start)

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def tell(self) -> int:
        return self._stream.tell() - self._start


def _warc(stream: BinaryIO) -> Iterator[Answer]:
    iterator = need("fastwarc.warc", extra=EXTRA).ArchiveIterator
    start: int | None = 0
    first = True
    while start is not None:
        last, told = start, first  # the record that broke off is met again when looked for anew
        first = False
        try:
            for record in iterator(_From(stream, start), parse_http=False):
                last, told = max(last, start + record.stream_pos), True
                yield from _answer(record)
        except (OSError, ValueError) as error:
            if told:
                yield Answer(None, b"", "", None, _malformed(error))
            start = _next_record(stream, last + 1)
        else:
            start = None


def _malformed(error: Exception) -> str:
    return f"malformed: {' '.join(str(error).split())[:150]}"


def _next_record(stream: BinaryIO, after: int) -> int | None:
    """Return where the next record begins, or the next compressed member, or None."""
    stream.seek(0)
    head = stream.read(4)
    mark = next((m for m in (GZIP, LZ4, ZSTD) if head.startswith(m)), None)
    pattern = re.compile(re.escape(mark)) if mark else HEAD
    stream.seek(after)
    kept = b""
    while piece := stream.read(RESYNC):
        found = pattern.search(kept + piece)
        if found:
            return after - len(kept) + found.start()
        after += len(piece)
        kept = (kept + piece)[-8:]
    return None


def _answer(record: Any) -> Iterator[Answer]:
    kind = (
        record.record_type.name if hasattr(record.record_type, "name") else str(record.record_type)
    )
    if kind not in PAGES:
        yield from _broken_off(record)
        return
    url = (record.headers.get("WARC-Target-URI") or "").strip("<>") or None
    if url is not None and url.startswith("metadata:"):  # of the crawler about itself
        return
    broken = None
    said = record.headers.get("Content-Type") or ""
    if kind == "response":
        record.parse_http(auto_decode="transfer", quirks_mode=True)
        broken = _refused(record.http_headers)
        said = record.http_content_type or ""
    chunked = record.http_headers is not None and record.http_headers.get("Transfer-Encoding")
    length = 0 if chunked else record.content_length
    content = record.reader.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        broken = broken or f"too_long: more than {MOST_BYTES} bytes"
        record.reader.consume()
    elif len(content) < length and record.headers.get("WARC-Truncated") is None:
        broken = broken or f"truncated: {len(content)} of {length} bytes"
    try:
        content = _inflated(content)
    except zlib.error as error:
        broken = broken or f"malformed: {error}"
    yield Answer(url, content, _media(said), record.http_charset or _charset(said), broken)


def _broken_off(record: Any) -> Iterator[Answer]:
    """Yield a broken answer where an archive ends within a record that holds no page."""
    found = 0
    while piece := record.reader.read(RESYNC):
        found += len(piece)
    if found < record.content_length:
        why = f"truncated: {found} of {record.content_length} bytes"
        yield Answer(None, b"", "", None, why)


def _refused(headers: Any) -> str | None:
    """Return why an answer is none: its status, or that it had no head."""
    if headers is None:
        return "malformed: an answer without HTTP headers"
    status = headers.status_code
    return None if status is None or 200 <= status < 300 else f"http_status: {status}"


def _inflated(content: bytes) -> bytes:
    """Return content that is gzip as what it holds; what is said to be gzip often is not any more."""
    if not content.startswith(GZIP):
        return content
    return zlib.decompressobj(wbits=31).decompress(content, MOST_BYTES)


def _media(said: str) -> str:
    return said.split(";", 1)[0].strip().lower()


def _charset(said: str) -> str | None:
    found = re.search(r"charset\s*=\s*[\"']?([^\s\"';]+)", said, re.IGNORECASE)
    return found.group(1).lower() if found else None


def _arc(stream: BinaryIO) -> Iterator[Answer]:
    """Yield the answers of an ARC: a line of five fields before each, its length the last.

    FastWARC reads no ARC. Lines between records that are no such line are passed over, and where
    there were any that say something, one broken answer tells.
    """
    plain = io.BufferedReader(_Readable(_plain(stream)), 1 << 18)
    strange, first = 0, True
    try:
        while line := plain.readline(1 << 16):
            found = ARC_LINE.match(line)
            if found is None:
                strange += bool(line.strip())
                continue
            content = plain.read(min(int(found.group(5)), MOST_BYTES))
            if not first or not found.group(1).startswith(b"filedesc:"):
                yield _arc_answer(found, content)
            first = False
    except (OSError, ValueError, EOFError) as error:
        yield Answer(None, b"", "", None, _malformed(error))
    if strange:
        yield Answer(None, b"", "", None, f"malformed: {strange} lines between records")


class _Readable(io.RawIOBase):
    """What `io.BufferedReader` wants, over a reader that only reads."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _arc_answer(found: re.Match[bytes], content: bytes) -> Answer:
    url, said = found.group(1).decode("utf-8", "replace"), found.group(4).decode("latin-1")
    expected = int(found.group(5))
    broken = f"truncated: {len(content)} of {expected} bytes" if len(content) < expected else None
    if not content.startswith(b"HTTP/"):
        return Answer(url, content, _media(said), None, broken)
    head, _, body = content.partition(b"\r\n\r\n" if b"\r\n\r\n" in content else b"\n\n")
    status = re.match(rb"HTTP/\S+\s+([0-9]{3})", head)
    typed = re.search(rb"(?im)^content-type:\s*(.+?)\s*$", head)
    said = typed.group(1).decode("latin-1") if typed else said
    if status and not 200 <= int(status.group(1)) < 300:
        broken = broken or f"http_status: {int(status.group(1))}"
    return Answer(url, body, _media(said), _charset(said), broken)
