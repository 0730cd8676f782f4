"""The longest path of work goes first, so that a grid fills its workers to the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify import Grid, Recipe, Size
from ramify.model.config import ModelConfig
from ramify.runs.engine import Engine, _Crew, side_by_side, visible_gpus
from ramify.runs.lab import Lab
from ramify.runs.order import NOTHING, makespan, paths
from ramify.runs.plan import Plan, plan

from .conftest import Copy
from .test_engine import Heard
from .test_grid import COMMON, DATA, STEP
from .tiny import loaded, make


def network(width: int) -> ModelConfig:
    return ModelConfig(layers=1, width=width, heads=2, kv_heads=1, ffw=2 * width, vocab=300)


def planned(
    widths: list[int], budgets: list[int], seeds: int, fraction: float = 0.2, **more: object
) -> Plan:
    sizes = {f"w{width}": Size(model=network(width)) for width in widths}
    given = {**COMMON, "sizes": sizes, "budgets": tuple(n * STEP for n in budgets)}
    given |= {"peak": 1e-2, "warmup": 0, "cooldowns": ((fraction, "sqrt"),)}
    found = Grid(**{**given, "seeds": tuple(range(seeds)), **more})
    return plan(Recipe(name="some", steps=(*DATA, *found.steps())), Lab("nowhere"))


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.sampled_from([8, 16, 32, 64]), min_size=1, max_size=4, unique=True),
    budgets=st.lists(st.integers(10, 60), min_size=1, max_size=4, unique=True),
    seeds=st.integers(1, 3),
    workers=st.integers(1, 5),
    cosine=st.booleans(),
)
def test_the_makespan_is_within_grahams_bounds(
    widths: list[int], budgets: list[int], seeds: int, workers: int, cosine: bool
) -> None:
    found = planned(widths, budgets, seeds, cosine=cosine)
    share = sum(item.flops for item in found.to_do) / workers
    slack = NOTHING * len(found.to_do)
    longest = max(paths(found).values())
    took = makespan(found, workers)
    assert max(share, longest - slack) <= took * (1 + 1e-9)
    assert took <= (share + longest) * (1 + 1e-9)


def test_one_worker_does_all_the_work_and_never_waits() -> None:
    found = planned([16, 32], [10, 20], 2, cosine=True)
    assert makespan(found, 1) == pytest.approx(sum(item.flops for item in found.to_do))


@pytest.mark.parametrize("workers", [2, 3, 4, 8])
def test_a_grid_of_six_sizes_fills_its_workers(workers: int) -> None:
    found = planned([8, 16, 24, 32, 48, 64], [25, 50, 75, 100], 3)
    work = sum(item.flops for item in found.to_do)
    assert makespan(found, workers) <= 1.15 * max(work / workers, max(paths(found).values()))


def test_a_branch_may_start_where_it_leaves_though_its_trunk_goes_on() -> None:
    """Trunk to 80; cool-50 leaves at 40: beside the trunk's second half there is room for it."""
    found = planned([16], [50, 100], 1)
    flops = {item.name: item.flops for item in found.to_do}
    trunk, late = flops["grid/w16/s0/trunk"], flops["grid/w16/s0/cool-sqrt20-6.4K"]
    assert makespan(found, 2) == pytest.approx(trunk + late)


def test_the_crew_takes_up_the_largest_trunk_before_the_small_ones(copy: Copy, data: Lab) -> None:
    lab = copy(data)
    found = planned([8, 64, 16], [10], 1)
    crew = _Crew(Engine(lab, cores=2), found, Heard())
    trunks = [item.name for item in crew.pending if item.name.endswith("trunk")]
    assert trunks == ["grid/w64/s0/trunk", "grid/w16/s0/trunk", "grid/w8/s0/trunk"]
    places = [item.name for item in crew.pending]
    assert places.index("a") < places.index("grid/w64/s0/trunk")


def test_what_is_done_takes_no_time(copy: Copy, data: Lab, recipe_file: Path) -> None:
    lab, recipe = copy(data), loaded(recipe_file)
    before = makespan(plan(recipe, lab), 2)
    make(recipe, lab, "trunk")
    assert makespan(plan(recipe, lab), 2) < before


@pytest.mark.parametrize(
    ("told", "seen"),
    [("0,1", ("0", "1")), ("", ()), ("-1", ()), ("GPU-3f, 2", ("GPU-3f", "2")), ("0,-1,1", ("0",))],
)
def test_the_gpus_are_those_that_the_environment_shows(
    monkeypatch: pytest.MonkeyPatch, told: str, seen: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
    assert visible_gpus() == seen


def test_as_many_runs_at_once_as_gpus_or_threads_allow() -> None:
    found = planned([16], [10], 1)
    assert side_by_side(found, cores=2) == 2
    assert side_by_side(found, cores=2, gpus=("0", "1", "2")) == 3


def test_each_step_that_computes_has_a_gpu_for_itself(
    monkeypatch: pytest.MonkeyPatch, copy: Copy, data: Lab
) -> None:
    found = planned([8, 64, 16], [10], 1)
    crew = _Crew(Engine(copy(data), cores=16, gpus=("0", "1")), found, Heard())
    started: list[tuple[str, tuple[str, ...]]] = []

    def start(item: object, threads: int, gpus: tuple[str, ...]) -> None:
        started.append((item.name, gpus))  # type: ignore[attr-defined]
        worker = type("Worker", (), {"cores": threads, "gpus": gpus})()
        crew.working[item.name] = worker  # type: ignore[attr-defined]

    monkeypatch.setattr(crew, "_start", start)
    monkeypatch.setattr(crew, "_is_ready", lambda item: True)
    crew._start_ready()
    assert [gpus for _, gpus in started if gpus] == [("0",), ("1",)]
    assert {name for name, gpus in started if not gpus} == {"read", "tokenizer", "a"}
