"""IsoFLOP parabolas: per budget of FLOPs the loss over log N, its minimum, and N_opt ∝ C^a.

points ──▶ budgets ──▶ a parabola each, near its lowest point ──▶ N_opt(C) = G·C^a, D_opt = C/6N_opt
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from ramify.ground.errors import BadInput
from ramify.scaling.fit import interval
from ramify.scaling.law import Floats
from ramify.scaling.points import Points

SAME_BUDGET = 0.1  # of log C: budgets nearer than that are one
NEAR = math.log(3)  # of log N from the lowest point: further off, curves are no parabolas
LEAST_NEAR = 5  # points that a parabola takes, where there are so many
LEAST_POINTS, LEAST_BUDGETS = 3, 2
GRID = 4001  # of the interpolated curve


@dataclass(frozen=True)
class Parabola:
    """log L = curvature·(log N - log N_opt)² + log L_opt at one budget, near its lowest point."""

    flops: float
    parameters: float  # N_opt
    tokens: float  # D_opt: C/6N as the points near the optimum have it
    loss: float
    curvature: float
    interpolated: float  # the N at which an Akima spline through the points is lowest
    points: int  # that it was fitted to
    from_parameters: float  # the smallest size of its points, and
    to_parameters: float  # the largest

    def at(self, parameters: Floats) -> Floats:
        """Return its loss at sizes."""
        away = np.log(parameters / self.parameters)
        loss: Floats = self.loss * np.exp(self.curvature * away**2)
        return loss


@dataclass(frozen=True)
class IsoFlop:
    """The optima of budgets and the power law through them; intervals where draws were asked for."""

    parabolas: tuple[Parabola, ...]
    exponent: float  # a of N_opt = factor·C^a
    factor: float
    intervals: dict[str, tuple[float, float]]
    optima: tuple[tuple[float, float], ...] = ()  # the interval of each parabola's N_opt
    notes: tuple[str, ...] = ()

    def parameters(self, flops: float) -> float:
        """Return N_opt for a budget of FLOPs."""
        return float(self.factor * flops**self.exponent)


@dataclass(frozen=True)
class _Budget:
    flops: float
    x: Floats  # log N, rising
    y: Floats  # log loss
    per_flop: float  # D·N / C near the optimum: 1/6 unless FLOPs were counted otherwise


def fit_isoflop(points: Points, *, draws: int = 0, seed: int = 0) -> IsoFlop:
    """Fit a parabola to each budget that has a minimum inside, and a power law through the minima.

    Approach 2 of Hoffmann et al. 2022, section 3.2. Intervals come from `draws` of a residual
    bootstrap: residuals of all parabolas, widened for the 3 constants each, drawn anew.
    Raises BadInput where fewer than 2 budgets have a minimum, with what to add.
    """
    budgets = [one for one in budgets_of(points) if len(one.x) >= LEAST_POINTS]
    found = [(one, _parabola(one)) for one in budgets]
    good = [(one, parabola) for one, parabola in found if parabola is not None]
    notes = tuple(
        f"the budget of {one.flops:.3g} FLOPs has no minimum inside its sizes: "
        f"add a {'larger' if one.y.argmin() == len(one.y) - 1 else 'smaller'} model"
        for one, parabola in found
        if parabola is None
    )
    if len(good) < LEAST_BUDGETS:
        raise BadInput(
            f"{len(good)} of the {len(budgets)} budgets of FLOPs with {LEAST_POINTS} sizes or more "
            "have a minimum inside",
            hint=f"add budgets until there are {LEAST_BUDGETS}, each with sizes on both sides of "
            "its best, or type: --law chinchilla",
        )
    kept, parabolas = zip(*good, strict=True)
    factor, exponent = _power([p.flops for p in parabolas], [p.parameters for p in parabolas])
    intervals, optima = _bootstrap(kept, parabolas, draws, seed) if draws else ({}, ())
    return IsoFlop(parabolas, exponent, factor, intervals, optima, notes)


def budgets_of(points: Points) -> list[_Budget]:
    """Return points by budget of FLOPs, those within a tenth being one; the best of equal sizes."""
    groups: list[list[int]] = []
    for i in np.argsort(points.flops):
        if not groups or math.log(points.flops[i] / points.flops[groups[-1][0]]) > SAME_BUDGET:
            groups.append([])
        groups[-1].append(int(i))
    return [_budget(points.take(np.array(group))) for group in groups]


def _budget(points: Points) -> _Budget:
    sizes, which = np.unique(points.parameters, return_inverse=True)
    best = np.array([points.loss[which == i].min() for i in range(len(sizes))])
    product = np.median(points.parameters * points.tokens / points.flops)
    flops = float(np.exp(np.log(points.flops).mean()))
    return _Budget(flops, np.log(sizes), np.log(best), float(product))


def _near(budget: _Budget) -> Floats:
    """Return the indices of the points near the lowest: those within NEAR, or the nearest few."""
    away = np.abs(budget.x - budget.x[budget.y.argmin()])
    order = np.argsort(away, kind="stable")
    return np.sort(order[: max(LEAST_NEAR, int((away < NEAR).sum()))])


def _parabola(budget: _Budget) -> Parabola | None:
    near = _near(budget).astype(int)
    fitted = _minimum(budget.x[near], budget.y[near])
    if fitted is None:
        return None
    curvature, log_n, log_loss = fitted
    if not budget.x[0] <= log_n <= budget.x[-1]:
        return None
    n = math.exp(log_n)
    return Parabola(
        flops=budget.flops,
        parameters=n,
        tokens=budget.per_flop * budget.flops / n,
        loss=math.exp(log_loss),
        curvature=curvature,
        interpolated=_interpolated(budget),
        points=len(near),
        from_parameters=math.exp(budget.x[near[0]]),
        to_parameters=math.exp(budget.x[near[-1]]),
    )


def _minimum(x: Floats, y: Floats) -> tuple[float, float, float] | None:
    """Return (curvature, place, height) of the least-squares parabola, None if it has no minimum."""
    middle = x.mean()
    c2, c1, c0 = np.polyfit(x - middle, y, 2)
    if not c2 > 0:
        return None
    place = -c1 / (2 * c2)
    return float(c2), float(place + middle), float(c0 - c2 * place**2)


def _interpolated(budget: _Budget) -> float:
    # Porian et al. 2024 take the minimum of such a spline for the optimum
    grid = np.linspace(budget.x[0], budget.x[-1], GRID)
    return float(np.exp(grid[np.argmin(Akima1DInterpolator(budget.x, budget.y)(grid))]))


def _power(flops: Sequence[float] | Floats, sizes: Sequence[float] | Floats) -> tuple[float, float]:
    """Return (factor, exponent) of the straight line through logs."""
    exponent, cut = np.polyfit(np.log(flops), np.log(sizes), 1)
    return float(np.exp(cut)), float(exponent)


def _bootstrap(
    budgets: Sequence[_Budget], parabolas: Sequence[Parabola], draws: int, seed: int
) -> tuple[dict[str, tuple[float, float]], tuple[tuple[float, float], ...]]:
    near = [_near(one).astype(int) for one in budgets]
    xs = [one.x[at] for one, at in zip(budgets, near, strict=True)]
    fits = [np.log(p.at(np.exp(x))) for p, x in zip(parabolas, xs, strict=True)]
    left = [one.y[at] - fit for one, at, fit in zip(budgets, near, fits, strict=True)]
    pool = np.concatenate(left)
    free = len(pool) - 3 * len(left)
    if free <= 0:
        return {}, ()
    pool = (pool - pool.mean()) * math.sqrt(len(pool) / free)
    random = np.random.default_rng(seed)
    optima = np.full((draws, len(xs)), np.nan)
    for draw in optima:
        for i, (x, fit) in enumerate(zip(xs, fits, strict=True)):
            again = _minimum(x, fit + random.choice(pool, len(x)))
            if again is not None and x[0] <= again[1] <= x[-1]:
                draw[i] = again[1]
    return _intervals([p.flops for p in parabolas], optima)


def _intervals(
    flops: Sequence[float], optima: Floats
) -> tuple[dict[str, tuple[float, float]], tuple[tuple[float, float], ...]]:
    whole = optima[np.isfinite(optima).sum(1) >= LEAST_BUDGETS]
    powers = []
    for draw in whole:
        at = np.isfinite(draw)
        powers.append(_power(np.array(flops)[at], np.exp(draw[at])))
    ends = np.exp(np.nanpercentile(optima, [2.5, 97.5], axis=0)).T
    low, high = interval(np.array(powers))
    names = ("factor", "exponent")
    told = {n: (float(a), float(b)) for n, a, b in zip(names, low, high, strict=True)}
    return told, tuple((float(a), float(b)) for a, b in ends)
