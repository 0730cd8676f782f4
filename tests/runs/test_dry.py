"""A dry run tells what a whole will come to, apart from its lab, and pays for nothing unasked."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.runs.tiny import make

from ramify.curate.quality_steps import Annotate, FromFunction, Select
from ramify.curate.rubrics import EDU_WEB
from ramify.curate.steps import Dedup, Files, Read, Sample
from ramify.ground.errors import BadInput
from ramify.ground.step import Ref
from ramify.recipes import finemath, quickstart, smollm2_small_web
from ramify.runs.dry import dry, freshen, home, parse_share
from ramify.runs.estimate import Estimate, StepEstimate, estimate
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.recipe import Recipe
from ramify.tokens.steps import Corpus, Tokenize, Tokenizer

FILES = 400


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 400 files of one to four documents: a third too short, a tenth said twice."""
    draw = random.Random(0)
    folder = tmp_path_factory.mktemp("texts")
    twins = [_text(draw, 60) for _ in range(40)]
    for number in range(FILES):
        rows = [{"text": _text(draw, draw.choice((4, 60, 90)))} for _ in range(draw.randint(1, 4))]
        if number % 5 == 0:
            rows.append({"text": twins[number // 5 % 40]})
        lines = "\n".join(map(json.dumps, rows))
        (folder / f"{number:03}.jsonl").write_text(lines + "\n")
    return folder


def _text(draw: random.Random, words: int) -> str:
    return " ".join(f"{draw.choice('bdfgklm')}{draw.choice('aeiou')}{draw.randrange(999)}" for _ in range(words))  # fmt: skip


def recipe(texts: Path) -> Recipe:
    read = Read(name="read", source=Files(path=str(texts)))
    clean = Dedup(name="clean", corpora={"text": Ref(name="read")})
    corpus = Corpus(ref=Ref(name="clean"), part="text")
    tokenizer = Tokenizer(name="tokenizer", corpora={"text": corpus}, vocab=300)
    packed = Tokenize(name="text", corpus=corpus, tokenizer=Ref(name="tokenizer"), max_context=64)
    return Recipe(name="texts", steps=(read, clean, tokenizer, packed))


def foretold(wanted: Recipe, lab: Lab, share: float = 0.25, **options: Any) -> Estimate:
    made = dry(wanted, share=share, least_bytes=1000, **options)
    make(made.recipe, lab)
    return estimate(made, lab)


def of(found: Estimate, name: str) -> StepEstimate:
    return next(step for step in found.steps if step.name == name)


def test_intervals_of_a_quarter_hold_what_the_whole_comes_to(texts: Path, tmp_path: Path) -> None:
    wanted = recipe(texts)
    found = foretold(wanted, Lab(tmp_path / "dry"))
    lab = make(wanted, Lab(tmp_path / "lab"))
    read, clean, packed = (lab.record(name) for name in ("read", "clean", "text"))
    assert read is not None
    assert clean is not None
    assert packed is not None
    inside(of(found, "read").documents_in, read.facts["seen"])
    inside(of(found, "read").documents_out, read.facts["kept"])
    inside(of(found, "read").kept, read.facts["kept"] / read.facts["seen"])
    counts = clean.facts["corpora"]["text"]
    kept = counts["kept"] + counts["held_out"]
    inside(of(found, "clean").documents_out, kept)
    inside(of(found, "clean").kept, kept / counts["seen"])
    held = packed.facts["held_out"]
    inside(of(found, "text").tokens, packed.facts["tokens"] + held["tokens"], slack=0.05)
    assert found.share == pytest.approx(0.25, abs=0.03)
    assert "files" in found.drawn[0]


def inside(found: Any, truth: float, slack: float = 0.0) -> None:
    assert found is not None
    assert found.low * (1 - slack) <= truth <= found.high * (1 + slack)
    assert found.low <= found.value <= found.high


def test_a_dry_run_of_all_of_it_leaves_nothing_open(texts: Path, tmp_path: Path) -> None:
    wanted = recipe(texts)
    found = foretold(wanted, Lab(tmp_path / "dry"), share=1.0)
    lab = make(wanted, Lab(tmp_path / "lab"), "read")
    record = lab.record("read")
    assert record is not None
    told = of(found, "read").documents_out
    assert told is not None
    assert told.low == told.high == record.facts["kept"]


def test_a_whole_that_would_stop_at_a_limit_is_no_larger(texts: Path, tmp_path: Path) -> None:
    wanted = recipe(texts)
    read = wanted.steps[0].but(limit_bytes=100_000)
    limited = Recipe(name="texts", steps=(read, *wanted.steps[1:]))
    told = of(foretold(limited, Lab(tmp_path / "dry")), "read").documents_out
    lab = make(limited, Lab(tmp_path / "lab"), "read")
    record = lab.record("read")
    assert record is not None
    inside(told, record.facts["kept"])


def test_it_claims_no_name_of_the_lab_and_goes_on_where_it_stopped(
    texts: Path, tmp_path: Path
) -> None:
    wanted, lab = recipe(texts), Lab(tmp_path / "lab")
    made = dry(wanted, share=0.25, least_bytes=1000)
    where = home(lab, 0.25, None)
    make(made.recipe, where, "clean")
    assert [item.name for item in plan(made.recipe, where).to_do] == ["tokenizer", "text"]
    told = estimate(made, where)
    assert [step.state for step in told.steps] == ["done", "done", "failed", "failed"]
    assert len(plan(wanted, lab).to_do) == len(wanted.steps)
    assert not list(lab.create().places())


def test_a_step_that_is_asked_for_otherwise_is_made_again(texts: Path, tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    first = dry(recipe(texts), share=0.25, least_bytes=1000).recipe
    make(first, lab, "clean")
    other = dry(recipe(texts), share=0.5, least_bytes=1000).recipe
    freshen(other, lab)
    assert len(plan(other, lab).to_do) == len(other.steps)


def test_what_was_read_of_files_that_are_others_now_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(30):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"some words of number {number} " * 9)
    wanted = dry(recipe(tmp_path / "texts"), share=1.0).recipe
    lab = make(wanted, Lab(tmp_path / "lab"), "clean")
    freshen(wanted, lab)
    assert len(plan(wanted, lab).to_do) == 2
    (tmp_path / "texts" / "0.txt").write_text("now it says another thing " * 20)
    freshen(wanted, lab)
    assert len(plan(wanted, lab).to_do) == len(wanted.steps)


def web(texts: Path, url: str) -> Recipe:
    return smollm2_small_web.recipe(
        web=str(texts), url_column=None, server=url, model="rule", sample=500, vocab=300
    )


def test_nobody_is_asked_without_a_word_and_what_labels_decide_is_at_most_all(
    texts: Path, tmp_path: Path, llm: Any
) -> None:
    found = foretold(web(texts, llm.url), Lab(tmp_path / "dry"))
    assert llm.asked == 0
    good = of(found, "web/good")
    assert good.kept is not None
    assert (good.kept.low, good.kept.high) == (0.0, 1.0)
    assert any("at most" in note for note in good.notes)
    (labels,) = found.labels
    assert not labels.measured
    assert labels.dollars is None
    assert labels.question_tokens.low < labels.question_tokens.value < labels.question_tokens.high
    assert labels.documents.high <= 500
    json.dumps(found.json())


def test_labels_that_are_asked_for_have_a_small_cap_and_measure_the_money(
    texts: Path, tmp_path: Path, llm: Any
) -> None:
    wanted = web(texts, llm.url)
    made = dry(wanted, share=0.5, labels=40, least_bytes=1000)
    asked = made.recipe.by_name["web/education/labels"]
    assert isinstance(asked, Annotate)
    assert asked.cap is not None
    assert asked.sample == 40
    assert (asked.cap.tokens or 0) <= 40 * 12_000
    lab = Lab(tmp_path / "dry")
    make(made.recipe, lab, asked.name)
    assert llm.asked == 40
    (labels,) = estimate(made, lab, prices=(1.0, 2.0)).labels
    assert labels.measured
    record = lab.record(asked.name)
    assert record is not None
    each = record.facts["spent"]["prompt_tokens"] / 40
    assert labels.question_tokens.value == pytest.approx(each * labels.documents.value)
    assert labels.dollars is not None
    expected = (labels.question_tokens.value + 2 * labels.answer_tokens.value) / 1e6
    assert labels.dollars.value == pytest.approx(expected)


def test_measured_questions_have_an_interval_unless_the_same_ones_will_be_asked(
    texts: Path, tmp_path: Path, llm: Any
) -> None:
    def told(share: float, labels: int) -> Any:
        made = dry(web(texts, llm.url), share=share, labels=labels, least_bytes=1000)
        lab = make(made.recipe, Lab(tmp_path / f"dry-{labels}"), "web/education/labels")
        (found,) = estimate(made, lab).labels
        assert found.measured
        return found.question_tokens

    some = told(0.5, 40)
    assert some.low < 0.99 * some.value
    assert some.high > 1.01 * some.value
    same = told(1.0, 500)
    assert same.low == same.value == same.high


def test_pages_that_would_be_fetched_are_stood_in_for_by_those_of_the_sample() -> None:
    whole = finemath.recipe(index=("cc.cdx.gz",))
    unlabelled = dry(whole, share=0.01)
    assert {"pages/fetched", "domains"} == {*unlabelled.left_out}
    assert "pages/recalled" in unlabelled.unscored
    labelled = dry(whole, share=0.01, labels=100)
    recalled = labelled.recipe.by_name["pages/recalled"]
    assert isinstance(recalled, Select)
    assert recalled.domains is None
    assert labelled.unrecalled == {"pages/recalled": "domains"}
    assert labelled.recipe.by_name["domains"] == whole.by_name["domains"]


def test_training_is_left_to_the_plan_and_own_functions_label_as_they_are(texts: Path) -> None:
    made = dry(quickstart.recipe(), share=0.01)
    assert {"trunk", "cosine-whole"} <= {*made.left_out}
    assert {"text/code", "text/clean", "prose"} <= {*made.recipe.by_name}
    labels = Annotate(
        name="labels", corpus=Ref(name="read"), rubric=EDU_WEB,
        labeller=FromFunction(function="ramify.curate.stand_in:label"),
    )  # fmt: skip
    own = Recipe(name="own", steps=(*recipe(texts).steps, labels))
    assert dry(own, share=0.01).recipe.by_name["labels"] == labels


def test_a_recipe_that_reads_nothing_and_a_share_that_is_none_are_refused() -> None:
    with pytest.raises(BadInput, match="reads no documents"):
        dry(Recipe(name="none", steps=()), share=0.01)
    assert parse_share("1%") == pytest.approx(0.01)
    assert parse_share("0.2") == 0.2
    for wrong in ("0", "200%", "some", "-1%"):
        with pytest.raises(BadInput, match="a sample of"):
            parse_share(wrong)


def test_a_sample_of_one_large_file_is_thinned_by_its_documents(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = "".join(json.dumps({"text": _text(draw, 60)}) + "\n" for _ in range(2000))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "rows.jsonl").write_text(rows)
    step = Read(
        name="read", source=Files(path=str(tmp_path / "a")), sample=Sample(share=0.1, least_bytes=0)
    )
    lab = make(Recipe(name="one", steps=(step,)), Lab(tmp_path / "lab"))
    record = lab.record("read")
    assert record is not None
    assert record.facts["sample"]["thinned"] == pytest.approx(0.1)
    assert 140 < record.facts["seen"] < 260
