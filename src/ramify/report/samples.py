"""A page of documents kept and dropped at every step of a corpus, side by side: because people look at data."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ramify.curate.look import sample
from ramify.ground import files
from ramify.ground.artifact import RECORD, Record
from ramify.ground.errors import NotFound
from ramify.report.funnel import PACKED, Passage, funnel
from ramify.report.markup import Markup, join, tag
from ramify.report.quality import DATA_KINDS
from ramify.runs.lab import Lab

TAKING = {*DATA_KINDS} - {
    "tokenizer",
    "broughttokenizer",
}  # kinds that pass a corpus on, or use it up
CORPORA = TAKING - {"annotate", "sheet", "audit", "classify", "contamination"}
MOST_TABLES = 16  # of a step's dropped documents that are looked through
SHOWN = 1500  # characters of a document
STYLE = Markup("""
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1200px;padding:0 1rem;color:#222}
h2{margin:2.5rem 0 .3rem;border-bottom:1px solid #ccc}p{margin:.3rem 0;color:#555}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:1rem}
article{border-left:4px solid #3a7;background:#f6f8f6;padding:.5rem .8rem;margin:.6rem 0}
.dropped article{border-color:#c55;background:#faf5f5}
article header{font-size:13px;color:#555;overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 ui-monospace,monospace;margin:.4rem 0 0;
max-height:16rem;overflow:auto}
""")


def write_samples(lab: Lab, name: str, out: Path, *, count: int = 4, seed: int = 0) -> Path:
    """Write the page of a corpus to `out`, self-contained and without a script; return `out`."""
    steps = [_step(lab, each, count, seed) for each in funnel(lab, name) if each.kind not in PACKED]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'",
        ),
        tag("title", f"{name}: samples"),
        tag("style", STYLE),
    )
    body = tag("body", tag("h1", f"{name}: documents kept and dropped"), *steps)
    files.write_text(out, f"<!doctype html>\n{tag('html', head, body, lang='en')}\n")
    return out


def write_beside(lab: Lab, names: Collection[str]) -> list[Path]:
    """Write the page of every corpus among the finished steps `names` that nothing of them took in.

    It lies beside the corpus, as NAME.samples.html, and is left as it is where it is newer.
    """
    records = {name: record for name in names if (record := lab.record(name)) is not None}
    passed = {
        parent["name"]
        for record in records.values()
        if record.kind in TAKING
        for parent in record.parents.values()
    }
    pages = []
    for name, record in records.items():
        if record.kind in CORPORA and name not in passed and _is_corpus(record):
            out = lab.at(f"{name}.samples.html")
            made = lab.at(name) / RECORD
            if not out.exists() or out.stat().st_mtime_ns < made.stat().st_mtime_ns:
                write_samples(lab, name, out)
            pages.append(out)
    return pages


def _is_corpus(record: Record) -> bool:
    return record.kind in ("tokenize", "dedup") or "kept" in record.facts


def _step(lab: Lab, passage: Passage, count: int, seed: int) -> Markup:
    reasons = ", ".join(f"{n:,} {why}" for why, n in passage.dropped.items() if n)
    told = f"{passage.kind}: {passage.kept:,} of {passage.seen:,} documents kept"
    folder, part = lab.at(passage.name), passage.part
    kept = _by_score(_sampled(folder, part, count * 4, seed, kept=True), count)
    dropped = [
        row
        for why, n in passage.dropped.items()
        if n
        for row in _sampled(folder, part, max(1, count // 2), seed, kept=False, why=f"{why}:")
    ]
    sides = tag(
        "div",
        _side("kept", kept),
        _side("dropped", _by_score(dropped, count * 2)),
        class_="sides",
    )
    return tag(
        "section",
        tag("h2", passage.name if part is None else f"{passage.name}/{part}"),
        tag("p", told + (f"; dropped: {reasons}" if reasons else "")),
        sides,
    )


def _sampled(
    folder: Path,
    part: str | None,
    count: int,
    seed: int,
    *,
    kept: bool,
    why: str | None = None,
) -> list[dict[str, Any]]:
    try:
        return sample(
            folder, kept=kept, why=why, label=part, count=count, seed=seed, tables=MOST_TABLES
        )
    except NotFound:  # nothing of the kind: the side stays empty
        return []


def _score(row: dict[str, Any]) -> float | None:
    """Return what a document was given, by a classifier or else by who labelled it."""
    score = row.get("score", row.get("label"))
    return None if score is None else float(score)


def _by_score(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return up to `count` rows, of different scores first, from the highest down."""
    ranked: list[tuple[int, float, dict[str, Any]]] = []
    had: dict[int | None, int] = {}
    for row in rows:
        score = _score(row)
        whole = None if score is None else int(score + 0.5)
        had[whole] = had.get(whole, 0) + 1
        ranked.append((had[whole], -(score or 0.0), row))
    first = sorted(ranked, key=lambda each: each[:2])[:count]
    return [row for _, _, row in sorted(first, key=lambda each: each[1])]


def _side(which: str, rows: list[dict[str, Any]]) -> Markup:
    articles = [_article(row) for row in rows] or [tag("p", "none")]
    return tag("div", tag("h3", which), *articles, class_=which)


def _article(row: dict[str, Any]) -> Markup:
    text = row["text"][:SHOWN] + (" …" if len(row["text"]) > SHOWN else "")
    header = tag("header", join(" · ".join(_about(row))))
    return tag("article", header, tag("pre", text))


def _about(row: dict[str, Any]) -> Iterator[str]:
    yield str(row.get("url") or row["origin"])
    score = _score(row)
    if score is not None:
        yield f"score {score:.2f}"
    for why in ("label_reason", "reason"):
        if row.get(why):
            yield str(row[why])
