"""Documents out of files; what cannot be read becomes a document with the reason why."""

from __future__ import annotations

import ast
import codecs
import email
import inspect
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from ramify.curate.engine import daft
from ramify.curate.pages import page_documents
from ramify.curate.rows import (
    LIMIT_BYTES,
    SKIP_BYTES,
    Bad,
    Chosen,
    Document,
    every_one,
    no_column,
    opened,
    picked,
    provenance,
    rows_of,
    text_of,
)
from ramify.curate.sources import SourceFile
from ramify.curate.steps import Files, Pages, Source
from ramify.ground.ids import digest

__all__ = ["Document", "documents"]

LEAST_QUOTED = (
    0.1  # of a module, or parsing it is not worth the time: 4% of the text, 38% of the time
)
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


def documents(file: SourceFile, source: Source, chosen: Chosen = every_one) -> Iterator[Document]:
    """Yield a file's documents that are chosen by their number in it, in order.

    A file that breaks off ends with a broken document.
    """
    found = 0
    try:
        for document in _documents(file, source, chosen):
            found += 1
            yield document
    except UNREADABLE as error:
        said = " ".join(str(error).split()).replace(str(file.path), file.origin)
        reason = f"unreadable: after {found} documents: {said[:200]}"
        yield Document(digest(file.origin, found), "", file.origin, found, reason)


def _documents(file: SourceFile, source: Source, chosen: Chosen) -> Iterator[Document]:
    if isinstance(source, Pages):
        yield from page_documents(file, source, chosen)
        return
    columns = _columns(source) if isinstance(source, Files) else {}
    rows = rows_of(file, columns, columns["text"]) if isinstance(source, Files) else None
    if rows is not None and isinstance(source, Files):
        for number, row in picked(rows, chosen):
            yield _row_document(file, source, columns, number, row)
    elif isinstance(source, Files) and source.cut_characters:
        for part, text in picked(_pieces(file.path, source.cut_characters), chosen):
            yield Document(digest(file.origin, part), text, file.origin, part)
    elif not chosen(0):  # what is left is read whole or not at all
        return
    elif file.reader == "docstrings":
        yield from _docstrings(file)
    else:
        yield _whole(file)


def _pieces(path: Path, most: int) -> Iterator[str]:
    """Yield a text file in pieces of at most `most` characters that joined are the file."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    text, first = "", True
    with opened(path) as stream:
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
    with opened(file.path) as stream:
        data = stream.read(LIMIT_BYTES + 1)
    broken = f"too_long: more than {LIMIT_BYTES} bytes" if len(data) > LIMIT_BYTES else None
    text = _python(data) if file.reader == "python" else text_of(data)
    if file.reader == "description":
        text = str(email.message_from_string(text).get_payload()).strip()
    return Document(digest(file.origin, 0), text, file.origin, 0, broken)


def _python(data: bytes) -> str:
    """Decode Python source by the encoding that its first two lines declare (PEP 263)."""
    found = CODING.search(b"\n".join(data.split(b"\n", 2)[:2]))
    try:
        return data.decode(found.group(1).decode()) if found else text_of(data)
    except (LookupError, UnicodeDecodeError):
        return text_of(data)


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
        yield Document(digest(file.origin, part), text, file.origin, part)


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


def _columns(source: Files) -> dict[str, str]:
    """Return the columns that are read, by what they hold."""
    return {
        field: name
        for field in ("text", "id", "origin", "url", "license", "source")
        if (name := getattr(source, f"{field}_column")) is not None
    }


def _row_document(
    file: SourceFile,
    source: Files,
    columns: Mapping[str, str],
    number: int,
    row: dict[str, Any] | Bad,
) -> Document:
    origin, part, id_ = f"{file.origin}:{number}", 0, digest(file.origin, number)
    if isinstance(row, Bad):
        return Document(id_, row.text, origin, part, row.reason, bytes=row.bytes)
    if source.id_column:
        if row.get(source.id_column) is None:
            return Document(id_, "", origin, part, f"no_id: no {source.id_column!r} in the row")
        id_ = digest(json.dumps(row[source.id_column], sort_keys=True, default=str))
    if source.origin_column and row.get(source.origin_column) is not None:
        origin, part = str(row[source.origin_column]), number
    text = row.get(source.text_column)
    if isinstance(text, str):
        said = provenance(columns, row)
        return Document(
            id_,
            text,
            origin,
            part,
            url=said.get("url"),
            license=said.get("license"),
            source=said.get("source"),
        )
    if source.text_column not in row:
        return Document(id_, "", origin, part, no_column(source.text_column, list(row)))
    held = "nothing" if text is None else f"a {type(cast(object, text)).__name__}"
    return Document(id_, "", origin, part, f"no_text: {source.text_column!r} holds {held}")
