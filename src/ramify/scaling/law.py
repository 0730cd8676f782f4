"""The parametric law L(N, D) = E + A/N^α + B/D^β and what is optimal under it: no fitting here."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ramify.ground.errors import BadInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NAMES = ("E", "A", "B", "alpha", "beta")
FARTHEST = math.log(1e100)  # that an optimum may lie from one parameter or token


@dataclass(frozen=True)
class Optimum:
    """The parameters N and tokens D that reach the lowest loss for a budget of FLOPs."""

    flops: float
    parameters: float
    tokens: float
    loss: float

    @property
    def tokens_per_parameter(self) -> float:
        """D/N."""
        return self.tokens / self.parameters

    def json(self) -> dict[str, float]:
        """Return the optimum as plain data."""
        return {
            "flops": self.flops,
            "parameters": self.parameters,
            "tokens": self.tokens,
            "tokens_per_parameter": self.tokens_per_parameter,
            "loss": self.loss,
        }


@dataclass(frozen=True)
class Law:
    """L(N, D) = E + A/N^α + B/D^β (Hoffmann et al. 2022, equation 2; Hägele et al., section 5).

    E is the loss that no size and no data removes, in the unit of the losses it was fitted to.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, parameters: Floats | float, tokens: Floats | float) -> Floats:
        """Return the loss of N parameters trained on D tokens, elementwise."""
        n, d = np.asarray(parameters, float), np.asarray(tokens, float)
        predicted: Floats = self.E + self.A * n**-self.alpha + self.B * d**-self.beta
        return predicted

    @property
    def constants(self) -> dict[str, float]:
        """The five constants by name."""
        return {name: float(getattr(self, name)) for name in NAMES}

    @property
    def parameters_exponent(self) -> float:
        """The a of N_opt ∝ C^a: β / (α + β)."""
        return self.beta / (self.alpha + self.beta)

    def optimum(self, flops: float, each: float = 6.0) -> Optimum:
        """Return the best N and D for a budget C, in closed form (Hoffmann et al. 2022, equation 4).

        `each` is the k of C = k·N·D: 6, unless FLOPs were counted otherwise. Raises
        BadInput where the budget is not positive, or the law falls in one direction only or in none.
        """
        if not flops > 0:
            raise BadInput(f"a budget of {flops} FLOPs", hint="give a number above 0, like 1e21")
        if not (self.A > 0 and self.B > 0 and self.alpha > 0 and self.beta > 0):
            raise BadInput(
                f"this law has no optimum: α={self.alpha:.3g}, β={self.beta:.3g}",
                hint="add sizes and budgets further apart",
            )
        ratio = math.log(self.alpha * self.A) - math.log(self.beta * self.B)
        exponent = self.alpha + self.beta
        log_n = (ratio + self.beta * math.log(flops / each)) / exponent
        log_d = math.log(flops / each) - log_n
        if max(abs(log_n), abs(log_d)) > FARTHEST:
            raise BadInput(
                f"this law has no optimum at {flops:.3g} FLOPs: α={self.alpha:.3g}, β={self.beta:.3g}, "
                "so one of its terms is nothing",
                hint="look at the losses: they must fall with size and with tokens",
            )
        n, d = math.exp(log_n), math.exp(log_d)
        return Optimum(flops, n, d, float(self.loss(n, d)))
