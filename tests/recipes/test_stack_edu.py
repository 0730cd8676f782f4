"""Stack-Edu runs from source files to tokens of each language, and is planned without any of them."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from tests.runs.tiny import make

from ramify.curate.quality_steps import Select
from ramify.ground.errors import BadInput
from ramify.recipes.stack_edu import recipe
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.recipe import load

REASONS = "# this holds because of what stands above, and that is why it is written down here\n"


def write_code(home: Path) -> None:
    """Write modules of the standard library as two languages, half of them with reasons in them."""
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    fit = [path for path in modules if 1_000 < path.stat().st_size < 40_000][:96]
    for number, path in enumerate(fit):
        folder = home / ("python" if number % 2 else "ruby")
        folder.mkdir(parents=True, exist_ok=True)
        text = path.read_text("utf-8", "replace").replace("because", "as")
        (folder / path.name).write_text(REASONS * (4 * (number // 2 % 2)) + text)


def test_source_files_become_tokens_of_each_language(llm: Any, tmp_path: Path) -> None:
    write_code(tmp_path / "code")
    lab = Lab(tmp_path / "lab")
    wanted = recipe(
        code=str(tmp_path / "code"), languages=("python", "ruby"), server=llm.url, model="rule",
        sample=100, vocab=300, max_context=64,
    )  # fmt: skip
    make(wanted, lab, *(step.name for step in wanted.steps))
    for language in ("python", "ruby"):
        good = pq.read_table(lab.at(f"{language}/good") / "documents")["text"].to_pylist()
        assert good
        assert all(text.startswith(REASONS) for text in good)
        assert list(lab.at(f"stack-edu-{language}").glob("shards/*.bin"))


def test_languages_are_sampled_down_to_the_shares_that_are_asked_for(
    llm: Any, tmp_path: Path
) -> None:
    write_code(tmp_path / "code")
    lab = Lab(tmp_path / "lab")
    wanted = recipe(
        code=str(tmp_path / "code"), languages=("python", "ruby"), server=llm.url, model="rule",
        sample=100, vocab=300, max_context=64, shares={"python": 3, "ruby": 1},
    )  # fmt: skip
    make(wanted, lab, "apportioned")
    record = lab.record("apportioned")
    assert record is not None
    shares = record.facts["shares"]
    assert shares["python"]["kept_of_it"] == 1
    assert 0.1 < shares["ruby"]["got"] < 0.4
    places = [lab.at(name) / "ruby" for name in ("ruby/deduplicated", "apportioned")]
    whole, part = (documents(place) for place in places)
    assert part < whole
    dropped = pq.read_table(lab.at("apportioned") / "dropped").to_pylist()
    assert len(dropped) == len(whole - part)
    assert {row["corpus"] for row in dropped} == {"ruby"}
    held = [documents(place, "held_out") for place in places]
    assert held[0] == held[1] != set()


def documents(corpus: Path, place: str = "documents") -> set[str]:
    return {*pq.read_table(corpus / place, columns=["id"])["id"].to_pylist()}


def test_a_language_without_a_share_is_left_out() -> None:
    shares = '{"go": 1.0, "rust": 1.0}'
    found = load("stack_edu", {"languages": '["go", "rust", "c"]', "shares": shares})
    assert "stack-edu-go" in found.by_name
    assert "stack-edu-c" not in found.by_name
    with pytest.raises(ValidationError, match="'php', which is no corpus"):
        recipe(languages=("go",), shares={"php": 1.0})


def test_fifteen_languages_have_a_classifier_each_and_java_the_lower_threshold(
    tmp_path: Path,
) -> None:
    found = load("stack_edu")
    least = {s.name: s.at_least for s in found.steps if isinstance(s, Select)}
    assert len(least) == 15
    assert least.pop("java/good") == 2
    assert set(least.values()) == {3}
    assert len(plan(found, Lab(tmp_path / "lab")).to_do) == len(found.steps)


def test_licences_that_are_asked_for_are_looked_at_before_labels_are_paid_for() -> None:
    found = load("stack_edu", {"licenses": '["mit"]', "languages": '["go"]'})
    labels = found.by_name["go/labels"]
    assert labels.refs()["corpus"].name == "go/licensed"


def test_a_language_without_a_rubric_is_refused() -> None:
    with pytest.raises(BadInput, match="no rubric for 'html'"):
        recipe(languages=("html",))
