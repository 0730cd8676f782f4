"""The multi-power law: the loss curve under any schedule, fitted on a few curves of one model.

L(t) = L0 + A·(S(t) + S_w)^-α - B·Σ_k (η_{k-1} - η_k)·(1 - (C·η_k^-γ·S_k(t) + 1)^-β)

S(t) is the sum of learning rates up to step t, S_w that of the warm-up, S_k(t) that from step k to
t: what a constant rate reaches, less what each lowering of the rate has won by then (Luo et al.
2025, "A Multi-Power Law for Loss Curve Prediction Across Learning Rate Schedules").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ramify.ground.errors import BadInput
from ramify.scaling.blas import one_thread
from ramify.scaling.fit import HUBER, SCALE
from ramify.scaling.law import Floats, Ints

NAMES = ("L0", "A", "alpha", "B", "C", "beta", "gamma")
BLOCKS = 128  # stretches of lowering that a fit tells apart, of each curve
CHUNK = 4_000_000  # cells that a prediction holds at once
ENDS = ((-20.0, 20.0), (1e-3, 3.0), (-20.0, 20.0), (-20.0, 20.0), (1e-3, 3.0), (-1.0, 3.0))
LEAST_POINTS = 8


@dataclass(frozen=True)
class Curve:
    """Losses measured along one run: `rates` is the learning rate of every step after the warm-up.

    Step i of `rates` is the i-th after the warm-up, from 0; `at` are the steps (in that count) after
    which `loss` was measured, rising. `warmup` is the sum of learning rates over the warm-up.
    """

    rates: Floats
    at: Ints
    loss: Floats
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if len(self.at) != len(self.loss) or len(self.at) == 0:
            raise BadInput(
                f"a curve of {len(self.at)} steps and {len(self.loss)} losses",
                hint="give a loss for each step, and at least one",
            )
        if self.at.min() < 0 or self.at.max() >= len(self.rates) or (np.diff(self.at) <= 0).any():
            raise BadInput(
                f"steps {self.at.min()} to {self.at.max()} of a schedule of {len(self.rates)}",
                hint="give rising steps inside the schedule",
            )
        if not (np.isfinite(self.loss).all() and (self.loss > 0).all()):
            raise BadInput(
                "a curve with a loss that is missing or not above 0", hint="leave it out"
            )
        if not (np.isfinite(self.rates).all() and (self.rates >= 0).all() and self.rates[0] > 0):
            raise BadInput("a learning rate that is missing or below 0", hint="begin above 0")


@dataclass(frozen=True)
class MultiPowerLaw:
    """The seven constants of one model on one corpus, whatever the schedule."""

    L0: float
    A: float
    alpha: float
    B: float
    C: float
    beta: float
    gamma: float
    objective: float = math.nan  # the mean Huber loss of a point it was fitted to

    @property
    def constants(self) -> dict[str, float]:
        """The constants by name."""
        return {name: float(getattr(self, name)) for name in NAMES}

    @property
    def at_their_ends(self) -> tuple[str, ...]:
        """The exponents that a fit drove to an end of the range allowed: the curves do not fix them."""
        ranges = zip(NAMES[1:], ENDS, strict=True)
        exponents = ((name, ends) for name, ends in ranges if name in ("alpha", "beta", "gamma"))
        return tuple(
            n for n, ends in exponents if any(math.isclose(getattr(self, n), e) for e in ends)
        )

    def predict(
        self,
        rates: Floats,
        at: Ints | None = None,
        *,
        warmup: float = 0.0,
    ) -> Floats:
        """Return the loss after each step of a schedule, or only after those `at`.

        `rates` is the learning rate of every step after the warm-up, `warmup` the sum of rates over
        it, as in `Curve`. A pure function of the schedule: nothing beyond a step bears on it.
        Raises BadInput for steps that the schedule does not have.
        """
        steps = np.arange(len(rates)) if at is None else np.asarray(at)
        if len(steps) == 0 or steps.min() < 0 or steps.max() >= len(rates):
            raise BadInput(
                f"the loss at {len(steps)} steps of a schedule of {len(rates)}",
                hint=f"ask for steps 0 to {len(rates) - 1}",
            )
        each = max(1, CHUNK // max(1, int(np.count_nonzero(np.diff(rates)))))
        parts = [steps[i : i + each] for i in range(0, len(steps), each)]
        packed = [math.log(self.A), self.alpha, math.log(self.B), math.log(self.C), self.beta]
        p = np.array([*packed, self.gamma])
        return np.concatenate(
            [self.L0 - _Terms.of(np.asarray(rates), part, warmup).below(p) for part in parts]
        )


def curve(
    steps: Sequence[int] | Floats, rates: Sequence[float] | Floats, loss: Sequence[float] | Floats,
    *, first: int, warmup: float,
) -> Curve:  # fmt: skip
    """Return a curve from a log of (step, rate, loss) whose lines stand some steps apart.

    `first` is the last step of the warm-up. Between two lines the rate is taken to go straight,
    unless it falls by more than a third at once: then it jumps just after the first of them.
    """
    at, eta = np.asarray(steps, np.int64) - first, np.asarray(rates, float)
    if len(at) == 0 or at[0] < 0:
        raise BadInput(f"a log that begins before step {first}", hint="leave the warm-up out")
    whole = np.interp(np.arange(at[-1] + 1), at, eta)
    for i in np.flatnonzero(eta[1:] < eta[:-1] * 2 / 3):
        whole[at[i] + 1 : at[i + 1]] = eta[i + 1]
    return Curve(whole, at, np.asarray(loss, float), warmup)


def fit_curves(curves: Sequence[Curve], *, restarts: int = 12, seed: int = 0) -> MultiPowerLaw:
    """Fit the law to curves of one model under at least two schedules.

    Minimises the Huber loss of log L̂ - log L with δ = 1e-3 by L-BFGS from `restarts` starts.
    Raises BadInput where no curve lowers its rate, or there are fewer points than can carry it.
    """
    count = sum(len(one.loss) for one in curves)
    if count < LEAST_POINTS:
        raise BadInput(f"{count} points cannot carry 7 constants", hint="log the loss more often")
    if not any((np.diff(one.rates) < 0).any() for one in curves):
        raise BadInput(
            "no curve lowers its learning rate, so nothing tells what lowering wins",
            hint="add a curve with a decay, like a cooldown or a cosine",
        )
    problem = _Problem(
        [_Terms.of(one.rates, one.at, one.warmup, blocks=BLOCKS) for one in curves],
        np.log(np.concatenate([one.loss for one in curves])),
    )
    ends = [problem.solve(start) for start in problem.starts(restarts, seed)]
    value, best = min(ends, key=lambda end: end[0])
    l0, a, alpha, b, c, beta, gamma = (float(x) for x in best)
    return MultiPowerLaw(
        l0, math.exp(a), alpha, math.exp(b), math.exp(c), beta, gamma, value / count
    )


@dataclass(frozen=True)
class _Terms:
    """What of a schedule the law reads: sums of rates, and where the rate is lowered or raised."""

    total: Floats  # S(t) + S_w at each measured step
    drop: Floats  # η_{k-1} - η_k at each change k
    log_rate: Floats  # log η_k
    since: Floats  # S_k(t): a row a change, a column a step; 0 where k is still to come

    @classmethod
    def of(
        cls,
        rates: Floats,
        at: Ints,
        warmup: float,
        *,
        blocks: int | None = None,
    ) -> _Terms:
        sums = np.concatenate([[0.0], np.cumsum(rates)])  # sums[i]: of the first i steps
        changes = np.flatnonzero(np.diff(rates[: at.max() + 1])) + 1
        drops = rates[changes - 1] - rates[changes]
        # the sum from k on begins at sums[k]; where the rate is 0 nothing is ever won
        after = np.where(rates[changes] > 0, rates[changes], np.nan)
        before = sums[changes]
        if blocks is not None and len(changes) > blocks:
            groups = np.array_split(np.arange(len(changes), dtype=np.int64), blocks)
            drops, after, before = _joined(groups, drops, after, before)
        reached = sums[at + 1]
        since = np.maximum(reached[None] - before[:, None], 0.0)
        usable = np.isfinite(after)
        since = np.where(usable[:, None], since, 0.0)
        return cls(reached + warmup, drops, np.log(np.where(usable, after, 1.0)), since)

    def below(self, p: Floats) -> Floats:
        """Return L0 - L at each step; p is log A, α, log B, log C, β, γ."""
        log_a, alpha, log_b, log_c, beta, gamma = p
        x = np.exp(log_c - gamma * self.log_rate)[:, None] * self.since
        won: Floats = (math.exp(log_b) * self.drop) @ (1 - np.exp(-beta * np.log1p(x)))
        below: Floats = won - np.exp(log_a - alpha * np.log(self.total))
        return below

    def with_gradient(self, p: Floats) -> tuple[Floats, Floats]:
        """Return `below`, and its gradient: a row for each of p."""
        log_a, alpha, log_b, log_c, beta, gamma = p
        power = np.exp(log_a - alpha * np.log(self.total))
        x = np.exp(log_c - gamma * self.log_rate)[:, None] * self.since
        grown = np.log1p(x)
        left = np.exp(-beta * grown)
        weight = math.exp(log_b) * self.drop
        won = weight @ (1 - left)
        by_log_x = weight[:, None] * (beta * left * x / (1 + x))
        gradient = np.stack(
            [
                -power,
                power * np.log(self.total),
                won,
                by_log_x.sum(0),
                weight @ (left * grown),
                -self.log_rate @ by_log_x,
            ]
        )
        return won - power, gradient


def _joined(
    groups: Sequence[Ints], drops: Floats, after: Floats, before: Floats
) -> tuple[Floats, Floats, Floats]:
    """Put neighbouring changes together: the drop of all, at the middle of where they stand."""
    put = [
        (drops[g].sum(), np.nanmean(after[g]) if np.isfinite(after[g]).any() else np.nan,
         before[g].mean())
        for g in groups
    ]  # fmt: skip
    summed, rate, place = np.array(put).T
    return summed, rate, place


@dataclass(frozen=True)
class _Problem:
    terms: Sequence[_Terms]
    log_loss: Floats

    def starts(self, count: int, seed: int) -> Iterator[Floats]:
        """Yield starts at the sizes that losses and rates have: for any unit of the rate."""
        random = np.random.default_rng(seed)
        loss = np.exp(self.log_loss)
        total = np.concatenate([one.total for one in self.terms])
        rate = math.exp(np.concatenate([one.log_rate for one in self.terms]).mean())
        span = max(float(np.ptp(loss)), 1e-6)
        fallen = max(max(float(one.drop.sum()) for one in self.terms), 1e-12)
        for go in range(count):
            alpha, beta, gamma = (0.5, 0.5, 0.5) if not go else random.uniform(0.2, 0.9, 3)
            floor = float(loss.min()) - span * (0.2 if not go else random.uniform(0.05, 1.0))
            a = math.log(span) + alpha * math.log(float(total.min()))
            b = math.log(0.3 * span / fallen)
            c = gamma * math.log(rate) - math.log(float(np.ptp(total)) / 10)
            wobble = random.normal(0, 1, 3) if go else np.zeros(3)
            yield np.array([floor, a, alpha, b + wobble[0], c + 2 * wobble[1], beta, gamma])

    def solve(self, start: Floats) -> tuple[float, Floats]:
        """Return (Σ Huber, constants) at the end of L-BFGS."""
        least = float(np.exp(self.log_loss.min()))
        with one_thread():
            end = minimize(
                self.value,
                np.clip(
                    start, [1e-6, *(low for low, _ in ENDS)], [least, *(high for _, high in ENDS)]
                ),
                jac=True,
                method="L-BFGS-B",
                bounds=[(1e-6, least), *ENDS],
                options={"maxiter": 1000, "maxfun": 1500, "ftol": 1e-13, "gtol": 1e-8},
            )
        return float(end.fun) / SCALE, np.asarray(end.x, float)

    def value(self, p: Floats) -> tuple[float, Floats]:
        """Return SCALE · Σ Huber and its gradient."""
        both = [one.with_gradient(p[1:]) for one in self.terms]
        below = np.concatenate([value for value, _ in both])
        slope = np.concatenate([gradient for _, gradient in both], axis=1)
        loss = np.maximum(p[0] - below, 1e-6)
        r = np.log(loss) - self.log_loss
        clipped = np.clip(r, -HUBER, HUBER)
        by_loss = SCALE * clipped / loss
        value = SCALE * float((clipped * (r - 0.5 * clipped)).sum())
        return value, np.concatenate([[by_loss.sum()], -slope @ by_loss])
