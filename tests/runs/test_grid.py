"""A grid is one line of a recipe: the steps that it makes, what they cost, and what it refuses."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ramify import Corpus, Files, Grid, Read, Recipe, Ref, Size, Stage, Sweep, Tokenize, Tokenizer
from ramify.evals.steps import Evaluate
from ramify.ground.errors import BadInput
from ramify.ground.step import Step
from ramify.model.config import ModelConfig, preset
from ramify.optim.config import Windows
from ramify.runs.grid import label
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.recipe import Prints
from ramify.train.steps import Average, Cooldown, Cosine, Trunk

Kind = TypeVar("Kind", bound=Step)
STEP = 64
NANO = ModelConfig(layers=1, width=16, heads=2, kv_heads=1, ffw=32, vocab=300)
MINI = ModelConfig(layers=2, width=32, heads=2, kv_heads=1, ffw=64, vocab=300)
DATA: tuple[Step, ...] = (
    Read(name="read", source=Files(path="texts")),
    Tokenizer(name="tokenizer", corpora={"a": Corpus(ref=Ref(name="read"))}),
    Tokenize(name="a", corpus=Corpus(ref=Ref(name="read")), tokenizer=Ref(name="tokenizer")),
)
COMMON: dict[str, Any] = {
    "sources": {"a": Ref(name="a")},
    "stages": (Stage(mixture={"a": 1.0}),),
    "seq_len": 16,
    "rows": 4,
    "warmup": 2 * STEP,
    "budgets": (10 * STEP, 20 * STEP),
}


def grid(**fields: Any) -> Grid:
    return Grid(**{"sizes": {"S": NANO, "M": MINI}, "peak": 1e-2, **COMMON, **fields})


def recipe(family: Grid | Sweep) -> Recipe:
    return Recipe(name="some", steps=(*DATA, *family.steps()))


def names(family: Grid | Sweep) -> set[str]:
    return {step.name for step in family.steps()}


def of(family: Grid | Sweep, kind: type[Kind]) -> list[Kind]:
    return [step for step in family.steps() if isinstance(step, kind)]


# what it makes


def test_one_trunk_for_each_size_and_seed_and_a_branch_that_ends_on_each_budget() -> None:
    found = grid(seeds=(0, 3), cosine=True)
    assert [(t.name, t.seed) for t in of(found, Trunk)] == [
        (f"grid/{size}/s{seed}/trunk", seed) for size in ("S", "M") for seed in (0, 3)
    ]
    assert len(of(found, Cooldown)) == len(of(found, Cosine)) == 2 * 2 * 2
    assert {run.tokens for run in of(found, Cooldown)} == {10 * STEP, 20 * STEP}
    evaluated = {step.model.name for step in of(found, Evaluate)}
    assert evaluated == {run.name for run in (*of(found, Cooldown), *of(found, Cosine))}
    recipe(found)


def test_the_trunk_goes_no_further_than_where_its_last_branch_leaves() -> None:
    assert {trunk.tokens for trunk in of(grid(), Trunk)} == {16 * STEP}


def test_every_fraction_and_shape_is_a_branch_of_its_own() -> None:
    found = grid(sizes={"S": NANO}, cooldowns=((0.2, "sqrt"), (0.2, "linear"), (0.1, "sqrt")))
    kinds = ("sqrt20", "linear20", "sqrt10")
    ends = (label(10 * STEP), label(20 * STEP))
    assert {run.name for run in of(found, Cooldown)} == {
        f"grid/S/s0/cool-{kind}-{end}" for kind in kinds for end in ends
    }


def test_a_cosine_run_has_twice_the_constant_rate_unless_its_size_says_otherwise() -> None:
    sizes = {"S": NANO, "M": Size(model=MINI, peak=4e-3, cosine_peak=5e-3)}
    found = grid(sizes=sizes, cosine=True)
    peaks = {run.name.split("/")[1]: run.schedule.peak for run in of(found, Cosine)}
    assert peaks == {"S": 2e-2, "M": 5e-3}
    assert {run.name.split("/")[1]: run.schedule.peak for run in of(found, Trunk)}["M"] == 4e-3


def test_a_size_has_budgets_batch_and_warm_up_of_its_own() -> None:
    own = Size(model=MINI, budgets=(40 * STEP,), rows=8, warmup=0)
    found = grid(sizes={"M": own})
    (trunk,), (branch,) = of(found, Trunk), of(found, Cooldown)
    assert (trunk.step_tokens, trunk.schedule.warmup) == (2 * STEP, 0)
    assert (branch.leaves_at, branch.tokens) == (32 * STEP, 40 * STEP)


def test_what_is_left_is_averaged_and_evaluated_where_it_is_asked_for() -> None:
    found = grid(
        sizes={"S": NANO}, windows=Windows(steps=4, every=2), averages=(1, 2), evaluate_left=True
    )
    assert [(mean.run.at, mean.last) for mean in of(found, Average)] == [
        (8 * STEP, 1), (8 * STEP, 2), (16 * STEP, 1), (16 * STEP, 2),
    ]  # fmt: skip
    evaluated = {str(step.model) for step in of(found, Evaluate)}
    assert {f"grid/S/s0/trunk@{8 * STEP}", f"grid/S/s0/mean2-{label(16 * STEP)}"} <= evaluated
    assert not of(grid(evaluate=False), Evaluate)


def test_a_grid_that_grows_leaves_the_fingerprints_of_what_was_there() -> None:
    small, large = grid(), grid(
        budgets=(10 * STEP, 20 * STEP, 40 * STEP),
        cooldowns=((0.2, "sqrt"), (0.1, "linear")),
        seeds=(0, 1),
        cosine=True,
        evaluate_left=True,
    )  # fmt: skip
    before, after = Prints(recipe(small)), Prints(recipe(large))
    for step in small.steps():
        assert before.of(Ref(name=step.name, at=_at(step))) == after.of(
            Ref(name=step.name, at=_at(step))
        )


def _at(step: Step) -> int | None:
    return step.tokens if isinstance(step, Trunk) else None


@settings(max_examples=30, deadline=None)
@given(
    budgets=st.lists(st.integers(10, 400), min_size=1, max_size=4, unique=True),
    fraction=st.sampled_from([0.05, 0.1, 0.2, 0.4]),
)
def test_every_branch_ends_on_its_budget_and_leaves_within_half_a_step_of_its_fraction(
    budgets: list[int], fraction: float
) -> None:
    tokens = [n * 10 * STEP for n in budgets]
    found = grid(sizes={"S": NANO}, budgets=tuple(tokens), cooldowns=((fraction, "sqrt"),))
    runs = of(found, Cooldown)
    assert [run.tokens for run in runs] == tokens
    assert all(abs(run.leaves_at - (1 - fraction) * run.tokens) <= STEP / 2 for run in runs)


def test_a_sweep_holds_a_constant_rate_against_a_cosine_of_twice_as_much() -> None:
    found = Sweep(model=NANO, peaks=(1e-2, 5e-3), **COMMON)
    assert {"sweep/lr0.01/s0/trunk", "sweep/lr0.005/s0/trunk"} <= names(found)
    pairs = {
        (home, trunk.schedule.peak, run.schedule.peak)
        for trunk in of(found, Trunk)
        for run in of(found, Cosine)
        if (home := trunk.name.removesuffix("trunk")) == run.name.rpartition("/")[0] + "/"
    }
    assert {(constant, cosine) for _, constant, cosine in pairs} == {(1e-2, 2e-2), (5e-3, 1e-2)}
    alike = Sweep(model=NANO, peaks=(1e-2,), cosine_over_constant=1, **COMMON)
    assert {run.schedule.peak for run in of(alike, Cosine)} == {1e-2}
    recipe(found)


# what it refuses


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"sizes": {"S": "h34M"}}, "no model size is called 'h34M'; use one of 135M"),
        ({"sizes": {}}, "at least 1 item"),
        ({"peak": None}, "grid/S has no learning rate; give peak=1e-3"),
        ({"budgets": ()}, "grid/S has no budget"),
        ({"budgets": (2 * STEP,)}, "leaves at 128 tokens and ends at 128|leaves at 128 .* ends"),
        ({"budgets": (STEP,)}, "would leave its trunk at 64 tokens, below its warm-up of 128"),
        ({"budgets": (10 * STEP + 30,)}, "tokens of .* = 670 is 10.47 steps of 64 tokens; give 640"),
        ({"budgets": (200 * STEP, 200 * STEP + 1)}, "are the same branch: both leave at 10240"),
        ({"cooldowns": ((0.2, "sqrt"), (0.21, "sqrt"))}, "are the same branch: both leave at 512"),
        ({"cooldowns": ((0.2, "sqrt"), (0.2, "sqrt"))}, "give at least one, and each once"),
        ({"cooldowns": ((1.0, "sqrt"),)}, "fraction=1.0 of its tokens; give a number between"),
        ({"cooldowns": ((0.2, "cliff"),)}, "no shape of a cooldown is called .cliff.; use sqrt, linear"),
        ({"seeds": ()}, r"seeds=\(\); give at least one"),
        ({"seeds": (-1,)}, "give seeds from 0 on"),
        ({"held_out": 0}, "give tokens above 0"),
        ({"averages": (2,)}, "give windows=Windows"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line(fields: dict[str, Any], says: str) -> None:
    with pytest.raises((BadInput, ValidationError), match=says):
        grid(**fields)


def test_a_sweep_refuses_a_rate_twice_and_no_budget() -> None:
    for fields in ({"peaks": (1e-2, 0.01)}, {"peaks": (1e-2,), "budgets": ()}):
        with pytest.raises((BadInput, ValidationError), match="give"):
            Sweep(**{"model": NANO, **COMMON, **fields})


# what it costs


def test_the_chinchilla_suite_costs_42_1_percent_of_its_cosine_runs() -> None:
    """Hägele et al., section 5: ratios 10/15/20/25, 10% cooldowns, batches of 0.5M; 2.36/5.59e23."""
    sizes = {}
    for name in ("h33M", "135M", "360M", "1.7B"):
        model = preset(name)
        unit = round(model.parameters * 5 / (512 * 1024))  # so that every budget is whole steps
        budgets = tuple(n * unit * 512 * 1024 for n in (2, 3, 4, 5))
        sizes[name.lower()] = Size(model=model, budgets=budgets)
    suite = Grid(
        sizes=sizes,
        peak=1e-3,
        cooldowns=((0.1, "sqrt"),),
        cosine=True,
        evaluate=False,
        **{**COMMON, "seq_len": 1024, "rows": 512, "warmup": 0, "budgets": ()},
    )
    found = plan(recipe(suite), Lab("nowhere"))
    for cost in (found.tokens, found.six_nd, found.flops):
        assert cost.tree / cost.one_by_one == pytest.approx(0.421, abs=1e-3)
        assert cost.controls == pytest.approx(cost.one_by_one)


def test_two_descents_to_one_budget_are_one_answer_to_a_cosine_run() -> None:
    both = grid(sizes={"S": NANO}, cooldowns=((0.2, "sqrt"), (0.2, "linear")), cosine=True)
    found = plan(recipe(both), Lab("nowhere"))
    assert found.tokens.one_by_one == found.tokens.controls == (10 + 20) * STEP
    assert found.tokens.tree == (16 + 2 * (2 + 4)) * STEP


def test_a_grid_of_many_runs_tells_in_one_line_what_was_rounded() -> None:
    found = plan(
        recipe(grid(budgets=(1000 * STEP + 1, 2000 * STEP + 1), seeds=(0, 1))), Lab("nowhere")
    )
    assert found.warnings == ("8 runs end on whole steps, at most 0.00% from what was asked",)
