"""Where documents are from, as their corpus says: the columns, and how much each licence and source has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

COLUMNS = ("url", "license", "source")
COUNTED = ("license", "source")
MOST_TOLD = 100  # of each; the crawl files of a web corpus are many thousands


def columns_of(documents: pa.RecordBatch) -> dict[str, Any]:
    """Return the columns of documents that say where they are from, null where the corpus has none.

    They are large strings: offsets of 32 bits end at 2 GiB of URLs.
    """
    there = documents.schema.names
    return {
        name: documents.column(name).cast(pa.large_string())
        if name in there
        else pa.nulls(documents.num_rows, pa.large_string())
        for name in COLUMNS
    }


def counted(tables: Iterable[pa.Table]) -> dict[str, list[dict[str, Any]]]:
    """Return documents and tokens by licence and by source, those with most tokens first.

    `tables` have the columns `license`, `source` and `tokens`; to the tokens of each document its end
    of text is added, so that a column's counts meet those of the whole. `value` is None where nobody
    said; of more than MOST_TOLD values the rest is one row, with their number as `values`.
    """
    tables = list(tables)
    return {name: _cut(_by(name, tables)) for name in COUNTED}


def _by(name: str, tables: Iterable[pa.Table]) -> list[dict[str, Any]]:
    sums = [
        table.select([name, "tokens"])
        .group_by(name)
        .aggregate([("tokens", "sum"), ([], "count_all")])
        for table in tables
    ]
    if not sums:
        return []
    total = pa.concat_tables(sums).group_by(name)
    rows = total.aggregate([("tokens_sum", "sum"), ("count_all", "sum")]).to_pylist()
    found = [
        {
            "value": row[name],
            "documents": row["count_all_sum"],
            "tokens": row["tokens_sum_sum"] + row["count_all_sum"],
        }
        for row in rows
    ]
    return sorted(found, key=lambda row: (-row["tokens"], row["value"] or ""))


def _cut(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    told, rest = rows[:MOST_TOLD], rows[MOST_TOLD:]
    if not rest:
        return told
    sums = {key: sum(row[key] for row in rest) for key in ("documents", "tokens")}
    return [*told, {"value": None, "values": len(rest), **sums}]
