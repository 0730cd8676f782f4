"""A table of measured losses as points: CSV or JSON lines, compressed or not, by names of columns.

name          a column; of JSON lines, `outer.inner` looks inside
name*1e9      a column that is counted in another unit
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ramify.ground.errors import BadInput, NotFound
from ramify.scaling.law import Floats
from ramify.scaling.points import Points, checked

SHOWN = 12  # columns that an error names
DECAY_COLUMNS = ("decay", "decayed", "decay_state")
ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Columns:
    """Where the numbers stand: tokens or FLOPs may be None, and then follow from C = 6·N·D."""

    params: str
    loss: str
    tokens: str | None = None
    flops: str | None = None
    arm: str | None = None
    seed: str | None = None


def read_points(path: Path, columns: Columns, where: Sequence[str] = ()) -> Points:
    """Read the rows of a table for which every `where` (COLUMN=VALUE) holds, as checked points."""
    return points_of(read_rows(path), columns, where)


def points_of(rows: Sequence[Row], columns: Columns, where: Sequence[str] = ()) -> Points:
    """Return the rows for which every `where` (COLUMN=VALUE) holds, as checked points.

    Raises BadInput for a column that is not there, for a cell that is no number, and where the
    rows are of more than one decay state.
    """
    if columns.tokens is None and columns.flops is None:
        raise BadInput("neither tokens nor FLOPs", hint="type: --tokens COLUMN or --flops COLUMN")
    rows = chosen(rows, where)
    refuse_mixed_decay(rows, columns.arm)
    n, loss = _numbers(rows, columns.params), _numbers(rows, columns.loss)
    d = _numbers(rows, columns.tokens) if columns.tokens else None
    c = _numbers(rows, columns.flops) if columns.flops else None
    if d is None:
        assert c is not None
        with np.errstate(divide="ignore", invalid="ignore"):
            d = c / 6 / n
    return checked(
        n,
        d,
        loss,
        flops=c,
        labels=[str(cell(row, columns.arm)) for row in rows] if columns.arm else (),
        seeds=_seeds(rows, columns.seed) if columns.seed else (),
        trust_units=columns.tokens is None or "*" in columns.tokens,
        trust_parameters="*" in columns.params,
    )


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a CSV, TSV or JSON-lines file; `.zst`, `.gz` and `.bz2` are unpacked."""
    if not path.is_file():
        raise NotFound(f"there is no file {path}", hint="name a lab, or a CSV or JSON-lines file")
    ending = next((end for end in ENDINGS if end in path.suffixes), None)
    if ending is None:
        raise BadInput(f"{path} is no table", hint=f"a name ends in {', '.join(ENDINGS)}, or .zst")
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            text = stream.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}", hint="give UTF-8 text") from error
    rows = _json_rows(path, text) if ending in (".jsonl", ".ndjson") else _csv_rows(text, ending)
    if not rows:
        raise BadInput(f"{path} has no rows", hint="give a table with a heading and rows")
    return rows


def _csv_rows(text: str, ending: str) -> list[Row]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t" if ending == ".tsv" else ","))


def _json_rows(path: Path, text: str) -> list[Row]:
    try:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise BadInput(
            f"{path}: a line is no JSON: {error}", hint="give one object a line"
        ) from error
    if not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"{path}: a line is no object", hint="give one object a line")
    return rows


def chosen(rows: Sequence[Row], where: Sequence[str]) -> list[Row]:
    """Return the rows that have, of every column named, one of its values; BadInput for none.

    A value may be a pattern, as of files: `run=core/*/cosine-*`.
    """
    left = list(rows)
    for name, values in _asked(where).items():
        there = [str(cell(row, name)) for row in left]
        left = [row for row, found in zip(left, there, strict=True) if _is_one(found, values)]
        if not left:
            seen = ", ".join(sorted(set(there))[:SHOWN])
            raise BadInput(f"no row has {name}={' or '.join(values)}", hint=f"there: {seen}")
    return left


def _asked(where: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for condition in where:
        name, equals, value = condition.partition("=")
        if not equals:
            raise BadInput(f"--where {condition}", hint="write --where COLUMN=VALUE")
        found.setdefault(name, []).append(value)
    return found


def _is_one(found: str, values: Sequence[str]) -> bool:
    return any(found == value or fnmatchcase(found, value) for value in values)


def cell(row: Row, name: str) -> Any:
    """Return a cell by the name of its column, or of `outer.inner`; BadInput if there is none."""
    if name in row:
        return row[name]
    inside: Any = row
    for part in name.split("."):
        if not isinstance(inside, Mapping) or part not in inside:
            columns = ", ".join(list(row)[:SHOWN]) + (", ..." if len(row) > SHOWN else "")
            raise BadInput(f"there is no column {name!r}", hint=f"there: {columns}")
        inside = inside[part]
    return inside


def refuse_mixed_decay(rows: Sequence[Row], arm: str | None) -> None:
    """Raise BadInput where a column says that rows are of more than one decay state.

    An undecayed point lies above a decayed one of the same tokens, so one law fits neither.
    """
    for name in (c for c in DECAY_COLUMNS if c in rows[0] and c != arm):
        states = sorted({str(row[name]) for row in rows})
        if len(states) > 1:
            raise BadInput(
                f"the points are of several decay states: {name} is {', '.join(states[:SHOWN])}",
                hint=f"choose one, type: --where {name}={states[0]}",
            )


def _numbers(rows: Sequence[Row], spec: str) -> Floats:
    name, star, scale = spec.rpartition("*")
    if not star:
        name, scale = spec, "1"
    try:
        factor = float(scale)
    except ValueError as error:
        raise BadInput(f"{spec!r}", hint="write COLUMN or COLUMN*NUMBER, like D*1e9") from error
    return np.array([factor * _number(cell(row, name), name) for row in rows])


def _number(value: Any, name: str) -> float:
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{name} holds {value!r}, which is no number", hint="mend it") from error


def _seeds(rows: Sequence[Row], name: str) -> list[int]:
    try:
        return [int(cell(row, name)) for row in rows]
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"{name} is not a whole number everywhere", hint="name the seeds' column"
        ) from error
