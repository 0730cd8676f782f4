"""Takes documents out of a corpus that must not be in it: by licence, and by a list of ids and URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ramify.curate import corpora
from ramify.curate.corpora import Shard
from ramify.curate.domains import lines_in
from ramify.curate.ledger import Ledger
from ramify.curate.passing import MADE_IN, plan_of, sift_shard, write_counts
from ramify.curate.selection_steps import Remove
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.step import Input, Tell


def run_remove(step: Remove, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Write a corpus without what a list names and without licences that were not asked for.

    Raises NotFound for a list that is not there, BadInput for a corpus without the column asked of.
    """
    given = inputs["corpus"]
    shards = corpora.shards(given, step.part)
    for shard in shards:
        _require_columns(step, shard)
    lists = [Path(path).expanduser() for path in step.lists]
    named = frozenset(line for path in lists for line in lines_in(path))
    hashes = [files.sha256(path) for path in lists]
    ledger = Ledger(out, plan_of(shards, given, lists=hashes), MADE_IN)

    def verdict(rows: pa.Table) -> Sequence[str | None]:
        return _reasons(step, rows, named)

    for number, shard in enumerate(shards):
        if number >= len(ledger.shards):
            ledger.add(*sift_shard(shard, out, verdict))
        tell(number + 1, len(shards), "shards")
    return write_counts(ledger, out, listed=len(named), lists=hashes)


def _require_columns(step: Remove, shard: Shard) -> None:
    there = pq.read_schema(shard.path).names
    if step.licenses is not None and "license" not in there:
        raise BadInput(
            f"{shard.path} has no column 'license'", hint="read the corpus with a license_column"
        )


def _reasons(step: Remove, rows: pa.Table, named: frozenset[str]) -> list[str | None]:
    """Return why each row goes: its id or URL is on a list, or its licence is not one asked for."""
    nobody: list[str | None] = [None] * rows.num_rows
    ids = rows["id"].to_pylist()
    urls = rows["url"].to_pylist() if "url" in rows.column_names else nobody
    licenses = rows["license"].to_pylist() if step.licenses is not None else nobody
    wanted = None if step.licenses is None else {each.lower() for each in step.licenses}
    reasons: list[str | None] = [None] * rows.num_rows
    for number, (id_, url, license_) in enumerate(zip(ids, urls, licenses, strict=True)):
        if id_ in named or url in named:
            reasons[number] = f"removed: {id_ if id_ in named else url} is on a list"
        elif wanted is not None and not _is_under(license_, wanted):
            reasons[number] = f"license: {license_ or 'unknown'}"
    return reasons


def _is_under(license_: str | None, wanted: set[str]) -> bool:
    """Say whether a licence is one of those wanted: of `a AND b` both, of `a OR b` one is enough.

    An expression with brackets is taken as it stands.
    """
    if license_ is None:
        return False
    text = license_.lower()
    if text in wanted or "(" in text:
        return text in wanted
    choices = (choice.split(" and ") for choice in text.split(" or "))
    return any(all(each.strip() in wanted for each in choice) for choice in choices)
