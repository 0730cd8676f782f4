"""A mean of weights is a model like any other, and the moving average of a run is that of its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ramify.ground import artifact
from ramify.ground.errors import BadInput, Mismatch, NotFound
from ramify.ground.step import Input, Ref, Step
from ramify.optim.config import Ema, Windows
from ramify.train import checkpoint
from ramify.train.average import run_average, run_ema, run_interpolate
from ramify.train.places import points, window_folder
from ramify.train.steps import Average, EmaAverage, Interpolate

from .conftest import STEP, Grow, trunk
from .test_make import assert_same, at

EMA = Ema(decay=0.75, every=2)
WINDOWS = Windows(steps=4, every=2)


def given(folder: Path) -> Input:
    record = artifact.read_record(folder)
    assert record is not None
    return Input(folder, record.model_dump(), record.fingerprint)


def made(
    make: Callable[..., dict[str, Any]], step: Step, out: Path, /, **inputs: Path
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the facts and the weights of a step that is a mean of weights."""
    out.mkdir(exist_ok=True)
    found = {where: given(folder) for where, folder in inputs.items()}
    facts = make(step, found, out, lambda *_, **__: None)
    return facts, dict(checkpoint.load_model(out, check=False).state_dict())


def assert_close(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=1e-6, atol=1e-7)


def test_an_average_is_the_mean_of_its_windows_and_loads_like_a_point(
    grow: Grow, tmp_path: Path
) -> None:
    run = grow([trunk()], [16 * STEP])
    step = Average(name="mean", run=Ref(name="trunk", at=16 * STEP), last=2, windows=WINDOWS)
    out = tmp_path / "mean"
    facts, mean = made(run_average, step, out, run=at(run, 16))
    assert facts["ends"] == [16 * STEP, 12 * STEP]
    assert facts["decayed"] is False
    parts = [checkpoint.load_weights(window_folder(run, n * STEP)) for n in (12, 16)]
    for name, value in mean.items():
        torch.testing.assert_close(value, (parts[0][name] + parts[1][name]) / 2)
    with pytest.raises(NotFound, match="wants 9 windows"):
        made(run_average, step.but(last=9), out, run=at(run, 16))
    with pytest.raises(Mismatch, match="asks for"):
        made(run_average, step.but(windows=Windows(steps=8, every=2)), out, run=at(run, 16))


def test_a_moving_average_is_that_of_the_weights_and_changes_none(
    grow: Grow, tmp_path: Path
) -> None:
    every = [2 * n * STEP for n in range(1, 6)]
    run = grow([trunk(ema=EMA)], every, home=tmp_path / "with")
    bare = grow([trunk()], every, home=tmp_path / "without")
    expected: dict[str, Tensor] = {}
    for tokens in every:
        weights = checkpoint.load_weights(at(run, tokens // STEP))
        other = checkpoint.load_weights(at(bare, tokens // STEP))
        assert all(torch.equal(other[name], value) for name, value in weights.items())
        expected = {n: 0.75 * expected[n] + 0.25 * v if expected else v for n, v in weights.items()}
    step = EmaAverage(name="moving", run=Ref(name="trunk", at=10 * STEP), ema=EMA)
    facts, mean = made(run_ema, step, tmp_path / "moving", run=at(run, 10))
    assert_close(mean, expected)
    assert (facts["taken"], facts["tokens"], facts["decayed"]) == (5, 10 * STEP, False)


def test_a_moving_average_of_a_run_that_was_stopped_goes_on_as_if_it_never_had(
    grow: Grow, tmp_path: Path
) -> None:
    whole = grow([trunk(ema=EMA)], [9 * STEP], home=tmp_path / "whole")
    for steps in (1, 2, 5):
        parts = grow([trunk(ema=EMA)], [9 * STEP], home=tmp_path / f"{steps}", stop_after=steps)
        assert max(points(parts)) == steps * STEP
        grow([trunk(ema=EMA)], [9 * STEP], home=tmp_path / f"{steps}")
        assert_same(at(whole, 9), at(parts, 9))


def test_a_branch_begins_a_moving_average_of_its_own(grow: Grow, tmp_path: Path) -> None:
    root = trunk(ema=EMA)
    run = grow([root], [7 * STEP])
    branch = root.cooldown("cool", 10 * STEP, fraction=0.3, ema=EMA)
    cool = grow([root, branch], [8 * STEP, 10 * STEP], parent=at(run, 7))
    step = EmaAverage(name="moving", run=Ref(name="cool", at=10 * STEP), ema=EMA)
    facts, mean = made(run_ema, step, tmp_path / "moving", run=at(cool, 10))
    ends = [checkpoint.load_weights(at(cool, n)) for n in (8, 10)]
    assert_close(mean, {n: 0.75 * v + 0.25 * ends[1][n] for n, v in ends[0].items()})
    assert facts["taken"] == 2


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (None, r"'count': 5.*trunk@640 holds .*'count': 2"),  # it began late
        (Ema(decay=0.5, every=2), r"'count': 5.*trunk@640 holds .*'count': 2"),  # another before
    ],
)
def test_a_moving_average_that_its_run_did_not_carry_all_the_way_is_refused(
    grow: Grow, tmp_path: Path, first: Ema | None, says: str
) -> None:
    run = grow([trunk(ema=first)], [6 * STEP])
    step = EmaAverage(name="moving", run=Ref(name="trunk", at=10 * STEP), ema=EMA)
    grow([trunk(ema=EMA)], [10 * STEP])
    with pytest.raises(Mismatch, match=f"{says}.*ramify forget trunk"):
        made(run_ema, step, tmp_path / "moving", run=at(run, 10))
    with pytest.raises(Mismatch, match="holds"):
        made(run_ema, step, tmp_path / "moving", run=at(run, 6))


def test_a_model_between_two_is_either_at_its_ends(grow: Grow, tmp_path: Path) -> None:
    root = trunk()
    run = grow([root], [8 * STEP])
    cool = grow([root, root.cooldown("cool", 10 * STEP)], [10 * STEP], parent=at(run, 8))
    ends = [checkpoint.load_weights(folder) for folder in (at(run, 8), at(cool, 10))]
    step = Interpolate(name="path", a=Ref(name="trunk", at=8 * STEP), b=Ref(name="cool"), share=0.5)
    for share, expected in (
        (0.0, ends[0]),
        (0.25, {n: 0.75 * v + 0.25 * ends[1][n] for n, v in ends[0].items()}),
        (1.0, ends[1]),
    ):
        facts, found = made(
            run_interpolate, step.but(share=share), tmp_path / "path", a=at(run, 8), b=at(cool, 10)
        )
        assert_close(found, expected)
        assert (facts["tokens"], facts["decayed"], facts["share"]) == (10 * STEP, False, share)


def test_two_networks_have_no_line_between_them(grow: Grow, tmp_path: Path) -> None:
    run = grow([trunk()], [2 * STEP], home=tmp_path / "a")
    wider = trunk(model=trunk().model.model_copy(update={"width": 32}))
    other = grow([wider], [2 * STEP], home=tmp_path / "b")
    step = Interpolate(name="path", a=Ref(name="a"), b=Ref(name="b"), share=0.5)
    with pytest.raises(BadInput, match="two different networks: width was 16, now 32"):
        made(run_interpolate, step, tmp_path / "path", a=at(run, 2), b=at(other, 2))
    with pytest.raises(ValueError, match="share=nan of path is no place on a line"):
        step.but(share=float("nan"))
