"""A law is recovered from its own samples, with intervals that hold it, or refused with a reason."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import BadInput
from ramify.scaling.fit import Fit, fit, refit
from ramify.scaling.law import NAMES, Law
from ramify.scaling.points import Points, checked, without_lowest_ratio
from ramify.scaling.table import Columns, read_points
from ramify.scaling.trust import extrapolation, leave_one_out, predict, residuals

CHINCHILLA = Path(__file__).parents[3] / "shared/data/scaling/chinchilla_svg_extracted_data.csv"
LAW = Law(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
SIZES, RATIOS = np.geomspace(5e7, 5e9, 6), (5.0, 10.0, 20.0, 40.0, 80.0)


def samples(law: Law = LAW, *, noise: float = 0.0, seed: int = 0) -> Points:
    n = np.repeat(SIZES, len(RATIOS))
    d = n * np.tile(RATIOS, len(SIZES))
    draw = np.random.default_rng(seed).normal(0, noise, len(n)) if noise else np.zeros(len(n))
    return checked(n, d, law.loss(n, d) * np.exp(draw))


@settings(max_examples=8, deadline=None)
@given(
    floor=st.floats(0.3, 3.0),
    alpha=st.floats(0.2, 0.8),
    beta=st.floats(0.2, 0.8),
    shares=st.tuples(st.floats(0.1, 1.0), st.floats(0.1, 1.0)),
)
def test_a_law_is_recovered_from_its_own_noiseless_samples(
    floor: float, alpha: float, beta: float, shares: tuple[float, float]
) -> None:
    law = Law(floor, shares[0] * 5e8**alpha, shares[1] * 1e10**beta, alpha, beta)
    found = fit(samples(law)).law
    assert pytest.approx(law.E, rel=5e-3) == found.E
    assert (found.alpha, found.beta) == pytest.approx((alpha, beta), rel=1e-2)
    points = samples(law)
    assert found.loss(points.parameters, points.tokens) == pytest.approx(points.loss, rel=1e-4)


def test_intervals_hold_the_law_that_noisy_samples_came_from() -> None:
    held = dict.fromkeys(NAMES, 0)
    for seed in range(4):
        found = fit(samples(noise=0.005, seed=seed), draws=30, seed=seed)
        assert found.bootstrap is not None
        for name, (low, high) in found.bootstrap.intervals().items():
            held[name] += low <= LAW.constants[name] <= high
    assert all(count >= 3 for count in held.values()), held


def test_the_same_seed_gives_the_same_intervals() -> None:
    points = samples(noise=0.01)
    first, again, other = (fit(points, draws=20, seed=s).bootstrap for s in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert np.array_equal(first.draws, again.draws)
    assert not np.array_equal(first.draws, other.draws)


@settings(max_examples=30, deadline=None)
@given(st.floats(18, 24), st.floats(1.0, 12.0))
def test_no_other_size_beats_the_optimum_of_a_budget(log_flops: float, each: float) -> None:
    best = LAW.optimum(10**log_flops, each)
    assert each * best.parameters * best.tokens == pytest.approx(best.flops)
    for times in (0.5, 0.9, 1.1, 2.0):
        assert LAW.loss(best.parameters * times, best.tokens / times) > best.loss


def test_the_optimum_grows_as_its_exponent_says() -> None:
    small, large = LAW.optimum(1e20), LAW.optimum(1e22)
    grown = math.log(large.parameters / small.parameters) / math.log(100)
    assert grown == pytest.approx(LAW.parameters_exponent)


def test_the_unit_of_losses_changes_no_exponent() -> None:
    points = samples(noise=0.005)
    nats, bits = fit(points).law, fit(checked(points.parameters, points.tokens, points.loss * 0.36))
    assert pytest.approx(0.36 * nats.E, rel=1e-3) == bits.law.E
    assert (bits.law.alpha, bits.law.beta) == pytest.approx((nats.alpha, nats.beta), rel=1e-3)


def test_one_outlier_moves_the_fit_little() -> None:
    points = samples(noise=0.002)
    loss = points.loss.copy()
    loss[7] *= 1.1
    found = fit(checked(points.parameters, points.tokens, loss)).law
    assert found.alpha == pytest.approx(fit(points).law.alpha, rel=0.05)


def test_errors_of_points_left_out_are_those_of_the_noise() -> None:
    found = fit(samples(noise=0.005))
    mine, left = residuals(found), leave_one_out(found)
    assert left is not None
    assert 0.001 < mine.mean_absolute < left.mean_absolute < 0.01
    assert refit(found.points, found.law).alpha == pytest.approx(found.law.alpha, rel=1e-3)


def test_the_large_are_predicted_from_the_small() -> None:
    points = samples(noise=0.001)
    small = points.take(points.parameters < 1e9)
    errors = predict(small, points.take(points.parameters > 1e9))
    assert errors.mean_absolute < 0.01
    told = extrapolation(points)
    assert not isinstance(told, str)
    assert told.points == round(0.25 * len(points))


def test_what_the_small_cannot_carry_is_said_and_not_raised() -> None:
    n = np.repeat([1e7, 3e7, 1e8], 3)
    d = np.tile([1e8, 3e8, 1e9], 3)
    told = extrapolation(checked(n, d, LAW.loss(n, d)), share=0.4)
    assert isinstance(told, str)
    assert "cannot" in told


@pytest.mark.parametrize(
    ("n", "d", "said"),
    [
        ([1e8] * 8, np.geomspace(1e9, 1e11, 8), "1 size of model.*add points of 2 more sizes"),
        (np.geomspace(1e7, 1e9, 8), [1e9] * 8, "1 budget of tokens.*add points of 2 more budgets"),
        ([1e7, 1e8, 1e9], [1e9, 1e10, 2e10], "3 points cannot carry.*add 4 more points"),
        (np.geomspace(1e7, 1e9, 8), 20 * np.geomspace(1e7, 1e9, 8), "cannot be told apart"),
    ],
)
def test_a_fit_that_data_cannot_carry_is_refused_with_what_to_add(
    n: list[float], d: list[float], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        fit(checked(n, d, LAW.loss(np.asarray(n), np.asarray(d))))


def test_points_that_size_does_not_move_give_numbers_all_the_same() -> None:
    n, d = np.repeat([1e7, 1e8, 1e9], 4), np.tile([1e9, 2e9, 4e9, 8e9], 3)
    found = fit(checked(n, d, 2.0 + 5e3 / d**0.4), draws=10)
    assert found.bootstrap is not None
    assert np.isfinite(found.bootstrap.draws).all()
    assert np.isfinite(list(found.law.constants.values())).all()


@pytest.fixture(scope="module")
def chinchilla() -> Points:
    if not CHINCHILLA.is_file():
        pytest.skip("the shared data is not beside this project")
    return read_points(CHINCHILLA, Columns("Model Size", "loss", flops="Training FLOP"))


@pytest.mark.shared
def test_the_published_replication_of_chinchilla_is_reached(chinchilla: Points) -> None:
    found: Fit = fit(without_lowest_ratio(chinchilla, 5))
    law = found.law
    assert len(found.points) == 240
    assert pytest.approx(1.8172, abs=0.003) == law.E
    assert pytest.approx(482.01, rel=0.05) == law.A
    assert pytest.approx(2085.43, rel=0.05) == law.B
    assert (law.alpha, law.beta) == pytest.approx((0.3478, 0.3658), abs=0.003)


@pytest.mark.shared
def test_the_five_outliers_bend_the_law_of_chinchilla(chinchilla: Points) -> None:
    law = fit(chinchilla).law
    assert (law.E, law.beta) == pytest.approx((1.891, 0.453), abs=0.002)


@pytest.mark.parametrize("rises", [0.0, 1e-11])
def test_losses_that_fall_in_no_direction_have_no_optimum_and_say_so(rises: float) -> None:
    n, d = np.repeat([1e7, 1e8, 1e9], 4), np.tile([1e9, 2e9, 4e9, 8e9], 3)
    found = fit(checked(n, d, 2.5 + rises * d), draws=5)
    with pytest.raises(BadInput, match="no optimum"):
        found.law.optimum(1e20)
    assert found.bootstrap is not None
    assert found.bootstrap.optimum(1e20) == {}
    assert refit(found.points, found.law).E > 0
