"""Keeps the documents of a scored corpus that are good enough, and a share of some of those that are not.

scored documents ─► domains? ─► at_least? ─► shares ─┬─► documents, held_out
                                                     └─► dropped (not_recalled, low_score, downsampled, no_score)
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
from ramify.curate.corpora import Shard
from ramify.curate.domains import domain_of, recalled
from ramify.curate.ledger import Ledger
from ramify.curate.passing import MADE_IN, plan_of, sift_shard, write_counts
from ramify.curate.quality_steps import Select
from ramify.ground.errors import BadInput
from ramify.ground.step import Input, Tell


def run_select(step: Select, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make in `out` the corpus that is kept, the drops with their reasons, and the counts.

    Goes on after the last shard that an earlier attempt finished. Raises BadInput if nothing is kept.
    """
    given = inputs["corpus"]
    shards = corpora.shards(given, step.part)
    corpora.column_of(shards[0].path, step.column)
    domains = recalled(inputs["domains"].path) if step.domains else None
    ledger = Ledger(out, plan_of(shards, given), MADE_IN)

    def verdict(rows: pa.Table) -> list[str | None]:
        keys = corpora.keys(rows["id"].to_pylist(), step.seed, "select").tolist()
        scores = rows[step.column].to_pylist()
        found = [reason(step, *pair) for pair in zip(scores, keys, strict=True)]
        if domains is None:
            return found
        urls = rows["url"].to_pylist() if "url" in rows.column_names else [None] * rows.num_rows
        elsewhere = [_not_recalled(url, domains) for url in urls]
        return [first or second for first, second in zip(elsewhere, found, strict=True)]

    for number, shard in enumerate(shards):
        if number >= len(ledger.shards):
            ledger.add(*sift_shard(shard, out, verdict))
        tell(number + 1, len(shards), "shards")
    facts = write_counts(ledger, out)
    if not facts["kept"]:
        raise _nothing(step, shards, facts)
    return facts


def _nothing(step: Select, shards: list[Shard], facts: dict[str, Any]) -> BadInput:
    """Return the error of a selection that keeps nothing: why, and what there was to choose from."""
    dropped = facts["dropped"]
    why = ", ".join(f"{count} {kind}" for kind, count in dropped.items())
    columns = [pq.read_table(shard.path, columns=[step.column])[step.column] for shard in shards]
    tops = [top for each in columns if (top := pc.max(each).as_py()) is not None]
    highest = f"; the highest {step.column} is {max(tops):.2f}" if tops else ""
    hint = "lower at_least, or train the classifier on more labels"
    if dropped.get("not_recalled", 0) > facts["seen"] / 2:
        hint = "recall more domains: lower least_pages (or least_score), or give seeds"
    elif "downsampled" in dropped and "low_score" not in dropped:
        hint = "raise shares"
    return BadInput(f"nothing is kept of {facts['seen']} documents: {why}{highest}", hint=hint)


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


def _not_recalled(url: str | None, domains: frozenset[str]) -> str | None:
    domain = None if url is None else domain_of(url)
    return None if domain in domains else f"not_recalled: {domain or 'no domain'}"
