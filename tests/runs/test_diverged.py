"""A run that blew up is kept out and said, what needs it waits, and the rest of the tree goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ramify.ground.errors import Diverged
from ramify.report.summary import summary
from ramify.runs.lab import Lab
from ramify.runs.plan import Plan, plan
from ramify.runs.recipe import Prints, Recipe
from ramify.train.places import DIVERGED, points, read_diverged, write_diverged
from ramify.train.steps import Run

from .conftest import Copy
from .test_door import Typed
from .test_door import ramify as ramify
from .tiny import STEP, loaded, make

WILD = 1e38


@pytest.fixture
def blown(copy: Copy, data: Lab, recipe_file: Path) -> Lab:
    """A lab in which the cosine run blew up, and nothing else was made."""
    lab = copy(data)
    with pytest.raises(Diverged, match="cosine blew up: 4 steps in a row"):
        make(loaded(recipe_file, wild=WILD), lab, "cosine")
    return lab


def states(found: Plan) -> dict[str, str]:
    return {item.name: item.state for item in found.items}


def test_it_is_kept_out_with_what_needs_it_and_the_rest_is_made(
    blown: Lab, recipe_file: Path
) -> None:
    recipe = loaded(recipe_file, wild=WILD)
    found = plan(recipe, blown)
    out = {name for name, state in states(found).items() if state in ("diverged", "held")}
    assert out == {"cosine", "evals/cosine"}
    assert not out & {item.name for item in found.to_do}
    (said,) = [line for line in found.warnings if "diverged" in line]
    assert "cosine diverged at 320 tokens and is kept out, and with it 1 step that needs it" in said
    assert "ramify forget cosine tries again" in said
    make(recipe, blown)
    assert plan(recipe, blown).to_do == ()
    assert summary(blown).row("cosine").diverged_at_tokens == 5 * STEP
    told = json.loads(json.dumps(summary(blown).json()))
    rows = {row["name"]: row["diverged_at_tokens"] for row in told["steps"]}
    assert rows["cosine"] == 5 * STEP
    assert rows["trunk"] is None


def test_asked_for_otherwise_or_forgotten_it_is_tried_again(blown: Lab, recipe_file: Path) -> None:
    calm = loaded(recipe_file)
    assert states(plan(calm, blown))["cosine"] == "partial"
    patient = _patient(loaded(recipe_file, wild=WILD))
    assert states(plan(patient, blown))["cosine"] == "partial"
    make(calm, blown, "cosine")
    assert read_diverged(blown.folder / "cosine") is None
    assert states(plan(calm, blown))["cosine"] == "done"


def test_forgotten_it_is_wanted_anew(blown: Lab, recipe_file: Path) -> None:
    blown.forget("cosine")
    assert states(plan(loaded(recipe_file, wild=WILD), blown))["cosine"] == "wanted"


def _patient(recipe: Recipe) -> Recipe:
    steps = tuple(
        step.but(skip_limit=9) if isinstance(step, Run) else step for step in recipe.steps
    )
    return Recipe(name=recipe.name, steps=steps)


def test_what_a_trunk_reached_before_it_blew_up_is_still_branched_off(
    copy: Copy, data: Lab, recipe_file: Path
) -> None:
    lab, recipe = copy(data), loaded(recipe_file)
    at = 10 * STEP
    make(recipe, lab, "trunk", until=4 * STEP)
    asked = json.loads(json.dumps(Prints(recipe).asked("trunk", at)))
    write_diverged(lab.folder / "trunk", at, Diverged("blew up"), asked, skip_limit=3)
    found = plan(recipe, lab)
    trunk = next(item for item in found.items if item.name == "trunk")
    assert (trunk.state, trunk.missing, trunk.todo_tokens) == ("partial", (8 * STEP,), 4 * STEP)
    made = {name for name, state in states(found).items() if state == "held"}
    assert made == {"cool-15", "mean", "evals/cool-15", "evals/mean"}
    make(recipe, lab)
    assert points(lab.folder / "trunk").keys() >= {8 * STEP}
    assert points(lab.folder / "cool-10").keys() == {10 * STEP}
    again = plan(recipe, lab)
    assert states(again)["trunk"] == "diverged"
    assert again.to_do == ()


def test_once_all_else_is_made_the_door_says_what_is_kept_out(
    ramify: Typed, copy: Copy, whole: Lab, recipe_file: Path
) -> None:
    lab = copy(whole)
    for name in ("evals/cosine", "cosine"):
        lab.forget(name)
    recipe = loaded(recipe_file, wild=WILD)
    with pytest.raises(Diverged):
        make(recipe, lab, "cosine")
    assert (lab.folder / "cosine" / DIVERGED).is_file()
    code, out, err = ramify("run", recipe_file, "--set", f"wild={WILD}", lab=lab)
    assert (code, err) == (0, "")
    assert out.startswith("note: cosine diverged at 320 tokens and is kept out")
    assert "diverged at 320" in out.split("note:")[1].split("\n", 1)[1]  # in the tree, too
    code, out, _ = ramify("plan", recipe_file, "--set", f"wild={WILD}", lab=lab)
    assert "nothing can be done: what is not there diverged" in out
