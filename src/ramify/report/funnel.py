"""What went in and came out of every step that a corpus was made by: documents, bytes, tokens, reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from ramify.ground.errors import NotFound
from ramify.ground.units import show_bytes, show_count
from ramify.runs.lab import Lab

PACKED = ("tokenize", "broughttokens")  # kinds of steps that make tokens for runs


@dataclass(frozen=True)
class Passage:
    """What one step made of the documents that it was given: seen is kept, held out and dropped."""

    name: str
    kind: str
    seen: int
    kept: int
    bytes_kept: int | None
    tokens: int | None
    dropped: Mapping[str, int]
    provenance: Mapping[str, list[dict[str, Any]]] | None = None  # of tokenized documents


def funnel(lab: Lab, name: str) -> list[Passage]:
    """Return the steps that led to `name` and passed documents on, each after those it took in.

    Raises NotFound where there is no such step, or no documents went through any.
    """
    lab.place(name)
    found = [passage for each in _lineage(lab, name, set()) if (passage := _passage(lab, each))]
    if not found:
        raise NotFound(f"no documents led to {name}", hint="name a corpus; ramify show lists them")
    return found


def _lineage(lab: Lab, name: str, seen: set[str]) -> Iterator[str]:
    """Yield the names of what a step was made from, and then its own."""
    record = lab.record(name) if name not in seen else None
    seen.add(name)
    if record is None or record.kind.endswith("tokenizer"):  # through which no document goes
        return
    for parent in record.parents.values():
        yield from _lineage(lab, parent["name"], seen)
    yield name


def _passage(lab: Lab, name: str) -> Passage | None:
    record = lab.record(name)
    assert record is not None
    facts = record.facts
    if record.kind == "dedup":
        return _of_several(name, record.kind, list(facts["corpora"].values()))
    if record.kind in PACKED:
        held = facts["held_out"]["documents"]
        count = facts["documents"]
        return Passage(
            name,
            record.kind,
            count + held,
            count,
            facts["bytes"],
            facts["tokens"],
            {"held_out": held},
            facts.get("provenance"),
        )
    if "seen" not in facts:
        return None
    kept = facts.get("kept", facts["seen"])
    size = facts.get("bytes", {})
    out = size.get("kept") if isinstance(size, Mapping) else None
    return Passage(name, record.kind, facts["seen"], kept, out, None, facts.get("dropped", {}))


def _of_several(name: str, kind: str, corpora: list[Mapping[str, Any]]) -> Passage:
    total: Counter[str] = Counter()
    for corpus in corpora:
        total.update({key: count for key, count in corpus.items() if isinstance(count, int)})
    seen, kept = total["seen"], total["kept"] + total["held_out"]
    gone = {"near_duplicate": total["dropped"]}
    sizes = [corpus["bytes"] for corpus in corpora]
    size = sum(each.get("kept", 0) + each.get("held_out", 0) for each in sizes)
    return Passage(name, kind, seen, kept, size, None, gone)


def funnel_table(passages: list[Passage]) -> Table:
    """Return the funnel as a table for a terminal, a step a row."""
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "in", "out", "bytes out", "tokens", "why the rest went"):
        right = heading not in ("step", "why the rest went")
        table.add_column(heading, justify="right" if right else "left")
    for each in passages:
        reasons = ", ".join(f"{count:,} {why}" for why, count in each.dropped.items() if count)
        table.add_row(
            each.name,
            f"{each.seen:,}",
            f"{each.kept:,}",
            "" if each.bytes_kept is None else show_bytes(each.bytes_kept),
            "" if each.tokens is None else show_count(each.tokens),
            reasons,
        )
    return table


def told_of_provenance(passages: Sequence[Passage], most: int = 8) -> Iterator[str]:
    """Yield a line for the licences and one for the sources of each tokenized corpus, if it says any."""
    for each in passages:
        for name, plural in (("license", "licences"), ("source", "sources")):
            rows = (each.provenance or {}).get(name, [])
            if any(row["value"] is not None for row in rows):
                yield f"{each.name}, {plural}: {shares(rows, most)}"


def shares(rows: Sequence[Mapping[str, Any]], most: int) -> str:
    """Return the share of tokens of each value, as `mit 61.0%, not stated 39.0%`, the first `most`."""
    total = sum(row["tokens"] for row in rows)
    told = [f"{_value(row)} {row['tokens'] / total:.1%}" for row in rows[:most]]
    rest = rows[most:]
    if rest:
        count = sum(row.get("values", 1) for row in rest)
        told.append(f"{count:,} more {sum(row['tokens'] for row in rest) / total:.1%}")
    return ", ".join(told)


def _value(row: Mapping[str, Any]) -> str:
    if "values" in row:
        return f"{row['values']:,} more"
    return "not stated" if row["value"] is None else str(row["value"])
