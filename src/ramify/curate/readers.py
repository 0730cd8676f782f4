"""Documents out of files; what cannot be read becomes a document with the reason why."""

from __future__ import annotations

import ast
import codecs
import email
import hashlib
import inspect
import io
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from ramify.curate.engine import daft, read_parquet
from ramify.curate.sources import SourceFile
from ramify.curate.steps import Files, PythonInstallation

LIMIT_BYTES = 64 << 20  # of one line or one text file; beyond it nothing is a document
LEAST_QUOTED = (
    0.1  # of a module, or parsing it is not worth the time: 4% of the text, 38% of the time
)
SKIP_BYTES = 1 << 20
CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.MULTILINE)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
NESTING = (ast.stmt, ast.excepthandler, ast.match_case)
BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
# An EncodeError is a name that is no UTF-8, of a kind of file that only a library opens.
UNREADABLE = (
    OSError,
    pa.ArrowException,
    UnicodeEncodeError,
    daft.exceptions.DaftCoreException,
)
COMPRESSION = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class Document:
    """One document: `part` is its ordinal within `origin`; `broken` is why it cannot be used."""

    id: str
    text: str
    origin: str
    part: int
    broken: str | None = None
    url: str | None = None
    license: str | None = None
    source: str | None = None


def identity(*names: str | int) -> str:
    """Return the id of what `names` names: 32 hex digits, equal on every machine."""
    text = "\x1f".join(map(str, names)).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def documents(file: SourceFile, source: PythonInstallation | Files) -> Iterator[Document]:
    """Yield a file's documents in order. A file that breaks off ends with a broken document."""
    found = 0
    try:
        for document in _documents(file, source):
            found += 1
            yield document
    except UNREADABLE as error:
        said = " ".join(str(error).split()).replace(str(file.path), file.origin)
        reason = f"unreadable: after {found} documents: {said[:200]}"
        yield Document(identity(file.origin, found), "", file.origin, found, reason)


def _documents(file: SourceFile, source: PythonInstallation | Files) -> Iterator[Document]:
    rows = _rows(file, source) if isinstance(source, Files) else None
    if rows is not None and isinstance(source, Files):
        for number, row in enumerate(rows):
            yield _row_document(file, source, number, row)
    elif isinstance(source, Files) and source.cut_characters:
        for part, text in enumerate(_pieces(file.path, source.cut_characters)):
            yield Document(identity(file.origin, part), text, file.origin, part)
    elif file.reader == "docstrings":
        yield from _docstrings(file)
    else:
        yield _whole(file)


def _rows(file: SourceFile, source: Files) -> Iterator[dict[str, Any] | Bad] | None:
    """Return a file's rows, or None if it is a document by itself."""
    if file.reader == "table":
        return _table_rows(file.path, source)
    lines = file.reader == "rows" or (file.reader == "json" and _begins_with_a_row(file.path))
    return _json_rows(file.path) if lines else None


def _begins_with_a_row(path: Path) -> bool:
    with _open(path) as stream:
        return isinstance(_json_row(stream.readline(LIMIT_BYTES)), dict)


def _open(path: Path) -> BinaryIO:
    kind = COMPRESSION.get(path.suffix.lower())
    if kind is None:
        return path.open("rb")
    stream = pa.input_stream(str(path), compression=kind, buffer_size=1 << 18)
    return io.BufferedReader(stream, 1 << 18)


def _text(data: bytes) -> str:
    """Decode UTF-8; bytes that are not become lone surrogates, which NotText finds."""
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def _pieces(path: Path, most: int) -> Iterator[str]:
    """Yield a text file in pieces of at most `most` characters that joined are the file."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    text, first = "", True
    with _open(path) as stream:
        while data := stream.read(SKIP_BYTES):
            text += decoder.decode(data)
            while len(text) > most:
                end = _end(text, most)
                yield text[:end]
                text, first = text[end:], False
    text += decoder.decode(b"", final=True)
    if text or first:
        yield text


def _end(text: str, most: int) -> int:
    """Return where to cut: after the last paragraph, line or word of the second half, or at `most`."""
    for mark in ("\n\n", "\n", " "):
        found = text.rfind(mark, most // 2, most)
        if found >= 0:
            return found + len(mark)
    return most


def _whole(file: SourceFile) -> Document:
    with _open(file.path) as stream:
        data = stream.read(LIMIT_BYTES + 1)
    broken = f"too_long: more than {LIMIT_BYTES} bytes" if len(data) > LIMIT_BYTES else None
    text = _python(data) if file.reader == "python" else _text(data)
    if file.reader == "description":
        text = str(email.message_from_string(text).get_payload()).strip()
    return Document(identity(file.origin, 0), text, file.origin, 0, broken)


def _python(data: bytes) -> str:
    """Decode Python source by the encoding that its first two lines declare (PEP 263)."""
    found = CODING.search(b"\n".join(data.split(b"\n", 2)[:2]))
    try:
        return data.decode(found.group(1).decode()) if found else _text(data)
    except (LookupError, UnicodeDecodeError):
        return _text(data)


def _docstrings(file: SourceFile) -> Iterator[Document]:
    source = _whole(file)
    quoted = source.text.replace("'''", '"""').split('"""')[1::2]
    share = sum(map(len, quoted)) / max(1, len(source.text))
    if share < LEAST_QUOTED:
        text, reason = "\n".join(quoted), f"few_docstrings: {share:.0%} of the file is quoted"
        yield Document(source.id, text, file.origin, 0, source.broken or reason)
        return
    try:
        with warnings.catch_warnings():  # of the escapes in other people's strings
            warnings.simplefilter("ignore")
            tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = f"unparsable: {type(error).__name__}: {error}"
        yield Document(source.id, source.text, file.origin, 0, reason)
        return
    for part, text in enumerate(_docstrings_of(tree)):
        yield Document(identity(file.origin, part), text, file.origin, part)


def _docstrings_of(tree: ast.AST) -> Iterator[str]:
    """Yield the docstrings of a module in source order, looking at statements only."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        body: list[ast.AST] = getattr(node, "body", [])
        if isinstance(node, DOCUMENTED) and body:
            match body[0]:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield inspect.cleandoc(text)
        inner = [x for name in BLOCKS for x in getattr(node, name, ()) if isinstance(x, NESTING)]
        waiting.extend(reversed(inner))


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that is no row: why, and what was there."""

    reason: str
    text: str


def _json_rows(path: Path) -> Iterator[dict[str, Any] | Bad]:
    """Yield the objects of JSON lines; blank lines are nothing, any other line is a row or Bad.

    Not by Daft's reader: that of 0.7.26 panics on a blank or malformed line and turns a lone
    surrogate into a NUL without a word.
    """
    with _open(path) as stream:
        while line := stream.readline(LIMIT_BYTES + 1):
            if len(line) > LIMIT_BYTES:
                rest = _skip_line(stream)
                yield Bad(f"too_long: a line of {len(line) + rest} bytes", _text(line[:SKIP_BYTES]))
            elif line.strip():
                yield _json_row(line)


def _skip_line(stream: BinaryIO) -> int:
    skipped = 0
    while piece := stream.readline(SKIP_BYTES):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def _json_row(line: bytes) -> dict[str, Any] | Bad:
    text = _text(line)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Bad(f"malformed: {error}", text)
    return row if isinstance(row, dict) else Bad(f"malformed: a {type(row).__name__}", text)


def _table_rows(path: Path, source: Files) -> Iterator[dict[str, Any] | Bad]:
    """Yield the rows of a parquet file by Daft, in order, only the columns asked for."""
    frame = read_parquet(path)
    there = frame.column_names
    wanted = [x for x in _columns(source) if x in there]
    if source.text_column not in there:  # rows are counted all the same
        missing = Bad(_no_column(source, there), "")
        yield from (missing for _ in range(frame.count_rows()))
        return
    for batch in frame.select(*dict.fromkeys(wanted)).to_arrow_iter():
        yield from batch.to_pylist()


def _columns(source: Files) -> list[str]:
    """Return the names of the columns that are read."""
    return [
        name
        for field in ("text", "id", "origin", "url", "license", "source")
        if (name := getattr(source, f"{field}_column")) is not None
    ]


def _no_column(source: Files, there: list[str]) -> str:
    shown = ", ".join(there[:12]) + (", ..." if len(there) > 12 else "")
    return f"no_text: no column {source.text_column!r}, only {shown or 'none'}"


def _row_document(
    file: SourceFile, source: Files, number: int, row: dict[str, Any] | Bad
) -> Document:
    origin, part, id_ = f"{file.origin}:{number}", 0, identity(file.origin, number)
    if isinstance(row, Bad):
        return Document(id_, row.text, origin, part, row.reason)
    if source.id_column:
        if row.get(source.id_column) is None:
            return Document(id_, "", origin, part, f"no_id: no {source.id_column!r} in the row")
        id_ = identity(json.dumps(row[source.id_column], sort_keys=True, default=str))
    if source.origin_column and row.get(source.origin_column) is not None:
        origin, part = str(row[source.origin_column]), number
    text = row.get(source.text_column)
    if isinstance(text, str):
        return Document(id_, text, origin, part, **_provenance(source, row))
    if source.text_column not in row:
        return Document(id_, "", origin, part, _no_column(source, list(row)))
    held = "nothing" if text is None else f"a {type(cast(object, text)).__name__}"
    return Document(id_, "", origin, part, f"no_text: {source.text_column!r} holds {held}")


def _provenance(source: Files, row: dict[str, Any]) -> dict[str, str | None]:
    """Return where a row says that it is from, as text; what it does not say is None."""
    return {
        field: None if (said := row.get(column)) is None else str(said)
        for field in ("url", "license", "source")
        if (column := getattr(source, f"{field}_column")) is not None
    }
