"""What becomes of a document that is read: what the filters say of it alone, then what came before.

files ─► judged, each document for itself ─► [a file of verdicts, from another machine] ─► sieve

The first half may be done anywhere and in any order; the second remembers, in the order of the corpus.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ramify.curate.copies import COPIES, Shelf, near
from ramify.curate.filters import NotText, sift
from ramify.curate.readers import Document, documents
from ramify.curate.sources import Sampled, SourceFile
from ramify.curate.steps import Files, Pages, Read
from ramify.curate.tables import DOCUMENT, DROPPED, shards_of, writing
from ramify.ground import files, spread, stop
from ramify.ground.errors import BadInput, Failed, MissingExtra, NotFound
from ramify.ground.far import Far
from ramify.ground.spread import Made, each

ASIDE_CHARACTERS = 1_000_000  # of a dropped document are kept aside; the source still has the rest
BATCH_ROWS = 256
VERDICTS = "verdicts"  # a folder, until they are used
VERDICT = pa.schema(
    [
        *DROPPED,
        ("digest", pa.binary()),
        ("bytes_seen", pa.int64()),
        ("formulas_seen", pa.int64()),
        ("formulas_kept", pa.int64()),
        ("file", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A document after the filters: what is kept of it beside its text, and why to drop it or None."""

    about: dict[str, Any]  # id, origin, part, url, license, source
    text: str
    reason: str | None
    digest: bytes  # of the text, its white space aside; empty where there is a reason
    bytes_seen: int  # of the document as it came, before filters and before it is cut
    formulas: tuple[int, int] | None = None  # seen, kept

    def row(self, reason: str | None) -> dict[str, Any]:
        """Return it as a row of a table; one that is dropped has its reason and the text's beginning."""
        if reason is None:
            return {**self.about, "text": self.text}
        aside = sound(self.text[:ASIDE_CHARACTERS])
        return {**self.about, "text": aside, "reason": sound(reason)}


def judged(step: Read, document: Document) -> Judged:
    """Return a document as the filters leave it, whatever came before it."""
    text, reason = document.text, document.broken
    if reason is None:
        sifted, reason = sift((NotText(), *step.sieve), text)
        text = sifted if reason is None else text
    came = document.bytes
    if came is None:
        came = len(document.text.encode("utf-8", "replace"))
    about: dict[str, Any] = {
        "id": document.id,
        "origin": sound(document.origin),
        "part": document.part,
    }
    for field in ("url", "license", "source"):
        said = getattr(document, field)
        about[field] = None if said is None else sound(said)
    return Judged(
        about, text, reason, digest(text) if reason is None else b"", came, document.formulas
    )


def sound(text: str) -> str:
    """Return a text as UTF-8 can hold it."""
    return text.encode("utf-8", "replace").decode()


def digest(text: str) -> bytes:
    """Return the hash of a text whose runs of white space are single spaces."""
    return hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16).digest()


class Sieve:
    """Drops what was kept already: the same text, or the same id where the user gives ids."""

    def __init__(self, step: Read) -> None:
        self._by_user_id = (
            isinstance(step.source, Files | Pages) and step.source.id_column is not None
        )
        self._kept: dict[bytes, str] = {}
        self._ids: set[str] = set()

    def reason(self, found: Judged) -> str | None:
        """Return why to drop a document, or None; one that is kept is remembered."""
        id_ = found.about["id"]
        if found.reason is not None:
            return found.reason
        if found.digest in self._kept:
            return f"duplicate: of {self._kept[found.digest]}"
        if self._by_user_id and id_ in self._ids:
            return f"duplicate_id: {id_} names another text already"
        self._remember(found.digest, id_)
        return None

    def recall(self, out: Path) -> None:
        """Remember the documents that an earlier attempt kept in a folder."""
        for path in shards_of(out / "documents"):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=["id", "text"]):
                    pairs = zip(batch["text"].to_pylist(), batch["id"].to_pylist(), strict=True)
                    for text, id_ in pairs:
                        self._remember(digest(text), id_)

    def _remember(self, hashed: bytes, id_: str) -> None:
        self._kept[hashed] = id_
        if self._by_user_id:
            self._ids.add(id_)


# of a file: its documents, then what the manifest says of it
Told = tuple[Iterable[Judged], Callable[[], dict[str, Any]]]
Group = Sequence[SourceFile]


def clear(out: Path) -> None:
    """Remove the verdicts that an earlier attempt, which was killed, did not use."""
    spread.clear(out)
    if (out / VERDICTS).exists():
        files.remove(out / VERDICTS)


def told(
    step: Read, shelf: Shelf, some: Sampled, groups: Sequence[Group], first: int, out: Path
) -> Generator[Iterator[Told], None, None]:
    """Yield each group of files from the `first` on, judged here or on the machines of a cluster.

    A file of verdicts lies under `out` until its group has been looked at. Of a group, the documents
    of one file must be looked at before the next file is asked for. What lies far away is copied where
    it is judged.
    """
    if not spread.is_on():
        with closing(shelf.near(chain.from_iterable(groups[first:]))) as read:
            for group in groups[first:]:
                yield _here(step, some, islice(read, len(group)))
        return
    numbered = list(enumerate(groups))[first:]
    judge = partial(_judge_group, step, some, shelf.place)
    try:
        for entry, made in each(judge, numbered, out):
            yield _there(entry["files"], made)
            for path in made:
                files.remove(path)
    finally:
        files.remove(out / VERDICTS)


def _here(step: Read, some: Sampled, group: Iterable[SourceFile]) -> Iterator[Told]:
    for file in group:
        read = documents(file, step.source, some.chosen(file))
        yield _judged_each(step, read), partial(_entry, file)


def _judged_each(step: Read, read: Iterable[Document]) -> Iterator[Judged]:
    for document in read:
        stop.look()
        yield judged(step, document)


def _entry(file: SourceFile) -> dict[str, Any]:
    try:
        hashed = files.sha256(file.path)
    except OSError:  # it is among the dropped as unreadable
        hashed = ""
    entry = {"path": file.origin, "bytes": file.bytes, "sha256": hashed}
    return {**entry, "tag": file.tag} if file.tag else entry


def _judge_group(
    step: Read, some: Sampled, place: Far | None, numbered: tuple[int, Group], out: Path
) -> Made:
    """Write the verdicts on a group's documents; return what the manifest says of its files."""
    number, group = numbered
    path = out / VERDICTS / f"{number:05}.parquet"
    entries = []
    with (
        _naming_the_machine(),
        writing({path: VERDICT}) as (table,),
        closing(near(place, group, out / COPIES)) as read,
    ):
        for ordinal, (found, entry) in enumerate(_here(step, some, read)):
            for one in found:
                seen, kept = one.formulas or (None, None)
                table.add(
                    {
                        **one.row(one.reason),
                        "digest": one.digest,
                        "bytes_seen": one.bytes_seen,
                        "formulas_seen": seen,
                        "formulas_kept": kept,
                        "file": ordinal,
                    }
                )
            entries.append(entry())
    return {"files": entries}, [path]


@contextmanager
def _naming_the_machine() -> Iterator[None]:
    """Say which machine lacks, or is refused, what the driver's may well have."""
    try:
        yield
    except (BadInput, NotFound, Failed, MissingExtra) as error:
        where = f"on {os.uname().nodename}: {error.message}"
        raise type(error)(where, hint=error.hint) from None


def _there(entries: Sequence[dict[str, Any]], made: Sequence[Path]) -> Iterator[Told]:
    rows = groupby(_rows(made), lambda row: int(row["file"]))
    ahead = next(rows, None)
    for number, entry in enumerate(entries):
        if ahead is not None and ahead[0] == number:
            yield map(_judged, ahead[1]), partial(dict, entry)
            ahead = next(rows, None)
        else:
            yield (), partial(dict, entry)


def _rows(made: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in made:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield from batch.to_pylist()


def _judged(row: dict[str, Any]) -> Judged:
    formulas = (
        None if row["formulas_seen"] is None else (row["formulas_seen"], row["formulas_kept"])
    )
    about = {name: row[name] for name in DOCUMENT.names if name != "text"}
    return Judged(about, row["text"], row["reason"], row["digest"], row["bytes_seen"], formulas)
