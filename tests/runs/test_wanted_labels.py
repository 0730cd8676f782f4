"""A plan of curation says what labels can cost before anything is read, and what it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from ramify.curate.quality_steps import Annotate
from ramify.ground.errors import BadInput
from ramify.ground.server import Cap, Server
from ramify.recipes import finemath, quickstart
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.price import token_prices
from ramify.runs.recipe import Recipe


def test_the_most_that_labels_can_cost_is_their_cap_at_the_dearer_price(tmp_path: Path) -> None:
    planned = plan(finemath.recipe(), Lab(tmp_path / "lab"), token_prices=(0.4, 0.8))
    told = planned.json()["labels"]
    assert [each["name"] for each in told] == ["reasoning/labels", "teaching/labels"]
    assert {each["documents"] for each in told} == {100_000}
    assert {each["cap_tokens"] for each in told} == {300_000_000}
    assert told[0]["dollars_at_most"] == pytest.approx(300 * 0.8)


def test_what_is_not_known_is_told_as_that_and_not_as_nothing(tmp_path: Path) -> None:
    planned = plan(finemath.recipe(), Lab(tmp_path / "lab"))
    told = planned.json()
    assert told["labels"][0]["dollars_at_most"] is None
    assert told["curation"]["steps"] == len(planned.items)
    assert told["curation"]["tokens"] is None
    trained = plan(quickstart.recipe(), Lab(tmp_path / "lab")).json()
    assert trained["labels"] == []
    assert trained["todo"]["tokens"] > 0


def test_a_price_of_the_server_and_a_cap_of_dollars_are_bounds_too(tmp_path: Path) -> None:
    labels = finemath.recipe().by_name["reasoning/labels"]
    assert isinstance(labels, Annotate)
    assert labels.server is not None
    dear = Server(base_url=labels.server.base_url, price_prompt=1.0, price_completion=3.0)
    bounds = []
    for cap in (Cap(tokens=1_000_000), Cap(dollars=2.0), Cap(tokens=1_000_000, dollars=2.0)):
        steps = [
            s.but(server=dear, cap=cap) if isinstance(s, Annotate) else s
            for s in finemath.recipe().steps
        ]
        planned = plan(Recipe(name="dear", steps=tuple(steps)), Lab(tmp_path / "lab"))
        bounds.append(planned.labels[0].dollars_at_most)
    assert bounds == [3.0, 2.0, 2.0]


def test_prices_are_one_number_or_two() -> None:
    assert token_prices(None) is None
    assert token_prices("0.5") == (0.5, 0.5)
    assert token_prices("$0.5, 1.5") == (0.5, 1.5)
    for wrong in ("cheap", "1,2,3", "-1", "inf"):
        with pytest.raises(BadInput, match="is no amount"):
            token_prices(wrong)
