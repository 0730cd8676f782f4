"""Averages in a lab: swept, evaluated, exported, branched off, planned and shown as any model is."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from ramify import (
    Average,
    Ema,
    EmaAverage,
    Evaluate,
    Export,
    Interpolate,
    Recipe,
    Ref,
    ScheduleFree,
    Trunk,
    Windows,
)
from ramify.ground import artifact
from ramify.ground.errors import BadInput, Mismatch
from ramify.ground.step import Step
from ramify.report import compare, drawing, terminal
from ramify.report.summary import summary
from ramify.runs.find import find
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.recipe import Prints
from ramify.runs.use import evaluate
from ramify.train.steps import Cooldown

from .conftest import Copy
from .tiny import STEP, loaded, make, prints

EMA = Ema(decay=0.5, every=2)


def trunk_of(recipe: Recipe) -> Trunk:
    trunk = recipe.by_name["trunk"]
    assert isinstance(trunk, Trunk)
    return trunk


def judged(recipe: Recipe, *models: Step) -> list[Evaluate]:
    sources = trunk_of(recipe).sources
    return [
        Evaluate(name=f"evals/{m.name}", model=Ref(name=m.name), corpora=sources, seq_len=16)
        for m in models
    ]


def more(recipe: Recipe) -> Recipe:
    """Return the tree in little with every kind of average, and branches off two of them."""
    trunk = trunk_of(recipe)
    sweep = trunk.averages(12 * STEP, (1, 2, 3))
    moving = EmaAverage(name="moving", run=trunk.point(12 * STEP), ema=EMA)
    mean = recipe.by_name["mean"]
    assert isinstance(mean, Average)
    off = trunk.cooldown("off-mean", 18 * STEP, off=mean, rewarm=2 * STEP)
    other = Cooldown(
        name="off-moving", parent=Ref(name="moving"), carry="weights", tokens=16 * STEP
    )
    path = [
        Interpolate(name=f"path/{n}", a=trunk.point(8 * STEP), b=Ref(name="cool-10"), share=n / 2)
        for n in range(3)
    ]
    free = trunk.but(name="free", optimizer=ScheduleFree(), windows=None, ema=None, tokens=6 * STEP)
    models = (*sweep, moving, off, other, *path, free)
    export = Export(name="best", models={"m": Ref(name="moving")}, tokenizer=Ref(name="tokenizer"))
    evals = judged(recipe, *models)
    exports = [export, export.but(name="best-free", models={"m": free.point(6 * STEP)})]
    return Recipe(name="tiny", steps=(*recipe.steps, *models, *evals, *exports))


@pytest.fixture(scope="module")
def recipe(recipe_file: Path) -> Recipe:
    return more(loaded(recipe_file))


@pytest.fixture(scope="module")
def lab(recipe: Recipe, whole: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(shutil.copytree(whole.folder, tmp_path_factory.mktemp("averages") / "lab"))
    return make(recipe, lab)


def bits(lab: Lab, name: str) -> float:
    row = summary(lab).row(f"evals/{name}")
    assert row.mean_bits is not None
    return row.mean_bits


def test_a_sweep_is_one_line_and_each_of_it_is_evaluated(lab: Lab, recipe: Recipe) -> None:
    names = [f"averages/trunk-{12 * STEP}/last-{n}" for n in (1, 2, 3)]
    assert [step.name for step in recipe.steps if step.name.startswith("averages")] == names
    curve = [bits(lab, name) for name in names]
    assert len(set(curve)) == 3
    # the last of the sweep with two windows is the average that the recipe names
    sums = prints(lab)
    assert sums[names[1]]["tensors/model.safetensors"] == sums["mean"]["tensors/model.safetensors"]


def test_every_mean_of_weights_is_shown_in_the_tree_and_never_called_decayed(lab: Lab) -> None:
    told = summary(lab)
    kinds = {"moving": "emaaverage", "path/1": "interpolate", "mean": "average"}
    for name, kind in kinds.items():
        row = told.row(name)
        assert (row.kind, row.decay, row.decayed) == (kind, "averaged", False)
        assert told.row(f"evals/{name}").decay == "averaged"
        assert row.parameters == told.row("trunk").parameters
    assert told.row("path/1").ends_at_tokens == 10 * STEP
    assert told.row("free").decay == "averaged"
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(terminal.tree(told))
    text = console.export_text()
    assert "moving moving average" in text
    assert "path/1 interpolation" in text
    drawn = str(drawing.tree_svg(told))
    assert "off-mean" in drawn
    assert "path/1" in drawn


def test_the_line_between_two_ends_at_both(lab: Lab) -> None:
    ends = (bits(lab, "path/0"), bits(lab, "path/2"))
    assert ends[1] == bits(lab, "cool-10")
    assert ends[0] == pytest.approx(mean_of(evaluate(lab, f"trunk@{8 * STEP}", None)))


def mean_of(told: dict[str, dict[str, dict[str, float]]]) -> float:
    scores = [score["bits_per_byte"] for score in told["scores"].values()]
    return sum(scores) / len(scores)


def test_a_branch_off_an_average_stands_in_the_tree_where_the_average_does(
    lab: Lab, recipe: Recipe
) -> None:
    off = recipe.by_name["off-mean"]
    other = recipe.by_name["off-moving"]
    assert isinstance(off, Cooldown)
    assert isinstance(other, Cooldown)
    assert (off.leaves_at, other.leaves_at, other.stands_at) == (12 * STEP,) * 3
    rows = {row["name"]: row for row in plan(recipe, lab).json()["steps"]}
    assert rows["off-mean"]["parent"] == "mean"
    assert rows["off-mean"]["leaves_at_tokens"] == 12 * STEP
    assert rows["off-mean"]["ends_at_tokens"] == 18 * STEP
    fresh = {i.name: i for i in plan(recipe, Lab("nowhere")).items}["off-mean"]
    assert fresh.todo_tokens == 6 * STEP
    told = summary(lab)
    row = told.row("off-mean")
    assert (row.parent, row.leaves_at_tokens, row.decay) == ("mean", 12 * STEP, "decayed")
    assert row.tokens == 6 * STEP
    assert told.runs["off-mean"].above == "trunk"
    assert list(told.runs).index("off-mean") > list(told.runs).index("trunk")
    record = artifact.read_record(lab.folder / "off-mean" / "at" / f"{18 * STEP:015d}")
    assert record is not None
    assert record.parents["parent"]["name"] == "mean"
    [point] = [p for p in lab.points() if p["run"] == "off-mean"]
    assert (point["parent"], point["leaves_at"]) == ("mean", 12 * STEP)
    assert "off-mean" in lab.children("mean")
    pairs = [p for p in compare.pairs(lab, told) if p.model == "off-mean"]
    assert [(p.other, p.other_decay) for p in pairs] == [("mean", "averaged")]


def test_what_is_done_stays_done_and_what_it_leaves_is_in_its_fingerprint(
    lab: Lab, recipe: Recipe
) -> None:
    assert plan(recipe, lab).to_do == ()
    trunk = trunk_of(recipe)
    assert Prints(recipe).of(trunk.point(6 * STEP)) != Prints(recipe).of(Ref(name="free"))
    off, base = recipe.by_name["off-mean"], Prints(recipe).of(Ref(name="off-mean"))
    assert isinstance(off, Cooldown)
    for changed in (
        off.but(rewarm=STEP),
        off.but(parent=Ref(name="moving")),
        off.but(parent=Ref(name="trunk", at=12 * STEP), stands_at=None),
    ):
        steps = (*(s for s in recipe.steps if s.name != "off-mean"), changed)
        assert Prints(Recipe(name="tiny", steps=steps)).of(Ref(name="off-mean")) != base
    mean = recipe.by_name["mean"].but(last=1)
    steps = (*(s for s in recipe.steps if s.name != "mean"), mean)
    assert Prints(Recipe(name="tiny", steps=steps)).of(Ref(name="off-mean")) != base


def test_averages_and_schedule_free_points_are_exported_and_found(lab: Lab) -> None:
    for name in ("best", "best-free"):
        record = artifact.read_record(lab.folder / name)
        assert record is not None
        assert record.facts["logit_difference"] <= record.facts["tolerance"]
        assert record.facts["decayed"] is False
    assert find(lab, "moving").state == "average of weights up to 768 tokens"
    assert find(lab, "path/1").line.run.name == "trunk"
    assert find(lab, "free").state == "average of weights up to 384 tokens"
    assert find(lab, "off-mean").state == "1.15K tokens, decayed"


def test_a_branch_off_an_average_is_made_again_to_the_same_bits(
    lab: Lab, recipe: Recipe, copy: Copy
) -> None:
    again = copy(lab)
    before = prints(again)
    again.forget("off-mean")
    assert [item.name for item in plan(recipe, again).to_do] == ["off-mean"]
    assert prints(make(recipe, again)) == before


WINDOWS = Windows(steps=4, every=2)


def test_what_cannot_be_averaged_or_left_is_refused_and_says_why(recipe_file: Path) -> None:
    base = loaded(recipe_file)
    trunk = trunk_of(base)
    mean = base.by_name["mean"]
    assert isinstance(mean, Average)
    off = trunk.cooldown("off", 18 * STEP, off=mean)
    wrong: list[tuple[tuple[Step, ...], str]] = [
        ((off.but(stands_at=8 * STEP),), "off has stands_at=512, and mean stands at 768"),
        ((off.but(parent=Ref(name="tokenizer")),), "off leaves tokenizer, which is no run"),
        ((off.but(parent=Ref(name="trunk")),), "off must say where it leaves trunk; give parent"),
        ((off.but(parent=Ref(name="mean", at=12 * STEP), stands_at=None),), "which is no run"),
        ((off.but(rewarm=6 * STEP),), "over before its rewarm=384 is; give a rewarm below 384"),
        (
            (EmaAverage(name="m", run=trunk.point(12 * STEP)),),
            "decay=0.95, every=10; trunk carries decay=0.5, every=2; give both the same Ema",
        ),
        (
            (EmaAverage(name="m", run=trunk.point(STEP), ema=EMA),),
            "m takes a moving average at trunk@64, before it has taken any weights",
        ),
        (
            trunk.but(windows=WINDOWS).averages(12 * STEP, (4,)),
            "averages 4 windows up to trunk@768; trunk has 3",
        ),
    ]
    for steps, says in wrong:
        with pytest.raises(ValueError, match=says):
            plan(Recipe(name="tiny", steps=(*base.steps, *steps)), Lab("nowhere"))
    lost = off.but(stands_at=None)
    with pytest.raises(BadInput, match="off does not know where mean stands; a recipe that holds"):
        _ = lost.leaves_at
    with pytest.raises(BadInput, match="trunk saves no windows to average; give it windows="):
        trunk.but(windows=None).averages(12 * STEP, (1,))
    with pytest.raises(ValueError, match="m must say at which token"):
        EmaAverage(name="m", run=Ref(name="trunk"))


def test_a_moving_average_thought_of_later_is_refused_before_anything_is_trained(
    recipe_file: Path, whole: Lab
) -> None:
    base = loaded(recipe_file)
    late = Ema(decay=0.9, every=3)
    trunk = trunk_of(base).but(ema=late)
    step = EmaAverage(name="late", run=trunk.point(16 * STEP), ema=late)
    steps = (*(s for s in base.steps if s.name != "trunk"), trunk, step)
    with pytest.raises(
        Mismatch, match=r"late takes a moving average of 4 sets.*trunk@768.*forget trunk"
    ):
        plan(Recipe(name="tiny", steps=steps), whole)


def test_a_plan_prices_the_averages_under_way(recipe: Recipe) -> None:
    items = {item.name: item for item in plan(recipe, Lab("nowhere")).items}
    parameters = trunk_of(recipe).model.parameters
    assert items["trunk"].disk_bytes == len(items["trunk"].points) * parameters * (12 + 4 + 4)
    assert items["free"].disk_bytes == parameters * (12 + 4)
    assert items["off-mean"].disk_bytes == parameters * 12
    json.dumps(plan(recipe, Lab("nowhere")).json())
