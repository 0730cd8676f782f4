"""Which evaluated models may be compared, what the difference is, and what of them is not alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ramify.evals import scores
from ramify.ground.errors import Corrupt, Mismatch, NotFound
from ramify.ground.units import show_count
from ramify.report.summary import Evaluation, Summary
from ramify.report.tree import RunFolder
from ramify.runs.lab import Lab
from ramify.train.documents import Difference
from ramify.train.steps import Cooldown, Cosine

MEAN = "mean"  # over domains, each counting the same


@dataclass(frozen=True)
class Pair:
    """One model beside another; `differences` are empty where it was `refused`, with why."""

    question: str
    model: str
    at: int
    other: str
    other_at: int
    unlike: tuple[str, ...] = ()  # what differs between them besides what is asked
    differences: Mapping[str, Difference] = field(default_factory=dict)  # model - other
    refused: str | None = None


def pairs(lab: Lab, summary: Summary) -> list[Pair]:
    """Return each finished cooldown beside the cosine of its budget and the point that it left."""
    return [
        pair
        for run in summary.runs.values()
        if isinstance(run.run, Cooldown) and run.end == run.run.tokens
        for pair in (*_with_cosines(lab, summary, run), *_with_parent(lab, summary, run))
    ]


def _with_cosines(lab: Lab, summary: Summary, run: RunFolder) -> Iterator[Pair]:
    for other in summary.runs.values():
        alike = isinstance(other.run, Cosine) and other.end == run.end == other.run.tokens
        if not alike or other.line.root.model != run.line.root.model:
            continue
        end = run.run.tokens
        pair = Pair("the same budget, by cosine from scratch", run.name, end, other.name, end)
        if (until := _first_other_mixture(run, other, end)) is not None:
            why = f"their mixtures differ from token {show_count(until)} on"
            yield Pair(**{**vars(pair), "refused": why})
            continue
        seeds = run.line.root.seed, other.line.root.seed
        unlike = (f"seeds {seeds[0]} and {seeds[1]}",) if seeds[0] != seeds[1] else ()
        yield _measured(lab, summary, Pair(**{**vars(pair), "unlike": unlike}))


def _with_parent(lab: Lab, summary: Summary, run: RunFolder) -> Iterator[Pair]:
    assert isinstance(run.run, Cooldown)
    parent, at = run.run.parent.name, run.run.leaves_at
    more = f"{show_count(run.run.tokens - at)} tokens more"
    pair = Pair(
        "what the descent brought, over the point where it left",
        run.name,
        run.run.tokens,
        parent,
        at,
        unlike=("decayed against a rate that is not", more),
    )
    measured = _measured(lab, summary, pair)
    if measured.refused is None:
        yield measured


def _first_other_mixture(run: RunFolder, other: RunFolder, end: int) -> int | None:
    edges = {at for line in (run.line, other.line) for at, _ in line.stages(end)}
    differ = (at for at in sorted(edges) if run.line.mixture_at(at) != other.line.mixture_at(at))
    return next(differ, None)


def _measured(lab: Lab, summary: Summary, pair: Pair) -> Pair:
    """Return the pair with its differences, document by document, or with why there are none."""
    ours = _evaluations(summary, pair.model, pair.at)
    theirs = _evaluations(summary, pair.other, pair.other_at)
    both = [(a, b) for a in ours for b in theirs if a.like == b.like]
    if not both:
        return Pair(**{**vars(pair), "refused": "not both evaluated on the same corpora"})
    a, b = both[0]
    try:
        found = scores.compare(lab.at(a.name), lab.at(b.name))
    except (Mismatch, NotFound, Corrupt) as error:
        return Pair(**{**vars(pair), "refused": error.message})
    return Pair(**{**vars(pair), "differences": {**found, MEAN: _mean(found)}})


def _evaluations(summary: Summary, model: str, at: int) -> list[Evaluation]:
    return [e for e in summary.evaluations if e.model == model and e.at == at]


def _mean(found: Mapping[str, Difference]) -> Difference:
    errors = [d.standard_error for d in found.values() if d.standard_error is not None]
    known = len(errors) == len(found)
    return Difference(
        bits_per_byte=sum(d.bits_per_byte for d in found.values()) / len(found),
        standard_error=math.sqrt(sum(e**2 for e in errors)) / len(found) if known else None,
        documents=sum(d.documents for d in found.values()),
    )
