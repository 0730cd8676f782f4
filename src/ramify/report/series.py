"""The journal of a run as columns of numbers: streamed, since a long run has millions of lines."""

from __future__ import annotations

import json
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ramify.ground.errors import Corrupt


def _column() -> array[float]:
    return array("d")


@dataclass
class Series:
    """One number a step, by column, in order of tokens; and the probes as they were told."""

    tokens: array[int] = field(default_factory=lambda: array("q"))
    loss: array[float] = field(default_factory=_column)  # nats; NaN where it was not finite
    rate: array[float] = field(default_factory=_column)
    seconds: array[float] = field(default_factory=_column)
    life: array[int] = field(default_factory=lambda: array("q"))  # the incarnation that told it
    probes: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)  # tokens of steps that could not be taken
    begins: dict[int, int] = field(default_factory=dict)  # incarnation -> the tokens it began at

    def _forget_after(self, tokens: int) -> None:
        keep = bisect_right(self.tokens, tokens)
        for column in (self.tokens, self.loss, self.rate, self.seconds, self.life):
            del column[keep:]
        self.probes = [probe for probe in self.probes if probe["tokens"] <= tokens]
        self.skipped = [at for at in self.skipped if at <= tokens]

    def _take(self, line: dict[str, Any]) -> None:
        match line["kind"]:
            case "begin":
                self._forget_after(line["tokens"])
                self.begins[line["incarnation"]] = line["tokens"]
            case "step":
                loss = line.get("loss")
                self.tokens.append(line["tokens"])
                self.loss.append(math.nan if loss is None else loss)
                self.rate.append(line["rate"])
                self.seconds.append(line["seconds"])
                self.life.append(line["incarnation"])
            case "probe":
                self.probes.append(line)
            case "skipped":
                self.skipped.append(line["tokens"])
            case _:
                pass

    @property
    def end(self) -> int | None:
        """The tokens of the last step that was told, None if none was."""
        return self.tokens[-1] if self.tokens else None

    def upto(self, tokens: int) -> int:
        """Return how many steps ended at `tokens` or before."""
        return bisect_right(self.tokens, tokens)

    def recent_loss(self, tokens: int, last: int = 20) -> tuple[float | None, int]:
        """Return the mean loss of the last steps up to a token, and of how many steps it is."""
        losses: list[float] = []
        for index in range(self.upto(tokens) - 1, -1, -1):
            if len(losses) == last:
                break
            if math.isfinite(self.loss[index]):
                losses.append(self.loss[index])
        return (sum(losses) / len(losses), len(losses)) if losses else (None, 0)


def read(path: Path) -> Series:
    """Return the journal's lines that hold, as `ground.journal.read` would, without keeping each.

    Raises Corrupt for a line that is JSON but no line of a journal.
    """
    series = Series()
    for number, line in _lines(path):
        try:
            series._take(line)
        except (KeyError, TypeError, AttributeError) as error:
            raise Corrupt(
                f"{path}:{number} is not a journal line", hint="type: ramify verify"
            ) from error
    return series


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            try:
                yield number, json.loads(text)
            except json.JSONDecodeError:
                continue  # torn by a kill: the tokens it told of are told again


@dataclass(frozen=True)
class Thinned:
    """A series on a common grid: per bucket the mean, least and largest loss; NaN where no step ended."""

    first: int  # the bucket that its lists begin with
    loss: list[float]
    low: list[float]
    high: list[float]
    rate: list[float]  # of the last step of the bucket


def grid(all_tokens: Sequence[Sequence[int]], most: int) -> list[int]:
    """Return the tokens at which buckets end: every step if they are few, else at most about `most`.

    Half of the buckets lie evenly and half geometrically, so that both kinds of axis are well drawn.
    """
    found: set[int] = set()
    for tokens in all_tokens:
        found.update(tokens if len(tokens) <= 4 * most else ())
    longest = max((tokens[-1] for tokens in all_tokens if len(tokens)), default=0)
    if len(found) <= most and all(len(tokens) <= 4 * most for tokens in all_tokens):
        return sorted(found)
    first = min(tokens[0] for tokens in all_tokens if len(tokens))
    half = most // 2
    even = {round(longest * i / half) for i in range(1, half + 1)}
    growth = (longest / first) ** (1 / half)
    return sorted({max(round(first * growth**i), first) for i in range(half)} | even | {longest})


def thin(series: Series, edges: Sequence[int]) -> Thinned:
    """Return a series on the grid whose buckets end at `edges`."""
    if not series.tokens:
        return Thinned(0, [], [], [], [])
    first = bisect_left(edges, series.tokens[0])
    columns: tuple[list[float], ...] = ([], [], [], [])
    start = 0
    for edge in edges[first:]:
        stop = bisect_right(series.tokens, edge, lo=start)
        losses = [x for x in series.loss[start:stop] if math.isfinite(x)]
        told = (sum(losses) / len(losses), min(losses), max(losses)) if losses else (math.nan,) * 3
        rate = series.rate[stop - 1] if stop > start else math.nan
        for column, value in zip(columns, (*told, rate), strict=True):
            column.append(value)
        start = stop
        if stop == len(series.tokens):
            break
    return Thinned(first, *columns)
