"""Two arms of points under one law: do their exponents agree, and what line do pairs lie on?

Points of equal size, tokens and seed are a pair: resamples draw both or neither, so that what
moves both arms alike does not widen the difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from ramify.ground.errors import BadInput
from ramify.scaling.fit import Bootstrap, Fit, fit, interval, refits, resamples, start_of
from ramify.scaling.law import NAMES, Floats, Ints
from ramify.scaling.points import Points

Key = tuple[float, float, int]  # size, tokens, seed
Verdict = Literal["agree", "differ", "cannot be told"]
WIDE = 0.25  # of an exponent: a difference known no better than that says nothing
LEAST_PAIRS = 5
MANY_PAIRS = 20  # below it resamples are too narrow, and Student's t is asked
LEVEL = 0.95


@dataclass(frozen=True)
class Line:
    """y = slope·x + intercept through pairs: y the first arm's loss, x the second's."""

    slope: float
    intercept: float
    slope_interval: tuple[float, float]
    intercept_interval: tuple[float, float]


@dataclass(frozen=True)
class Pairs:
    """Losses of two arms at the same size, tokens and seed, and the mean of first - second."""

    first: Floats
    second: Floats
    difference: float
    interval: tuple[float, float] | None  # None: of one pair
    line: Line | None  # None: fewer than 5 pairs, or all at one loss


@dataclass(frozen=True)
class Comparison:
    """What two arms of points say of one another."""

    arms: tuple[str, str]
    fits: tuple[Fit, Fit] | None  # None where an arm cannot carry a law
    differences: dict[str, tuple[float, float]]  # first - second of each constant, 95%
    verdict: Verdict
    why: str
    pairs: Pairs | None


def compare(
    first: Points, second: Points, *, arms: tuple[str, str], draws: int = 1000, seed: int = 0
) -> Comparison:
    """Fit both arms and say whether (α, β) agree within the joint 95% region of their difference.

    `cannot be told` where an arm is refused by `fit`, or a difference of exponents is known to
    no better than a quarter of the exponent. Raises BadInput for fewer than 100 draws.
    """
    if draws < 100:
        raise BadInput(f"{draws} draws tell no interval", hint="type: --bootstrap 1000")
    paired = pairs(first, second, draws=draws, seed=seed)
    try:
        fits = (fit(first), fit(second))
    except BadInput as error:
        return Comparison(arms, None, {}, "cannot be told", str(error), paired)
    weights = paired_resamples(first, second, draws, seed)
    found = [
        np.array(list(refits(one.points, start_of(one.points, one.law), w, seed=seed)))
        for one, w in zip(fits, weights, strict=True)
    ]
    verdict, why = _judged(fits, found[0] - found[1])
    low, high = interval(found[0] - found[1])
    differences = {n: (float(a), float(b)) for n, a, b in zip(NAMES, low, high, strict=True)}
    whole = [
        Fit(one.law, one.points, one.objective, Bootstrap(d))
        for one, d in zip(fits, found, strict=True)
    ]
    return Comparison(arms, (whole[0], whole[1]), differences, verdict, why, paired)


def _judged(fits: tuple[Fit, Fit], differences: Floats) -> tuple[Verdict, str]:
    laws = [one.law for one in fits]
    at = [NAMES.index("alpha"), NAMES.index("beta")]
    exponents = np.array([[law.alpha, law.beta] for law in laws])
    draws = differences[:, at]
    inside = _share_beyond(exponents[0] - exponents[1], draws)
    if inside < 1 - LEVEL:
        return "differ", f"no difference lies outside the joint 95% region (p = {inside:.3f})"
    low, high = interval(draws)
    wide = (high - low) / 2 > WIDE * np.abs(exponents).mean(0)
    if wide.any():
        names = " and ".join(n for n, w in zip(("α", "β"), wide, strict=True) if w)
        return "cannot be told", (
            f"the difference of {names} is known to no better than {WIDE:.0%} of the exponent: "
            "add sizes, budgets or seeds"
        )
    return "agree", f"no difference lies inside the joint 95% region (p = {inside:.2f})"


def _share_beyond(observed: Floats, draws: Floats) -> float:
    """Return the share of draws that lie as far from their centre as 0 lies from the observed."""
    spread = np.linalg.pinv(np.cov(draws, rowvar=False))
    away = draws - observed
    distances = np.einsum("ki,ij,kj->k", away, spread, away)
    return float((distances >= observed @ spread @ observed).mean())


def matched(first: Points, second: Points) -> tuple[list[int], list[int]]:
    """Return the indices of points of equal size, tokens and seed, in the same order.

    Where an arm has several of one key, nothing says which is whose: none of them is a pair.
    """
    ones, others = _alone(_keys(first)), _alone(_keys(second))
    both = [key for key in ones if key in others]
    return [ones[key] for key in both], [others[key] for key in both]


def _alone(keys: Sequence[Key]) -> dict[Key, int]:
    counts = Counter(keys)
    return {key: i for i, key in enumerate(keys) if counts[key] == 1}


def _keys(points: Points) -> list[Key]:
    seeds = points.seeds or (0,) * len(points)
    rounded = np.round(np.log([points.parameters, points.tokens]), 3).tolist()
    return list(zip(rounded[0], rounded[1], seeds, strict=True))


def paired_resamples(first: Points, second: Points, draws: int, seed: int) -> tuple[Floats, Floats]:
    """Return how often each point is drawn, one row a resample; pairs are drawn together."""
    mine, theirs = matched(first, second)
    weights = resamples(len(first), draws, seed), resamples(len(second), draws, seed + 1)
    if mine:
        together = resamples(len(mine), draws, seed + 2)
        for points, at, w in zip((first, second), (mine, theirs), weights, strict=True):
            rest = np.setdiff1d(np.arange(len(points)), at)
            w[:, at] = together
            w[:, rest] = resamples(len(rest), draws, seed + 3) if len(rest) else 0
    return weights


def pairs(first: Points, second: Points, *, draws: int = 1000, seed: int = 0) -> Pairs | None:
    """Return the pairs of two arms and the line through them, None where there is no pair."""
    mine, theirs = matched(first, second)
    if not mine:
        return None
    y, x = first.loss[mine], second.loss[theirs]
    picks = np.random.default_rng(seed).integers(0, len(y), (draws, len(y)))
    line = _line(x, y, picks) if len(y) >= LEAST_PAIRS and np.ptp(x) > 0 else None
    return Pairs(y, x, float((y - x).mean()), _mean_interval(y - x, picks), line)


def _mean_interval(values: Floats, picks: Ints) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    if len(values) < MANY_PAIRS:
        half = (
            stats.t.ppf(0.5 + LEVEL / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
        )
        return float(values.mean() - half), float(values.mean() + half)
    low, high = np.percentile(values[picks].mean(1), [2.5, 97.5])
    return float(low), float(high)


def _line(x: Floats, y: Floats, picks: Ints) -> Line:
    slope, intercept = np.polyfit(x, y, 1)
    good = picks[np.ptp(x[picks], axis=1) > 0]
    xs, ys = x[good], y[good]
    away = xs - xs.mean(1, keepdims=True)
    slopes = (away * ys).sum(1) / (away**2).sum(1)
    low, high = interval(np.stack([slopes, ys.mean(1) - slopes * xs.mean(1)], axis=1))
    return Line(
        float(slope),
        float(intercept),
        (float(low[0]), float(high[0])),
        (float(low[1]), float(high[1])),
    )
