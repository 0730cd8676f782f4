"""Means of weights over windows of a run, means of such means, and the moving average of a run.

steps    1 ───── h ───── 2h ───── 3h        windows saved along the run (h steps each)
         └──0──┘ └───1──┘ └───2──┘          compose([1, 2]) is the mean over h..3h
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ramify.ground.errors import BadInput
from ramify.optim.config import Ema


class Accumulator:
    """The running sum of named weights and how many were taken: the whole state of a window.

    Sums are fp32 whatever the weights are, and live where the weights live, sharded as they are.
    `sums` and `count` go into a checkpoint as they stand; `Accumulator(sums, count)` goes on from
    there, bit for bit.
    """

    def __init__(self, sums: Mapping[str, Tensor] | None = None, count: int = 0) -> None:
        if bool(sums) != (count > 0):
            raise BadInput(f"{len(sums or {})} sums of {count} sets of weights are no window")
        self.sums = {name: value.detach().float() for name, value in (sums or {}).items()}
        self.count = count

    @torch.no_grad()
    def add(self, weights: Mapping[str, Tensor]) -> None:
        """Take one set of weights into the sum; raises BadInput if its names are not the first's."""
        if not self.count:
            self.sums = {
                name: value.detach().to(torch.float32, copy=True) for name, value in weights.items()
            }
        else:
            _check_same_names(self.sums, weights)
            for name, total in self.sums.items():
                total.add_(weights[name].detach())
        self.count += 1

    def mean(self) -> dict[str, Tensor]:
        """Return the mean of what was taken, in fp32; raises BadInput if nothing."""
        if not self.count:
            raise BadInput("the mean of no weights", hint="take some with add(weights) first")
        return {name: total / self.count for name, total in self.sums.items()}

    def clear(self) -> None:
        """Begin an empty window."""
        self.sums, self.count = {}, 0


class Moving:
    """The exponential moving average under way along a run: its mean so far, and how many it took.

    Means are fp32 whatever the weights are, and live where the weights live, sharded as they are.
    `Moving(config, means, count)` goes on from a checkpoint, bit for bit.
    """

    def __init__(
        self, config: Ema, means: Mapping[str, Tensor] | None = None, count: int = 0
    ) -> None:
        self.config, self.means, self.count = config, dict(means or {}), count

    def told(self) -> dict[str, float | int]:
        """Return its settings and how many sets of weights it took, as a point tells them."""
        return {**self.config.model_dump(), "count": self.count}

    @torch.no_grad()
    def add(self, weights: Mapping[str, Tensor]) -> None:
        """Take one set of weights in; raises BadInput if its names are not the first's."""
        if not self.count:
            self.means = {
                name: value.detach().to(torch.float32, copy=True) for name, value in weights.items()
            }
        else:
            _check_same_names(self.means, weights)
            for name, mean in self.means.items():
                mean.lerp_(weights[name].detach().float(), 1 - self.config.decay)
        self.count += 1


@torch.no_grad()
def between(a: Mapping[str, Tensor], b: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return a·(1 - share) + b·share, summed in fp64, in the dtype of `a`; `a` itself at 0, `b` at 1.

    Raises BadInput for weights of other names.
    """
    _check_same_names(a, b)
    mixed = {}
    for name, value in a.items():
        total = value.to(torch.float64) * (1 - share)
        mixed[name] = total.add_(b[name].to(torch.float64), alpha=share).to(value.dtype)
    return mixed


@torch.no_grad()
def compose(parts: Sequence[tuple[Mapping[str, Tensor], int]]) -> dict[str, Tensor]:
    """Return the mean over several windows, each given as (mean, count), weighted by their counts.

    Equals the mean over all that the windows took, to rounding; summed in fp64, returned in the
    dtype of the first. Raises BadInput for no parts, for a count below 1 and for other names.
    """
    if not parts or any(count < 1 for _, count in parts):
        raise BadInput(
            f"windows of {[count for _, count in parts]} sets of weights have no mean",
            hint="give one window or more, each of at least one set",
        )
    first = parts[0][0]
    for mean, _ in parts[1:]:
        _check_same_names(first, mean)
    taken = sum(count for _, count in parts)
    composed = {}
    for name, like in first.items():
        total = torch.zeros_like(like, dtype=torch.float64)
        for mean, count in parts:
            total.add_(mean[name].to(torch.float64), alpha=count / taken)
        composed[name] = total.to(like.dtype)
    return composed


def _check_same_names(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    if expected.keys() != given.keys():
        odd = sorted(expected.keys() ^ given.keys())
        raise BadInput(
            f"weights of different networks have no mean: {odd[0]!r} is in one of them only"
        )
