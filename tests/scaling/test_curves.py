"""The multi-power law: recovered, blind to what comes later, and right about schedules it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import BadInput
from ramify.scaling.curves import Curve, MultiPowerLaw, curve, fit_curves
from ramify.scaling.law import Floats, Ints
from ramify.scaling.table import read_rows

DATA = Path(__file__).parents[3] / "shared/data/scaling/multipowerlaw/csv_25"
LAW = MultiPowerLaw(L0=2.8, A=0.55, alpha=0.45, B=450.0, C=2.0, beta=0.5, gamma=0.5)
STEPS, PEAK, WARMUP = 4000, 3e-4, 0.05


def constant(steps: int = STEPS) -> Floats:
    return np.full(steps, PEAK)


def cosine(steps: int = STEPS) -> Floats:
    turn: Floats = PEAK * (0.55 + 0.45 * np.cos(np.pi * np.arange(steps) / steps))
    return turn


def cooled(steps: int = STEPS, last: int = 800) -> Floats:
    rates = constant(steps)
    rates[-last:] = np.linspace(PEAK, PEAK / 10, last)
    return rates


def measured(rates: Floats) -> Curve:
    at: Ints = np.arange(50, len(rates), 50)
    return Curve(rates, at, LAW.predict(rates, at, warmup=WARMUP), WARMUP)


def test_a_law_fitted_on_two_schedules_predicts_a_third() -> None:
    found = fit_curves([measured(constant()), measured(cosine())], restarts=4)
    seen = measured(cooled())
    missed = found.predict(seen.rates, seen.at, warmup=WARMUP) - seen.loss
    assert np.abs(missed).max() < 0.003


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.05, 1.0), min_size=6, max_size=60), st.integers(1, 5))
def test_nothing_beyond_a_step_bears_on_it(shares: list[float], cut: int) -> None:
    rates = PEAK * np.array(shares)
    whole = LAW.predict(rates, warmup=WARMUP)
    part = LAW.predict(rates[:-cut], warmup=WARMUP)
    assert part == pytest.approx(whole[:-cut], rel=1e-12)


def test_losses_at_some_steps_are_those_of_all_steps() -> None:
    at = np.array([0, 17, 999, 3999])
    assert LAW.predict(cosine(), at) == pytest.approx(LAW.predict(cosine())[at], rel=1e-12)
    with pytest.raises(BadInput, match="ask for steps 0 to 3999"):
        LAW.predict(cosine(), np.array([4000]))


def test_lowering_the_rate_lowers_the_loss_and_a_rate_of_zero_ends_it() -> None:
    plain, lowered = LAW.predict(constant()), LAW.predict(cooled())
    assert lowered[-1] < plain[-1]
    assert lowered[: STEPS - 800] == pytest.approx(plain[: STEPS - 800])
    stopped = constant(100)
    stopped[50:] = 0.0
    losses = LAW.predict(stopped, warmup=WARMUP)
    assert np.isfinite(losses).all()
    assert losses[50:] == pytest.approx(losses[50])


def test_a_log_becomes_a_schedule_straight_between_lines_and_with_its_jumps() -> None:
    told = curve([10, 14, 18, 20], [4e-4, 2.8e-4, 1e-4, 1e-4], [4.0, 3.9, 3.8, 3.7],
                 first=10, warmup=0.1)  # fmt: skip
    assert told.rates[:5].tolist() == pytest.approx([4e-4, 3.7e-4, 3.4e-4, 3.1e-4, 2.8e-4])
    assert told.rates[5:].tolist() == pytest.approx([1e-4] * 6)
    assert told.at.tolist() == [0, 4, 8, 10]
    with pytest.raises(BadInput, match="leave the warm-up out"):
        curve([5, 14], [1e-4, 1e-4], [4.0, 3.9], first=10, warmup=0.1)


def test_what_is_no_curve_is_refused() -> None:
    rates, at = constant(10), np.array([1, 5])
    for said, bad in (
        ("a loss for each step", (rates, at, np.array([4.0]))),
        ("rising steps inside", (rates, np.array([5, 1]), np.array([4.0, 3.0]))),
        ("rising steps inside", (rates, np.array([5, 10]), np.array([4.0, 3.0]))),
        ("missing or not above 0", (rates, at, np.array([4.0, np.nan]))),
        ("begin above 0", (0 * rates, at, np.array([4.0, 3.0]))),
    ):
        with pytest.raises(BadInput, match=said):
            Curve(*bad)


def test_curves_that_cannot_carry_the_law_are_refused() -> None:
    with pytest.raises(BadInput, match="no curve lowers its learning rate"):
        fit_curves([measured(constant())])
    short = Curve(cosine(), np.array([10, 20]), np.array([4.0, 3.9]))
    with pytest.raises(BadInput, match="2 points cannot carry 7 constants"):
        fit_curves([short])


@pytest.mark.shared
def test_real_schedules_are_predicted_from_others() -> None:
    if not DATA.is_dir():
        pytest.skip("the shared data is not beside this project")

    def read(name: str) -> Curve:
        rows = read_rows(DATA / f"{name}.csv")
        steps, rates, loss = ([float(r[k]) for r in rows] for k in ("step", "lr", "loss"))
        return curve(np.array(steps), rates, loss, first=2160, warmup=3e-4 * 2160 / 2)

    law = fit_curves([read(n) for n in ("constant_24000", "cosine_24000", "wsdcon_9")], restarts=4)
    for name in ("wsd_20000_24000", "wsdld_20000_24000"):
        seen = read(name)
        missed = law.predict(seen.rates, seen.at, warmup=seen.warmup) - seen.loss
        assert np.abs(missed).mean() <= 0.003
        assert abs(missed[-1]) <= 0.012
