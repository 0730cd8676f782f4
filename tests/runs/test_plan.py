"""A plan is the difference between a recipe and a lab, with its price; it makes and changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ramify import (
    Constant,
    Corpus,
    Files,
    Read,
    Recipe,
    Ref,
    Stage,
    Tokenize,
    Tokenizer,
    Trunk,
    preset,
)
from ramify.ground import files
from ramify.ground.artifact import RECORD
from ramify.ground.errors import BadInput, Corrupt, Mismatch, NotFound
from ramify.runs.lab import Lab
from ramify.runs.plan import Plan, money_flag, plan
from ramify.scaling.flops import six_nd, train_flops
from ramify.train.places import point_folder
from ramify.train.steps import Cooldown

from .conftest import Copy
from .tiny import STEP, loaded, make, prints

UNIT = 16 * 256  # one step of the larger trees below


def tree(budgets: list[int], fraction: float, *, leaves_last: bool = True, **more: Any) -> Recipe:
    """Return a trunk with a cooldown and, of the longest, a cosine, for budgets in steps."""
    data = (
        Read(name="read", source=Files(path="texts")),
        Tokenizer(name="tokenizer", corpora={"a": Corpus(ref=Ref(name="read"))}),
        Tokenize(name="a", corpus=Corpus(ref=Ref(name="read")), tokenizer=Ref(name="tokenizer")),
    )
    trunk = Trunk(
        name="trunk",
        model=preset("micro"),
        sources={"a": Ref(name="a")},
        stages=(Stage(mixture={"a": 1.0}),),
        seq_len=256,
        rows=16,
        schedule=Constant(peak=1e-3, warmup=UNIT),
        tokens=round(max(budgets) * (1 - fraction)) * UNIT if leaves_last else UNIT,
        **more,
    )
    cools = [trunk.cooldown(f"cool-{n}", n * UNIT, fraction=fraction) for n in budgets]
    cosine = trunk.cosine("cosine", max(budgets) * UNIT)
    return Recipe(name="tree", steps=(*data, trunk, *cools, cosine))


def planned(recipe: Recipe, lab: Path = Path("nowhere"), **more: Any) -> Plan:
    return plan(recipe, Lab(lab), **more)


def states(found: Plan) -> dict[str, str]:
    return {item.name: item.state for item in found.items}


# the arithmetic


@pytest.mark.parametrize(
    ("budgets", "fraction", "trunk", "share"),
    [
        ([100, 200, 300], 0.2, 240, 0.6),  # Hägele et al., Fig. 13a: "saves half"
        ([100, 150, 200, 250], 0.1, 225, 0.421),  # the Chinchilla suite of their section 6
    ],
)
def test_a_tree_costs_what_the_paper_says(
    budgets: list[int], fraction: float, trunk: int, share: float
) -> None:
    found = planned(tree(budgets, fraction))
    tokens, flops = found.tokens, found.flops
    assert tokens.tree == (trunk + fraction * sum(budgets)) * UNIT
    assert tokens.one_by_one == sum(budgets) * UNIT
    assert tokens.controls == max(budgets) * UNIT
    assert tokens.tree / tokens.one_by_one == pytest.approx(share, abs=5e-4)
    assert flops.tree / flops.one_by_one == pytest.approx(share, abs=5e-4)
    assert flops.controls == train_flops(preset("micro"), 256, max(budgets) * UNIT)


def test_a_cooldown_leaves_so_that_it_ends_on_its_budget() -> None:
    rows = {row["name"]: row for row in planned(tree([100], 0.2)).json()["steps"]}
    assert rows["cool-100"]["leaves_at_tokens"] == 80 * UNIT
    assert rows["cool-100"]["ends_at_tokens"] == 100 * UNIT
    assert rows["trunk"]["ends_at_tokens"] == 80 * UNIT


def test_a_trunk_that_is_asked_for_little_is_priced_as_far_as_its_branches_need() -> None:
    found = planned(tree([100], 0.2, leaves_last=False))
    assert found.tokens.tree == 100 * UNIT


def test_the_json_has_what_scripts_read() -> None:
    found = planned(tree([100, 200], 0.2), price_per_hour=2.0, flops_per_second=1e12)
    told = json.loads(json.dumps(found.json()))
    assert {"steps", "tokens", "flops", "todo", "warnings"} <= told.keys()
    for cost in (told["tokens"], told["flops"]):
        assert cost.keys() == {"tree", "controls", "one_by_one"}
    keys = {"name", "kind", "parent", "leaves_at_tokens", "ends_at_tokens", "state"}
    assert all(keys <= row.keys() for row in told["steps"])
    rows = {row["name"]: row for row in told["steps"]}
    assert (rows["cool-100"]["parent"], rows["trunk"]["parent"]) == ("trunk", None)
    assert (rows["a"]["ends_at_tokens"], rows["a"]["six_nd"]) == (None, None)
    assert rows["trunk"]["six_nd"] == six_nd(preset("micro").parameters, 160 * UNIT)
    assert told["todo"]["tokens"] == told["tokens"]["tree"] + told["tokens"]["controls"]
    seconds = told["todo"]["flops"] / 1e12
    assert told["todo"]["seconds"] == pytest.approx(seconds)
    assert told["todo"]["money"] == pytest.approx(seconds / 3600 * 2.0)


def test_a_price_is_a_number_of_dollars() -> None:
    assert (money_flag(None), money_flag("$2.50")) == (None, 2.5)
    for text in ("cheap", "-1", "nan"):
        with pytest.raises(BadInput, match=f"--price {text} is no amount"):
            money_flag(text)


# what is there and what is not


def test_in_no_lab_everything_is_wanted_and_nothing_is_made(tmp_path: Path) -> None:
    found = planned(tree([100], 0.2), tmp_path / "lab")
    assert set(states(found).values()) == {"wanted"}
    assert found.to_do == found.items
    assert list(tmp_path.iterdir()) == []


def test_in_a_whole_lab_nothing_is_to_do(whole: Lab, recipe_file: Path) -> None:
    found = plan(loaded(recipe_file), whole)
    assert set(states(found).values()) == {"done"}
    assert found.to_do == ()
    assert found.json()["todo"]["tokens"] == 0
    assert found.measured


def test_a_recipe_that_grows_pays_for_what_is_new(whole: Lab, recipe_file: Path) -> None:
    found = plan(loaded(recipe_file, cools="[10, 15, 20]"), whole)
    rows = {row["name"]: row for row in found.json()["steps"]}
    new = {name for name, row in rows.items() if row["state"] != "done"}
    assert new == {"trunk", "cool-20", "evals/cool-20"}
    assert (rows["trunk"]["state"], rows["trunk"]["missing"]) == ("partial", [16 * STEP])
    assert rows["trunk"]["todo_tokens"] == (16 - 12) * STEP
    assert rows["cool-20"]["todo_tokens"] == (20 - 16) * STEP


def test_points_thought_of_later_are_priced_by_what_is_replayed(
    whole: Lab, recipe_file: Path
) -> None:
    """From the nearest point below: 2 from 0, 4 from 2; 10 from 8, which is there."""
    found = plan(loaded(recipe_file, cools="[10, 15]", extra="[2, 4, 10]"), whole)
    trunk = next(item for item in found.items if item.name == "trunk")
    assert trunk.missing == (2 * STEP, 4 * STEP, 10 * STEP)
    assert trunk.replay_tokens == trunk.todo_tokens == (2 + 2 + 2) * STEP


def test_the_price_of_replays_is_what_they_take(copy: Copy, whole: Lab, recipe_file: Path) -> None:
    lab, recipe = copy(whole), loaded(recipe_file, extra="[2, 4, 10]")
    make(recipe, lab, "trunk")
    replayed = [
        line
        for path in sorted((lab.folder / "trunk").glob("replay-*.jsonl"))
        for line in path.read_text().splitlines()
        if '"step"' in line
    ]
    assert len(replayed) * STEP == (2 + 2 + 2) * STEP
    assert states(plan(recipe, lab))["trunk"] == "done"


def test_what_was_begun_is_partial(copy: Copy, data: Lab, recipe_file: Path) -> None:
    lab, recipe = copy(data), loaded(recipe_file)
    assert states(plan(recipe, lab))["words"] == "done"
    files.make_folder(lab.folder / "evals" / "cosine.partial")
    (lab.folder / "trunk").mkdir()
    (lab.folder / "trunk" / "run.json").write_text("{}")
    found = states(plan(recipe, lab))
    assert (found["evals/cosine"], found["trunk"], found["mean"]) == (
        "partial",
        "partial",
        "wanted",
    )


def test_only_asks_for_a_step_and_what_it_needs_of_others(data: Lab, recipe_file: Path) -> None:
    """Not the whole trunk: up to where the branch leaves."""
    found = plan(loaded(recipe_file), data, only=["cool-10"])
    assert {item.name for item in found.to_do} == {"trunk", "cool-10"}
    trunk = next(item for item in found.items if item.name == "trunk")
    assert trunk.points == (8 * STEP,)
    found = plan(loaded(recipe_file), data, only=["mean"])
    trunk = next(item for item in found.items if item.name == "trunk")
    assert trunk.points == (8 * STEP, 12 * STEP)  # passed on the way, so it is kept
    found = plan(loaded(recipe_file), data, only=["trunk"])
    assert [item.points for item in found.to_do] == [(8 * STEP, 12 * STEP)]
    with pytest.raises(NotFound, match="tiny has no step 'nope'; steps: text/words, text/sums"):
        plan(loaded(recipe_file), data, only=["nope"])


def test_until_asks_for_no_point_beyond(data: Lab, recipe_file: Path) -> None:
    found = {item.name: item for item in plan(loaded(recipe_file), data, until=9 * STEP).items}
    assert found["trunk"].points == (8 * STEP, 9 * STEP)
    assert found["cosine"].points == (9 * STEP,)
    assert not {"cool-10", "cool-15", "mean", "evals/cosine"} & found.keys()
    found = {item.name: item for item in plan(loaded(recipe_file), data, until=10 * STEP).items}
    assert found["cool-10"].points == (10 * STEP,)
    assert "evals/cool-10" in found


# what does not go together


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"share": 0.5}, r"trunk was made otherwise: stages\[0\].mixture.sums was 0.25, now 0.5"),
        ({"peak": 0.1}, "trunk was made otherwise: schedule.peak was 0.01, now 0.1"),
        ({"seed": 1}, "trunk was made otherwise: seed was the default, now 1"),
    ],
)
def test_a_changed_recipe_under_an_old_name_is_refused_with_the_field_and_what_to_type(
    whole: Lab, recipe_file: Path, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(Mismatch, match=f"{says}.*; give it another name, or type: ramify forget"):
        plan(loaded(recipe_file, **settings), whole)


def test_changed_data_is_refused_where_it_is_read(
    copy: Copy, data: Lab, recipe_file: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.py"
    moved.write_text(recipe_file.read_text().replace("vocab=300", "vocab=290"))
    with pytest.raises(Mismatch, match="tokenizer was made otherwise: vocab was 300, now 290"):
        plan(loaded(moved), copy(data))


def test_a_folder_in_the_way_is_refused(copy: Copy, data: Lab) -> None:
    lab = copy(data)
    for name, says in (
        ("words/more", "words/more would lie inside the folder of words"),
        ("text", "the folder of text holds text/sums"),
    ):
        recipe = Recipe(name="other", steps=(Read(name=name, source=Files(path="x")),))
        with pytest.raises(BadInput, match=f"{says}.*rename it, or type: ramify forget"):
            plan(recipe, lab)


def test_a_corrupt_newest_point_is_told_and_priced_again(
    copy: Copy, whole: Lab, recipe_file: Path
) -> None:
    lab = copy(whole)
    newest = point_folder(lab.folder / "trunk", 12 * STEP)
    (newest / RECORD).write_text("torn")
    found = plan(loaded(recipe_file), lab)
    trunk = next(item for item in found.items if item.name == "trunk")
    assert (trunk.state, trunk.todo_tokens) == ("partial", 4 * STEP)
    assert any("is not a record: goes on from an older point" in w for w in found.warnings)
    before = prints(whole)
    make(loaded(recipe_file), lab)
    assert prints(lab) == before
    assert plan(loaded(recipe_file), lab).warnings == ()


def test_a_corrupt_record_of_a_source_says_what_to_type(
    copy: Copy, data: Lab, recipe_file: Path
) -> None:
    lab = copy(data)
    (lab.folder / "words" / RECORD).write_text("{}")
    with pytest.raises(Corrupt, match=r"words/record.json is not a record; type: ramify forget w"):
        plan(loaded(recipe_file), lab)


# what a person should know


def test_a_mixture_that_changes_within_a_cooldown_is_warned_of() -> None:
    stages = (Stage(mixture={"a": 1.0}), Stage(at=90 * UNIT, mixture={"b": 1.0}))
    found = planned(tree([100, 200], 0.2), flops_per_second=1.0)
    assert found.warnings == ()
    recipe = tree([100, 200], 0.2)
    trunk = recipe.by_name["trunk"].but(
        stages=stages, sources={"a": Ref(name="a"), "b": Ref(name="a")}
    )
    steps = tuple(trunk if step.name == "trunk" else step for step in recipe.steps)
    found = planned(Recipe(name="tree", steps=steps))
    assert found.warnings == (
        f"cool-100 keeps the mixture that it leaves at {80 * UNIT} to its end, though trunk changes"
        f" its own at {90 * UNIT}",
    )


def test_tokens_that_were_rounded_are_told_beside_what_was_asked() -> None:
    recipe = tree([100], 0.2)
    trunk = recipe.by_name["trunk"]
    assert isinstance(trunk, Trunk)
    rounded = [
        trunk.cooldown("more", 150 * UNIT + 1000),
        trunk.cosine("cosine", 200 * UNIT - 9),
        trunk.but(tokens=90 * UNIT + 1).but(name="trunk"),
    ]
    kept = [s for s in recipe.steps if s.name not in ("cosine", "trunk")]
    found = planned(Recipe(name="tree", steps=(*kept, *rounded)))
    told = {row["name"]: row for row in found.json()["steps"]}
    assert told["cosine"]["asked_tokens"] == 200 * UNIT - 9
    assert set(found.warnings) == {
        f"more: {150 * UNIT + 1000} tokens asked, {150 * UNIT} in whole steps",
        f"cosine: {200 * UNIT - 9} tokens asked, {200 * UNIT} in whole steps",
        f"trunk: {90 * UNIT + 1} tokens asked, {90 * UNIT} in whole steps",
    }
    # a copy that asks anew asked for nothing else
    assert trunk.but(tokens=90 * UNIT + 1).but(tokens=70 * UNIT).asked_tokens is None


def test_a_budget_far_from_whole_steps_is_refused() -> None:
    trunk = tree([100], 0.2).by_name["trunk"]
    assert isinstance(trunk, Trunk)
    with pytest.raises(BadInput, match=rf"= {UNIT + UNIT // 2} is 1.50 steps of {UNIT} tokens"):
        trunk.cooldown("odd", UNIT + UNIT // 2)


def test_a_source_that_is_read_too_often_is_warned_of(
    copy: Copy, data: Lab, recipe_file: Path
) -> None:
    lab = copy(data)
    assert plan(loaded(recipe_file), lab).warnings == ()
    path = lab.folder / "sums" / RECORD
    record = json.loads(path.read_text())
    record["facts"]["tokens"] = 64
    path.write_text(json.dumps(record))
    found = plan(loaded(recipe_file), lab)
    # a quarter of 6 steps, and half of the 6 and 9 after: of 64 tokens
    assert set(found.warnings) == {
        f"{run} reads sums {times} times (beyond 4 to 5 it stops helping)"
        for run, times in (("trunk", 4.5), ("cool-15", 6.0), ("cosine", 6.0))
    }


def test_more_than_the_disk_holds_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    found = planned(tree([100], 0.2))
    assert "bytes of disk, 10 are free" in found.warnings[0]


def test_a_cooldown_of_a_cooldown_counts_from_where_it_leaves() -> None:
    recipe = tree([100, 200], 0.2)
    again = Cooldown(name="again", parent=Ref(name="cool-200", at=190 * UNIT), tokens=210 * UNIT)
    found = planned(Recipe(name="tree", steps=(*recipe.steps, again)))
    item = next(item for item in found.items if item.name == "again")
    assert (item.begins_at, item.todo_tokens) == (190 * UNIT, 20 * UNIT)
