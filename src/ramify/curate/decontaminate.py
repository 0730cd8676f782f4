"""Takes documents that hold evaluation items out of a corpus, or only says which ones do.

corpus, items ─► index? ─► shard by shard ─┬─► documents, held_out, dropped (Decontaminate alone)
                                           └─► findings/NAME.parquet ─► report.parquet, report.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ramify.curate import corpora
from ramify.curate.contamination import Finding, excerpt, find
from ramify.curate.corpora import Shard
from ramify.curate.gram_index import Lookup, lookup
from ramify.curate.items import Items, files_of, read_items
from ramify.curate.ledger import Ledger
from ramify.curate.passing import MADE_IN, Mask, batches, plan_of, sift_shard, write_counts
from ramify.curate.selection_steps import Contamination, Decontaminate
from ramify.curate.tables import shards_of, writing
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.spread import Made, each
from ramify.ground.step import Input, Ref, Tell

REPORT = "report.parquet"
PAGE = "report.md"
FINDING = pa.schema(
    [
        ("document", pa.string()),
        ("origin", pa.string()),
        ("held_out", pa.bool_()),
        ("item", pa.string()),
        ("task", pa.string()),
        ("rule", pa.string()),
        ("overlap", pa.float64()),  # share of the item's words that are there in order
        ("item_words", pa.int64()),
        ("first_word", pa.int64()),  # of the document, where the stretch begins
        ("text", pa.string()),  # the document's words there
        ("item_text", pa.string()),
    ]
)
SHOWN = 20  # findings of a task on the page


def run_decontaminate(
    step: Decontaminate, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Write a corpus without the documents that hold items, and the report of what they held."""
    return _run(step, inputs, out, tell, _sifted)


def run_contamination(
    step: Contamination, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Write the report of which documents of a corpus hold which items; keep and drop nothing."""
    return _run(step, inputs, out, tell, _only_read)


Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Search:
    """What is looked for, and how: in every text, or where an index says that it may be."""

    step: Contamination
    items: Items
    lookup: Lookup | None = None

    def found(self, rows: pa.Table, items: Items) -> list[Finding]:
        """Return what some rows hold of some items."""
        texts = rows["text"].combine_chunks()
        return find(texts, items, overlap=self.step.overlap, near=self.step.near)

    @cached_property
    def parts(self) -> tuple[tuple[Items, bool], ...]:
        """The items by whether all texts are searched for them."""
        if self.lookup is None:
            return ((self.items, True),)
        sides = ((self.lookup.served, False), (self.lookup.left, True))
        return tuple((self.items.only(side), all_) for side, all_ in sides if len(side))

    def wanted(self, shard: Shard) -> Mask | None:
        """Return which rows of a shard may hold what the index knows of; None where there is no index."""
        if self.lookup is None:
            return None
        return self.lookup.candidates(shard, pq.read_metadata(shard.path).num_rows)


Work = Callable[[Search, Shard, Path], Made]


def _run(
    step: Contamination, inputs: Mapping[str, Input], out: Path, tell: Tell, work: Work
) -> dict[str, Any]:
    items, plan = _items(step, inputs)
    given = inputs["corpus"]
    shards = corpora.shards(given, step.part)
    search = Search(step, items)
    if step.index is not None:
        search = Search(step, items, lookup(inputs["index"], given, step.part, items))
    made_in = (*MADE_IN, "findings/*.parquet")
    ledger = Ledger(out, plan_of(shards, given, items=plan), made_in)
    for counts, made in each(partial(work, search), shards[len(ledger.shards) :], out):
        ledger.add(counts, made)
        tell(len(ledger.shards), len(shards), "shards")
    return _finish(search, ledger, plan, out)


def _items(step: Contamination, inputs: Mapping[str, Input]) -> tuple[Items, dict[str, str]]:
    """Return the items and, by file name, the hash of each file they came from."""
    paths = files_of(
        [
            inputs[f"items.{number}"].path if isinstance(given, Ref) else Path(given).expanduser()
            for number, given in enumerate(step.items)
        ]
    )
    items = Items(read_items(paths), step.ngram)
    if not items.grams:
        raise BadInput(
            f"none of the {items.table.num_rows} items can be looked for",
            hint=f"items of fewer than {step.ngram} words need an answer",
        )
    return items, {f"{n} {path.name}": files.sha256(path) for n, path in enumerate(paths)}


def _sifted(search: Search, shard: Shard, out: Path) -> Made:
    told: Rows = []
    wanted = search.wanted(shard)
    seen = searched = 0

    def verdict(rows: pa.Table) -> list[str | None]:
        nonlocal seen, searched
        mask = None if wanted is None else wanted[seen : seen + rows.num_rows]
        seen += rows.num_rows
        findings, texts = _findings(search, rows, mask)
        searched += texts
        told.extend(_told(shard, rows, findings, search.items))
        reasons: list[str | None] = [None] * rows.num_rows
        for finding in sorted(findings, key=lambda each: each.overlap):
            reasons[finding.document] = _reason(finding, search.items)
        return reasons

    counts, made = sift_shard(shard, out, verdict)
    counts = {**counts, "findings": len(told), "searched": searched}
    return counts, [*made, _write_findings(shard, out, told)]


def _findings(search: Search, rows: pa.Table, mask: Mask | None) -> tuple[list[Finding], int]:
    """Return what rows hold, by document and item, and how many texts were searched for it."""
    found: list[Finding] = []
    searched = 0
    for items, all_ in search.parts:
        which = np.arange(rows.num_rows) if all_ or mask is None else np.flatnonzero(mask)
        searched = max(searched, len(which))
        some = rows if len(which) == rows.num_rows else rows.take(pa.array(which))
        found += [
            replace(each, document=int(which[each.document]))
            for each in (search.found(some, items) if len(which) else ())
        ]
    return sorted(found, key=lambda each: (each.document, each.item)), searched


def _only_read(search: Search, shard: Shard, out: Path) -> Made:
    told: Rows = []
    searched = 0
    wanted = search.wanted(shard)
    for items, all_ in search.parts:
        mask = None if all_ else wanted
        texts = 0
        for rows in batches(shard.path, mask):
            texts += rows.num_rows
            told.extend(_told(shard, rows, search.found(rows, items), search.items))
        searched = max(searched, texts)
    seen = pq.read_metadata(shard.path).num_rows
    counts = {"place": shard.place, "seen": seen, "findings": len(told), "searched": searched}
    return counts, [_write_findings(shard, out, told)]


def _reason(finding: Finding, items: Items) -> str:
    row = items.row(finding.item)
    return f"contaminated: {row['task']} {row['id']} ({finding.rule} {finding.overlap:.2f})"


def _told(shard: Shard, rows: pa.Table, findings: list[Finding], items: Items) -> Rows:
    """Return findings as rows of the report."""
    told = []
    for finding in findings:
        row = items.row(finding.item)
        told.append(
            {
                "document": rows["id"][finding.document].as_py(),
                "origin": rows["origin"][finding.document].as_py(),
                "held_out": shard.place == "held_out",
                "item": row["id"],
                "task": row["task"],
                "rule": finding.rule,
                "overlap": finding.overlap,
                "item_words": int(items.sizes[finding.item]),
                "first_word": finding.first,
                "text": excerpt(rows["text"][finding.document].as_py(), finding),
                "item_text": row["text"],
            }
        )
    return told


def _write_findings(shard: Shard, out: Path, told: Rows) -> Path:
    path = out / "findings" / shard.name
    with writing({path: FINDING}) as (table,):
        table.write(pa.Table.from_pylist(told, schema=FINDING))
    return path


def _finish(search: Search, ledger: Ledger, plan: dict[str, str], out: Path) -> dict[str, Any]:
    """Join the findings to one report, sorted by task, item and document."""
    step, items = search.step, search.items
    tables = [pq.read_table(path) for path in shards_of(out / "findings")]
    order = [(name, "ascending") for name in ("task", "item", "document")]
    report = pa.concat_tables([FINDING.empty_table(), *tables]).sort_by(order)
    with files.replacing(out / REPORT) as temporary:
        pq.write_table(report, temporary, compression="zstd")
    facts: dict[str, Any] = {
        "items": items.table.num_rows,
        "unchecked": items.unchecked,
        "item_files": plan,
        "tasks": _by_task(report, items),
        "contaminated": len(set(report["document"].to_pylist())),
    }
    if search.lookup is not None:
        facts["searched"] = sum(shard["searched"] for shard in ledger.shards)  # documents
        facts["too_short_for_index"] = len(search.lookup.left)  # items
    files.write_text(out / PAGE, page(step, facts, report))
    if isinstance(step, Decontaminate):
        return write_counts(ledger, out, **facts)
    facts = {"seen": sum(shard["seen"] for shard in ledger.shards), **facts}
    files.write_json(out / "counts.json", facts)
    return facts


def _by_task(report: pa.Table, items: Items) -> dict[str, dict[str, int]]:
    """Return, per task, its items, how many were found, and in how many documents."""
    asked = Counter(items.table["task"].to_pylist())
    tasks, found, documents = (report[name].to_pylist() for name in ("task", "item", "document"))
    told = {}
    for task, count in sorted(asked.items()):
        here = [n for n, each in enumerate(tasks) if each == task]
        told[task] = {
            "items": count,
            "found": len({found[n] for n in here}),
            "documents": len({documents[n] for n in here}),
        }
    return told


def page(step: Contamination, facts: Mapping[str, Any], report: pa.Table) -> str:
    """Return the report as Markdown: how it was looked for, a table of tasks, the first findings."""
    lines = [
        f"# Evaluation items in {step.corpus.name}{f'/{step.part}' if step.part else ''}",
        "",
        "Words are runs of letters, marks and digits after NFKC and lower case. An item of at least"
        f" {step.ngram} words is found where a document has {step.ngram} of its words in a row and,"
        f" around them, a longest common subsequence of at least {step.overlap:g} of the item's"
        f" words; a shorter one where its text and its answer stand within {step.near} words.",
        "",
        f"{facts['items']:,} items, of which {facts['unchecked']:,} could not be looked for (short and"
        f" without an answer); {facts['contaminated']:,} documents hold at least one.",
        "",
        "| task | items | found | documents |",
        "|---|---:|---:|---:|",
        *(
            f"| {_cell(task)} | {told['items']:,} | {told['found']:,} | {told['documents']:,} |"
            for task, told in facts["tasks"].items()
        ),
    ]
    for task in (task for task, told in facts["tasks"].items() if told["found"]):
        rows = [row for row in report.to_pylist() if row["task"] == task]
        lines += [
            "",
            f"## {_cell(task)}",
            "",
            "| item | document | rule | overlap | in the document |",
        ]
        lines += ["|---|---|---|---:|---|"]
        for row in sorted(rows, key=lambda row: (-row["overlap"], row["item"]))[:SHOWN]:
            cells = (
                row["item"],
                row["document"],
                row["rule"],
                f"{row['overlap']:.2f}",
                row["text"],
            )
            lines.append(f"| {' | '.join(map(_cell, cells))} |")
        if len(rows) > SHOWN:
            lines += ["", f"{len(rows) - SHOWN:,} more are in {REPORT}."]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
