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
import pyarrow.parquet as pq

from ramify.curate.extract import extract
from ramify.curate.filters import NotText, sift
from ramify.curate.ledger import Ledger
from ramify.curate.read import COUNTS
from ramify.curate.sieve import ASIDE_CHARACTERS
from ramify.curate.steps import Sift
from ramify.curate.tables import Table, columns_there, conformed, shards_of, with_further, writing
from ramify.ground import files, stop
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.ids import digest
from ramify.ground.spread import Made, each
from ramify.ground.step import Input, Tell

BATCH_ROWS = 1024
PLACES = ("documents", "held_out")


def run_sift(step: Sift, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make in `out` the corpus that is left of another: documents, held_out, dropped, counts.

    Every column is carried. Goes on after the last shard that an earlier attempt finished. Raises
    NotFound where there is no corpus, BadInput where nothing is left of it.
    """
    given = inputs["corpus"]
    home = given.path / step.part if step.part else given.path
    shards = [(place, path) for place in PLACES for path in shards_of(home / place)]
    if not any(place == "documents" for place, _ in shards):
        raise NotFound(
            f"{step.corpus.name} holds no documents" + (f" in {step.part!r}" if step.part else ""),
            hint="name a corpus, and the part of it where it has parts: Sift(..., part=...)",
        )
    plan = {"input": given.fingerprint, "listing": digest(str([p.name for _, p in shards]))}
    made_in = [*(f"{place}/*.parquet" for place in PLACES), "dropped/*.parquet"]
    ledger = Ledger(out, plan, made_in)
    for entry, made in each(partial(_sift_shard, step), shards[len(ledger.shards) :], out):
        ledger.add(entry, made)
        tell(len(ledger.shards), len(shards), "shards")
    return _finish(step, ledger, out)


def _sift_shard(step: Sift, shard: tuple[str, Path], out: Path) -> Made:
    place, path = shard
    schema = with_further(path)
    dropped_schema = schema.append(pa.field("reason", pa.string()))
    name = path.name if place == "documents" else f"{place}-{path.name}"
    paths = {out / place / path.name: schema, out / "dropped" / name: dropped_schema}
    counts: Counter[str] = Counter()
    size: Counter[str] = Counter()
    rows = 0
    with writing(paths) as (kept, dropped):
        for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=columns_there(path)):
            table = conformed(pa.Table.from_batches([batch]), schema)
            rows += table.num_rows
            for row in table.to_pylist():
                stop.look()
                _sift_row(step, row, (kept, dropped), counts, size)
    seen = sum(count for what, count in counts.items() if not what.startswith("formulas "))
    assert seen == rows == kept.rows + dropped.rows, "a document was lost or doubled"
    return {"place": place, "counts": dict(counts), "bytes": dict(size)}, list(paths)


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
