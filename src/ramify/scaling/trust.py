"""How far a fitted law is to be trusted: its residuals, leave-one-out errors, and extrapolation."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ramify.ground.errors import BadInput
from ramify.scaling.fit import Fit, fit, refit, refuse_too_few
from ramify.scaling.law import Floats, Law
from ramify.scaling.points import Points

LARGE = 0.25  # of the points, those with the most FLOPs: what extrapolation predicts
SHOWN = 3  # of the worst points


@dataclass(frozen=True)
class Errors:
    """Predicted over measured loss, less 1: how large it is, on average and at worst."""

    points: int
    mean_absolute: float
    bias: float
    worst: float

    @classmethod
    def of(cls, log_ratios: Floats) -> Errors:
        """Return the errors of log(predicted) - log(measured)."""
        errors = np.expm1(log_ratios)
        worst = errors[np.abs(errors).argmax()]
        return cls(len(errors), float(np.abs(errors).mean()), float(errors.mean()), float(worst))

    def json(self) -> dict[str, float]:
        """Return the errors as plain data."""
        return asdict(self)


def residuals(found: Fit) -> Errors:
    """Return the errors on the points that the law was fitted to."""
    return Errors.of(found.residuals)


def worst_points(found: Fit) -> list[dict[str, float]]:
    """Return the points that the law misses most."""
    left, p = found.residuals, found.points
    return [
        {
            "parameters": float(p.parameters[i]),
            "tokens": float(p.tokens[i]),
            "loss": float(p.loss[i]),
            "error": float(np.expm1(left[i])),
        }
        for i in np.argsort(-np.abs(left))[:SHOWN]
    ]


def leave_one_out(found: Fit) -> Errors | None:
    """Return the errors on each point of a law fitted to all others; None if others cannot carry one."""
    p = found.points
    errors = []
    for i in range(len(p)):
        try:
            law = _without(p, i, found)
        except BadInput:
            return None
        errors.append(float(np.log(law.loss(p.parameters[i], p.tokens[i])) - np.log(p.loss[i])))
    return Errors.of(np.array(errors))


def _without(points: Points, i: int, found: Fit) -> Law:
    rest = points.take(np.arange(len(points)) != i)
    refuse_too_few(rest)
    return refit(rest, found.law)


def extrapolation(points: Points, share: float = LARGE) -> Errors | str:
    """Return the errors on the points with the most FLOPs of a law fitted to the others.

    Returns the reason instead where the others cannot carry a law.
    """
    order = np.argsort(points.flops, kind="stable")
    cut = len(points) - max(1, round(share * len(points)))
    try:
        return predict(points.take(np.sort(order[:cut])), points.take(np.sort(order[cut:])))
    except BadInput as error:
        return str(error)


def predict(small: Points, large: Points) -> Errors:
    """Fit the law to some points and return its errors on others; BadInput as `fit` raises it."""
    law = fit(small).law
    return Errors.of(np.log(law.loss(large.parameters, large.tokens)) - np.log(large.loss))
