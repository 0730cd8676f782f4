"""The folder of an evaluation, written and read: scores by domain, and the cost of each document.

scores.json                 {domain: {bits_per_byte, standard_error, documents, bytes, ...}}
documents/DOMAIN.parquet    id, nats, bytes, tokens: enough to compare two models in pairs
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ramify.ground import files
from ramify.ground.errors import Corrupt, Mismatch, NotFound
from ramify.train.documents import Difference, Documents, Score, paired_difference

SCORES = "scores.json"
COLUMNS = ("id", "nats", "bytes", "tokens")


def write_documents(path: Path, costs: Documents) -> None:
    """Write what the documents of one domain cost, whole or not at all."""
    columns = (list(costs.ids), costs.nats, costs.bytes, costs.tokens)
    with files.replacing(path) as temporary:
        pq.write_table(pa.table(dict(zip(COLUMNS, columns, strict=True))), temporary)


def read_documents(path: Path) -> Documents:
    """Read what the documents of one domain cost; raises NotFound or Corrupt."""
    if not path.is_file():
        raise NotFound(f"there is no {path}", hint="evaluate this domain too")
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
        numbers = {name: table.column(name).to_numpy() for name in COLUMNS[1:]}
        ids = tuple(table.column("id").to_pylist())
    except (pa.ArrowException, OSError, KeyError) as error:
        raise Corrupt(f"{path} cannot be read: {error}", hint="type: ramify verify") from error
    return Documents(
        ids,
        numbers["nats"].astype(np.float64),
        numbers["bytes"].astype(np.int64),
        numbers["tokens"].astype(np.int64),
    )


def documents_path(folder: Path, domain: str) -> Path:
    """Return where an evaluation keeps the documents of a domain."""
    return folder / "documents" / f"{domain}.parquet"


def told(scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """Return scores as plain JSON, as scores.json and a record hold them."""
    return {domain: {**asdict(score), "loss": score.loss} for domain, score in scores.items()}


def read_scores(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the scores of a finished evaluation by domain; raises NotFound."""
    path = folder / SCORES
    if not path.is_file():
        raise NotFound(f"there is no {path}", hint="name the folder of an evaluation")
    scores: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
    return scores


def compare(a: Path, b: Path) -> dict[str, Difference]:
    """Return how many bits per byte one evaluated model needs above another, by domain.

    Raises Mismatch unless both were evaluated on the same domains and the same documents.
    """
    domains, others = read_scores(a).keys(), read_scores(b).keys()
    if domains != others:
        raise Mismatch(
            f"{a.name} was evaluated on {', '.join(domains)}, {b.name} on {', '.join(others)}",
            hint="evaluate both on the same corpora",
        )
    return {
        domain: paired_difference(
            read_documents(documents_path(a, domain)), read_documents(documents_path(b, domain))
        )
        for domain in domains
    }
