"""A forecast's interval holds as often as it says, on made-up cooldowns and on published curves."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import BadInput
from ramify.scaling.forecast import (
    Before,
    Floats,
    Forecaster,
    Seen,
    best,
    forecast,
    law_share,
)

CURVES = Path(__file__).parents[2].parent / "shared" / "data" / "scaling" / "multipowerlaw"


def cooldowns(count: int, draw: np.random.Generator, *, noise: float = 0.005) -> list[Seen]:
    """Return cooldowns of one lab: what its κ are is drawn once, loss, fraction and gap for each."""
    steady, length = draw.normal(0.025, 0.015), draw.normal(0.01, 0.008)
    better, sign = draw.normal(-0.08, 0.06), draw.normal(0.7, 0.4)
    found = []
    for _ in range(count):
        loss, fraction, gap = draw.uniform(2, 3), draw.uniform(0.05, 0.4), draw.normal(0.01, 0.02)
        share = steady + length * math.log(fraction / 0.2) + better * math.log(loss / 2.5)
        share += sign * gap + draw.normal(0, noise)
        found.append(Seen(Before(loss, fraction, loss * (1 - gap)), loss * (1 - share)))
    return found


@pytest.mark.parametrize("known", [0, 1, 2, 4, 16])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_on_made_up_labs_the_interval_holds_at_least_as_often_as_it_says(
    known: int, level: float
) -> None:
    draw, hits, labs = np.random.default_rng(known), 0, 400
    for _ in range(labs):
        *seen, target = cooldowns(known + 1, draw)
        told = Forecaster("average", seen).foretell(target.before, level)
        hits += told.low <= target.ended <= told.high
    allowed = 3 * math.sqrt(level * (1 - level) / labs)  # of chance
    assert hits / labs >= level - allowed
    assert known < 16 or hits / labs <= level + 0.08 + allowed  # and is not wide for nothing


@pytest.mark.parametrize(("noise", "least"), [(0.01, 0.85), (0.03, 0.8)])
def test_in_a_lab_noisier_than_was_believed_it_falls_short_by_little(
    noise: float, least: float
) -> None:
    """Of the 90% asked, from a dozen cooldowns: the belief in less noise is not outweighed at once."""
    draw, hits = np.random.default_rng(9), 0
    for _ in range(400):
        *seen, target = cooldowns(13, draw, noise=noise)
        told = Forecaster("average", seen).foretell(target.before)
        hits += told.low <= target.ended <= told.high
    assert hits / 400 >= least


def test_what_was_seen_makes_the_interval_narrower_and_the_error_small() -> None:
    *seen, target = cooldowns(33, np.random.default_rng(3), noise=0.001)
    none, many = forecast(target.before), forecast(target.before, seen)
    assert many.high - many.low < 0.25 * (none.high - none.low)
    assert abs(many.loss - target.ended) < 0.01
    assert many.method == "average"
    assert (none.learned_from, none.left_out_error) == (0, None)
    assert many.left_out_error == pytest.approx(0.001, rel=0.5)


def test_the_error_with_each_left_out_is_nearly_that_of_leaving_each_out() -> None:
    """With one loss for all, so that its mean stays; the noise alone is still that of all together."""
    drawn = cooldowns(7, np.random.default_rng(1))
    seen = [
        Seen(Before(3.0, s.before.fraction, 3.0 * (s.before.averaged or 0) / s.before.loss), 3.0 * s.ended / s.before.loss)
        for s in drawn
    ]  # fmt: skip
    errors = []
    for index, one in enumerate(seen):
        told = Forecaster("average", [*seen[:index], *seen[index + 1 :]]).foretell(one.before)
        errors.append((told.loss - one.ended) / one.before.loss)
    found = Forecaster("average", seen)
    assert found.left_out == pytest.approx(errors, abs=0.0015)
    assert found.left_out_error == pytest.approx(math.sqrt(np.mean(np.square(errors))), rel=0.1)


@settings(deadline=None)
@given(
    loss=st.floats(0.1, 20), fraction=st.floats(0.01, 1), gap=st.floats(-0.3, 0.3),
    level=st.floats(0.05, 0.99), known=st.integers(0, 5), scale=st.floats(0.1, 10),
)  # fmt: skip
def test_a_forecast_lies_in_its_interval_and_knows_no_unit(
    loss: float, fraction: float, gap: float, level: float, known: int, scale: float
) -> None:
    seen = cooldowns(known, np.random.default_rng(known))
    before = Before(loss, fraction, averaged=loss * (1 - gap))
    told = forecast(before, seen, level)
    assert told.low < told.loss < told.high
    other = [
        Seen(Before(s.before.loss * scale, s.before.fraction, (s.before.averaged or 0) * scale), s.ended * scale)
        for s in seen
    ]  # fmt: skip
    scaled = forecast(
        Before(loss * scale, fraction, averaged=loss * scale * (1 - gap)), other, level
    )
    assert scaled.loss == pytest.approx(told.loss * scale)
    assert scaled.low == pytest.approx(told.low * scale, abs=1e-9)


def test_a_method_needs_what_it_goes_by() -> None:
    before = Before(3.0, 0.2)
    assert forecast(before).method == "trunk"
    for method in ("average", "law"):
        with pytest.raises(BadInput, match=f"no forecast at level=0.9 by {method}"):
            Forecaster(method).foretell(before)
    with pytest.raises(BadInput, match="no forecast at level=1"):
        forecast(before, level=1)


def test_of_the_methods_that_one_is_taken_that_erred_least() -> None:
    draw = np.random.default_rng(5)
    seen = cooldowns(12, draw)
    assert best(seen, seen[0].before).method == "average"
    # a lab whose windows tell nothing, and whose drops are all alike
    flat = [
        Seen(Before(3.0, 0.2, averaged=3.0 * (1 - draw.uniform(0.001, 0.06))), 3.0 * (1 - 0.05 + draw.normal(0, 1e-3)))
        for _ in range(12)
    ]  # fmt: skip
    assert best(flat, flat[0].before).method == "trunk"
    assert best([], Before(3.0, 0.2, averaged=2.9, law_share=0.04)).method == "law"


def test_any_law_of_the_loss_under_a_schedule_can_be_plugged_in() -> None:
    rates = np.concatenate([np.full(800, 1e-3), np.linspace(1e-3, 0, 200)])

    def law(rates: Floats) -> Floats:
        annealed: Floats = rates[0] - rates
        return 2 + 3 / (1 + np.cumsum(rates)) ** 0.5 - 100 * annealed

    share = law_share(law, rates, leaves=800)
    losses = law(rates)
    assert share == 1 - losses[-1] / losses[799]
    told = forecast(Before(3.0, 0.2, law_share=share))
    assert told.method == "law"
    assert told.loss == pytest.approx(3.0 * (1 - share))
    with pytest.raises(BadInput, match="leaves at step 1000 of 1000"):
        law_share(law, rates, leaves=1000)


@pytest.mark.parametrize("bad", [(math.nan, 0.2), (-1.0, 0.2), (3.0, 0.0), (3.0, 1.5)])
def test_what_no_cooldown_can_be_is_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(BadInput, match="a cooldown over fraction="):
        Before(*bad)
    with pytest.raises(BadInput, match="ended at a loss of nan"):
        Seen(Before(3.0, 0.2), math.nan)


def test_a_thousand_cooldowns_are_learned_from_and_a_thousand_foretold() -> None:
    seen = cooldowns(1000, np.random.default_rng(0))
    learned = best(seen, seen[0].before)
    told = [learned.foretell(one.before) for one in seen]
    hits = sum(t.low <= one.ended <= t.high for t, one in zip(told, seen, strict=True))
    assert hits / 1000 == pytest.approx(0.9, abs=0.03)


# published curves


def read(size: str, name: str) -> tuple[Floats, Floats, Floats]:
    with (CURVES / size / f"{name}.csv").open() as file:
        rows = [[float(row[key]) for key in ("step", "lr", "loss")] for row in csv.DictReader(file)]
    steps, rates, losses = np.array(rows).T
    return steps, rates, losses


def published(size: str, name: str) -> Seen:
    """Return a cooldown of the multi-power law's authors, off their constant run."""
    steps, losses = (read(size, "constant_24000")[i] for i in (0, 2))
    ends, rates, cooled = read(size, name)
    at = int(ends[int(np.argmax(rates < rates.max() * (1 - 1e-6))) - 1])
    until = int(ends[-1])
    inside = (steps > at / 2) & (steps <= at)
    line = np.polyfit(np.log(steps[inside] / at), losses[inside], 1)
    return Seen(Before(float(line[1]), 1 - at / until), float(cooled[-1]))


needs_curves = pytest.mark.skipif(not CURVES.is_dir(), reason="the shared data is not here")
NAMES = ("wsd_20000_24000", "wsdld_20000_24000")


@pytest.mark.shared
@needs_curves
@pytest.mark.parametrize("size", ["csv_25", "csv_100"])
@pytest.mark.parametrize("name", NAMES)
def test_published_cooldowns_lie_within_the_interval_before_and_after_learning(
    size: str, name: str
) -> None:
    target = published(size, name)
    unseen = forecast(target.before)
    assert unseen.low <= target.ended <= unseen.high
    assert (unseen.high - unseen.low) / unseen.loss < 0.25
    other = "csv_100" if size == "csv_25" else "csv_25"
    taught = forecast(target.before, [published(other, each) for each in NAMES])
    assert taught.low <= target.ended <= taught.high
    assert abs(taught.loss - target.ended) < abs(unseen.loss - target.ended) + 0.005
    assert taught.high - taught.low < unseen.high - unseen.low
