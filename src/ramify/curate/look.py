"""Documents of a finished corpus, kept or dropped, a few at random: because people look at data."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Iterator, Sequence
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
    tables: int | None = None,
    name: str | None = None,
) -> list[dict[str, Any]]:
    """Return `count` rows of a Read or Dedup folder in file order, the same ones for the same seed.

    Kept rows have the columns of their file and `in` (the folder they lie in); dropped ones `reason` too.
    `why` is the beginning of a reason (`too_short`), `label` one corpus of a Dedup. Texts are read
    for the chosen rows alone, of at most so many `tables`, drawn by the seed too (None: all). Raises
    NotFound, naming what there is, if nothing fits; `name` is what the folder is called there.
    """
    kept = kept and why is None
    fitting = [
        (path, group, rows)
        for path in _drawn(_tables(folder, kept), tables, seed)
        if not (kept and label) or path.parent.parent.name == label
        for group, rows in enumerate(_fitting(pq.ParquetFile(path), kept, why, label))
    ]
    ends = list(itertools.accumulate(len(rows) for _, _, rows in fitting))
    if not ends or not ends[-1]:
        raise NotFound(
            f"{name or folder.name} has no such documents", hint=_there_is(folder, kept, label)
        )
    chosen = random.Random(derive(seed, "look")).sample(range(ends[-1]), min(count, ends[-1]))
    return [_read(folder, *_nth(fitting, ends, index)) for index in sorted(chosen)]


Rows = Sequence[int]


def _fitting(
    table: pq.ParquetFile, kept: bool, why: str | None, label: str | None
) -> Iterator[Rows]:
    """Yield, per row group, which of its rows fit; columns are read only if something is asked."""
    asked = not kept and (why is not None or label is not None)
    names = {"reason", "corpus"} & set(table.schema_arrow.names)
    for group in range(table.num_row_groups):
        if not asked:
            yield range(table.metadata.row_group(group).num_rows)
            continue
        rows = table.read_row_group(group, columns=sorted(names)).to_pylist()
        yield [
            index
            for index, row in enumerate(rows)
            if row["reason"].startswith(why or "") and label in (None, row.get("corpus"))
        ]


def _drawn(paths: list[Path], most: int | None, seed: int) -> list[Path]:
    if most is None or len(paths) <= most:
        return paths
    return sorted(random.Random(derive(seed, "tables")).sample(paths, most))


def _nth(
    fitting: list[tuple[Path, int, Rows]], ends: list[int], index: int
) -> tuple[Path, int, int]:
    place = bisect.bisect_right(ends, index)
    path, group, rows = fitting[place]
    return path, group, rows[index - (ends[place] - len(rows))]


def _tables(folder: Path, kept: bool) -> list[Path]:
    if not kept:
        return sorted(folder.glob("dropped/*.parquet"))
    places = ("documents", "held_out", "*/documents", "*/held_out")
    return sorted(path for place in places for path in folder.glob(f"{place}/*.parquet"))


def _read(folder: Path, path: Path, group: int, index: int) -> dict[str, Any]:
    row: dict[str, Any] = pq.ParquetFile(path).read_row_group(group).slice(index, 1).to_pylist()[0]
    return {**row, "in": path.parent.relative_to(folder).as_posix()}


def _there_is(folder: Path, kept: bool, label: str | None) -> str:
    tables = _tables(folder, kept=False)
    if not tables:
        return "nothing was dropped" if not kept else "is it a folder of a read or dedup step?"
    found = {
        reason.split(":", 1)[0]
        for path in tables
        for reason in pq.read_table(path, columns=["reason"])["reason"].to_pylist()
    }
    where = "" if label is None else " from all its parts"
    return f"reasons to be dropped{where} were: {', '.join(sorted(found))}"
