"""Which source each row of a batch comes from, and how many rows it gave before, in closed form.

Systematic sampling: the sources lie side by side on [0, 1), each as long as its share, and row r of
R takes the source under (r + u)/R. The offset u turns by a fixed irrational part of the circle from
batch to batch, so that counts over any prefix of batches are floor sums of whole numbers: no replay,
no floating point, O(log batches) time.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

CIRCLE = 2**64  # shares and offsets are whole parts of it
TURN = 0x9E3779B97F4A7C15  # the golden section of the circle


def floor_sum(count: int, modulus: int, slope: int, start: int) -> int:
    """Return the sum of (slope·i + start) // modulus over i < count, all of them non-negative.

    Euclid's algorithm on the lattice points under a line: O(log) steps.
    """
    total = 0
    while True:
        whole, slope = divmod(slope, modulus)
        total += whole * (count * (count - 1) // 2)
        whole, start = divmod(start, modulus)
        total += whole * count
        height, rest = divmod(slope * count + start, modulus)
        if height == 0:
            return total
        count, modulus, slope, start = height, slope, modulus, rest


@dataclass(frozen=True)
class Deal:
    """Rows dealt to sources, batch by batch: `shares` in order, `rows` a batch, a first `offset`.

    Every batch gives each source its share of the rows rounded down or up. `offset` is in parts of
    `CIRCLE`.
    """

    shares: tuple[float, ...]
    rows: int
    offset: int

    @cached_property
    def _edges(self) -> tuple[tuple[int, int], ...]:
        """rows·(cumulative share), as whole rows and parts of the circle, without the last (all)."""
        # Fractions of what was typed: 0.1 is a tenth, and no machine rounds it otherwise.
        exact = [Fraction(str(share)) for share in self.shares]
        total, below, edges = sum(exact), Fraction(0), []
        for share in exact[:-1]:
            below += share / total
            edges.append(divmod(self.rows * int(below * CIRCLE), CIRCLE))
        return tuple(edges)

    def edges(self, batch: int) -> list[int]:
        """Return [0, ..., rows]: source i has the rows from edge i up to edge i+1 of this batch."""
        offset = (self.offset + batch * TURN) % CIRCLE
        return [0, *(whole + (offset < part) for whole, part in self._edges), self.rows]

    def before(self, batches: int) -> list[int]:
        """Return how many rows each source gave in the first `batches` batches."""
        turns = floor_sum(batches, CIRCLE, TURN, self.offset)
        edges = [0]
        for whole, part in self._edges:
            # x//C - (x-part)//C is 1 where x mod C < part, and 0 elsewhere
            late = floor_sum(batches, CIRCLE, TURN, self.offset + CIRCLE - part) - batches
            edges.append(whole * batches + turns - late)
        edges.append(self.rows * batches)
        return [high - low for low, high in pairwise(edges)]
