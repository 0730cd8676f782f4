"""Reads one corpus: file by file through the filters, shard by shard onto the disk.

files ─► shards of files ─► documents ─► sieve ─┬─► documents/00000.parquet
                                                └─► dropped/00000.parquet (why)
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ramify.curate.copies import Shelf
from ramify.curate.filters import NotText, sift
from ramify.curate.ledger import Ledger
from ramify.curate.readers import Document, documents, identity
from ramify.curate.sources import MANIFEST, Sampled, SourceFile, sampled
from ramify.curate.steps import Fetched, Files, Pages, Read
from ramify.curate.tables import DOCUMENT, DROPPED, shards_of, writing
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.step import Input, Tell

COUNTS = "counts.json"
LEAST_SHARD_BYTES = 4 << 20
MOST_SHARD_BYTES = 256 << 20
SHARDS_AIMED_AT = 64
ASIDE_CHARACTERS = 1_000_000  # of a dropped document are kept aside; the source still has the rest


class Sieve:
    """Keeps or drops each document, and counts: seen is kept and dropped, in documents and bytes."""

    def __init__(self, step: Read) -> None:
        self._filters = step.sieve
        self._by_user_id = (
            isinstance(step.source, Files | Pages) and step.source.id_column is not None
        )
        self._kept: dict[bytes, str] = {}
        self._ids: set[str] = set()

    def judged(self, document: Document) -> tuple[str, str | None]:
        """Return a document's text as the filters leave it, and why to drop it, or None.

        One that is kept is remembered for those to come.
        """
        if document.broken is not None:
            return document.text, document.broken
        text, why = sift((NotText(), *self._filters), document.text)
        if why is not None:
            return document.text, why
        digest = _digest(text)
        if digest in self._kept:
            return text, f"duplicate: of {self._kept[digest]}"
        if self._by_user_id and document.id in self._ids:
            return text, f"duplicate_id: {document.id} names another text already"
        self._remember(digest, document.id)
        return text, None

    def recall(self, texts: Iterable[tuple[str, str]]) -> None:
        """Remember the (id, text) of documents that an earlier attempt kept."""
        for id_, text in texts:
            self._remember(_digest(text), id_)

    def _remember(self, digest: bytes, id_: str) -> None:
        self._kept[digest] = id_
        if self._by_user_id:
            self._ids.add(id_)


def _digest(text: str) -> bytes:
    """Return the hash of a text whose runs of white space are single spaces."""
    return hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16).digest()


def run_read(step: Read, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make a corpus folder in `out`: documents, dropped, counts, and a manifest of what was read.

    Goes on after the last shard that an earlier attempt finished, if the files are still the same.
    Raises BadInput if nothing is left or no row has the text column, NotFound if nothing is there.
    """
    if isinstance(step.source, Fetched):
        step = step.but(source=step.source.pages(inputs["source.ref"].path))
    shelf = Shelf(step.source, out)
    found = shelf.files
    some = sampled(found, step.sample)
    ledger = Ledger(out, _plan(found), ["documents/*.parquet", "dropped/*.parquet"])
    sieve = Sieve(step)
    sieve.recall(_kept_texts(out))
    groups = _groups(some.files)
    total = sum(file.bytes for file in some.files)
    note = "the source has changed; begun afresh" if ledger.began_afresh else ""
    to_read = itertools.chain.from_iterable(groups[len(ledger.shards) :])
    with contextlib.closing(shelf.near(to_read)) as near:
        while len(ledger.shards) < len(groups) and not _enough(step, ledger):
            group = itertools.islice(near, len(groups[len(ledger.shards)]))
            _read_shard(step, group, some, sieve, out, ledger)
            done = sum(shard["read_bytes"] for shard in ledger.shards)
            if step.limit_bytes:
                kept = _counts(ledger)["bytes"]["kept"]
                tell(min(kept, step.limit_bytes), step.limit_bytes, "B", note)
            else:
                tell(done, total, "B", note)
            _require_some_text(step, ledger)
    return _finish(step, shelf, some, ledger, out)


def _plan(found: list[SourceFile]) -> dict[str, Any]:
    """Return what the shards are cut from, so that a source changed between attempts is noticed."""
    names = json.dumps([(file.origin, file.bytes, file.tag or file.changed_ns) for file in found])
    return {"files": len(found), "listing": identity(names)}


def _groups(found: list[SourceFile]) -> list[list[SourceFile]]:
    """Return the files in shards of like size, in order; a file is never divided."""
    total = sum(file.bytes for file in found)
    size = min(max(total // SHARDS_AIMED_AT, LEAST_SHARD_BYTES), MOST_SHARD_BYTES)
    ends = itertools.accumulate(file.bytes for file in found)
    numbered = zip(((end - 1) // size for end in ends), found, strict=True)
    return [[x for _, x in group] for _, group in itertools.groupby(numbered, lambda pair: pair[0])]


def _kept_texts(out: Path) -> Iterator[tuple[str, str]]:
    for path in shards_of(out / "documents"):
        for batch in pq.ParquetFile(path).iter_batches(columns=["id", "text"]):
            yield from zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True)


def _enough(step: Read, ledger: Ledger) -> bool:
    return step.limit_bytes is not None and _counts(ledger)["bytes"]["kept"] >= step.limit_bytes


def _read_shard(
    step: Read, group: Iterable[SourceFile], some: Sampled, sieve: Sieve, out: Path, ledger: Ledger
) -> None:
    """Write one shard's tables and enter it in the ledger; stops at the file that meets the limit."""
    name = f"{len(ledger.shards):05}.parquet"
    paths = {out / "documents" / name: DOCUMENT, out / "dropped" / name: DROPPED}
    before = _counts(ledger)["bytes"]["kept"]
    counts: Counter[str] = Counter()
    size: Counter[str] = Counter()
    formulas: Counter[str] = Counter()
    read = []
    with writing(paths) as (kept, dropped):
        for file in group:
            for document in documents(file, step.source, some.chosen(file)):
                text, reason = sieve.judged(document)
                row, why = _row(document, text, reason)
                (kept if why is None else dropped).add(row)
                counts[why or "kept"] += 1
                size["kept" if why is None else "dropped"] += len(row["text"].encode())
                if text != document.text and why is None:
                    size["edited"] += len(document.text.encode()) - len(text.encode())
                if why is None and document.formulas is not None:
                    formulas.update(seen=document.formulas[0], kept=document.formulas[1])
            read.append(_entry(file))
            if step.limit_bytes is not None and before + size["kept"] >= step.limit_bytes:
                break
    assert counts.total() == kept.rows + dropped.rows, "a document was neither kept nor dropped"
    ledger.add(
        {
            "counts": dict(sorted(counts.items())),
            "bytes": {**dict.fromkeys(("kept", "dropped"), 0), **size},
            "read_bytes": sum(entry["bytes"] for entry in read),
            "files": read,
            **({"formulas": dict(formulas)} if isinstance(step.source, Pages) else {}),
        },
        paths,
    )


def _row(document: Document, text: str, reason: str | None) -> tuple[dict[str, Any], str | None]:
    """Return a document as a row of a table, and the kind of its reason."""
    row: dict[str, Any] = {
        "id": document.id,
        "origin": _sound(document.origin),
        "part": document.part,
    }
    for field in ("url", "license", "source"):
        said = getattr(document, field)
        row[field] = None if said is None else _sound(said)
    if reason is None:
        return {**row, "text": text}, None
    aside = _sound(text[:ASIDE_CHARACTERS])
    return {**row, "text": aside, "reason": _sound(reason)}, reason.split(":", 1)[0]


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _entry(file: SourceFile) -> dict[str, Any]:
    try:
        digest = files.sha256(file.path)
    except OSError:  # it is among the dropped as unreadable
        digest = ""
    entry = {"path": file.origin, "bytes": file.bytes, "sha256": digest}
    return {**entry, "tag": file.tag} if file.tag else entry


def _counts(ledger: Ledger) -> dict[str, Any]:
    """Return the counts of all finished shards together."""
    reasons: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for shard in ledger.shards:
        reasons.update(shard["counts"])
        size.update(shard["bytes"])
    seen, kept = reasons.total(), reasons.pop("kept", 0)
    assert seen == kept + reasons.total()
    total = {"seen": size.total(), "kept": size["kept"], "dropped": size["dropped"]}
    if size["edited"]:  # taken out of documents that were kept
        total["edited"] = size["edited"]
    found = {"seen": seen, "kept": kept, "dropped": dict(sorted(reasons.items())), "bytes": total}
    if any("formulas" in shard for shard in ledger.shards):  # of the documents kept
        formulas: Counter[str] = Counter()
        for shard in ledger.shards:
            formulas.update(shard["formulas"])
        found["formulas"] = {"seen": formulas["seen"], "kept": formulas["kept"]}
    return found


def _require_some_text(step: Read, ledger: Ledger) -> None:
    """Stop early where every row so far lacks the text column: that is a wrong name, not bad rows."""
    counts = _counts(ledger)
    if counts["seen"] and counts["dropped"].get("no_text") == counts["seen"]:
        folder = ledger.folder / "dropped"
        first = pq.ParquetFile(shards_of(folder)[0]).read_row_group(0, columns=["reason"])
        raise BadInput(
            f"none of {counts['seen']} rows has text: {first['reason'][0].as_py()}",
            hint="name the column: Files(..., text_column=...) or Pages(..., html_column=...)",
        )


def _finish(step: Read, shelf: Shelf, some: Sampled, ledger: Ledger, out: Path) -> dict[str, Any]:
    counts = _counts(ledger)
    read = [file for shard in ledger.shards for file in shard["files"]]
    if not counts["kept"]:
        why = ", ".join(f"{count} {reason}" for reason, count in counts["dropped"].items())
        raise BadInput(
            f"nothing is left of {counts['seen']} documents in {len(read)} files: {why or 'all empty'}",
            hint="look at the files, or loosen the filters",
        )
    not_read = some.of_files - len(read)
    files.write_json(out / MANIFEST, {**shelf.facts, "files": read, "not_read": not_read})
    files.write_json(
        out / COUNTS, {**counts, "filters": [filter_.model_dump() for filter_ in step.sieve]}
    )
    facts = {**counts, "files": len(read), "files_not_read": not_read, **shelf.facts}
    if step.sample is not None:
        facts["sample"] = {"of_bytes": some.of_bytes, "thinned": some.thinned}
    return facts
