"""Fits the parametric law by Huber loss on log L from a grid of starts, with bootstrap intervals.

points ──▶ 48 starts ──▶ L-BFGS each ──▶ the best law
       ──▶ 1,000 resamples ──▶ L-BFGS from that law ──▶ intervals of constants and optimum
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ramify.ground.errors import BadInput
from ramify.scaling.blas import one_thread
from ramify.scaling.law import NAMES, Floats, Law
from ramify.scaling.points import Points

HUBER = 1e-3  # in log L: Hoffmann et al. 2022, section 3.3, and Besiroglu et al. 2024
SCALE = 1e3  # the sum of 1e-3-Huber losses is tiny beside the optimizer's stopping tolerances
LEVEL = 0.95
EXPONENTS = (0.1, 0.3, 0.5, 0.9)
FLOORS = (0.3, 0.6, 0.9)  # of the least loss
# of log A, log B, log E, α and β; an exponent of 3 is a cliff, which no one has measured
LOWEST, HIGHEST = [-np.inf, -np.inf, -np.inf, 1e-4, 1e-4], [np.inf, np.inf, np.inf, 3.0, 3.0]
TINY = 1e-300  # in the place of a constant that is nothing, so that it has a logarithm
LEAST_SIZES, LEAST_BUDGETS, LEAST_POINTS = 3, 3, 7
LEAST_SPREAD = 1e-3  # of log D that log N does not tell, in nats: below it the two terms are one


@dataclass(frozen=True)
class Bootstrap:
    """Laws of resampled points: one row a draw, columns as NAMES."""

    draws: Floats

    def laws(self) -> Iterator[Law]:
        """Yield the law of each draw."""
        for draw in self.draws:
            yield Law(*map(float, draw))

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95% percentile interval of each constant."""
        low, high = interval(self.draws)
        return {n: (float(a), float(b)) for n, a, b in zip(NAMES, low, high, strict=True)}

    def optimum(self, flops: float, each: float = 6.0) -> dict[str, tuple[float, float]]:
        """Return the intervals of the optimum for a budget, and of the exponent of N_opt."""
        found = []
        for law in self.laws():
            with suppress(BadInput):  # a resample may have lost a term, and its optimum with it
                best = law.optimum(flops, each).json()
                found.append({**best, "parameters_exponent": law.parameters_exponent})
        if not found:
            return {}
        names = [name for name in found[0] if name != "flops"]
        low, high = interval(np.array([[one[name] for name in names] for one in found]))
        return {n: (float(a), float(b)) for n, a, b in zip(names, low, high, strict=True)}


@dataclass(frozen=True)
class Fit:
    """A fitted law, the points it was fitted to, and its bootstrap where one was asked for."""

    law: Law
    points: Points
    objective: float  # the mean Huber loss of a point
    bootstrap: Bootstrap | None = None

    @property
    def residuals(self) -> Floats:
        """Log of predicted over measured loss, one a point."""
        p = self.points
        residuals: Floats = np.log(self.law.loss(p.parameters, p.tokens)) - np.log(p.loss)
        return residuals


def interval(draws: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the central 95% of draws, column by column."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(draws, [tail, 100 - tail], axis=0)
    return low, high


def fit(
    points: Points,
    *,
    draws: int = 0,
    seed: int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> Fit:
    """Fit the law to points, and to `draws` resamples of them; `tell(done, of)` hears how far it is.

    Minimises Σ Huber(log L̂ - log L) with δ = 1e-3, log L̂ by log-sum-exp, as Hoffmann et al. 2022,
    section 3.3. Raises BadInput where there are too few points, sizes or budgets to tell the terms.
    """
    refuse_too_few(points)
    problem = _Problem.of(points)
    starts = list(problem.starts())
    best, value = problem.solve(starts, np.ones(len(points)))
    law = problem.law(best)
    found = bootstrap(points, best, draws=draws, seed=seed, tell=tell) if draws else None
    return Fit(law, points, value / len(points), found)


def refit(points: Points, near: Law) -> Law:
    """Fit points from one start, a law that is known to be near: for points left out one by one."""
    problem = _Problem.of(points)
    best, _ = problem.solve([problem.start(near)], np.ones(len(points)))
    return problem.law(best)


def bootstrap(
    points: Points,
    best: Floats,
    *,
    draws: int,
    seed: int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> Bootstrap:
    """Fit `draws` resamples of points, each from the best fit of all and one start beside it.

    A resample is the counts of a multinomial: points keep their places, only weights change.
    """
    weights = resamples(len(points), draws, seed)
    return Bootstrap(np.array(list(refits(points, best, weights, seed=seed, tell=tell))))


def resamples(count: int, draws: int, seed: int) -> Floats:
    """Return how often each of `count` points is drawn, one row a resample."""
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    return drawn.astype(float)


def refits(
    points: Points,
    best: Floats,
    weights: Floats,
    *,
    seed: int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> Iterator[Floats]:
    """Yield the constants of each weighting of points, from the best fit and one start beside it."""
    problem = _Problem.of(points)
    beside = np.random.default_rng(seed + 1)
    for done, row in enumerate(weights):
        other = best + 0.1 * np.maximum(np.abs(best), 0.1) * beside.standard_normal(best.size)
        found, _ = problem.solve([best, other], row)
        yield np.array([*problem.law(found).constants.values()])
        if tell is not None:
            tell(done + 1, len(weights))


def start_of(points: Points, law: Law) -> Floats:
    """Return a law as the start that `refits` takes."""
    return _Problem.of(points).start(law)


def refuse_too_few(points: Points) -> None:
    """Raise BadInput where points cannot tell E, A, B, α and β apart, with what to add."""
    sizes, budgets = points.sizes, points.token_counts
    if sizes < LEAST_SIZES:
        raise BadInput(
            f"{counted(sizes, 'size')} of model cannot tell E from A/N^α",
            hint=f"add points of {counted(LEAST_SIZES - sizes, 'more size')}, best 3 times apart or more"
            + ("; for one size type: --law tokens" if sizes == 1 else ""),
        )
    if budgets < LEAST_BUDGETS:
        raise BadInput(
            f"{counted(budgets, 'budget')} of tokens cannot tell E from B/D^β",
            hint=f"add points of {counted(LEAST_BUDGETS - budgets, 'more budget')}, best 2 times apart or more",
        )
    if len(points) < LEAST_POINTS:
        raise BadInput(
            f"{counted(len(points), 'point')} cannot carry 5 constants",
            hint=f"add {counted(LEAST_POINTS - len(points), 'more point')}",
        )
    x, y = np.log(points.parameters), np.log(points.tokens)
    slope, cut = np.polyfit(x, y, 1)
    if np.abs(y - slope * x - cut).max() < LEAST_SPREAD:
        raise BadInput(
            "tokens follow from parameters in every point, so A/N^α and B/D^β cannot be told apart",
            hint="add, for each size, a budget of other tokens per parameter",
        )


def counted(count: int, what: str) -> str:
    """Return a count in words: `1 more size`, `2 more sizes`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@dataclass(frozen=True)
class _Problem:
    """Points as centred logs, so that intercepts and slopes hardly depend on each other."""

    x: Floats  # log N - its mean
    y: Floats  # log D - its mean
    log_loss: Floats
    x_mean: float
    y_mean: float

    @classmethod
    def of(cls, points: Points) -> _Problem:
        x, y = np.log(points.parameters), np.log(points.tokens)
        x_mean, y_mean = float(x.mean()), float(y.mean())
        return cls(x - x_mean, y - y_mean, np.log(points.loss), x_mean, y_mean)

    def starts(self) -> Iterator[Floats]:
        """Yield starts at which both terms matter: what is above the floor is theirs in equal parts."""
        typical, least = float(np.exp(self.log_loss.mean())), float(np.exp(self.log_loss.min()))
        for alpha, beta, share in itertools.product(EXPONENTS, EXPONENTS, FLOORS):
            floor = share * least
            above = math.log((typical - floor) / 2)
            yield np.array([above, above, math.log(floor), alpha, beta])

    def start(self, law: Law) -> Floats:
        size, data, floor = (math.log(max(x, TINY)) for x in (law.A, law.B, law.E))
        a, b = size - law.alpha * self.x_mean, data - law.beta * self.y_mean
        return np.array([a, b, floor, law.alpha, law.beta])

    def law(self, p: Floats) -> Law:
        a, b, e, alpha, beta = map(float, p)
        with np.errstate(over="ignore"):
            size, data = np.exp([a + alpha * self.x_mean, b + beta * self.y_mean])
        return Law(E=math.exp(e), A=float(size), B=float(data), alpha=alpha, beta=beta)

    def solve(self, starts: Iterable[Floats], weights: Floats) -> tuple[Floats, float]:
        """Return the best end of L-BFGS from any start, and Σ w·Huber there."""
        ends = (
            minimize(
                self.value,
                np.clip(start, LOWEST, HIGHEST),
                args=(weights,),
                jac=True,
                method="L-BFGS-B",
                bounds=list(zip(LOWEST, HIGHEST, strict=True)),
                options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-14, "gtol": 1e-9},
            )
            for start in starts
        )
        with one_thread():  # as the starts are tried
            best = min(ends, key=lambda end: float(end.fun))
        return np.asarray(best.x, float), float(best.fun) / SCALE

    def value(self, p: Floats, weights: Floats) -> tuple[float, Floats]:
        """Return SCALE · Σ w·Huber(r) and its gradient, r = logsumexp(terms) - log L."""
        a, b, e, alpha, beta = p
        size, data = a - alpha * self.x, b - beta * self.y
        top = np.maximum(np.maximum(size, data), e)
        parts = np.stack([np.exp(size - top), np.exp(data - top), np.exp(e - top)])
        whole = parts.sum(0)
        r = top + np.log(whole) - self.log_loss
        clipped = np.clip(r, -HUBER, HUBER)
        huber = clipped * (r - 0.5 * clipped)
        slope = SCALE * weights * clipped * (parts / whole)
        gradient = np.array(
            [slope[0].sum(), slope[1].sum(), slope[2].sum(), -slope[0] @ self.x, -slope[1] @ self.y]
        )
        return SCALE * float(weights @ huber), gradient
