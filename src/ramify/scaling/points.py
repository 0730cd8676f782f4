"""The points that laws are fitted to: parameters, tokens, loss, looked over before they are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ramify.ground.errors import BadInput
from ramify.scaling.law import Floats

DIVERGED = 1.15  # times the loss of a smaller model on fewer tokens
FEW_PARAMETERS = 1000  # at the median: below it, no one trains
FEW_TOKENS = 0.2  # a parameter, at the median: below it, no one trains
UNITS = {"thousands": 1e3, "millions": 1e6, "billions": 1e9, "trillions": 1e12}


@dataclass(frozen=True)
class Points:
    """Measured losses: N parameters, D tokens, loss in one unit, FLOPs (6·N·D unless counted).

    `labels` say the arm that each point is of, `seeds` its seed, where somebody said so; `notes`
    is what was done to the table, in sentences that a person reads.
    """

    parameters: Floats
    tokens: Floats
    loss: Floats
    flops: Floats
    labels: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def sizes(self) -> int:
        """How many sizes there are, those within 1% being one."""
        return _distinct(self.parameters)

    @property
    def token_counts(self) -> int:
        """How many counts of tokens there are, those within 1% being one."""
        return _distinct(self.tokens)

    @property
    def flops_each(self) -> float:
        """FLOPs of a token and parameter, at the median: 6, or what was counted otherwise."""
        return float(np.median(self.flops / (self.parameters * self.tokens)))

    def take(self, chosen: NDArray[Any], *notes: str) -> Points:
        """Return the points at `chosen` (a mask, or indices), with notes on why."""
        at = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return replace(
            self,
            parameters=self.parameters[at],
            tokens=self.tokens[at],
            loss=self.loss[at],
            flops=self.flops[at],
            labels=tuple(self.labels[i] for i in at) if self.labels else (),
            seeds=tuple(self.seeds[i] for i in at) if self.seeds else (),
            notes=(*self.notes, *notes),
        )


def checked(
    parameters: Sequence[float] | Floats,
    tokens: Sequence[float] | Floats,
    loss: Sequence[float] | Floats,
    *,
    flops: Sequence[float] | Floats | None = None,
    labels: Sequence[str] = (),
    seeds: Sequence[int] = (),
    trust_units: bool = False,
    trust_parameters: bool = False,
) -> Points:
    """Return points with what cannot be fitted left out, each removal counted in `notes`.

    Left out are numbers that are missing, not finite or not positive, points that stand there
    twice, and losses of runs that diverged. Raises BadInput where nothing is left, and where
    parameters are so few, or tokens so few beside them, that they must be counted in another
    unit, unless `trust_parameters` and `trust_units`.
    """
    n, d, losses = (np.asarray(column, float) for column in (parameters, tokens, loss))
    c = 6 * n * d if flops is None else np.asarray(flops, float)
    points = Points(n, d, losses, c, tuple(labels), tuple(seeds))
    doubted = (
        *(() if trust_parameters else (_in_parameters,)),
        *(() if trust_units else (_in_tokens,)),
    )
    for step in (_whole, *doubted, _once, _converged):
        points = step(points)
    return points


def _whole(points: Points) -> Points:
    columns = {
        "parameters": points.parameters,
        "tokens": points.tokens,
        "loss": points.loss,
        "FLOPs": points.flops,
    }
    good = np.ones(len(points), bool)
    notes = []
    for name, column in columns.items():
        bad = ~(np.isfinite(column) & (column > 0)) & good
        if bad.any():
            notes.append(f"left out {_points(bad.sum())} whose {name} is missing or not above 0")
        good &= ~bad
    if not good.any():
        why = "; ".join(notes) or "the table is empty"
        raise BadInput(f"no point is left: {why}", hint="look at the columns that were named")
    return points.take(good, *notes)


def _in_parameters(points: Points) -> Points:
    middle = float(np.median(points.parameters))
    if middle < FEW_PARAMETERS:
        raise BadInput(
            f"{middle:.3g} parameters at the median: they look like another unit, as millions",
            hint="type: --params 'COLUMN*1e6'; if they are right, --params 'COLUMN*1'",
        )
    return points


def _in_tokens(points: Points) -> Points:
    ratio = float(np.median(points.tokens / points.parameters))
    for name, unit in UNITS.items():
        if ratio < FEW_TOKENS and 0.5 <= ratio * unit < 500:
            raise BadInput(
                f"{ratio:.2g} tokens per parameter at the median: tokens look like {name}",
                hint=f"type: --tokens 'COLUMN*{unit:.0e}'; if they are right, --tokens 'COLUMN*1'",
            )
    return points


def _once(points: Points) -> Points:
    keys = list(_keys(points))
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    kept = np.array(sorted(first.values()))
    notes = []
    if twice := len(keys) - len(kept):
        notes.append(f"left out {_points(twice)} that the table holds twice, loss and all")
    alike = [key for key, count in Counter((*k[:3], k[4]) for k in first).items() if count > 1]
    places = Counter(key[:3] for key in first)
    if points.seeds and alike:
        notes.append(
            f"several losses stand at one size, budget and seed ({_places(len(alike))}): what sets "
            "them apart (a rate, a shape) is noise to one law; choose with --where"
        )
    elif again := sum(count - 1 for count in places.values()):
        notes.append(f"{_points(again)} at a size and budget that another has too, as seeds give")
    return points.take(kept, *notes)


def _keys(points: Points) -> list[tuple[Any, ...]]:
    labels = points.labels or ("",) * len(points)
    seeds = points.seeds or (None,) * len(points)
    return list(zip(points.parameters, points.tokens, labels, points.loss, seeds, strict=True))


def _converged(points: Points) -> Points:
    """Leave out losses far above that of a smaller model on fewer tokens: no law is that shape."""
    n, d, loss = points.parameters, points.tokens, points.loss
    smaller = (n[None] <= n[:, None]) & (d[None] <= d[:, None])
    reached = np.where(smaller, loss[None], np.inf).min(1)
    diverged = loss > DIVERGED * reached
    if not diverged.any():
        return points
    worst = ", ".join(f"{loss[i]:.3g}" for i in np.flatnonzero(diverged)[:3])
    note = f"left out {_points(diverged.sum())} that diverged or never learned (loss {worst}): "
    return points.take(
        ~diverged, note + f"over {DIVERGED:g} times what a smaller model reached on fewer tokens"
    )


def without_lowest_ratio(points: Points, count: int) -> Points:
    """Leave out the `count` points with the fewest tokens per parameter.

    Besiroglu et al. 2024 leave out five of the 245: the law does not hold so far from
    where models are trained. Raises BadInput for a count that leaves nothing.
    """
    if not 0 <= count < len(points):
        raise BadInput(
            f"--exclude-lowest-ratio {count} of {len(points)} points",
            hint=f"give 0 to {len(points) - 1}",
        )
    if not count:
        return points
    order = np.argsort(points.tokens / points.parameters, kind="stable")
    note = f"left out the {count} points with the fewest tokens per parameter, as asked"
    return points.take(np.sort(order[count:]), note)


def joined(parts: Sequence[Points]) -> Points:
    """Return the points of several tables as one; their notes are left behind."""
    columns = zip(*((p.parameters, p.tokens, p.loss, p.flops) for p in parts), strict=True)
    n, d, loss, flops = (np.concatenate(column) for column in columns)
    labels = tuple(label for p in parts for label in p.labels)
    seeds = tuple(seed for p in parts for seed in p.seeds)
    return Points(n, d, loss, flops, labels, seeds)


def _points(count: int) -> str:
    return "1 point" if count == 1 else f"{count} points"


def _places(count: int) -> str:
    return "at 1 place" if count == 1 else f"at {count} places"


def _distinct(values: Floats) -> int:
    logs = np.sort(np.log(values))
    return int(1 + (np.diff(logs) > 0.01).sum()) if len(logs) else 0
