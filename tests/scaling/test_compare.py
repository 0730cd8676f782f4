"""Two arms agree, differ, or it cannot be told; pairs are drawn together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ramify.ground.errors import BadInput
from ramify.scaling.compare import compare, matched, paired_resamples, pairs
from ramify.scaling.law import Law
from ramify.scaling.points import Points, checked, joined

LAW = Law(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
ARMS = ("cosine", "branches")


def arm(law: Law = LAW, *, noise: float, seed: int, sizes: int = 6) -> Points:
    n = np.repeat(np.geomspace(5e7, 5e9, sizes), 10)
    d = n * np.tile([5.0, 10.0, 20.0, 40.0, 80.0], 2 * sizes)
    drawn = np.random.default_rng(seed).normal(0, noise, len(n))
    seeds = np.tile([0] * 5 + [1] * 5, sizes).tolist()
    return checked(n, d, law.loss(n, d) * np.exp(drawn), seeds=seeds)


def test_two_arms_of_one_law_agree() -> None:
    first, second = arm(noise=0.001, seed=10), arm(noise=0.001, seed=11)
    found = compare(first, second, arms=ARMS, draws=100)
    assert found.verdict == "agree", found.why
    assert found.fits is not None
    for low, high in found.differences.values():
        assert low < high


def test_another_exponent_is_seen() -> None:
    other = replace(LAW, beta=0.45, B=2100.0 * 1e10**0.08)
    found = compare(arm(noise=0.001, seed=1), arm(other, noise=0.001, seed=2), arms=ARMS, draws=100)
    assert found.verdict == "differ", found.why


def test_what_noise_hides_cannot_be_told() -> None:
    first, second = (arm(noise=0.03, seed=seed, sizes=3) for seed in (1, 2))
    found = compare(first, second, arms=ARMS, draws=100)
    assert found.verdict == "cannot be told"
    assert "add sizes, budgets or seeds" in found.why


def test_an_arm_that_carries_no_law_still_has_its_pairs() -> None:
    few = arm(noise=0.001, seed=1, sizes=2)
    found = compare(few, arm(noise=0.001, seed=2), arms=ARMS, draws=100)
    assert (found.verdict, found.fits) == ("cannot be told", None)
    assert "2 sizes" in found.why
    assert found.pairs is not None
    assert len(found.pairs.first) == 20


def test_the_line_through_pairs_is_the_one_that_made_them() -> None:
    second = arm(noise=0.0, seed=0)
    first = replace(second, loss=0.99 * second.loss + 0.23)
    found = compare(first, second, arms=ARMS, draws=100).pairs
    assert found is not None
    assert found.line is not None
    assert found.interval is not None
    assert (found.line.slope, found.line.intercept) == pytest.approx((0.99, 0.23))
    assert found.interval[0] <= found.difference <= found.interval[1]


def test_pairs_are_points_of_equal_size_tokens_and_seed_and_are_drawn_together() -> None:
    first, second = arm(noise=0.0, seed=0), arm(noise=0.0, seed=0).take(np.arange(5, 60))
    mine, theirs = matched(first, second)
    assert (mine, theirs) == (list(range(5, 60)), list(range(55)))
    weights = paired_resamples(first, second, 7, 0)
    assert np.array_equal(weights[0][:, 5:], weights[1])
    assert (weights[0].sum(1) == 60).all()


@pytest.mark.parametrize("count", [2, 3, 6])
def test_the_interval_of_a_few_pairs_holds_as_often_as_it_says(count: int) -> None:
    draw, hits = np.random.default_rng(count), 0
    second = arm(noise=0.0, seed=0).take(np.arange(count))
    for _ in range(300):
        found = pairs(
            replace(second, loss=second.loss + draw.normal(0, 0.01, count)), second, draws=100
        )
        assert found is not None
        assert found.interval is not None
        hits += found.interval[0] <= 0 <= found.interval[1]
        assert (found.line is None) == (count < 5)
    assert hits / 300 == pytest.approx(0.95, abs=0.04)
    only = pairs(second.take(np.arange(1)), second)
    assert only is not None
    assert only.interval is None


def test_of_several_points_of_one_key_none_is_taken_for_a_partner() -> None:
    first, second = arm(noise=0.0, seed=0), arm(noise=0.0, seed=0)
    again = joined([first, replace(first.take(np.arange(3)), loss=first.loss[:3] * 1.01)])
    assert matched(again, second)[0] == list(range(3, 60))
    assert matched(second, again)[1] == list(range(3, 60))
    weights = paired_resamples(again, second, 7, 0)
    assert [w.sum(1).tolist() for w in weights] == [[63] * 7, [60] * 7]


def test_a_few_draws_are_no_interval() -> None:
    points = arm(noise=0.01, seed=0)
    with pytest.raises(BadInput, match="--bootstrap 1000"):
        compare(points, points, arms=ARMS, draws=10)
