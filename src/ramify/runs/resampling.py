"""Numbers of a whole told from a sample of it: resampled units, bounds on duplicates, intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1000
LEVEL = 95  # percent, of every interval
CHUNK = 50  # resamples made at a time


@dataclass(frozen=True)
class Interval:
    """A value with the interval that it lies in."""

    low: float
    value: float
    high: float

    def json(self) -> dict[str, float]:
        """Return it as plain data."""
        return {"low": self.low, "value": self.value, "high": self.high}

    def times(self, factor: float) -> Interval:
        """Return it on another scale."""
        return Interval(self.low * factor, self.value * factor, self.high * factor)


@dataclass(frozen=True)
class Units:
    """What was drawn of one source: files, or documents in groups, with how much of it each is.

    `sizes` are bytes of files, or documents; the whole is `whole` of the same. `drawn` is the number
    of units drawn, 0 where all of the source was read.
    """

    sizes: Floats
    whole: float
    thinned: float
    drawn: int
    by: str

    @property
    def expansion(self) -> float:
        """How many documents of the whole one of the sample stands for."""
        return self.whole / max(float(self.sizes.sum()), 1.0) / self.thinned

    def totals(self, columns: Floats, seed: int) -> Floats:
        """Return what columns [units, K] come to in the whole: [1 + resamples, K], the estimate first.

        Units are drawn again with replacement (Efron's bootstrap, 1979), and each draw is brought to
        the whole by the sizes that it has (a ratio estimate).
        """
        first = columns.sum(axis=0)[None] * self.expansion
        if not self.drawn:
            return np.repeat(first, RESAMPLES + 1, axis=0)
        random = np.random.default_rng(seed)
        count = len(self.sizes)
        found = [first]
        for _ in range(0, RESAMPLES, CHUNK):
            times = random.multinomial(count, np.full(count, 1 / count), CHUNK).astype(np.float64)
            scale = self.whole / np.maximum(times @ self.sizes, 1.0) / self.thinned
            found.append((times @ columns) * scale[:, None])
        return np.concatenate(found)


def interval(draws: Floats, low: float = 1.0, high: float = 1.0) -> Interval:
    """Return the estimate that stands first with the percentiles of the rest, widened by factors."""
    tail = (100 - LEVEL) / 2
    below, above = np.percentile(draws[1:], [tail, 100 - tail])
    value = float(draws[0])
    return Interval(min(float(below), value) * low, value, max(float(above), value) * high)


def kept_interval(kept: Floats, drawn: int, low: float, high: float) -> Interval:
    """Return a share with its interval; of a sample that kept all or none, by the rule of three.

    What was seen in none of n units has a share below 3/n (Hanley and Lippman-Hand, 1983).
    """
    found = interval(kept)
    below, above = found.low, found.high
    if drawn and found.value >= 1:
        below = min(below, 1 - 3 / max(drawn, 3))
    if drawn and found.value <= 0:
        above = max(above, 3 / max(drawn, 3))
    return Interval(max(below * low, 0.0), found.value, min(above * high, 1.0))


@dataclass(frozen=True)
class Repeats:
    """What duplicates there were in a sample: documents in, those that stayed, and repeated ones.

    `across` counts the documents that were met in two units or more.
    """

    seen: int
    stayed: int
    across: int

    def bounds(self, expansion: float) -> tuple[float, float]:
        """Return by what factors the share that stays can differ in the whole, at least and at most.

        The share that goes grows with the sample, and ever more slowly: it is concave in the number
        of units, for clusters of any sizes, and so is the number of documents that differ. So in
        expectation the whole lies between the sample's own tangents: each further unit removes at
        most as many as units of the sample have in common, and brings at most as many new ones as
        they have alone (Good and Toulmin, 1956). The count in common is taken at its upper limit.
        """
        if not self.stayed or expansion <= 1:
            return 1.0, 1.0
        more = expansion - 1
        most = self.across + 1.92 + 1.96 * math.sqrt(self.across + 0.96)  # Poisson, 97.5%
        least_kept = max(self.stayed - most * more, self.stayed / expansion)
        most_kept = self.stayed - self.across * more / expansion
        return least_kept / self.stayed, most_kept / self.stayed
