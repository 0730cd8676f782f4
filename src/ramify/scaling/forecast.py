"""What a cooldown will reach, told from its trunk alone, with an interval; numpy, torch-free.

With L the trunk's loss where the cooldown leaves it, and L' what it ends at,

    1 - L'/L  =  trend + κ(f)·sign + noise          κ(f) = κ₀ + κ₁·ln(f / 0.2)

trend is what the constant rate itself would still gain by the end; f the fraction that descends;
sign is one of three, each a method of its own:

law       the share that a law of the loss under any schedule says is gained (κ near 1)
average   how far the mean of the trunk's last windows of weights lies below the trunk: Hägele et
          al., section 4.1, found it between the trunk and the cooled model
trunk     nothing but the trunk: a share of its loss

κ and the noise are learned from cooldowns that were run, by Bayesian linear regression (normal and
inverse gamma): with none it says what PRIORS say, widely; with more it believes what it sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ramify.ground.errors import BadInput

Floats = NDArray[np.float64]
Method = Literal["law", "average", "trunk"]
USUAL_FRACTION = 0.2
LEAST_STEPS = 8  # of a journal, to tell a trend from the noise of batches


Law = Callable[[Floats], Floats]
"""The loss under any schedule, given the rate of each step: `fit_curves(...).predict` is one."""


@dataclass(frozen=True)
class Prior:
    """What is believed of κ₀ and κ₁ before any cooldown was seen: means and standard deviations."""

    mean: tuple[float, float]
    deviation: tuple[float, float]


NOISE = 0.006  # of 1 - L'/L: what is believed of the noise beforehand, with NOISE_WEIGHT
NOISE_WEIGHT = 1.5  # half the number of cooldowns that this belief is worth
PRIORS: Mapping[Method, Prior] = MappingProxyType(
    {
        # wide on purpose: seen were 1.8% and 2.5% of a 25M and a 100M model of the multi-power law's
        # authors, and 4 to 9% of models below 1M parameters at high rates
        "trunk": Prior((0.04, 0.01), (0.03, 0.015)),
        "average": Prior((1.3, 0.3), (0.7, 0.4)),
        "law": Prior((1.0, 0.0), (0.25, 0.1)),
    }
)


@dataclass(frozen=True)
class Before:
    """What is known of a cooldown before it is run; losses in any one unit."""

    loss: float  # the trunk's, where the cooldown leaves
    fraction: float  # of its tokens that descend
    trend: float = 0.0  # the share of the loss that the constant rate would still gain by its end
    averaged: float | None = None  # the loss of the mean of the trunk's last windows there
    law_share: float | None = None  # the share that a law says is gained

    def __post_init__(self) -> None:
        if not (math.isfinite(self.loss) and self.loss > 0 and 0 < self.fraction <= 1):
            raise BadInput(
                f"a cooldown over fraction={self.fraction} from a loss of {self.loss}",
                hint="give a finite loss above 0, and a fraction above 0 and up to 1",
            )

    def sign(self, method: Method) -> float | None:
        """Return the sign that a method goes by, None where it has none."""
        match method:
            case "trunk":
                return 1.0
            case "average":
                gap = None if self.averaged is None else 1 - self.averaged / self.loss
                return (
                    gap if gap is not None and gap > 0 else None
                )  # an average that is no better tells nothing
            case "law":
                return self.law_share

    def beyond(self, method: Method) -> float:
        """Return the share that is gained anyway, which κ does not multiply."""
        return 0.0 if method == "law" else self.trend


@dataclass(frozen=True)
class Seen:
    """A cooldown that was run: what was known before, and the loss that it ended at."""

    before: Before
    ended: float


@dataclass(frozen=True)
class Foretold:
    """A forecast of the loss at a cooldown's end: with probability `level` between low and high."""

    loss: float
    low: float
    high: float
    level: float
    method: Method
    learned_from: int  # cooldowns that were run
    left_out_error: float | None  # root mean square share of the loss, each left out in turn


class Forecaster:
    """One method, having learned from some cooldowns; those without its sign are left aside."""

    def __init__(self, method: Method, seen: Sequence[Seen] = ()) -> None:
        self.method = method
        prior = PRIORS[method]
        used = [(s, sign) for s in seen if (sign := s.before.sign(method)) is not None]
        self.count = len(used)
        x = np.array([_features(s.before.fraction, sign) for s, sign in used]).reshape(-1, 2)
        gained = [1 - s.ended / s.before.loss - s.before.beyond(method) for s, _ in used]
        y = np.array(gained, dtype=np.float64)
        mean = np.array(prior.mean)
        before = np.diag(
            (NOISE / np.array(prior.deviation)) ** 2
        )  # precision, in units of the noise
        precision = before + x.T @ x
        self.covariance = np.linalg.inv(precision)
        self.mean = self.covariance @ (before @ mean + x.T @ y)
        self.freedom = 2 * NOISE_WEIGHT + self.count
        squares = y @ y + mean @ before @ mean - self.mean @ precision @ self.mean
        self.noise = (2 * NOISE_WEIGHT * NOISE**2 + max(float(squares), 0.0)) / self.freedom
        # each left out in turn, in closed form: r / (1 - h), h the weight of its own point
        weight = np.einsum("ij,jk,ik->i", x, self.covariance, x)
        self.left_out = (y - x @ self.mean) / (1 - weight) if self.count else np.empty(0)

    @property
    def left_out_error(self) -> float | None:
        """The root mean square error over the cooldowns seen, each left out in turn."""
        return math.sqrt(float(np.mean(self.left_out**2))) if self.count > 1 else None

    def foretell(self, before: Before, level: float = 0.9) -> Foretold:
        """Return the forecast of one cooldown; BadInput if it has not the method's sign."""
        if not 0 < level < 1:
            raise BadInput(f"level={level} of an interval", hint="give a number like 0.9")
        sign = before.sign(self.method)
        if sign is None:
            raise BadInput(
                f"nothing to forecast by {self.method} from", hint="take the method 'trunk'"
            )
        x = np.array(_features(before.fraction, sign))
        gained = float(x @ self.mean) + before.beyond(self.method)
        spread = math.sqrt(self.noise * (1 + float(x @ self.covariance @ x)))
        half = float(stats.t.ppf(0.5 + level / 2, self.freedom)) * spread
        loss, low, high = (
            before.loss * (1 - share) for share in (gained, gained + half, gained - half)
        )
        return Foretold(loss, low, high, level, self.method, self.count, self.left_out_error)


def best(seen: Sequence[Seen], before: Before) -> Forecaster:
    """Return the method to forecast a cooldown by: of those with a sign, the one that errs least.

    That is told by leaving each cooldown out in turn, once three were seen; until then a law comes
    before an average, and that before the trunk alone.
    """
    able = [Forecaster(m, seen) for m in PRIORS if before.sign(m) is not None]
    tried = [f for f in able if f.count >= 3 and f.left_out_error is not None]
    if tried:
        return min(tried, key=lambda f: f.left_out_error or math.inf)
    order: tuple[Method, ...] = ("law", "average", "trunk")
    return min(able, key=lambda f: order.index(f.method))


def forecast(before: Before, seen: Sequence[Seen] = (), level: float = 0.9) -> Foretold:
    """Return what a cooldown will reach, by the method that errs least on those seen."""
    return best(seen, before).foretell(before, level)


def trend(tokens: Floats, losses: Floats, *, at: int, until: int) -> float:
    """Return the share of its loss that a constant rate gains from `at` to `until` tokens, 0 or more.

    The loss over the second half of the way to `at` is taken for a straight line in the logarithm
    of tokens, which is drawn on; 0 where there are fewer than 8 steps or no slope can be told.
    """
    inside = (tokens > at / 2) & (tokens <= at) & np.isfinite(losses)
    if inside.sum() < LEAST_STEPS or until <= at:
        return 0.0
    x, y = np.log(tokens[inside] / at), losses[inside]
    line = stats.linregress(x, y)
    slope, here = float(line.slope), float(line.intercept)  # at x = 0, which is `at`
    if slope >= -float(line.stderr):
        return 0.0
    return -slope * math.log(until / at) / here


def law_share(law: Law, rates: Floats, *, leaves: int) -> float:
    """Return the share of the loss that a law says is gained from step `leaves` to the last of `rates`."""
    if not 0 < leaves < len(rates):
        raise BadInput(
            f"a cooldown leaves at step {leaves} of {len(rates)}",
            hint="give the rates of all its steps, those of the trunk before it too",
        )
    losses = np.asarray(law(rates), dtype=np.float64)
    return float(1 - losses[-1] / losses[leaves - 1])


def _features(fraction: float, sign: float) -> tuple[float, float]:
    return sign, sign * math.log(fraction / USUAL_FRACTION)
