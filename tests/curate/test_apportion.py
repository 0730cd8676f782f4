"""Corpora are sampled down to the shares asked for, the scarcest whole, and nothing is lost unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.runs.tiny import make

from ramify.curate.selection_steps import Apportion
from ramify.curate.steps import Files, Read
from ramify.ground.errors import BadInput
from ramify.ground.step import Ref
from ramify.runs.lab import Lab
from ramify.runs.recipe import Recipe


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a lab of three corpora, of 400, 200 and 100 documents of like size."""
    home = tmp_path_factory.mktemp("three")
    for name, count in (("a", 400), ("b", 200), ("c", 100)):
        rows = (json.dumps({"text": f"{name} {n} " + "word " * 50}) for n in range(count))
        (home / f"{name}.jsonl").write_text("\n".join(rows))
    return make(Recipe(name="three", steps=reads(home)), Lab(home / "lab"))


def reads(home: Path) -> tuple[Read, ...]:
    return tuple(Read(name=f"read/{n}", source=Files(path=str(home / f"{n}.jsonl"))) for n in "abc")


def apportioned(lab: Lab, name: str, shares: dict[str, float]) -> dict[str, Any]:
    corpora = {n: Ref(name=f"read/{n}") for n in "abc"}
    step = Apportion(name=name, corpora=corpora, shares=shares)
    make(Recipe(name="three", steps=(*reads(lab.folder.parent), step)), lab)
    record = lab.record(name)
    assert record is not None
    assert (
        record.facts["seen"] == 700 == record.facts["kept"] + sum(record.facts["dropped"].values())
    )
    return record.facts


def test_the_scarcest_stays_whole_and_the_others_come_down_to_their_shares(lab: Lab) -> None:
    facts = apportioned(lab, "even", {"a": 1, "b": 1, "c": 1})
    assert facts["shares"]["c"]["kept_of_it"] == 1
    for told in facts["shares"].values():
        assert told["got"] == pytest.approx(1 / 3, abs=0.06)


def test_natural_shares_keep_everything(lab: Lab) -> None:
    size = {n: told["got"] for n, told in apportioned(lab, "first", {"a": 4, "b": 2, "c": 1})["shares"].items()}  # fmt: skip
    assert size["a"] > size["b"] > size["c"]
    exact = apportioned(lab, "natural", size)
    assert exact["kept"] > 600


def test_a_corpus_without_a_share_goes(lab: Lab) -> None:
    facts = apportioned(lab, "two", {"a": 1, "b": 1})
    assert facts["shares"]["c"]["got"] == 0
    assert not [*(lab.at("two") / "c").rglob("*.parquet")]


def test_shares_that_are_none_are_refused(lab: Lab) -> None:
    corpora = {"a": Ref(name="read/a")}
    for shares in ({"a": 0.0}, {"a": -1.0}, {"a": float("nan")}):
        with pytest.raises(ValidationError, match="shares of"):
            Apportion(name="x", corpora=corpora, shares=shares)
    with pytest.raises(ValidationError, match="no corpus of it"):
        Apportion(name="x", corpora=corpora, shares={"b": 1.0})
    assert issubclass(BadInput, ValueError)
