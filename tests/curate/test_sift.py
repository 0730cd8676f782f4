"""A corpus sifted again: counts meet, columns and held-out documents stay, a kill changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ramify.curate.filters import Filter, TooShort
from ramify.curate.masks import Mask
from ramify.curate.sift import run_sift
from ramify.curate.steps import Extraction, Sift
from ramify.curate.tables import DOCUMENT
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.step import Input, Ref


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def corpus(folder: Path, texts: dict[str, list[str]]) -> None:
    for place, some in texts.items():
        (folder / place).mkdir(parents=True)
        rows = [
            {"id": f"{n:032x}", "text": text, "origin": place, "part": n, "url": f"u{n}"}
            for n, text in enumerate(some)
        ]
        table = pa.Table.from_pylist(rows, schema=DOCUMENT)
        scores = pa.array([float(n) for n in range(len(rows))], pa.float32())
        pq.write_table(table.append_column("score", scores), folder / place / "00000.parquet")


def run(base: Path, **fields: Any) -> dict[str, Any]:
    out = base / "out"
    out.mkdir(exist_ok=True)
    step = Sift(name="s", corpus=Ref(name="c"), **fields)
    return run_sift(step, {"corpus": Input(base / "in", {}, "print")}, out, quiet)


FILTERS: tuple[Filter, ...] = (TooShort(characters=5), Mask())


def test_what_is_kept_has_all_its_columns_and_what_is_held_out_stays_so(tmp_path: Path) -> None:
    corpus(
        tmp_path / "in",
        {"documents": ["long enough", "no", "a@b.org is"], "held_out": ["held out"]},
    )
    facts = run(tmp_path, filters=FILTERS)
    assert (facts["seen"], facts["kept"], facts["held_out"]) == (4, 3, 1)
    assert facts["dropped"] == {"too_short": 1}
    kept = pq.read_table(tmp_path / "out" / "documents" / "00000.parquet").to_pylist()
    assert [(row["text"], row["url"], row["score"]) for row in kept] == [
        ("long enough", "u0", 0.0),
        ("email@example.com is", "u2", 2.0),
    ]
    dropped = pq.read_table(tmp_path / "out" / "dropped" / "00000.parquet").to_pylist()
    assert [row["reason"] for row in dropped] == ["too_short: 2 characters"]
    assert run(tmp_path, filters=FILTERS) == facts


def test_markup_becomes_text_on_the_way(tmp_path: Path) -> None:
    pytest.importorskip("resiliparse")
    corpus(
        tmp_path / "in", {"documents": ["<p>so <math><mi>x</mi><mo>+</mo><mn>1</mn></math> is</p>"]}
    )
    facts = run(tmp_path, extraction=Extraction())
    assert facts["formulas"] == {"seen": 1, "kept": 1}
    kept = pq.read_table(tmp_path / "out" / "documents" / "00000.parquet").to_pylist()
    assert kept[0]["text"] == "so $x+1$ is"


def test_nothing_there_and_nothing_left_are_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="holds no documents"):
        run(tmp_path, filters=FILTERS, part="words")
    corpus(tmp_path / "in", {"documents": ["no"]})
    with pytest.raises(BadInput, match="nothing is left of 1 documents: 1 too_short"):
        run(tmp_path, filters=FILTERS)
    with pytest.raises(ValueError, match="nothing to sift by"):
        Sift(name="s", corpus=Ref(name="c"))
