"""Documents of a finished corpus, kept or dropped, a few at random: because people look at data."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ramify.ground.errors import NotFound
from ramify.ground.seeds import derive


def sample(
    folder: Path,
    *,
    kept: bool = True,
    why: str | None = None,
    label: str | None = None,
    count: int = 5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return `count` rows of a Read or Dedup folder in file order, the same ones for the same seed.

    Kept rows have id, text, origin, part and `in` (the folder they lie in); dropped ones `reason` too.
    `why` is the beginning of a reason (`too_short`), `label` one corpus of a Dedup. Texts are read
    for the chosen rows alone. Raises NotFound, naming what there is, if nothing fits.
    """
    rows = list(_rows(folder, kept=kept and why is None, why=why, label=label))
    if not rows:
        raise NotFound(f"{folder.name} has no such documents", hint=_there_is(folder, kept))
    chosen = random.Random(derive(seed, "look")).sample(range(len(rows)), min(count, len(rows)))
    return [_read(folder, *rows[index]) for index in sorted(chosen)]


def _rows(
    folder: Path, *, kept: bool, why: str | None, label: str | None
) -> Iterator[tuple[Path, int, int]]:
    """Yield (file, row group, row in it) of every document that fits."""
    for path in _tables(folder, kept):
        if kept and label and path.parent.parent.name != label:
            continue
        table = pq.ParquetFile(path)
        names = table.schema_arrow.names
        for group in range(table.num_row_groups):
            columns = [x for x in ("reason", "corpus") if x in names and (why or label)]
            some = table.read_row_group(group, columns=columns or ["part"]).to_pylist()
            for index, row in enumerate(some):
                fits = label is None or row.get("corpus", label) == label
                if fits and (why is None or row["reason"].startswith(why)):
                    yield path, group, index


def _tables(folder: Path, kept: bool) -> list[Path]:
    if not kept:
        return sorted(folder.glob("dropped/*.parquet"))
    places = ("documents", "held_out", "*/documents", "*/held_out")
    return sorted(path for place in places for path in folder.glob(f"{place}/*.parquet"))


def _read(folder: Path, path: Path, group: int, index: int) -> dict[str, Any]:
    row: dict[str, Any] = pq.ParquetFile(path).read_row_group(group).slice(index, 1).to_pylist()[0]
    return {**row, "in": path.parent.relative_to(folder).as_posix()}


def _there_is(folder: Path, kept: bool) -> str:
    tables = _tables(folder, kept=False)
    if not tables:
        return "nothing was dropped" if not kept else "is it a folder of a read or dedup step?"
    found = {
        reason.split(":", 1)[0]
        for path in tables
        for reason in pq.read_table(path, columns=["reason"])["reason"].to_pylist()
    }
    return f"reasons to be dropped were: {', '.join(sorted(found))}"
