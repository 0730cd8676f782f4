"""Passes a corpus through extraction and filters again, shard by shard.

corpus ─► shards ─► text out of markup, if asked ─► filters ─┬─► documents, held_out (all columns)
                                                             └─► dropped (why)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ramify.curate import corpora
from ramify.curate.corpora import Shard
from ramify.curate.extract import extract
from ramify.curate.filters import NotText, sift
from ramify.curate.ledger import Ledger
from ramify.curate.passing import MADE_IN, batches, plan_of
from ramify.curate.read import COUNTS
from ramify.curate.sieve import ASIDE_CHARACTERS
from ramify.curate.steps import Sift
from ramify.curate.tables import Table, columns_there, conformed, with_further, writing
from ramify.ground import files, stop
from ramify.ground.errors import BadInput
from ramify.ground.spread import Made, each
from ramify.ground.step import Input, Tell


def run_sift(step: Sift, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make in `out` the corpus that is left of another: documents, held_out, dropped, counts.

    Every column is carried. Goes on after the last shard that an earlier attempt finished. Raises
    NoDocuments where there is no corpus, BadInput where nothing is left of it.
    """
    given = inputs["corpus"]
    shards = corpora.shards(given, step.part)
    ledger = Ledger(out, plan_of(shards, given), MADE_IN)
    for entry, made in each(partial(_sift_shard, step), shards[len(ledger.shards) :], out):
        ledger.add(entry, made)
        tell(len(ledger.shards), len(shards), "shards")
    return _finish(step, ledger, out)


def _sift_shard(step: Sift, shard: Shard, out: Path) -> Made:
    schema = with_further(shard.path)
    dropped_schema = schema.append(pa.field("reason", pa.string()))
    paths = {
        out / shard.place / shard.path.name: schema,
        out / "dropped" / shard.name: dropped_schema,
    }
    counts: Counter[str] = Counter()
    size: Counter[str] = Counter()
    rows = 0
    with writing(paths) as (kept, dropped):
        for some in batches(shard.path, columns=columns_there(shard.path)):
            rows += some.num_rows
            for row in conformed(some, schema).to_pylist():
                stop.look()
                _sift_row(step, row, (kept, dropped), counts, size)
    seen = sum(count for what, count in counts.items() if not what.startswith("formulas "))
    assert seen == rows == kept.rows + dropped.rows, "a document was lost or doubled"
    return {"place": shard.place, "counts": dict(counts), "bytes": dict(size)}, list(paths)


def _sift_row(
    step: Sift,
    row: dict[str, Any],
    tables: tuple[Table, Table],
    counts: Counter[str],
    size: Counter[str],
) -> None:
    before, why = row["text"], None
    text = before
    if step.extraction is not None:
        found = extract(before, step.extraction)
        text, why = found.text, found.broken
        if why is None:
            counts.update(
                {"formulas seen": found.formulas_seen, "formulas kept": found.formulas_kept}
            )
    if why is None:
        text, why = sift((NotText(), *step.filters), text)
    size["seen"] += len(before.encode())
    if why is None:
        tables[0].add({**row, "text": text})
        counts["kept"] += 1
        size["kept"] += len(text.encode())
    else:
        tables[1].add({**row, "text": before[:ASIDE_CHARACTERS], "reason": why})
        counts[why.split(":", 1)[0]] += 1


def _finish(step: Sift, ledger: Ledger, out: Path) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    size: Counter[str] = Counter()
    held_out = 0
    for shard in ledger.shards:
        counts.update(shard["counts"])
        size.update(shard["bytes"])
        held_out += shard["counts"].get("kept", 0) if shard["place"] == "held_out" else 0
    formulas = {"seen": counts.pop("formulas seen", 0), "kept": counts.pop("formulas kept", 0)}
    seen, kept = counts.total(), counts.pop("kept", 0)
    if not kept:
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
        raise BadInput(f"nothing is left of {seen} documents: {why}", hint="loosen the filters")
    facts: dict[str, Any] = {
        "seen": seen,
        "kept": kept,
        "held_out": held_out,
        "dropped": dict(sorted(counts.items())),
        "bytes": {"seen": size["seen"], "kept": size["kept"]},
    }
    if step.extraction is not None:
        facts["formulas"] = formulas
    files.write_json(
        out / COUNTS, {**facts, "filters": [filter_.model_dump() for filter_ in step.filters]}
    )
    return facts
