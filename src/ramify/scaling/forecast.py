"""What a cooldown will reach, told from its trunk alone, with an interval; numpy, torch-free.

With L the trunk's loss where the cooldown leaves it, L' what it ends at and f the fraction of its
tokens that descends, the share of the loss that is gained is taken for

    1 - L'/L  =  κ₀ + κ₁·ln(f / 0.2) + κ₂·(ln L - c) + κ₃·sign + noise

c is the mean of ln L over the cooldowns seen, so that no unit matters: better networks were seen to
gain more. The sign is what sets the three methods apart:

trunk     none
average   1 - A/L, A being the loss of the mean of the trunk's last windows of weights: it rids the
          weights of what the rate keeps them moving by, as the cooldown does, and lies between
          trunk and cooled model (Hägele et al., section 4.1); early on it lags behind
law       the share that a law of the loss under any schedule says is gained

κ is learned from cooldowns that were run, by Bayesian linear regression whose noise is taken from
what is left over (empirical Bayes): with none it says what PRIORS say, widely; with more it believes
what it sees. The interval is a Student t's, so that few cooldowns make it wide.
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
ENOUGH = 4  # cooldowns seen, from which on the method is chosen by how far it errs

Law = Callable[[Floats], Floats]
"""The loss after each step of a schedule, given its rates: `fit_curves(...).predict` is one."""


@dataclass(frozen=True)
class Prior:
    """What is believed of κ₀ to κ₃ before any cooldown was seen."""

    means: tuple[float, float, float, float]
    deviations: tuple[float, float, float, float]  # a thousandth: as good as known


NOISE = 0.007  # of the share gained: what is believed of the noise beforehand
NOISE_WORTH = 2.5  # in cooldowns, what that belief is worth
PASSES = 4
# wide on purpose: 20% cooldowns were seen to gain 1.5 to 6.4% of models of 50K and 150K parameters,
# and 2.8 and 3.4% of the 25M and 100M ones of the multi-power law's authors
PRIORS: Mapping[Method, Prior] = MappingProxyType(
    {
        "law": Prior((0.0, 0.0, 0.0, 1.0), (0.01, 0.005, 0.04, 0.25)),
        "average": Prior((0.025, 0.01, -0.08, 0.7), (0.02, 0.01, 0.08, 0.5)),
        "trunk": Prior((0.035, 0.015, -0.08, 0.0), (0.02, 0.01, 0.08, 0.001)),
    }
)


@dataclass(frozen=True)
class Before:
    """What is known of a cooldown before it is run; losses in any one unit."""

    loss: float  # the trunk's, where the cooldown leaves
    fraction: float  # of its tokens that descend
    averaged: float | None = None  # the loss of the mean of the trunk's last windows there
    law_share: float | None = None  # the share that a law says is gained

    def __post_init__(self) -> None:
        losses = [self.loss, *([] if self.averaged is None else [self.averaged])]
        if not (all(0 < x < math.inf for x in losses) and 0 < self.fraction <= 1):
            raise BadInput(
                f"a cooldown over fraction={self.fraction} from losses of {losses}",
                hint="give finite losses above 0, and a fraction above 0 and up to 1",
            )

    def sign(self, method: Method) -> float | None:
        """Return the sign that a method goes by, None where it has none."""
        match method:
            case "trunk":
                return 0.0
            case "average":
                return None if self.averaged is None else 1 - self.averaged / self.loss
            case "law":
                return self.law_share


@dataclass(frozen=True)
class Seen:
    """A cooldown that was run: what was known before, and the loss that it ended at."""

    before: Before
    ended: float

    def __post_init__(self) -> None:
        if not 0 < self.ended < math.inf:
            raise BadInput(f"a cooldown that ended at a loss of {self.ended}", hint="leave it out")


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
        used = [(s, sign) for s in seen if (sign := s.before.sign(method)) is not None]
        self.count = len(used)
        self.centre = float(np.mean([math.log(s.before.loss) for s, _ in used])) if used else None
        x = np.array([self._features(s.before, sign) for s, sign in used]).reshape(-1, 4)
        y = np.array([1 - s.ended / s.before.loss for s, _ in used], dtype=np.float64)
        self._learn(x, y)

    def _learn(self, x: Floats, y: Floats) -> None:
        prior = PRIORS[self.method]
        believed, deviations = np.array(prior.means), np.array(prior.deviations)
        self.noise = NOISE**2
        for _ in range(
            PASSES
        ):  # how much is to be believed of few cooldowns depends on their noise
            before = np.diag(self.noise / deviations**2)
            self.covariance = np.linalg.inv(before + x.T @ x)
            self.mean = self.covariance @ (before @ believed + x.T @ y)
            # the weight of each cooldown in its own forecast; together, the constants they are spent on
            weight = np.einsum("ij,jk,ik->i", x, self.covariance, x)
            rest = y - x @ self.mean
            self.freedom = NOISE_WORTH + self.count - float(weight.sum())
            self.noise = (NOISE_WORTH * NOISE**2 + float(rest @ rest)) / self.freedom
        self.left_out: Floats = rest / (1 - weight)  # each left out in turn, given the noise of all

    @property
    def left_out_error(self) -> float | None:
        """The root mean square error over the cooldowns seen, each left out in turn."""
        return math.sqrt(float(np.mean(self.left_out**2))) if self.count > 1 else None

    def _features(self, before: Before, sign: float) -> tuple[float, float, float, float]:
        above = 0.0 if self.centre is None else math.log(before.loss) - self.centre
        return 1.0, math.log(before.fraction / USUAL_FRACTION), above, sign

    def foretell(self, before: Before, level: float = 0.9) -> Foretold:
        """Return the forecast of one cooldown; BadInput if it has not the method's sign."""
        sign = before.sign(self.method)
        if not 0 < level < 1 or sign is None:
            raise BadInput(
                f"no forecast at level={level} by {self.method} of {before}",
                hint="give a level like 0.9, and what the method goes by",
            )
        x = np.array(self._features(before, sign))
        gained = float(x @ self.mean)
        spread = math.sqrt(self.noise * (1 + float(x @ self.covariance @ x)))
        half = float(stats.t.ppf(0.5 + level / 2, self.freedom)) * spread
        shares = (gained, gained + half, gained - half)
        loss, low, high = (before.loss * (1 - share) for share in shares)
        return Foretold(loss, low, high, level, self.method, self.count, self.left_out_error)


def best(seen: Sequence[Seen], before: Before) -> Forecaster:
    """Return the method to forecast a cooldown by: of those with a sign, the one that errs least.

    That is told by leaving each cooldown out in turn, once a few were seen; until then a law comes
    before the trunk alone, and that before an average, which is no guide while it lags.
    """
    able = [Forecaster(m, seen) for m in PRIORS if before.sign(m) is not None]
    tried = [(f.left_out_error, f) for f in able if f.count >= ENOUGH]
    if tried:
        return min(tried, key=lambda pair: pair[0] or math.inf)[1]
    order: tuple[Method, ...] = ("law", "trunk", "average")
    return min(able, key=lambda f: order.index(f.method))


def forecast(before: Before, seen: Sequence[Seen] = (), level: float = 0.9) -> Foretold:
    """Return what a cooldown will reach, by the method that errs least on those seen."""
    return best(seen, before).foretell(before, level)


def law_share(law: Law, rates: Floats, *, leaves: int) -> float:
    """Return the share of the loss that a law says is gained from step `leaves` to the last of `rates`."""
    if not 0 < leaves < len(rates):
        raise BadInput(
            f"a cooldown leaves at step {leaves} of {len(rates)}",
            hint="give the rates of all its steps, those of the trunk before it too",
        )
    losses = np.asarray(law(rates), dtype=np.float64)
    return float(1 - losses[-1] / losses[leaves - 1])
