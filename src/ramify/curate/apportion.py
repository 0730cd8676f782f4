"""Samples corpora down to given shares of all bytes: each into a folder of its own, as a Dedup has it.

corpora ─► bytes of each ─► the scarcest for its share sets the whole ─┬─► label/documents, label/held_out
                                                                       └─► dropped (downsampled)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate import corpora
from ramify.curate.corpora import PLACES, Shard
from ramify.curate.ledger import Ledger
from ramify.curate.passing import batches, total
from ramify.curate.read import COUNTS
from ramify.curate.selection_steps import Apportion
from ramify.curate.tables import writing
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.step import Input, Tell


def run_apportion(
    step: Apportion, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Make in `out` a folder for each corpus that has a share, what was dropped, and the counts.

    Goes on after the last shard that an earlier attempt finished. Raises BadInput for a corpus with a
    share that is empty.
    """
    shards = [
        (label, shard)
        for label in sorted(step.corpora)
        for shard in corpora.shards(inputs[f"corpora.{label}"], step.parts.get(label))
    ]
    keep = kept_shares(step, shards)
    made_in = [f"{label}/{place}/*.parquet" for label in step.corpora for place in PLACES]
    ledger = Ledger(out, _plan(shards, inputs), [*made_in, "dropped/*.parquet"])
    for number, (label, shard) in enumerate(shards):
        if number >= len(ledger.shards):
            ledger.add(*_divide(step, label, shard, keep[label], out))
        tell(number + 1, len(shards), "shards")
    return _finish(step, ledger, keep, out)


def kept_shares(step: Apportion, shards: list[tuple[str, Shard]]) -> dict[str, float]:
    """Return the share of each corpus' documents that stays: 1 for the scarcest."""
    size = dict.fromkeys(step.corpora, 0)
    for label, shard in shards:
        if shard.place == "documents":
            size[label] += _bytes(shard.path)
    shares = {label: step.shares.get(label, 0.0) for label in step.corpora}
    wanted = {label: share for label, share in shares.items() if share}
    empty = [label for label in wanted if not size[label]]
    if empty:
        raise BadInput(f"{step.name} has no documents of {empty[0]!r}", hint="give it no share")
    whole = min(size[label] / share for label, share in wanted.items())
    return {label: min(s * whole / size[label], 1.0) if s else 0.0 for label, s in shares.items()}


def _bytes(path: Path) -> int:
    return sum(pc.sum(pc.binary_length(rows["text"])).as_py() or 0 for rows in batches(path))


def _plan(shards: list[tuple[str, Shard]], inputs: Mapping[str, Input]) -> dict[str, Any]:
    listing = [[label, shard.name, shard.path.stat().st_size] for label, shard in shards]
    return {"inputs": {n: g.fingerprint for n, g in sorted(inputs.items())}, "listing": listing}


def _divide(
    step: Apportion, label: str, shard: Shard, keep: float, out: Path
) -> tuple[dict[str, Any], list[Path]]:
    """Write a shard's kept and dropped documents; return its counts and the files made."""
    schema = pq.read_schema(shard.path)
    lost_schema = schema.append(pa.field("reason", pa.string()))
    paths = {
        out / label / shard.place / shard.path.name: schema,
        out / "dropped" / f"{label}-{shard.name}": lost_schema.append(pa.field("corpus", pa.string())),
    }  # fmt: skip
    size = {"kept": 0, "dropped": 0}
    reason = f"downsampled: {keep:.3g} of {label} is kept"
    with writing(paths) as (kept, dropped):
        for rows in batches(shard.path):
            hashed = corpora.keys(rows["id"].to_pylist(), step.seed, "apportion")
            below = hashed.astype(np.float64) < keep * 2.0**64
            stays = np.full(rows.num_rows, keep > 0) if shard.place == "held_out" else below
            stays = np.ones_like(stays) if keep >= 1 else stays
            some, lost = rows.filter(pa.array(stays)), rows.filter(pa.array(~stays))
            kept.write(some)
            dropped.write(
                lost.append_column("reason", pa.array([reason] * lost.num_rows, pa.string()))
                .append_column("corpus", pa.array([label] * lost.num_rows, pa.string()))
            )  # fmt: skip
            for name, each in (("kept", some), ("dropped", lost)):
                size[name] += pc.sum(pc.binary_length(each["text"])).as_py() or 0
    counts = {
        "corpus": label,
        "place": shard.place,
        "seen": kept.rows + dropped.rows,
        "kept": kept.rows,
        "dropped": {"downsampled": dropped.rows} if dropped.rows else {},
        "bytes": size,
    }
    assert counts["seen"] == pq.read_metadata(shard.path).num_rows, "a document was lost or doubled"
    return counts, list(paths)


def _finish(
    step: Apportion, ledger: Ledger, keep: Mapping[str, float], out: Path
) -> dict[str, Any]:
    facts = total(ledger.shards)
    facts["corpora"] = {
        label: total([shard for shard in ledger.shards if shard["corpus"] == label])
        for label in step.corpora
    }
    trained = {
        label: sum(
            shard["bytes"]["kept"]
            for shard in ledger.shards
            if shard["corpus"] == label and shard["place"] == "documents"
        )
        for label in step.corpora
    }
    whole = max(sum(trained.values()), 1)
    asked = sum(step.shares.values())
    facts["shares"] = {
        label: {
            "asked": step.shares.get(label, 0.0) / asked,
            "got": size / whole,
            "kept_of_it": keep[label],
        }
        for label, size in trained.items()
    }
    files.write_json(out / COUNTS, facts)
    return facts
