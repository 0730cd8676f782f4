"""Find in a lab what a person names: a model, the line it is of, its sources and their tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ramify.ground import artifact
from ramify.ground.artifact import Record
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.units import parse_count, show_count
from ramify.runs import job
from ramify.runs.lab import Lab
from ramify.train import places
from ramify.train.line import Line
from ramify.train.steps import AVERAGES, Run


@dataclass(frozen=True)
class Model:
    """A model of a lab: where its weights are, the line that it is of, and at which token."""

    name: str
    folder: Path
    line: Line
    tokens: int
    averaged: bool

    @property
    def state(self) -> str:
        """Whether its rate has decayed, in words: like is compared with like."""
        if self.averaged:
            return f"average of weights up to {show_count(self.tokens)} tokens"
        decay = "decayed" if self.line.decayed(self.tokens) else "not decayed"
        return f"{show_count(self.tokens)} tokens, {decay}"


def line_of(lab: Lab, run: str) -> Line:
    """Return the line of a run that is in a lab; NotFound if it is none."""
    born = places.read_run(lab.at(run))
    if born is None:
        runs = ", ".join(place.name for place in lab.places() if place.is_run) or "none"
        raise NotFound(f"{run} is no run of {lab.folder}", hint=f"runs: {runs}")
    steps = tuple(job.parse(step) for step in born["lineage"])
    return Line([step for step in steps if isinstance(step, Run)])


def find(lab: Lab, target: str) -> Model:
    """Return the model that `NAME[@TOKENS]` stands for: a run's point, its newest, or an average.

    An export stands for the model that it was made of. Raises NotFound with the points that are there.
    """
    name, _, text = target.partition("@")
    place = lab.place(name)
    if not place.is_run:
        record = artifact.require_sound(place.folder, hashes=False)
        if record.kind == "export":
            made_of = record.parents[f"models.{record.facts['model']}"]
            at = "" if made_of["at"] is None else f"@{made_of['at']}"
            return find(lab, f"{made_of['name']}{at}")
        if record.kind not in AVERAGES:
            article = "an" if record.kind[0] in "aeiou" else "a"
            raise BadInput(
                f"{name} is {article} {record.kind}, no model", hint="name a run or an average"
            )
        line, tokens = line_of(lab, _run_of(lab, record)), int(record.facts["tokens"])
        return Model(target, place.folder, line, tokens, averaged=True)
    points = places.points(place.folder)
    tokens = parse_count(text) if text else max(points, default=0)
    if tokens not in points:
        there = ", ".join(map(str, points)) or "none yet"
        raise NotFound(f"{name} has no point at {tokens} tokens", hint=f"points: {there}")
    line = line_of(lab, name)
    return Model(f"{name}@{tokens}", points[tokens], line, tokens, averaged=line.is_schedule_free)


def _run_of(lab: Lab, record: Record) -> str:
    """Return the run whose weights a mean of weights is of; of several, the first."""
    while record.kind in AVERAGES:
        above = next(iter(record.parents.values()))["name"]
        if lab.place(above).is_run:
            return str(above)
        record = artifact.require_sound(lab.at(above), hashes=False)
    raise NotFound(f"{record.name} is a mean of no run", hint="name a run or an average")


def sources_of(lab: Lab, line: Line) -> dict[str, Path]:
    """Return the folders of the tokenized sources of a line, by the name that its mixtures use."""
    refs = dict(line.root.sources)
    for branch in line.branches:
        refs.update(branch.sources)
    return {name: lab.at(refs[name].name) for name in line.source_names}


def tokenizer_of(lab: Lab, line: Line) -> Path:
    """Return the folder of the tokenizer that the sources of a line were made with."""
    folder = next(iter(sources_of(lab, line).values()))
    record = artifact.require_sound(folder, hashes=False)
    return lab.at(record.parents["tokenizer"]["name"])
