"""The law of one size, L(D) = E + B/D^β: what more tokens would give, from a trunk's cooldowns alone."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ramify.ground.errors import BadInput
from ramify.scaling.blas import one_thread
from ramify.scaling.fit import HUBER, SCALE, counted, interval, resamples
from ramify.scaling.law import Floats
from ramify.scaling.points import Points

NAMES = ("E", "B", "beta")
EXPONENTS = (0.1, 0.2, 0.3, 0.5, 0.8, 1.2)
FLOORS = (0.3, 0.6, 0.8, 0.9, 0.97)  # of the least loss
LEAST_BUDGETS = 4


@dataclass(frozen=True)
class TokensLaw:
    """L(D) = E + B/D^β of one size; E here holds what the size itself costs, A/N^α."""

    E: float
    B: float
    beta: float
    draws: Floats  # a row a resample, columns as NAMES; none where none was asked for

    def loss(self, tokens: Floats | float) -> Floats:
        """Return the loss after D tokens, elementwise."""
        predicted: Floats = self.E + self.B * np.asarray(tokens, float) ** -self.beta
        return predicted

    @property
    def constants(self) -> dict[str, float]:
        """The three constants by name."""
        return {name: float(getattr(self, name)) for name in NAMES}

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95% interval of each constant, {} without draws."""
        if not len(self.draws):
            return {}
        low, high = interval(self.draws)
        return {n: (float(a), float(b)) for n, a, b in zip(NAMES, low, high, strict=True)}

    def loss_interval(self, tokens: float) -> tuple[float, float] | None:
        """Return the 95% interval of the loss after D tokens, None without draws."""
        if not len(self.draws):
            return None
        e, b, beta = self.draws.T
        low, high = np.percentile(e + b * tokens**-beta, [2.5, 97.5])
        return float(low), float(high)


def fit_tokens(points: Points, *, draws: int = 0, seed: int = 0) -> TokensLaw:
    """Fit the law of one size by Huber loss on log L, δ = 1e-3, from a grid of starts.

    Raises BadInput for points of several sizes, and for fewer than 4 budgets of tokens.
    """
    if points.sizes > 1:
        raise BadInput(
            f"points of {points.sizes} sizes have no law of one size",
            hint="type: --law chinchilla, or choose a size with --where COLUMN=VALUE",
        )
    if points.token_counts < LEAST_BUDGETS:
        raise BadInput(
            f"{points.token_counts} budgets of tokens cannot carry E, B and β",
            hint=f"add {counted(LEAST_BUDGETS - points.token_counts, 'more budget')}",
        )
    problem = _Problem(
        np.log(points.tokens) - np.log(points.tokens).mean(),
        np.log(points.loss),
        float(np.log(points.tokens).mean()),
    )
    best = problem.solve(problem.starts(), np.ones(len(points)))
    weights = resamples(len(points), draws, seed) if draws else np.zeros((0, len(points)))
    enough = [w for w in weights if len(np.unique(points.tokens[w > 0])) >= LEAST_BUDGETS - 1]
    found = [problem.constants(problem.solve([best], w)) for w in enough]
    e, b, beta = map(float, problem.constants(best))
    return TokensLaw(e, b, beta, np.array(found).reshape(-1, len(NAMES)))


@dataclass(frozen=True)
class _Problem:
    y: Floats  # log D - its mean
    log_loss: Floats
    y_mean: float

    def starts(self) -> list[Floats]:
        typical, least = float(np.exp(self.log_loss.mean())), float(np.exp(self.log_loss.min()))
        return [
            np.array([math.log(share * least), math.log(typical - share * least), beta])
            for share, beta in itertools.product(FLOORS, EXPONENTS)
        ]

    def constants(self, p: Floats) -> Floats:
        e, b, beta = p
        constants: Floats = np.array([math.exp(e), math.exp(b + beta * self.y_mean), beta])
        return constants

    def solve(self, starts: list[Floats], weights: Floats) -> Floats:
        with one_thread():
            ends = [
                minimize(
                    self.value,
                    start,
                    args=(weights,),
                    jac=True,
                    method="L-BFGS-B",
                    bounds=[(None, None), (None, None), (1e-3, 5.0)],
                    options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-9},
                )
                for start in starts
            ]
        return np.asarray(min(ends, key=lambda end: float(end.fun)).x, float)

    def value(self, p: Floats, weights: Floats) -> tuple[float, Floats]:
        e, b, beta = p
        floor, data = math.exp(e), np.exp(b - beta * self.y)
        loss = floor + data
        r = np.log(loss) - self.log_loss
        clipped = np.clip(r, -HUBER, HUBER)
        slope = SCALE * weights * clipped / loss
        gradient = np.array([floor * slope.sum(), slope @ data, -slope @ (data * self.y)])
        return SCALE * float(weights @ (clipped * (r - 0.5 * clipped))), gradient
