"""Labels are held to people, to repeats and to others, on the same documents, with intervals."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from ramify.curate.audit import kappa, run_audit, run_sheet
from ramify.curate.corpora import domain
from ramify.curate.quality_steps import Audit, Sheet
from ramify.curate.rubrics import MATH_3
from ramify.ground.errors import BadInput
from ramify.ground.step import Input, Ref

from .labelled import graded, quiet, written

pytest.importorskip("sklearn")
L = Ref(name="l")


def sheet(given: Input, out: Path, **fields: Any) -> list[dict[str, str]]:
    out.mkdir(parents=True)
    run_sheet(Sheet(name="s", labels=L, **fields), {"labels": given}, out, quiet)
    with (out / "sheet.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def audit(out: Path, inputs: dict[str, Input], **fields: Any) -> dict[str, Any]:
    out.mkdir(parents=True)
    run_audit(Audit(name="a", labels=L, resamples=100, **fields), inputs, out, quiet)
    told: dict[str, Any] = json.loads((out / "audit.json").read_text())
    return told


def filled_in(rows: list[dict[str, str]], path: Path, scores: dict[str, Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "domain", "text", "score"])
        writer.writeheader()
        writer.writerows({**x, "score": scores.get(x["id"], "")} for x in rows)
    return path


def test_a_sheet_has_as_many_of_each_label_and_shows_none(tmp_path: Path) -> None:
    rows = graded(200)
    rows[0]["text"] = '=HYPERLINK("http://x")'
    labels = {x["id"]: x["label"] for x in rows}
    rubric = {"rubric": {"text": "Judge."}}
    found = sheet(written(tmp_path / "l", rows, step=rubric), tmp_path / "out", per_label=60)
    counts = Counter(labels[x["id"]] for x in found)
    every = Counter(labels.values())
    assert counts == {label: min(60, n) for label, n in every.items()}
    assert found[0].keys() == {"id", "domain", "text", "score"}
    assert {x["score"] for x in found} == {""}
    assert [labels[x["id"]] for x in found] != sorted(labels[x["id"]] for x in found)
    assert not any(x["text"].startswith("=") for x in found)
    assert (tmp_path / "out" / "rubric.txt").read_text() == "Judge.\n"


def test_people_who_agree_have_a_kappa_of_one_and_a_shift_is_found(tmp_path: Path) -> None:
    rows = graded(120)
    given = written(tmp_path / "l", rows)
    asked = sheet(given, tmp_path / "sheet", per_label=10)
    same = {x["id"]: x["label"] for x in rows}
    one_more = {id_: min(label + 1, 3) for id_, label in same.items()}
    ann = filled_in(asked, tmp_path / "ann.csv", same)
    bob = filled_in(asked, tmp_path / "bob.csv", dict(list(one_more.items())))
    told = audit(
        tmp_path / "out",
        {"labels": given},
        people={"ann": str(ann), "bob": str(bob)},
        thresholds=(2.0,),
    )
    assert (told["ann"]["documents"], told["ann"]["kappa"], told["ann"]["exact"]) == (40, 1.0, 1.0)
    assert told["bob"]["kappa"] < 1
    low, high = told["bob"]["mean_difference_interval"]
    assert 0 < low <= told["bob"]["mean_difference"] <= high <= 1
    share = sum(label < 3 for label in same.values()) / 120  # of all labels, not of the even sheet
    assert told["bob"]["mean_difference"] == pytest.approx(share)
    assert told["bob"]["thresholds"]["2"]["kept_by_other"] > told["bob"]["thresholds"]["2"]["kept"]


def test_a_slip_of_the_pen_is_refused_with_its_row_and_the_scale(tmp_path: Path) -> None:
    rows = graded(60)
    step = {"rubric": MATH_3.model_dump(mode="json")}
    given = written(tmp_path / "l", rows, step=step)
    asked = sheet(given, tmp_path / "sheet", per_label=5)
    scores = {x["id"]: x["label"] for x in rows}
    slipped = asked[0]["id"]
    ann = filled_in(asked, tmp_path / "ann.csv", {**scores, slipped: 33})
    with pytest.raises(BadInput, match=f"gives {slipped} the score 33, which is not in 0 to 3"):
        audit(tmp_path / "out", {"labels": given}, people={"ann": str(ann)})
    right = filled_in(asked, tmp_path / "ann.csv", {**scores, slipped: ""})
    told = audit(tmp_path / "again", {"labels": given}, people={"ann": str(right)})
    assert told["ann"]["documents"] == len(asked) - 1


def test_a_sheet_saved_with_semicolons_is_told_what_a_csv_has(tmp_path: Path) -> None:
    given = written(tmp_path / "l", graded(20))
    (tmp_path / "ann.csv").write_text('id;score\n"a";1\nb, c;2\n')
    with pytest.raises(BadInput, match="commas between its columns"):
        audit(tmp_path / "out", {"labels": given}, people={"ann": str(tmp_path / "ann.csv")})


def test_a_second_annotator_is_compared_on_what_both_labelled_and_by_domain(tmp_path: Path) -> None:
    rows = graded(200)
    others = [
        {**x, "label": 3 - x["label"] if domain(x["origin"]) == "site3.org" else x["label"]}
        for x in rows[:180]
    ]
    inputs = {
        "labels": written(tmp_path / "l", rows),
        "others.second": written(tmp_path / "o", others),
    }
    told = audit(tmp_path / "out", inputs, others={"second": Ref(name="o")})["second"]
    assert told["documents"] == 180
    assert next(iter(told["domains"])) == "site3.org"
    assert all(x["mean_absolute_error"] == 0 for x in list(told["domains"].values())[1:])
    low, high = told["kappa_interval"]
    assert low <= told["kappa"] <= high < 1


def test_labellings_that_share_nothing_are_told_so(tmp_path: Path) -> None:
    rows = graded(20)
    inputs = {
        "labels": written(tmp_path / "l", rows[:10]),
        "others.o": written(tmp_path / "o", rows[10:]),
    }
    with pytest.raises(BadInput, match="o shares no document with l"):
        audit(tmp_path / "out", inputs, others={"o": Ref(name="o")})
    with pytest.raises(ValueError, match="compares labels with nothing"):
        Audit(name="a", labels=L)


@for_all(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=40))
def test_kappa_is_one_less_the_squared_error_over_that_of_chance(
    pairs: list[tuple[int, int]],
) -> None:
    a, b = (np.array(x, np.float64) for x in zip(*pairs, strict=True))
    found = kappa(a, b, np.ones(len(a)))
    chance = np.mean((a[:, None] - b[None, :]) ** 2)
    if chance == 0:
        assert found is None
    else:
        assert found == pytest.approx(1 - np.mean((a - b) ** 2) / chance)


@for_all(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 9)), min_size=2, max_size=40
    )
)
def test_a_kappa_of_weighted_documents_is_that_of_each_as_often_as_it_weighs(
    rows: list[tuple[int, int, int]],
) -> None:
    a, b, weights = (np.array(x, np.float64) for x in zip(*rows, strict=True))
    whole, share = np.zeros((6, 6)), np.arange(6)  # of classes that nobody gave, too
    np.add.at(whole, (a.astype(int), b.astype(int)), weights / weights.sum())
    apart = (share[:, None] - share[None, :]) ** 2
    chance = (apart * np.outer(whole.sum(axis=1), whole.sum(axis=0))).sum()
    found = kappa(a, b, weights)
    if chance == 0:
        assert found is None
    else:
        assert found == pytest.approx(1 - (apart * whole).sum() / chance)
        counts = weights.astype(int)
        often = kappa(np.repeat(a, counts), np.repeat(b, counts), np.ones(counts.sum()))
        assert found == pytest.approx(often)


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        ([2, 2, 2], [2, 2, 2], None),  # one class alone: there is nothing to agree on by chance
        ([2, 2, 2], [3, 3, 3], 0.0),
        ([0, 5], [5, 0], -1.0),
        ([0, 0, 5, 5], [0, 0, 5, 5], 1.0),  # four classes between them that nobody gave
        ([0, 3, 5], [0, 3, 3], 0.8),  # 4/3 apart, by chance 60/9
        ([1.4, 2.5], [1.0, 3.0], 1.0),  # halves go up
    ],
)
def test_a_kappa_of_few_classes_is_worked_out_by_hand(
    a: list[float], b: list[float], found: float | None
) -> None:
    told = kappa(np.array(a, np.float64), np.array(b, np.float64), np.ones(len(a)))
    assert told == (found if found is None else pytest.approx(found))


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://www.math.org/a/b?c", "math.org"),
        ("http://[bad", "http://[bad"),
        ("folder/file.txt:3", "folder"),
        ("file.txt", "file.txt"),
    ],
)
def test_a_domain_is_the_host_or_the_first_folder(address: str, found: str) -> None:
    assert domain(address) == found
