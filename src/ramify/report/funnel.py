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
BESIDE = (
    "items.",
    "against.",
    "index",
)  # what is looked for or compared with: none of it passes on


@dataclass(frozen=True)
class Passage:
    """What one step made of the documents that it was given: seen is kept, held out and dropped.

    With `part`, it is of one corpus of several that the step made.
    """

    name: str
    kind: str
    seen: int
    kept: int
    bytes_kept: int | None
    tokens: int | None
    dropped: Mapping[str, int]
    provenance: Mapping[str, list[dict[str, Any]]] | None = None  # of tokenized documents
    part: str | None = None


def funnel(lab: Lab, name: str) -> list[Passage]:
    """Return the steps that led to `NAME[/PART]` and passed documents on, each after those it took in.

    Raises NotFound where there is no such step or part, or no documents went through any.
    """
    steps = _lineage(lab, lab.corpus(name), set())
    found = [passage for each in steps if (passage := _passage(lab, *each))]
    if not found:
        raise NotFound(f"no documents led to {name}", hint="name a corpus; ramify show lists them")
    return found


Taken = tuple[str, str | None]  # a step, and which of its corpora; None: all that it made


def _lineage(lab: Lab, taken: Taken, seen: set[Taken]) -> Iterator[Taken]:
    """Yield what a step was made from, and then the step itself."""
    record = lab.record(taken[0]) if taken not in seen else None
    seen.add(taken)
    if record is None or record.kind.endswith("tokenizer"):  # through which no document goes
        return
    for where, parent in record.parents.items():
        of_another = taken[1] and where.startswith("corpora.") and where != f"corpora.{taken[1]}"
        if not of_another and not where.startswith(BESIDE):
            yield from _lineage(lab, (parent["name"], _part(record.step, where)), seen)
    yield taken


def _part(step: Mapping[str, Any], where: str) -> str | None:
    """Return which corpus of the input at `where` a step took; None: the only one, or all."""
    match where.split(".", 1):
        case ["corpus"]:
            part = step.get("part")
        case ["corpus", "ref"]:
            part = step["corpus"].get("part")
        case ["corpora", label]:
            part = step.get("parts", {}).get(label)
        case _:
            part = None
    return None if part is None else str(part)


def _passage(lab: Lab, name: str, part: str | None) -> Passage | None:
    record = lab.record(name)
    assert record is not None
    facts = record.facts
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
    corpora = facts.get("corpora", {})
    part = part if part in corpora else None
    if record.kind == "dedup":
        some = corpora.values() if part is None else [corpora[part]]
        return _of_several(name, record.kind, list(some), part)
    facts = facts if part is None else corpora[part]
    if record.kind == "fetch":
        lost = facts["failed"]
        seen = facts["fetched"] + sum(lost.values())
        return Passage(name, record.kind, seen, facts["fetched"], None, None, lost)
    if "seen" not in facts:
        return None
    kept = facts.get("kept", facts["seen"])
    size = facts.get("bytes", {})
    out = size.get("kept") if isinstance(size, Mapping) else None
    dropped = facts.get("dropped", {})
    return Passage(name, record.kind, facts["seen"], kept, out, None, dropped, part=part)


def _of_several(
    name: str, kind: str, corpora: list[Mapping[str, Any]], part: str | None
) -> Passage:
    total: Counter[str] = Counter()
    for corpus in corpora:
        total.update({key: count for key, count in corpus.items() if isinstance(count, int)})
    seen, kept = total["seen"], total["kept"] + total["held_out"]
    gone = {"near_duplicate": total["dropped"]}
    sizes = [corpus["bytes"] for corpus in corpora]
    size = sum(each.get("kept", 0) + each.get("held_out", 0) for each in sizes)
    return Passage(name, kind, seen, kept, size, None, gone, part=part)


def funnel_table(passages: list[Passage]) -> Table:
    """Return the funnel as a table for a terminal, a step a row."""
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "in", "out", "bytes out", "tokens", "why the rest went"):
        right = heading not in ("step", "why the rest went")
        # a name is typed again, so it may be folded, never cut
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for each in passages:
        reasons = ", ".join(f"{count:,} {why}" for why, count in each.dropped.items() if count)
        table.add_row(
            _named(each),
            f"{each.seen:,}",
            f"{each.kept:,}",
            "" if each.bytes_kept is None else show_bytes(each.bytes_kept),
            "" if each.tokens is None else show_count(each.tokens),
            reasons,
        )
    return table


def _named(passage: Passage) -> str:
    name = passage.name if passage.part is None else f"{passage.name}/{passage.part}"
    return f"{name} (beside)" if passage.kind == "annotate" else name  # labels pass nothing on


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
