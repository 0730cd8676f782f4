"""One document's label: how it is read out of what a model answered, or out of a file."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from ramify.curate.quality_steps import FromFile
from ramify.curate.rubrics import Rubric
from ramify.ground.answers import Reply
from ramify.ground.errors import BadInput, NotFound

FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)
SHOWN = 80  # characters of an answer that is none


@dataclass(frozen=True, slots=True)
class Label:
    """A score with its reason; or, with neither, `why` there is none."""

    score: float | None
    reason: str | None
    why: str | None


def unlabelled(why: str) -> Label:
    """Return the label of a document that got none, for a reason of the form `kind: detail`."""
    return Label(None, None, why)


def check_reply(rubric: Rubric, reply: Reply) -> Label:
    """Return the label in a reply; BadInput, `kind: detail`, for prose or a score off the scale."""
    text = reply.text.strip()
    fenced = FENCED.fullmatch(text)
    try:
        told = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        if reply.finish == "length":
            raise BadInput(f"cut_off: after {reply.completion_tokens} tokens") from None
        raise BadInput(f"unparsable: {_shown(text)}") from None
    score = told.get("score") if isinstance(told, dict) else None
    if isinstance(score, bool) or not isinstance(score, int | float) or score != score // 1:
        raise BadInput(f"unparsable: no whole score in {_shown(text)}")
    if not rubric.lowest <= score <= rubric.highest:
        raise BadInput(f"out_of_range: {score:g} is not in {rubric.lowest} to {rubric.highest}")
    reason = told.get("reason")
    return Label(float(score), reason if isinstance(reason, str) else None, None)


def _shown(text: str) -> str:
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return repr(line if len(line) <= SHOWN else line[: SHOWN - 3] + "...")


def from_file(source: FromFile) -> dict[str, float]:
    """Return the scores in a csv, jsonl or parquet file by id; rows without a score are left out.

    Raises NotFound without the file, BadInput for a column that is missing or holds no numbers, or
    for an id with two different scores.
    """
    path = Path(source.path)
    table = _table(path, source.id_column)
    missing = {source.id_column, source.score_column} - {*table.column_names}
    if missing:
        raise BadInput(
            f"{path} has no column {sorted(missing)[0]!r}",
            hint=f"it has {', '.join(table.column_names)}; give id_column= and score_column=",
        )
    try:
        scores = table[source.score_column].cast(pa.float64()).to_pylist()
    except pa.ArrowInvalid as error:
        raise BadInput(f"{path}: {source.score_column}: {error}", hint="give numbers") from error
    labels: dict[str, float] = {}
    for id_, score in zip(
        table[source.id_column].cast(pa.string()).to_pylist(), scores, strict=True
    ):
        if id_ is None or score is None or math.isnan(score):
            continue
        if labels.setdefault(id_, score) != score:
            raise BadInput(f"{path} gives {id_} the scores {labels[id_]:g} and {score:g}")
    if not labels:
        raise BadInput(f"{path} holds no scores", hint=f"fill in the column {source.score_column}")
    return labels


def _table(path: Path, id_column: str) -> pa.Table:
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    try:
        match path.suffix:
            case ".parquet":
                return pq.read_table(path)
            case ".jsonl" | ".ndjson":
                return pyarrow.json.read_json(path)
            case ".csv":
                convert = pyarrow.csv.ConvertOptions(
                    strings_can_be_null=True, column_types={id_column: pa.string()}
                )
                parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
                return pyarrow.csv.read_csv(path, convert_options=convert, parse_options=parse)
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = (
            "a csv has commas between its columns and is in UTF-8"
            if path.suffix == ".csv"
            else None
        )
        raise BadInput(f"{path} cannot be read: {said}", hint=hint) from error
    raise BadInput(f"{path} is no csv, jsonl or parquet", hint="convert it to one of them")
