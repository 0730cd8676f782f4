"""Every document gets a score and none is lost; what is kept by it depends on score and id alone."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from tests.killing import Killed, Killing
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from ramify.curate.classify import run_classify
from ramify.curate.look import sample
from ramify.curate.quality_steps import Classify, Linear, Score, Select
from ramify.curate.score import kept_at, run_score
from ramify.curate.select import reason, run_select
from ramify.ground import files
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.step import Input, Ref

from .labelled import PLAIN, RARE, contents, graded, made, quiet, written

pytest.importorskip("sklearn")
C = Ref(name="c")


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Input, Input]:
    """Return two classifiers: one of few weights, and a better one."""
    home = tmp_path_factory.mktemp("classifiers")
    labels = written(home / "labels", graded(160))
    found = []
    for bits in (8, 14):
        out = home / str(bits)
        out.mkdir()
        step = Classify(name="c", labels=Ref(name="l"), method=Linear(bits=bits))
        run_classify(step, {"labels": labels}, out, quiet)
        found.append(Input(out, {}, str(bits)))
    return found[0], found[1]


def score(inputs: dict[str, Input], out: Path, **fields: Any) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    step = Score(**{"name": "s", "corpus": C, "classifier": Ref(name="k"), **fields})
    return run_score(step, inputs, out, quiet)


def select(given: Input, out: Path, **fields: Any) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    return run_select(Select(name="s", corpus=C, **fields), {"corpus": given}, out, quiet)


def test_a_score_is_a_column_beside_those_that_were_there(
    classifiers: tuple[Input, Input], tmp_path: Path
) -> None:
    rows = [{**x, "url": "u", "license": None, "n": 3} for x in graded(90, seed=1)]
    inputs = {"corpus": written(tmp_path / "c", rows), "classifier": classifiers[0]}
    facts = score(inputs, tmp_path / "out", column="quality")
    found = made(tmp_path / "out" / "documents")
    assert [{k: v for k, v in x.items() if k != "quality"} for x in found] == rows
    assert np.corrcoef([x["quality"] for x in found], [x["label"] for x in found])[0, 1] > 0.8
    assert (facts["seen"], facts["kept"], facts["dropped"]) == (90, 90, {})
    for threshold, kept in facts["kept_at"].items():
        assert kept["documents"] == sum(x["quality"] >= float(threshold) - 0.5 for x in found)


def test_a_cascade_asks_the_second_near_a_threshold_only(
    classifiers: tuple[Input, Input], tmp_path: Path
) -> None:
    inputs = {"corpus": written(tmp_path / "c", graded(80, seed=2)), "classifier": classifiers[0]}
    score(inputs, tmp_path / "first")
    score({**inputs, "classifier": classifiers[1]}, tmp_path / "second")
    both = {"refine": Ref(name="k2"), "near": (2.0,), "margin": 0.4}
    facts = score({**inputs, "refine": classifiers[1]}, tmp_path / "both", **both)
    first, second, cascade = (
        made(tmp_path / name / "documents") for name in ("first", "second", "both")
    )
    for a, b, x in zip(first, second, cascade, strict=True):
        near = abs(a["score"] - 1.5) <= 0.4
        assert x["score"] == (b if near else a)["score"]
        assert x["score_by"] == ("refine" if near else "classifier")
    assert 0 < facts["refined"] == sum(x["score_by"] == "refine" for x in cascade) < 80


def test_the_curve_begins_with_everything_where_the_second_scale_reaches_lower(
    classifiers: tuple[Input, Input], tmp_path: Path
) -> None:
    labels = [{**x, "label": max(x["label"], 2.0)} for x in graded(160)]
    (tmp_path / "high").mkdir()
    step = Classify(name="h", labels=Ref(name="l"), method=Linear(bits=8))
    run_classify(step, {"labels": written(tmp_path / "l", labels)}, tmp_path / "high", quiet)
    rows = graded(80, seed=3)
    inputs = {
        "corpus": written(tmp_path / "c", rows),
        "classifier": Input(tmp_path / "high", {}, "high"),
        "refine": classifiers[1],
    }
    facts = score(inputs, tmp_path / "out", refine=Ref(name="k2"), near=(2.0,), margin=9.0)
    assert min(x["score"] for x in made(tmp_path / "out" / "documents")) < 2
    kept = json.loads((tmp_path / "out" / "counts.json").read_text())["kept_at"]
    size = sum(len(x["text"].encode()) for x in rows)
    assert (kept["cut"][0], kept["cut"][-1]) == (0, 3)
    assert (kept["documents"][0], kept["bytes"][0]) == (80, size)
    assert facts["kept_at"].keys() == {"1", "2", "3"}


def test_tokens_are_counted_where_a_tokenizer_is_given(
    classifiers: tuple[Input, Input], tmp_path: Path
) -> None:
    rows = graded(30)
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(PLAIN + RARE)}))
    tokenizer.pre_tokenizer = Whitespace()
    (tmp_path / "t").mkdir()
    tokenizer.save(str(tmp_path / "t" / "tokenizer.json"))
    inputs = {
        "corpus": written(tmp_path / "c", rows),
        "classifier": classifiers[0],
        "tokenizer": Input(tmp_path / "t", {}, "t"),
    }
    score(inputs, tmp_path / "out", tokenizer=Ref(name="t"))
    kept = json.loads((tmp_path / "out" / "counts.json").read_text())["kept_at"]
    assert kept["tokens"][0] == sum(len(x["text"].split()) for x in rows)
    assert kept["bytes"][0] == sum(len(x["text"].encode()) for x in rows)
    assert sorted(kept["tokens"], reverse=True) == kept["tokens"]


def test_what_was_held_out_is_scored_counted_and_stays_held_out(
    classifiers: tuple[Input, Input], tmp_path: Path
) -> None:
    rows = graded(90, seed=4)
    given = written(tmp_path / "c", rows[:60])
    held = written(tmp_path / "h", rows[60:]).path / "documents"
    held.rename(given.path / "held_out")
    facts = score({"corpus": given, "classifier": classifiers[0]}, tmp_path / "scored")
    documents, held_out = (made(tmp_path / "scored" / x) for x in ("documents", "held_out"))
    assert [x["id"] for x in documents + held_out] == [x["id"] for x in rows]
    assert (facts["seen"], facts["kept"], facts["held_out"]) == (90, 90, 30)
    told = json.loads((tmp_path / "scored" / "counts.json").read_text())
    size = sum(len(x["text"].encode()) for x in rows)
    assert (told["bytes"]["kept"], told["kept_at"]["bytes"][0]) == (size, size)
    assert told["kept_at"]["documents"][0] == 90
    scored = Input(tmp_path / "scored", {}, "scored")
    chosen = select(scored, tmp_path / "good", at_least=2)
    good = made(tmp_path / "good" / "held_out")
    assert [x["id"] for x in good] == [x["id"] for x in held_out if x["score"] >= 1.5]
    assert 0 < chosen["held_out"] == len(good) < 30


@for_all(
    st.lists(st.tuples(st.floats(-1, 4), st.integers(0, 9)), max_size=40),
    st.lists(st.floats(-1, 4), min_size=1, max_size=9),
)
def test_what_a_cut_keeps_is_the_size_of_all_from_it_on(
    documents: list[tuple[float, int]], cuts: list[float]
) -> None:
    scores = np.array([s for s, _ in documents], np.float64)
    size = np.array([n for _, n in documents], np.int64)
    found = kept_at(scores, size, np.array(sorted(cuts)))
    assert found.tolist() == [sum(n for s, n in documents if s >= cut) for cut in sorted(cuts)]


@pytest.mark.parametrize("which", ["score", "select"])
def test_killed_anywhere_it_goes_on_to_the_same_bits(
    classifiers: tuple[Input, Input],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    which: str,
) -> None:
    given = written(tmp_path / "c", graded(30), per_file=10)
    steps: dict[str, Callable[[Path], dict[str, Any]]] = {
        "score": lambda out: score({"corpus": given, "classifier": classifiers[0]}, out),
        "select": lambda out: select(given, out, column="label", shares={0: 0.0, 1: 0.5}),
    }
    steps[which](tmp_path / "whole")
    for operation in itertools.count(1):
        out = tmp_path / f"{operation:02}"
        with monkeypatch.context() as patch:
            patch.setattr(files, "failpoint", Killing(operation))
            try:
                steps[which](out)
                break
            except Killed:
                pass
        steps[which](out)
        assert contents(out) == contents(tmp_path / "whole")
    assert operation > 10


def test_a_selection_keeps_or_drops_everyone_with_a_reason(tmp_path: Path) -> None:
    rows = [
        {**x, "label": [0.0, 1.4, 2.0, 2.5, 3.0, None][n % 6]} for n, x in enumerate(graded(600))
    ]
    given = written(tmp_path / "c", rows)
    facts = select(given, tmp_path / "out", column="label", shares={0: 0.0, 1: 0.1, 2: 0.3})
    kept, dropped = made(tmp_path / "out" / "documents"), made(tmp_path / "out" / "dropped")
    assert len(kept) + len(dropped) == 600 == facts["seen"]
    assert facts["dropped"].keys() == {"downsampled", "no_score"}
    share = {s: sum(x["label"] == s for x in kept) / 100 for s in (0.0, 1.4, 2.0, 2.5, 3.0)}
    assert (share[0.0], share[2.5], share[3.0]) == (0.0, 1.0, 1.0)
    assert 0.02 <= share[1.4] <= 0.2 < share[2.0] <= 0.45
    assert sample(tmp_path / "out", why="no_score")[0]["reason"] == "no_score: there is none"


def test_a_threshold_is_of_the_rounded_score_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    rows = [{**x, "label": n / 10} for n, x in enumerate(graded(40))]
    given = written(tmp_path / "c", rows)
    assert select(given, tmp_path / "a", column="label", at_least=3)["kept"] == 15
    exact = select(given, tmp_path / "b", column="label", at_least=3, rounded=False)
    assert (exact["kept"], exact["dropped"]) == (10, {"low_score": 30})


@for_all(
    st.floats(-1, 6), st.integers(0, 2**64 - 1), st.dictionaries(st.integers(0, 5), st.floats(0, 1))
)
def test_a_larger_share_keeps_all_that_a_smaller_one_keeps(
    given_score: float, key: int, shares: dict[int, float]
) -> None:
    small = Select(name="s", corpus=C, at_least=0, shares={k: v / 2 for k, v in shares.items()})
    large = small.but(shares=shares)
    if reason(small, given_score, key) is None:
        assert reason(large, given_score, key) is None


def test_what_cannot_be_scored_or_selected_is_told_in_a_line(
    classifiers: tuple[Input, Input], tmp_path: Path
) -> None:
    given = written(tmp_path / "c", graded(10))
    with pytest.raises(BadInput, match=r"no scores called 'score'.*label"):
        select(given, tmp_path / "a", at_least=3)
    with pytest.raises(
        BadInput, match="nothing is kept of 10 documents: 10 low_score; the highest label is"
    ):
        select(given, tmp_path / "b", column="label", at_least=9)
    with pytest.raises(NotFound, match="no documents of 'web'"):
        score({"corpus": given, "classifier": classifiers[0]}, tmp_path / "d", part="web")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "keeps all"),
        ({"shares": {1: 1.5}}, "a share of 1.5"),
        ({"at_least": 1, "column": "text"}, "cannot name a column"),
    ]
    for fields, said in wrong:
        with pytest.raises(ValueError, match=said):
            Select(**{"name": "s", "corpus": C, **fields})
    with pytest.raises(ValueError, match="a cascade needs both"):
        Score(name="s", corpus=C, classifier=Ref(name="k"), near=(2.0,))
