"""A corpus is passed on without what holds evaluation items, and the report says which and why."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.killing import Killed, Killing

from ramify.curate.decontaminate import run_contamination, run_decontaminate
from ramify.curate.selection_steps import Contamination, Decontaminate
from ramify.ground import files
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.step import Input, Ref

from .corpora import Row, contents, prose, quiet, row, rows_of, write_corpus

QUESTION = prose("question", 20)
ITEMS: list[Row] = [
    {"id": "q", "task": "long", "text": QUESTION, "answer": "x"},
    {"id": "s", "task": "short", "text": "what is an egg", "answer": "a shell"},
    {"id": "gone", "task": "long", "text": prose("not there", 20), "answer": ""},
    {"id": "bare", "task": "short", "text": "no answer", "answer": None},
]
HOLDS = [row(f"{prose('x')} {QUESTION}", "holds/0"), row("What is an egg? A shell.", "holds/1")]
CLEAN = [row(prose(("clean", n)), f"clean/{n}", url=f"https://a.org/{n}") for n in range(20)]


def write_items(path: Path, items: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def corpus(folder: Path) -> Input:
    both: list[Row] = [{**x, "url": x.get("url")} for x in [*CLEAN, *HOLDS]]
    shards = {"documents/00000": both[:9], "documents/00001": both[9:], "held_out/00000": both[-1:]}
    return write_corpus(folder, shards)


def run(base: Path, name: str = "out", **fields: Any) -> Row:
    out = base / name
    out.mkdir(parents=True, exist_ok=True)
    items = write_items(base / "items.jsonl", ITEMS)
    step = Decontaminate(name="t", corpus=Ref(name="c"), items=(str(items),), **fields)
    return run_decontaminate(step, {"corpus": corpus(base / "in")}, out, quiet)


def test_documents_that_hold_items_go_and_all_others_stay_as_they_are(tmp_path: Path) -> None:
    facts = run(tmp_path)
    out = tmp_path / "out"
    kept, gone = rows_of(out / "documents"), rows_of(out / "dropped")
    assert kept == [x | {"url": x["url"]} for x in CLEAN]
    assert [x["reason"] for x in gone] == [
        "contaminated: long q (ngram_lcs 1.00)",
        "contaminated: short s (question_answer 1.00)",
        "contaminated: short s (question_answer 1.00)",
    ]
    assert not rows_of(out / "held_out")
    assert facts["seen"] == facts["kept"] + facts["dropped"]["contaminated"] == 23
    assert facts["unchecked"] == 1
    assert facts["tasks"]["long"] == {"items": 2, "found": 1, "documents": 1}
    assert json.loads((out / "counts.json").read_text()) == facts


def test_the_report_names_document_item_rule_and_overlap(tmp_path: Path) -> None:
    run(tmp_path)
    report = pq.read_table(tmp_path / "out/report.parquet").to_pylist()
    assert [(x["origin"], x["item"], x["rule"], x["overlap"], x["held_out"]) for x in report] == [
        ("holds/0", "q", "ngram_lcs", 1.0, False),
        ("holds/1", "s", "question_answer", 1.0, False),
        ("holds/1", "s", "question_answer", 1.0, True),
    ]
    assert QUESTION in report[0]["text"]
    page = (tmp_path / "out/report.md").read_text()
    assert "| long | 2 | 1 | 1 |" in page
    assert HOLDS[0]["id"] in page


def test_contamination_of_a_finished_corpus_is_the_same_report_and_drops_nothing(
    tmp_path: Path,
) -> None:
    run(tmp_path)
    out = tmp_path / "only"
    out.mkdir()
    items = tmp_path / "items.parquet"
    pq.write_table(pa.Table.from_pylist(ITEMS), items)
    step = Contamination(name="t", corpus=Ref(name="c"), items=(Ref(name="i"),))
    inputs = {"corpus": corpus(tmp_path / "in"), "items.0": Input(items, {}, "i")}
    facts = run_contamination(step, inputs, out, quiet)
    assert (out / "report.parquet").read_bytes() == (tmp_path / "out/report.parquet").read_bytes()
    assert not [*out.glob("documents/*"), *out.glob("dropped/*")]
    assert (facts["seen"], facts["contaminated"]) == (23, 2)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "no evaluation items to look for"),
        ([{"id": "0", "task": "t"}], "no column 'text'"),
        ([{"id": "0", "task": "t", "text": "too short", "answer": ""}], "can be looked for"),
    ],
)
def test_items_that_are_none_are_an_error(items: list[Row], said: str, tmp_path: Path) -> None:
    path = write_items(tmp_path / "i.jsonl", items)
    step = Decontaminate(name="t", corpus=Ref(name="c"), items=(str(path),))
    with pytest.raises(BadInput, match=said):
        run_decontaminate(step, {"corpus": corpus(tmp_path / "in")}, tmp_path, quiet)


def test_items_or_a_corpus_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    step = Decontaminate(name="t", corpus=Ref(name="c"), items=(str(tmp_path / "none"),))
    given = corpus(tmp_path / "in")
    with pytest.raises(NotFound, match="no items at"):
        run_decontaminate(step, {"corpus": given}, tmp_path, quiet)
    there = write_items(tmp_path / "i.jsonl", ITEMS)
    step = step.but(items=(str(there),), part="math")
    with pytest.raises(BadInput, match="holds no documents"):
        run_decontaminate(step, {"corpus": given}, tmp_path, quiet)


def test_killed_between_any_two_file_operations_it_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, "whole")
    expected = contents(tmp_path / "whole")
    for kills in itertools.count(1):
        killing = Killing(kills)
        monkeypatch.setattr(files, "failpoint", killing)
        try:
            run(tmp_path, str(kills))
        except Killed:
            run(tmp_path, str(kills))
        assert contents(tmp_path / str(kills)) == expected
        if killing.left > 0:  # there was no such operation any more
            break
    assert kills > 20
