"""Keeps the documents of a scored corpus that are good enough, and a share of some of those that are not.

scored documents ─► at_least? ─► shares ─┬─► documents
                                         └─► dropped (low_score, downsampled, no_score)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate import corpora
from ramify.curate.ledger import Ledger
from ramify.curate.quality_steps import Select
from ramify.curate.read import COUNTS
from ramify.curate.tables import writing
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.step import Input, Tell


def run_select(step: Select, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make in `out` the corpus that is kept, the drops with their reasons, and the counts.

    Goes on after the last shard that an earlier attempt finished. Raises BadInput if nothing is kept.
    """
    found = corpora.shards(inputs["corpus"], step.part)
    corpora.column_of(found[0], step.column)
    plan = {"shards": len(found), "input": inputs["corpus"].fingerprint}
    ledger = Ledger(out, plan, ["documents/*.parquet", "dropped/*.parquet"])
    for number in range(len(ledger.shards), len(found)):
        _select_shard(step, found[number], out, ledger)
        tell(number + 1, len(found), "shards")
    return _finish(ledger, out)


def reason(step: Select, score: float | None, key: int) -> str | None:
    """Return why a document of this score and key goes, as `kind: detail`, or None if it stays.

    Shares go by the score rounded to a whole number, halves up; what is below the lowest share
    counts as that.
    """
    if score is None or score != score:
        return "no_score: there is none"
    counted = np.floor(score + 0.5) if step.rounded else score
    if step.at_least is not None and counted < step.at_least:
        return f"low_score: {score:.2f} is below {step.at_least:g}"
    if not step.shares:
        return None
    whole = max(int(np.floor(score + 0.5)), min(step.shares))
    share = step.shares.get(whole, 1.0)
    if key < int(share * 2**64):
        return None
    return f"downsampled: of score {whole} a share of {share:g} is kept"


def _select_shard(step: Select, path: Path, out: Path, ledger: Ledger) -> None:
    schema = pq.read_schema(path).remove_metadata()
    lost = schema.append(pa.field("reason", pa.string()))
    paths = {out / "documents" / path.name: schema, out / "dropped" / path.name: lost}
    counts: Counter[str] = Counter()
    size: Counter[str] = Counter()
    with writing(paths) as (documents, dropped):
        for rows in corpora.batches(path):
            keys = corpora.keys(rows["id"].to_pylist(), step.seed, "select").tolist()
            scores = rows[step.column].to_pylist()
            reasons = [reason(step, *pair) for pair in zip(scores, keys, strict=True)]
            why = pa.array(reasons, pa.string())
            kept, gone = rows.filter(pc.is_null(why)), rows.filter(pc.is_valid(why))
            documents.write(kept.cast(schema))
            dropped.write(gone.append_column("reason", why.drop_null()).cast(lost))
            counts.update((each or "kept").split(":", 1)[0] for each in reasons)
            size["kept"] += pc.sum(pc.binary_length(kept["text"])).as_py() or 0
            size["dropped"] += pc.sum(pc.binary_length(gone["text"])).as_py() or 0
    assert counts.total() == documents.rows + dropped.rows, (
        "a document was neither kept nor dropped"
    )
    ledger.add({"counts": dict(sorted(counts.items())), "bytes": dict(size)}, paths)


def _finish(ledger: Ledger, out: Path) -> dict[str, Any]:
    reasons: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for shard in ledger.shards:
        reasons.update(shard["counts"])
        size.update(shard["bytes"])
    seen, kept = reasons.total(), reasons.pop("kept", 0)
    if not kept:
        why = ", ".join(f"{count} {kind}" for kind, count in sorted(reasons.items()))
        raise BadInput(f"nothing is kept of {seen} documents: {why}", hint="lower at_least")
    total = {"seen": size.total(), "kept": size["kept"], "dropped": size["dropped"]}
    facts = {"seen": seen, "kept": kept, "dropped": dict(sorted(reasons.items())), "bytes": total}
    files.write_json(out / COUNTS, facts)
    return facts
