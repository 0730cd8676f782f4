"""The lowest points of isoFLOP parabolas are those of the law that made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ramify.ground.errors import BadInput
from ramify.scaling.isoflop import budgets_of, fit_isoflop
from ramify.scaling.law import Law
from ramify.scaling.points import Points, checked
from ramify.scaling.table import Columns, points_of, read_rows

LAW = Law(E=1.8, A=480.0, B=2100.0, alpha=0.36, beta=0.36)
BUDGETS = (1e19, 1e20, 1e21)
DATA = Path(__file__).parents[3] / "shared/data/scaling"


def sweep(noise: float = 0.0, factors: tuple[float, ...] = (0.25, 0.5, 0.8, 1.25, 2, 4)) -> Points:
    best = np.array([LAW.optimum(c).parameters for c in BUDGETS])
    n = np.outer(best, factors).ravel()
    c = np.repeat(BUDGETS, len(factors))
    d = c / 6 / n
    drawn = np.random.default_rng(0).normal(0, noise, len(n))
    return checked(n, d, LAW.loss(n, d) * np.exp(drawn), flops=c)


def test_the_lowest_point_of_a_parabola_is_the_analytic_optimum() -> None:
    found = fit_isoflop(sweep())
    for parabola, flops in zip(found.parabolas, BUDGETS, strict=True):
        best = LAW.optimum(flops)
        assert parabola.flops == pytest.approx(flops)
        assert parabola.parameters == pytest.approx(best.parameters, rel=0.02)
        assert parabola.interpolated == pytest.approx(best.parameters, rel=0.05)
        assert parabola.loss == pytest.approx(best.loss, rel=0.002)
        assert parabola.tokens * parabola.parameters * 6 == pytest.approx(flops)
    assert found.exponent == pytest.approx(LAW.parameters_exponent, abs=0.01)
    assert found.parameters(1e20) == pytest.approx(LAW.optimum(1e20).parameters, rel=0.02)


def test_intervals_hold_the_exponent_and_grow_with_noise() -> None:
    quiet, loud = (fit_isoflop(sweep(noise), draws=100) for noise in (0.0005, 0.005))
    widths = []
    for found in (quiet, loud):
        low, high = found.intervals["exponent"]
        assert low <= found.exponent <= high
        widths.append(high - low)
        for (below, above), one in zip(found.optima, found.parabolas, strict=True):
            assert below <= one.parameters <= above
    assert widths[0] < widths[1]


def test_a_budget_whose_best_size_is_at_the_edge_is_left_out_with_what_to_add() -> None:
    points = sweep()
    best = LAW.optimum(1e22).parameters
    n = best * np.array([1.5, 2, 3, 5])
    edge = checked(n, 1e22 / 6 / n, LAW.loss(n, 1e22 / 6 / n))
    both = checked(
        [*points.parameters, *edge.parameters],
        [*points.tokens, *edge.tokens],
        [*points.loss, *edge.loss],
    )
    found = fit_isoflop(both)
    assert len(found.parabolas) == 3
    assert "1e+22 FLOPs has no minimum inside its sizes: add a smaller model" in found.notes[0]


def test_too_few_budgets_are_refused() -> None:
    points = sweep()
    with pytest.raises(BadInput, match=r"1 of the 1 budgets.*add budgets until there are 2"):
        fit_isoflop(points.take(points.flops < 2e19))


def test_budgets_nearer_than_a_tenth_are_one_and_equal_sizes_count_by_their_best() -> None:
    points = checked([1e7, 1e7, 2e7], [1e9, 1.02e9, 5e8], [3.0, 2.9, 3.1])
    (only,) = budgets_of(points)
    assert np.exp(only.y).tolist() == pytest.approx([2.9, 3.1])


@pytest.mark.shared
def test_the_published_optima_of_a_sweep_are_reached_within_their_intervals() -> None:
    if not DATA.is_dir():
        pytest.skip("the shared data is not beside this project")
    name = "formll_summary_df_kaplan_tuned_hparams"
    rows = read_rows(DATA / f"{name}__isoflop.csv.zst")
    found = fit_isoflop(points_of(rows, Columns("n_params", "loss", flops="flops")))
    published = {float(row["flops"]): row for row in read_rows(DATA / f"{name}__optima.csv")}
    assert len(found.parabolas) == len(published)
    for parabola in found.parabolas:
        row = published[round(parabola.flops, -12)]
        away = abs(np.log([parabola.parameters, parabola.interpolated]) - np.log(float(row["n"])))
        assert (away <= 1.96 * float(row["n_star_std"])).all()
