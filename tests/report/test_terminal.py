"""What a terminal shows fits it, and says what it stands for in words, not in colours alone."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from ramify.report.summary import summary
from ramify.report.terminal import closing, plan_table, tree
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.recipe import Recipe


def shown(renderable: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(renderable)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def line_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if name in line)


@pytest.mark.parametrize("width", [80, 120])
def test_the_tree_fits_and_names_every_model(lab: Lab, width: int) -> None:
    text = shown(tree(summary(lab)), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "├─ cool-early @ 4.1K" in text
    assert "└─ cool-late @ 10.24K" in text
    assert "decayed" in line_of(text, "cool-late")
    assert "constant" in line_of(text, "trunk  ")
    assert "averaged" in line_of(text, "mean")
    assert "40 of 41 documents kept" in line_of(text, "text/words")
    assert "words 75%" in text


def test_a_probe_is_never_shown_as_if_it_were_an_evaluation(lab: Lab) -> None:
    text = shown(tree(summary(lab)), 100)
    assert "~" in line_of(text, "cool-early")
    assert "~" not in line_of(text, "cool-late")
    assert "~ the last probe" in text


def test_closing_says_what_one_by_one_would_cost(lab: Lab) -> None:
    told = summary(lab)
    text = shown(closing(told), 80)
    assert f"costs {told.spent.ratio:.2f}× the tree" in text
    assert "about" in line_of(text, "one by one")


@pytest.mark.parametrize("width", [80, 120])
def test_a_plan_shows_every_step_its_state_and_price(
    recipe: Recipe, tmp_path: Path, width: int
) -> None:
    text = shown(plan_table(plan(recipe, Lab(tmp_path / "none"), price_per_hour=2.0)), width)
    assert max(len(line) for line in text.splitlines()) <= width
    for step in recipe.steps:
        assert "wanted" in line_of(text, step.name)
    assert "$" in line_of(text, "trunk  ")
    assert "the same answers one by one" in text


def test_a_plan_without_work_says_so(recipe: Recipe, lab: Lab) -> None:
    text = shown(plan_table(plan(recipe, lab)), 80)
    assert f"nothing to do: all {len(recipe.steps)} steps are there" in text


def test_a_lab_without_runs_is_drawn(tmp_path: Path) -> None:
    told = summary(Lab(tmp_path / "none").create())
    assert "no run yet" in shown(tree(told), 80)
    assert shown(closing(told), 80).strip() == ""
