"""One run as it lies in a lab: its line, points, journal and what each of its lives cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ramify.ground import artifact
from ramify.ground.artifact import Record
from ramify.ground.errors import Corrupt
from ramify.report import series
from ramify.report.series import Series
from ramify.runs.job import parse
from ramify.runs.lab import Lab, Place
from ramify.scaling.flops import train_flops
from ramify.train import places
from ramify.train.line import Line
from ramify.train.steps import Cooldown, Run


@dataclass(frozen=True)
class RunFolder:
    """A run that is there, finished or not; what it reads is kept, so that a report reads it once."""

    name: str
    folder: Path

    @cached_property
    def born(self) -> dict[str, Any]:
        """What run.json says."""
        told = places.read_run(self.folder)
        if told is None:
            raise Corrupt(f"{self.folder} has no run.json", hint="type: ramify verify")
        return told

    @cached_property
    def points(self) -> dict[int, Record]:
        """The records of its finished points by token, in order."""
        found = {at: artifact.read_record(f) for at, f in places.points(self.folder).items()}
        return {at: record for at, record in found.items() if record is not None}

    @property
    def newest(self) -> Record | None:
        """The record of its last point."""
        return self.points[max(self.points)] if self.points else None

    @property
    def end(self) -> int | None:
        """The tokens of its last point."""
        return max(self.points, default=None)

    @cached_property
    def line(self) -> Line:
        """The runs from the root to this one; itself as it was last asked for, since a trunk grows."""
        own = self.newest.step if self.newest else self.born["lineage"][-1]
        runs = [parse(step) for step in (*self.born["lineage"][:-1], own)]
        return Line(cast("list[Run]", runs))

    @property
    def run(self) -> Run:
        """The step itself."""
        return self.line.run

    @property
    def diverged_at(self) -> int | None:
        """The tokens at which it blew up, None if it did not or has gone on since."""
        told = places.read_diverged(self.folder)
        at = int(told["tokens"]) if told else None
        return at if at is not None and at > (self.end or 0) else None

    @property
    def parent(self) -> str | None:
        """The run or average that it left, None for a root."""
        return self.run.parent.name if isinstance(self.run, Cooldown) else None

    @property
    def above(self) -> str | None:
        """The run whose line it goes on: the one that it left, or that it left an average of."""
        return str(self.born["lineage"][-2]["name"]) if self.parent else None

    @property
    def begins_at(self) -> int:
        """The tokens at which it begins."""
        return self.line.begins_at

    @cached_property
    def series(self) -> Series:
        """Its journal."""
        return series.read(self.folder / places.JOURNAL)

    @property
    def tokens(self) -> int:
        """The tokens it was trained on itself, up to its last point."""
        return (self.end or self.begins_at) - self.begins_at

    @cached_property
    def replayed(self) -> int:
        """The tokens that were trained on again, for points thought of later."""
        paths = sorted(self.folder.glob("replay-*.jsonl"))
        return sum(len(series.read(path).tokens) for path in paths) * self.line.step_tokens

    def flops(self, tokens: int) -> float:
        """Return the FLOPs of training its network on so many tokens, counted per product."""
        return train_flops(self.line.root.model, self.line.root.seq_len, tokens)

    @cached_property
    def cost(self) -> tuple[float, float]:
        """Wall and CPU seconds of its lives up to its last point: steps, probes and saving.

        Each life's last point tells what the life had cost; a life whose points are all gone again
        is reckoned as its tokens' share of the others.
        """
        lives: dict[int, tuple[int, dict[str, float]]] = {}
        for at, record in self.points.items():
            index = self.series.upto(at) - 1
            life = self.series.life[index] if index >= 0 else 0
            lives[life] = (at, record.cost)
        covered = sum(at - self.series.begins.get(life, 0) for life, (at, _) in lives.items())
        share = self.tokens / covered if covered > 0 else 1.0
        wall, cpu = (
            share * sum(cost.get(key, 0.0) for _, cost in lives.values())
            for key in ("seconds", "cpu_seconds")
        )
        return wall, cpu

    @property
    def step_seconds(self) -> float:
        """The seconds of its steps alone, up to its last point or, without one, to its journal's end."""
        upto = self.series.upto(self.end) if self.end else len(self.series.tokens)
        seconds = sum(self.series.seconds[:upto])
        told = upto * self.line.step_tokens  # less than was trained where not every step is told
        return seconds * (self.tokens / told) if told and self.end else seconds


def runs_of(lab: Lab) -> Iterator[RunFolder]:
    """Yield the runs of a lab: each root, then what left it, in order of the tokens at which it left."""
    found = [RunFolder(place.name, place.folder) for place in lab.places() if place.is_run]
    names = {run.name for run in found}
    children: dict[str | None, list[RunFolder]] = {}
    for run in found:
        children.setdefault(run.above if run.above in names else None, []).append(run)
    stack = sorted(children.get(None, []), key=_root_order, reverse=True)
    while stack:
        run = stack.pop()
        yield run
        stack.extend(sorted(children.get(run.name, []), key=_branch_order, reverse=True))


def _root_order(run: RunFolder) -> tuple[bool, str]:
    return run.run.kind() != "trunk", run.name


def _branch_order(run: RunFolder) -> tuple[int, int, str]:
    return run.begins_at, run.run.tokens, run.name


def others_of(lab: Lab) -> Iterator[tuple[Place, Record | None]]:
    """Yield the steps that are no runs with their records (None while unfinished), by name."""
    for place in lab.places():
        if not place.is_run:
            yield place, None if place.is_partial else artifact.read_record(place.folder)
