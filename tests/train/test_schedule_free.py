"""A schedule-free run: its points hold what it trains and what it is read with, and looking changes neither."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from ramify.ground.errors import BadInput, Diverged
from ramify.ground.journal import read
from ramify.ground.step import Ref
from ramify.optim.config import AdamW, Ema, ScheduleFree, Windows
from ramify.optim.schedule import Constant
from ramify.train import checkpoint
from ramify.train.average import run_ema
from ramify.train.line import Line
from ramify.train.places import points, window_folder
from ramify.train.steps import EmaAverage, Probe

from .conftest import STEP, Grow, trunk
from .test_average import assert_close, made
from .test_make import assert_same, at, tensors

FREE = trunk(optimizer=ScheduleFree(), schedule=Constant(peak=1e-2, warmup=4 * STEP))


def test_a_schedule_free_run_that_was_stopped_goes_on_as_if_it_never_had(
    grow: Grow, tmp_path: Path
) -> None:
    whole = grow([FREE], [10 * STEP], home=tmp_path / "whole")
    for steps in (1, 3, 6):
        parts = grow([FREE], [10 * STEP], home=tmp_path / f"{steps}", stop_after=steps)
        assert max(points(parts)) == steps * STEP
        grow([FREE], [10 * STEP], home=tmp_path / f"{steps}")
        assert_same(at(whole, 10), at(parts, 10))
        assert_same_losses(whole, parts)


def assert_same_losses(one: Path, other: Path) -> None:
    a, b = (
        [(x["chain"], x["loss"], x["rate"]) for x in read(run / "journal.jsonl", "step")]
        for run in (one, other)
    )
    assert a == b


def test_probes_and_points_of_a_schedule_free_run_change_no_bit_of_it(
    grow: Grow, tmp_path: Path
) -> None:
    whole = grow([FREE], [10 * STEP], home=tmp_path / "whole")
    every = [n * STEP for n in range(1, 11)]
    looked = grow([FREE.but(probe=Probe(every=STEP))], every, home=tmp_path / "looked")
    assert_same(at(whole, 10), at(looked, 10))
    assert len(read(looked / "journal.jsonl", "probe")) == 10


def test_a_point_holds_both_iterates_and_is_read_as_their_mean(grow: Grow) -> None:
    run = grow([FREE], [10 * STEP])
    held = tensors(at(run, 10))
    for name, x in checkpoint.load_weights(at(run, 10)).items():
        y, z = held[f"optimizer.y.{name}"], held[f"optimizer.z.{name}"]
        torch.testing.assert_close(y, 0.05 * z + 0.95 * x, rtol=1e-5, atol=1e-6)
        assert not torch.equal(x, y)


def test_a_schedule_free_run_learns_and_its_rate_is_that_of_its_position(grow: Grow) -> None:
    run = grow([FREE], [20 * STEP])
    lines = read(run / "journal.jsonl", "step")
    assert [line["rate"] for line in lines] == [Line([FREE]).rate(n * STEP) for n in range(20)]
    losses = [line["loss"] for line in lines]
    assert sum(losses[-4:]) < sum(losses[:4]) - 0.5


def test_averages_of_a_schedule_free_run_are_of_what_it_is_read_with(
    grow: Grow, tmp_path: Path
) -> None:
    root = FREE.but(windows=Windows(steps=2, every=1), ema=Ema(decay=0.5, every=1))
    run = grow([root], [STEP, 2 * STEP])
    ends = [checkpoint.load_weights(at(run, n)) for n in (1, 2)]
    half = {name: 0.5 * value + 0.5 * ends[1][name] for name, value in ends[0].items()}
    assert_close(checkpoint.load_weights(window_folder(run, 2 * STEP)), half)
    step = EmaAverage(name="moving", run=Ref(name="trunk", at=2 * STEP), ema=root.ema or Ema())
    assert_close(made(run_ema, step, tmp_path / "moving", run=at(run, 2))[1], half)


def test_steps_that_are_not_finite_leave_both_iterates(grow: Grow) -> None:
    poison = FREE.but(schedule=Constant(peak=1e38), skip_limit=3, tokens=200 * STEP)
    with pytest.raises(Diverged, match="not finite"):
        grow([poison], [200 * STEP])


def test_nothing_cools_down_off_a_schedule_free_run() -> None:
    with pytest.raises(
        BadInput, match="cool cools down off trunk, whose optimizer is schedule-free"
    ):
        Line([FREE, FREE.cooldown("cool", 20 * STEP)])
    with pytest.raises(ValueError, match=r"schedule-free; give it optimizer=AdamW\(\)"):
        FREE.cosine("cosine", 20 * STEP)
    assert FREE.but(optimizer=AdamW()).cosine("cosine", 20 * STEP).optimizer == AdamW()
    assert math.isclose(Line([FREE]).rate(20 * STEP), 1e-2)
