"""Reads one corpus: file by file through the filters, shard by shard onto the disk.

files ─► shards of files ─► documents ─► sieve ─┬─► documents/00000.parquet
                                                └─► dropped/00000.parquet (why)
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ramify.curate.copies import Shelf
from ramify.curate.ledger import Ledger
from ramify.curate.rows import columns_in
from ramify.curate.sieve import Sieve, Told, clear, told
from ramify.curate.sources import MANIFEST, Sampled, SourceFile, sampled
from ramify.curate.steps import Fetched, Pages, Read
from ramify.curate.tables import DOCUMENT, DROPPED, shards_of, writing
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.ids import digest
from ramify.ground.step import Input, Tell

COUNTS = "counts.json"
LEAST_SHARD_BYTES = 4 << 20
MOST_SHARD_BYTES = 256 << 20
SHARDS_AIMED_AT = 64
MADE_IN = ("documents/*.parquet", "dropped/*.parquet")


def run_read(step: Read, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make a corpus folder in `out`: documents, dropped, counts, and a manifest of what was read.

    Goes on after the last shard that an earlier attempt finished, if the files are still the same.
    Raises BadInput if nothing is left, no row has the text column, or nothing read at first a column
    that is required; NotFound if nothing is there.
    """
    if isinstance(step.source, Fetched):
        step = step.but(source=step.source.pages(inputs["source.ref"].path))
    shelf = Shelf(step.source, out)
    found = shelf.files
    some = sampled(found, step.sample)
    ledger = Ledger(out, _plan(found), MADE_IN)
    clear(out)
    sieve = Sieve(step)
    sieve.recall(out)
    groups = _groups(some.files)
    total = sum(file.bytes for file in some.files)
    note = "the source has changed; begun afresh" if ledger.began_afresh else ""
    with closing(told(step, shelf, some, groups, len(ledger.shards), out)) as read:
        while len(ledger.shards) < len(groups) and not _enough(step, ledger):
            _read_shard(step, next(read), sieve, out, ledger)
            done = sum(shard["read_bytes"] for shard in ledger.shards)
            if step.limit_bytes:
                kept = _counts(ledger)["bytes"]["kept"]
                tell(min(kept, step.limit_bytes), step.limit_bytes, "B", note)
            else:
                tell(done, total, "B", note)
            _require_some_text(ledger)
            _require_columns(step, some, ledger)
    return _finish(step, shelf, some, ledger, out)


def _plan(found: list[SourceFile]) -> dict[str, Any]:
    """Return what the shards are cut from, so that a source changed between attempts is noticed."""
    names = json.dumps([(file.origin, file.bytes, file.tag or file.changed_ns) for file in found])
    return {"files": len(found), "listing": digest(names)}


def _groups(found: list[SourceFile]) -> list[list[SourceFile]]:
    """Return the files in shards of like size, in order; a file is never divided."""
    total = sum(file.bytes for file in found)
    size = min(max(total // SHARDS_AIMED_AT, LEAST_SHARD_BYTES), MOST_SHARD_BYTES)
    ends = itertools.accumulate(file.bytes for file in found)
    numbered = zip(((end - 1) // size for end in ends), found, strict=True)
    return [[x for _, x in group] for _, group in itertools.groupby(numbered, lambda pair: pair[0])]


def _enough(step: Read, ledger: Ledger) -> bool:
    return step.limit_bytes is not None and _counts(ledger)["bytes"]["kept"] >= step.limit_bytes


def _read_shard(step: Read, group: Iterator[Told], sieve: Sieve, out: Path, ledger: Ledger) -> None:
    """Write one shard's tables and enter it in the ledger; stops at the file that meets the limit."""
    name = f"{len(ledger.shards):05}.parquet"
    paths = {out / "documents" / name: DOCUMENT, out / "dropped" / name: DROPPED}
    before = _counts(ledger)["bytes"]["kept"]
    counts: Counter[str] = Counter()
    size: Counter[str] = Counter()
    formulas: Counter[str] = Counter()
    read = []
    with writing(paths) as (kept, dropped):
        for documents, entry in group:
            for document in documents:
                reason = sieve.reason(document)
                row = document.row(reason)
                (kept if reason is None else dropped).add(row)
                counts["kept" if reason is None else reason.split(":", 1)[0]] += 1
                if reason is None:
                    left = len(row["text"].encode())
                    size.update(kept=left, edited=document.bytes_seen - left)
                else:
                    size["dropped"] += document.bytes_seen
                if reason is None and document.formulas is not None:
                    formulas.update(seen=document.formulas[0], kept=document.formulas[1])
            read.append(entry())
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


def _require_some_text(ledger: Ledger) -> None:
    """Stop early where every row so far lacks the text column: that is a wrong name, not bad rows."""
    counts = _counts(ledger)
    if counts["seen"] and counts["dropped"].get("no_text") == counts["seen"]:
        folder = ledger.folder / "dropped"
        first = pq.ParquetFile(shards_of(folder)[0]).read_row_group(0, columns=["reason"])
        raise BadInput(
            f"none of {counts['seen']} rows has text: {first['reason'][0].as_py()}",
            hint="name the column of it: text_column of Files, html_column of Pages (of a recipe that"
            " comes with Ramify: --set text_column=NAME, --set html_column=NAME)",
        )


def _require_columns(step: Read, some: Sampled, ledger: Ledger) -> None:
    """Stop early where nothing that was kept so far has a value in a column that later steps need."""
    kept = shards_of(ledger.folder / "documents")
    for column in step.require if kept else ():
        if not any(_has_a_value(path, column) for path in kept):
            near = [file for file in some.files if file.path.is_file()]
            there = next(filter(None, map(columns_in, near)), [])
            rows = f"; rows have {', '.join(there[:12])}" if there else ""
            raise BadInput(
                f"none of {_counts(ledger)['kept']} documents has a {column}{rows}",
                hint=f"name the column of it: {column}_column (of a recipe that comes with Ramify:"
                f" --set {column}_column=NAME)",
            )


def _has_a_value(path: Path, column: str) -> bool:
    table = pq.read_table(path, columns=[column])
    return bool(table[column].null_count < table.num_rows)


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
