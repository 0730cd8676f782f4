"""A forecast is made before its cooldown, from the trunk alone, and is scored when that one was run."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ramify import Cooled, Evaluate, Forecast, Grid, Ref, Windows
from ramify.ground.errors import BadInput, Mismatch
from ramify.model.config import ModelConfig
from ramify.report.forecasts import track
from ramify.report.page import render
from ramify.report.summary import summary
from ramify.report.terminal import tree
from ramify.runs.engine import Engine, _Crew
from ramify.runs.lab import Lab
from ramify.runs.order import foretold, makespan
from ramify.runs.plan import plan
from ramify.runs.recipe import Recipe
from ramify.tokens.mixture import Stage
from ramify.train.steps import Cooldown

from .conftest import Copy
from .test_engine import Heard
from .tiny import DOMAINS, STEP, loaded, make

SOURCES = {name: Ref(name=name) for name in DOMAINS}
HOME = "grid/S/s0"
FIRST = f"{HOME}/forecast-sqrt20-1.28K-from0"
SECOND = f"{HOME}/forecast-sqrt20-2.56K-from1"


def with_forecasts(recipe_file: Path, budgets: tuple[int, ...] = (20 * STEP, 40 * STEP)) -> Recipe:
    """Return the data of the tree in little with a grid that forecasts."""
    grid = Grid(
        sizes={"S": ModelConfig(layers=1, width=16, heads=2, kv_heads=1, ffw=32, vocab=300)},
        budgets=budgets,
        peak=1e-2,
        sources=SOURCES,
        stages=(Stage(mixture={"words": 0.5, "sums": 0.5}),),
        seq_len=16,
        rows=4,
        warmup=2 * STEP,
        windows=Windows(steps=4, every=2),
        averages=(2,),
        forecast=True,
    )
    data = [step for step in loaded(recipe_file).ordered if step.name in
            {"text/words", "text/sums", "clean", "tokenizer", *DOMAINS}]  # fmt: skip
    return Recipe(name="tiny", steps=(*data, *grid.steps()))


@pytest.fixture(scope="module")
def scored(
    recipe_file: Path, data: Lab, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Lab, Recipe]:
    """A lab whose second forecast was made before its cooldown, and then all the rest."""
    lab, recipe = Lab(tmp_path_factory.mktemp("scored") / "tiny"), with_forecasts(recipe_file)
    make(recipe, lab, FIRST)
    make(recipe, lab, SECOND)
    assert not (lab.folder / f"{HOME}/cool-sqrt20-2.56K").exists()
    return make(recipe, lab), recipe


def test_a_forecast_is_scored_by_the_cooldown_that_it_foretold(
    scored: tuple[Lab, Recipe],
) -> None:
    told = summary(scored[0])
    by_name = {one.name: one for one in told.forecasts}
    assert by_name.keys() == {FIRST, SECOND}
    assert (by_name[FIRST].learned_from, by_name[SECOND].learned_from) == (0, 1)
    for one in by_name.values():
        assert one.made_before
        (judged,) = told.evaluations_of(one.branch or "", one.ends_at)
        seen = sum(judged.bits.values()) / 2
        assert one.seen == pytest.approx(seen)
        assert one.error == pytest.approx(seen - one.bits_per_byte)
        assert one.is_inside == (one.low <= seen <= one.high)
    record = track(told.forecasts)
    assert record is not None
    assert (record.count, record.inside) == (2, sum(bool(o.is_inside) for o in by_name.values()))


def test_the_record_of_forecasts_is_shown_in_the_terminal_and_on_the_page(
    scored: tuple[Lab, Recipe],
) -> None:
    lab = scored[0]
    out = StringIO()
    Console(file=out, width=120).print(tree(summary(lab)))
    assert SECOND in out.getvalue()
    assert "should be); mean error" in out.getvalue()
    page = render(lab)
    assert '<h2 id="forecasts-title">Forecasts</h2>' in page
    assert SECOND in page
    told = json.loads(json.dumps(summary(lab).json()))["forecasts"]
    assert {one["name"] for one in told} == {FIRST, SECOND}
    assert all(one["error"] is not None for one in told)


def test_a_forecast_made_later_than_its_cooldown_says_so_and_does_not_count(
    copy: Copy, scored: tuple[Lab, Recipe]
) -> None:
    lab = copy(scored[0])
    born = lab.folder / f"{HOME}/cool-sqrt20-2.56K/run.json"
    born.write_text(json.dumps({**json.loads(born.read_text()), "born": "2000-01-01T00:00:00Z"}))
    one = {f.name: f for f in summary(lab).forecasts}[SECOND]
    assert one.made_before is False
    record = track(summary(lab).forecasts)
    assert record is not None
    assert record.count == 1


def test_one_that_was_not_run_has_no_score(copy: Copy, scored: tuple[Lab, Recipe]) -> None:
    lab = copy(scored[0])
    lab.forget(f"{HOME}/cool-sqrt20-2.56K")
    one = {f.name: f for f in summary(lab).forecasts}[SECOND]
    assert (one.branch, one.seen, one.error, one.is_inside) == (None, None, None, None)


def test_a_branch_waits_for_what_foretells_it(data: Lab, recipe_file: Path, copy: Copy) -> None:
    found = plan(with_forecasts(recipe_file), copy(data))
    assert foretold(found) == {
        f"{HOME}/cool-sqrt20-1.28K": (FIRST,),
        f"{HOME}/cool-sqrt20-2.56K": (SECOND,),
    }
    crew = _Crew(Engine(copy_of(data), cores=2), found, Heard())
    order = [item.name for item in crew.pending]
    assert order.index(FIRST) < order.index(f"{HOME}/cool-sqrt20-1.28K")
    cool = next(item for item in crew.pending if item.name.endswith("cool-sqrt20-1.28K"))
    assert not crew._is_ready(cool)
    assert makespan(found, 2) > 0


def copy_of(lab: Lab) -> Lab:
    return Lab(lab.folder)


def test_a_grid_that_grows_keeps_its_forecasts(
    recipe_file: Path, scored: tuple[Lab, Recipe]
) -> None:
    grown = plan(with_forecasts(recipe_file, (20 * STEP, 30 * STEP, 40 * STEP)), scored[0])
    states = {item.name: item.state for item in grown.items}
    assert states[FIRST] == "done"
    assert states[f"{HOME}/forecast-sqrt20-1.92K-from1"] == "wanted"
    assert states[f"{HOME}/forecast-sqrt20-2.56K-from2"] == "wanted"


def test_it_never_learns_from_what_it_foretells(recipe_file: Path, tmp_path: Path) -> None:
    recipe = with_forecasts(recipe_file)
    forecast = recipe.by_name[FIRST]
    assert isinstance(forecast, Forecast)
    own = Cooled(
        trunk=forecast.trunk, left=forecast.left, ended=Ref(name=f"{HOME}/evals/cool-sqrt20-1.28K")
    )
    steps = tuple(step.but(learned=(own,)) if step.name == FIRST else step for step in recipe.steps)
    found = plan(Recipe(name="tiny", steps=steps), Lab(tmp_path / "lab"))
    with pytest.raises(
        BadInput, match=r"learns from grid/S/s0/cool-sqrt20-1\.28K, which it foretells"
    ):
        foretold(found)


def test_two_that_wait_for_each_other_are_refused(recipe_file: Path, tmp_path: Path) -> None:
    recipe = with_forecasts(recipe_file)
    first, second = recipe.by_name[FIRST], recipe.by_name[SECOND]
    assert isinstance(first, Forecast)
    assert isinstance(second, Forecast)
    ended = Ref(name=f"{HOME}/evals/cool-sqrt20-2.56K")
    crossed = first.but(learned=(Cooled(trunk=second.trunk, left=second.left, ended=ended),))
    steps = tuple(crossed if step.name == FIRST else step for step in recipe.steps)
    found = plan(Recipe(name="tiny", steps=steps), Lab(tmp_path / "lab"))
    with pytest.raises(BadInput, match="forecasts learn from each other's branches: grid/"):
        makespan(found, 2)


def test_an_evaluation_of_another_point_is_refused(copy: Copy, scored: tuple[Lab, Recipe]) -> None:
    lab, recipe = copy(scored[0]), scored[1]
    second = recipe.by_name[SECOND]
    assert isinstance(second, Forecast)
    wrong = second.but(name="wrong", left=Ref(name=f"{HOME}/evals/trunk-1024"), learned=())
    short = Evaluate(
        name="short", model=second.trunk, corpora={"words": Ref(name="words")}, seq_len=16
    )
    other = second.but(name="other", averaged=Ref(name="short"), learned=())
    grown = Recipe(name="tiny", steps=(*recipe.steps, wrong, short, other))
    with pytest.raises(Mismatch, match="evals/trunk-1024 for the evaluation of grid/S/s0/trunk@"):
        make(grown, lab, "wrong")
    with pytest.raises(Mismatch, match="read other documents"):
        make(grown, lab, "other")


def test_a_point_is_named_by_its_token(recipe_file: Path) -> None:
    forecast = with_forecasts(recipe_file).by_name[FIRST]
    assert isinstance(forecast, Forecast)
    for changes in ({"trunk": Ref(name="trunk")}, {"ends_at": STEP}):
        with pytest.raises(ValueError, match=r"at=|let it end above"):
            forecast.but(**changes)


def test_every_branch_of_a_larger_grid_is_foretold_from_what_costs_less(recipe_file: Path) -> None:
    recipe = with_forecasts(recipe_file)
    branches = [step for step in recipe.steps if isinstance(step, Cooldown)]
    told = [step for step in recipe.steps if isinstance(step, Forecast)]
    assert {(f.trunk, f.ends_at) for f in told} == {(b.parent, b.tokens) for b in branches}
