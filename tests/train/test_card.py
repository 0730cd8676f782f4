"""The card is chosen once, from what the recipe leaves open and what the machine has."""

from __future__ import annotations

import pytest
import torch

from ramify.model.config import preset
from ramify.train import card
from ramify.train.line import Line
from ramify.train.steps import Numerics

from .conftest import STEP, trunk

CPU = torch.device("cpu")


def test_what_the_recipe_says_stands_on_the_card() -> None:
    said = Numerics(threads=1, compile=False, dtype="bfloat16", micro_rows=2, loss_chunk=33)
    chosen = card.choose(said, Line([trunk()]), CPU)
    assert (chosen.threads, chosen.compile, chosen.dtype) == (1, False, "bfloat16")
    assert (chosen.micro_rows, chosen.loss_chunk) == (2, 33)


def test_a_short_run_is_not_worth_compiling_and_a_long_one_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(card, "has_compiler", lambda: True)
    short = card.choose(Numerics(threads=1), Line([trunk()]), CPU)
    assert short.compile is False
    assert "compiling pays after" in short.compile_why
    far = trunk(model=preset("135M"), tokens=STEP * 10**6)
    assert card.choose(Numerics(threads=1), Line([far]), CPU).compile is True


def test_without_a_compiler_a_run_is_eager_and_the_card_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(card, "has_compiler", lambda: False)
    chosen = card.choose(Numerics(compile=True), Line([trunk()]), CPU)
    assert chosen.compile is False
    assert "no C++ compiler" in chosen.compile_why


def test_a_compiler_is_looked_for_by_its_usual_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    assert card.has_compiler(lambda name: "/bin/x" if name == "clang++" else None)
    assert not card.has_compiler(lambda name: None)
    monkeypatch.setenv("CXX", "icpx")
    assert not card.has_compiler(lambda name: "/bin/x" if name == "g++" else None)


def test_micro_rows_divide_the_batch() -> None:
    for rows in (1, 4, 6, 7, 96):
        chosen = card.choose(
            Numerics(),
            Line([trunk(rows=rows, tokens=rows * 16 * 20, stages=trunk().stages[:1])]),
            CPU,
        )
        assert rows % chosen.micro_rows == 0


def test_a_difference_of_machines_is_told_in_words() -> None:
    here = card.choose(Numerics(threads=1), Line([trunk()]), CPU)
    elsewhere = here.model_copy(update={"torch": "9.9", "device": "cpu AVX2"})
    told = here.differences(elsewhere)
    assert any("torch" in line and "9.9 here" in line for line in told)
    assert here.differences(here) == []
