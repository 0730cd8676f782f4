"""Web pages as documents: out of archives, rows and HTML files, through extraction.

archive, row or file ─► markup ─► extract ─► Document (text, url, formulas seen and kept)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from ramify.curate.archives import Answer, answers
from ramify.curate.extract import extract
from ramify.curate.rows import (
    Bad,
    Chosen,
    Document,
    every_one,
    no_column,
    picked,
    provenance,
    rows_of,
    whole_bytes,
)
from ramify.curate.sources import SourceFile
from ramify.curate.steps import Pages
from ramify.ground.extras import need
from ramify.ground.ids import digest

MARKUP = frozenset({"text/html", "application/xhtml+xml", "application/xml", "text/xml"})
PLAIN = frozenset({"text/plain"})
SNIFFED = 2048  # bytes in which an answer of no stated type shows that it is markup
SHOWN = 2000  # characters of what is no page that are kept aside


def page_documents(
    file: SourceFile, source: Pages, chosen: Chosen = every_one
) -> Iterator[Document]:
    """Yield a document for each page of a file that is chosen by its number in it, in order."""
    if file.reader == "archive":
        for number, answer in picked(answers(file.path), chosen):
            yield _of_answer(file, source, number, answer)
        return
    rows = rows_of(file, _columns(source), source.html_column)
    if rows is None:
        if not chosen(0):
            return
        content = whole_bytes(file.path)
        broken = None if content is not None else "too_long: more bytes than are read of one file"
        answer = Answer(None, content or b"", "text/html", None, broken)
        yield _of_answer(file, source, 0, answer, alone=True)
        return
    for number, row in picked(rows, chosen):
        yield _of_row(file, source, number, row)


def _columns(source: Pages) -> dict[str, str]:
    """Return the columns that are read, by what they hold."""
    return {
        field: name
        for field in ("html", "id", "url", "license", "source")
        if (name := getattr(source, f"{field}_column")) is not None
    }


def _of_answer(
    file: SourceFile, source: Pages, number: int, answer: Answer, *, alone: bool = False
) -> Document:
    origin = file.origin if alone else f"{file.origin}:{number}"
    made = _Made(digest(file.origin, number), origin, answer.url, None, file.origin)
    if answer.broken is not None:
        return made.broken(answer.broken, _shown(answer.content))
    if answer.media in PLAIN:
        return made.document(decoded(answer.content, answer.charset))
    if answer.media in MARKUP or (not answer.media and _looks_like_markup(answer.content)):
        return made.page(decoded(answer.content, answer.charset), source)
    return made.broken(f"not_html: {answer.media or 'of no stated type'}", "")


def _looks_like_markup(content: bytes) -> bool:
    head = content[:SNIFFED].lower()
    return b"<html" in head or b"<!doctype html" in head


def _shown(content: bytes) -> str:
    return content[:SHOWN].decode("utf-8", "replace").replace("\0", "\ufffd")


def decoded(content: bytes, charset: str | None) -> str:
    """Return a page's bytes as text: by the charset that was said, else by the one that fits best.

    Bytes that fit none are replaced, as browsers do.
    """
    encoding = need("resiliparse.parse.encoding", extra="web")
    known = charset or encoding.detect_encoding(content, from_html_meta=True) or "utf-8"
    return str(encoding.bytes_to_str(content, known, "replace")).removeprefix("\ufeff")


class _Made:
    """A page under way: who it is, and the document that comes of it."""

    def __init__(
        self, id_: str, origin: str, url: str | None, license_: str | None, source: str | None
    ) -> None:
        self._who: dict[str, Any] = {"url": url, "license": license_, "source": source}
        self._id, self._origin = id_, origin

    def document(self, text: str) -> Document:
        return Document(self._id, text, self._origin, 0, **self._who)

    def broken(self, reason: str, shown: str) -> Document:
        return Document(self._id, shown, self._origin, 0, reason, **self._who)

    def page(self, markup: str, source: Pages) -> Document:
        found = extract(markup, source.extraction)
        if found.broken is not None:
            return self.broken(found.broken, markup[:SHOWN])
        counted = (found.formulas_seen, found.formulas_kept)
        return Document(self._id, found.text, self._origin, 0, formulas=counted, **self._who)


def _of_row(file: SourceFile, source: Pages, number: int, row: dict[str, Any] | Bad) -> Document:
    origin, id_ = f"{file.origin}:{number}", digest(file.origin, number)
    if isinstance(row, Bad):
        return Document(id_, row.text, origin, 0, row.reason, bytes=row.bytes)
    said = provenance(_columns(source), row)
    if source.id_column is not None and row.get(source.id_column) is not None:
        id_ = digest(str(row[source.id_column]))
    made = _Made(id_, origin, said.get("url"), said.get("license"), said.get("source"))
    markup = row.get(source.html_column)
    if isinstance(markup, bytes):
        markup = decoded(markup, None)
    if isinstance(markup, str):
        return made.page(markup, source)
    if source.html_column not in row:
        return made.broken(no_column(source.html_column, list(row)), "")
    held = "nothing" if markup is None else f"a {type(cast(object, markup)).__name__}"
    return made.broken(f"no_text: {source.html_column!r} holds {held}", "")
