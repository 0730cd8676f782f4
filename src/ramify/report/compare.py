"""Which evaluated models may be compared, what the difference is, and what of them is not alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ramify.evals import scores
from ramify.ground.errors import Corrupt, Mismatch, NotFound
from ramify.ground.units import show_count
from ramify.report.summary import DecayState, Summary, decay_of
from ramify.report.tree import RunFolder
from ramify.runs.lab import Lab
from ramify.train.documents import Difference
from ramify.train.steps import Cooldown, Cosine

BUDGET = "The same budget, by cosine from scratch"
LEFT = "The point that it left: of another decay state and of fewer tokens"
MEAN = "mean"  # over domains, each counting the same


@dataclass(frozen=True)
class Pair:
    """One model beside another; `differences` are empty where it was `refused`, with why."""

    question: str
    model: str
    at: int
    other: str
    other_at: int
    decay: DecayState  # of the model, and
    other_decay: DecayState  # of the other: told beside each, whether or not they agree
    unlike: tuple[str, ...] = ()  # what differs between them besides what is asked
    differences: Mapping[str, Difference] = field(default_factory=dict)  # model - other
    refused: str | None = None


def pairs(lab: Lab, summary: Summary) -> list[Pair]:
    """Return each finished cooldown beside the cosine of its budget, and beside the point that it left."""
    runs = summary.runs.values()
    cools = [r for r in runs if isinstance(r.run, Cooldown) and r.end == r.run.tokens]
    return [
        pair
        for ask in (_with_cosines, _with_parent)
        for run in cools
        for pair in ask(lab, summary, run)
    ]


def alike_until(run: RunFolder, other: RunFolder, end: int) -> int:
    """Return the token up to which two runs of one seed read the same batches; 0 if their seeds differ."""
    if run.line.root.seed != other.line.root.seed:
        return 0
    until = _first_other_mixture(run, other, end)
    return end if until is None else until


def _with_cosines(lab: Lab, summary: Summary, run: RunFolder) -> Iterator[Pair]:
    for other in summary.runs.values():
        alike = isinstance(other.run, Cosine) and other.end == run.end == other.run.tokens
        if not alike or other.line.root.model != run.line.root.model:
            continue
        end = run.run.tokens
        if not all(summary.evaluations_of(one.name, end) for one in (run, other)):
            continue  # the results say which were not evaluated
        pair = Pair(
            BUDGET, run.name, end, other.name, end, decay_of(run, end), decay_of(other, end)
        )
        if (until := _first_other_mixture(run, other, end)) is not None:
            why = f"their mixtures differ from token {show_count(until)} on"
            yield replace(pair, refused=why)
            continue
        seeds = run.line.root.seed, other.line.root.seed
        unlike = (f"seeds {seeds[0]} and {seeds[1]}",) if seeds[0] != seeds[1] else ()
        yield _measured(lab, summary, replace(pair, unlike=unlike))


def _with_parent(lab: Lab, summary: Summary, run: RunFolder) -> Iterator[Pair]:
    assert isinstance(run.run, Cooldown)
    parent, at = run.run.parent.name, run.run.leaves_at
    end, above = run.run.tokens, summary.runs.get(parent)
    left: DecayState = "averaged" if run.run.parent.at is None else ""
    left = decay_of(above, at) if above else left
    pair = Pair(LEFT, run.name, end, parent, at, decay_of(run, end), left)
    measured = _measured(lab, summary, pair)
    if measured.refused is None:
        yield measured


def _first_other_mixture(run: RunFolder, other: RunFolder, end: int) -> int | None:
    edges = {at for line in (run.line, other.line) for at, _ in line.stages(end)}
    differ = (at for at in sorted(edges) if run.line.mixture_at(at) != other.line.mixture_at(at))
    return next(differ, None)


def _measured(lab: Lab, summary: Summary, pair: Pair) -> Pair:
    """Return the pair with its differences, document by document, or with why there are none."""
    ours = summary.evaluations_of(pair.model, pair.at)
    theirs = summary.evaluations_of(pair.other, pair.other_at)
    both = [(a, b) for a in ours for b in theirs if a.like == b.like]
    if not both:
        return replace(pair, refused="not both evaluated on the same corpora")
    a, b = both[0]
    try:
        found = scores.compare(lab.at(a.name), lab.at(b.name))
    except (Mismatch, NotFound, Corrupt) as error:
        return replace(pair, refused=error.message)
    return replace(pair, differences={**found, MEAN: _mean(found)})


def _mean(found: Mapping[str, Difference]) -> Difference:
    errors = [d.standard_error for d in found.values() if d.standard_error is not None]
    known = len(errors) == len(found)
    return Difference(
        bits_per_byte=sum(d.bits_per_byte for d in found.values()) / len(found),
        standard_error=math.sqrt(sum(e**2 for e in errors)) / len(found) if known else None,
        documents=sum(d.documents for d in found.values()),
    )
