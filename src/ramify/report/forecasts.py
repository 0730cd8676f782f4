"""The running record of forecasts: each held against the cooldown that it foretold, once that was run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ramify.ground.artifact import Record
from ramify.report.tree import RunFolder
from ramify.train.steps import Cooldown

if TYPE_CHECKING:
    from ramify.report.summary import Evaluation


@dataclass(frozen=True)
class Forecasted:
    """One forecast in mean bits per byte, and what was seen if its cooldown was run and evaluated."""

    name: str
    trunk: str
    leaves_at: int
    ends_at: int
    bits_per_byte: float
    low: float
    high: float
    level: float
    method: str
    learned_from: int
    branch: str | None = None  # the cooldown that it foretold, if that is there
    seen: float | None = None
    made_before: bool | None = None  # whether it was made before its cooldown was begun

    @property
    def error(self) -> float | None:
        """How far what was seen lies above what was foretold."""
        return None if self.seen is None else self.seen - self.bits_per_byte

    @property
    def is_inside(self) -> bool | None:
        """Whether what was seen lies within the interval."""
        return None if self.seen is None else self.low <= self.seen <= self.high

    def json(self) -> dict[str, Any]:
        """Return it as plain data, with its error."""
        return {**self.__dict__, "error": self.error, "inside": self.is_inside}


@dataclass(frozen=True)
class Track:
    """How the scored forecasts did: those that were made before what they foretold was begun."""

    count: int
    inside: int
    level: float  # the share that should have been inside
    mean_absolute_error: float


def forecasts(
    records: Mapping[str, Record], runs: Mapping[str, RunFolder], evaluations: Iterable[Evaluation]
) -> tuple[Forecasted, ...]:
    """Return every forecast of a lab, scored where it can be, in the order in which they were made."""
    judged = list(evaluations)
    made = [record for record in records.values() if record.kind == "forecast"]
    return tuple(_scored(record, records, runs, judged) for record in sorted(made, key=_when))


def _when(record: Record) -> tuple[str, str]:
    return record.made, record.name


def _scored(
    record: Record,
    records: Mapping[str, Record],
    runs: Mapping[str, RunFolder],
    judged: list[Evaluation],
) -> Forecasted:
    facts, trunk = record.facts, record.parents["trunk"]
    branch = next(_foretold(record, runs), None)
    left = record.parents["left"]["name"]
    like = next((e.like for e in judged if e.name == left), None)
    ends = [] if branch is None else [
        e for e in judged if (e.model, e.at) == (branch.name, facts["ends_at"]) and e.like == like
    ]  # fmt: skip
    bits = list(ends[0].bits.values()) if ends else []
    return Forecasted(
        name=record.name,
        trunk=trunk["name"],
        leaves_at=trunk["at"],
        ends_at=facts["ends_at"],
        bits_per_byte=facts["bits_per_byte"],
        low=facts["low"],
        high=facts["high"],
        level=facts["level"],
        method=facts["method"],
        learned_from=facts["learned_from"],
        branch=branch.name if branch else None,
        seen=sum(bits) / len(bits) if bits else None,
        made_before=record.made <= branch.born["born"] if branch else None,
    )


def _foretold(record: Record, runs: Mapping[str, RunFolder]) -> Iterator[RunFolder]:
    trunk = record.parents["trunk"]
    asked = (trunk["name"], trunk["at"], record.facts["ends_at"], record.step["shape"])
    for run in runs.values():
        step = run.run
        if isinstance(step, Cooldown):
            of = (step.parent.name, step.parent.at, step.tokens, step.descent.shape)
            if of == asked and step.mixture is None and run.end == step.tokens:
                yield run


def track(found: Iterable[Forecasted]) -> Track | None:
    """Return how the forecasts did that were made beforehand and scored; None without one."""
    scored = [one for one in found if one.seen is not None and one.made_before]
    if not scored:
        return None
    errors = [abs(one.error or 0.0) for one in scored]
    return Track(
        count=len(scored),
        inside=sum(bool(one.is_inside) for one in scored),
        level=sum(one.level for one in scored) / len(scored),
        mean_absolute_error=sum(errors) / len(errors),
    )


def in_words(track: Track) -> str:
    """Return a track record in words."""
    return (
        f"{track.inside} of {track.count} inside their interval "
        f"({track.level:.0%} should be); mean error {track.mean_absolute_error:.3f} bits per byte"
    )
