"""How many rows of each batch every source gives, and how many it gave before, in closed form.

A source with the share s of R rows gives R·s of them rounded down, and one more in some batches. Which
ones is decided down a binary tree over the sources: of the batches in which a node gives one row
more, the left half gets every (1/share)-th, to the nearest, and the right half the rest. So each
count is exact to a row in every batch, and off by at most half a row per level over any prefix,
however long: four rows at 256 sources. One offset turning around all sources at once cannot do
that (docs/decisions/0006-rows-dealt-down-a-tree.md): its error grows with the logarithm of the batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from math import lcm


def nearest(count: int, part: int, whole: int) -> int:
    """Return count·part/whole to the nearest whole number, halves up, and 0 if the whole is 0."""
    return (2 * count * part + whole) // (2 * whole) if whole else 0


@dataclass(frozen=True)
class Deal:
    """The rows of each batch dealt to sources by their shares, in the order given."""

    shares: tuple[float, ...]
    rows: int

    @cached_property
    def _sums(self) -> list[int]:
        """Cumulative shares as whole numbers, [0, ..., all]: exactly what was typed, scaled to sum 1."""
        exact = [Fraction(str(share)) for share in self.shares]  # 0.1 is a tenth on every machine
        scale = lcm(*(share.denominator for share in exact))
        return list(accumulate((int(share * scale) for share in exact), initial=0))

    def before(self, batches: int) -> list[int]:
        """Return how many rows each source gave in the first `batches` batches, exactly."""
        return list(self._split(0, len(self.shares), batches, 0))

    def batch(self, batch: int) -> list[int]:
        """Return how many rows each source gives in this batch."""
        before, after = self.before(batch), self.before(batch + 1)
        return [late - early for early, late in zip(before, after, strict=True)]

    def _rate(self, low: int, high: int) -> tuple[int, int]:
        """Rows a batch of sources low..high: whole ones, and the rest in parts of the sum."""
        return divmod(self.rows * (self._sums[high] - self._sums[low]), self._sums[-1])

    def _split(self, low: int, high: int, batches: int, extra: int) -> Iterator[int]:
        """Yield the totals of sources low..high, which had a row more in `extra` of the batches."""
        whole, part = self._rate(low, high)
        if high - low == 1:
            yield whole * batches + extra
            return
        middle, all_parts = (low + high) // 2, self._sums[-1]
        left, right = self._rate(low, middle)[1], self._rate(middle, high)[1]
        if left + right == part:  # a row more for the node is a row more for one of its halves
            left_extra = nearest(extra, left, part)
            right_extra = extra - left_extra
        else:  # both halves get one, but for one of them in each batch without a row more
            without = batches - extra
            left_without = nearest(without, all_parts - left, all_parts - part)
            left_extra = batches - left_without
            right_extra = batches - (without - left_without)
        yield from self._split(low, middle, batches, left_extra)
        yield from self._split(middle, high, batches, right_extra)
