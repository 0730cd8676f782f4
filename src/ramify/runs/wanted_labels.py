"""Labels that a plan is still to ask for, as far as they are known before anything is read. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ramify.curate.quality_steps import Annotate, Asked
from ramify.ground.step import Step

Prices = tuple[float, float]
"""Dollars for a million tokens of questions, and of answers."""


@dataclass(frozen=True)
class Wanted:
    """One step that asks a model: for how many labels, and the most it may spend. None: not known."""

    name: str
    model: str
    documents: int | None  # at most; None: every document of its corpus
    cap_tokens: int | None
    dollars_at_most: float | None

    def json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return vars(self).copy()


def wanted_labels(steps: Iterable[Step], prices: Prices | None = None) -> list[Wanted]:
    """Return what steps that are not done are to ask for.

    A step's cap of tokens has a price: all of them as answers, or as questions, whichever is dearer,
    by `prices` or else by those of its server; a cap of dollars is a bound of its own.
    """
    return [
        Wanted(
            name=step.name,
            model=step.labeller.model,
            documents=step.sample,
            cap_tokens=step.cap.tokens if step.cap else None,
            dollars_at_most=_dollars(step, prices),
        )
        for step in steps
        if isinstance(step, Annotate) and isinstance(step.labeller, Asked)
    ]


def _dollars(step: Annotate, prices: Prices | None) -> float | None:
    assert step.cap is not None
    if prices is None and step.server is not None:
        prices = step.server.prices
    bounds = [step.cap.dollars]
    if prices is not None and step.cap.tokens is not None:
        bounds.append(step.cap.tokens * max(prices) / 1e6)
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None
