"""One job of a worker: a step as JSON, with where its inputs are and what of it is wanted."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from ramify.curate.quality_steps import Annotate, Audit, Classify, Score, Select, Sheet
from ramify.curate.selection_steps import (
    Apportion,
    Contamination,
    Decontaminate,
    DomainRecall,
    Fetch,
    NgramIndex,
    Remove,
)
from ramify.curate.steps import Dedup, Read, Sift
from ramify.evals.steps import Ablation, Evaluate, Forecast
from ramify.ground.errors import BadInput
from ramify.ground.step import Step
from ramify.release.steps import Complete, Export
from ramify.tokens.steps import BroughtTokenizer, BroughtTokens, Tokenize, Tokenizer
from ramify.train.steps import Average, Cooldown, Cosine, EmaAverage, Interpolate, Run, Trunk

DRIVER = "RAMIFY_DRIVER"  # in a worker's environment: the process that it works for

KINDS: dict[str, type[Step]] = {
    cls.kind(): cls
    for cls in (
        Read,
        Dedup,
        Annotate,
        Sheet,
        Audit,
        Classify,
        Score,
        Select,
        Decontaminate,
        Contamination,
        NgramIndex,
        DomainRecall,
        Fetch,
        Sift,
        Remove,
        Apportion,
        Tokenizer,
        BroughtTokenizer,
        Tokenize,
        BroughtTokens,
        Trunk,
        Cosine,
        Cooldown,
        Average,
        EmaAverage,
        Interpolate,
        Evaluate,
        Forecast,
        Ablation,
        Export,
        Complete,
    )
}


class Given(BaseModel):
    """A resolved input: a finished folder and its fingerprint."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    fingerprint: str


class Job(BaseModel):
    """All that a worker is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: tuple[
        dict[str, Any], ...
    ]  # the step last; before it, root first, the runs it descends from
    inputs: dict[str, Given] = {}
    folder: str
    lock: str
    points: tuple[int, ...] = ()
    asked: dict[str, Any] = {}  # the identity of a step that is no run
    threads: int = 1
    parallel: str = "none"
    ray: str | None = None  # where the shards of a step are made; None: in the worker itself
    cores: int = 1  # of a Ray of its own

    def lineage(self) -> tuple[Step, ...]:
        """Return the steps as what they are."""
        return tuple(parse(step) for step in self.steps)


def told(step: Step) -> dict[str, Any]:
    """Return a step as JSON with its kind."""
    return {"kind": step.kind(), **step.model_dump(mode="json")}


def parse(step: dict[str, Any]) -> Step:
    """Return the step that its JSON tells of; BadInput for a kind that this version does not know."""
    fields = dict(step)
    kind = fields.pop("kind")
    if kind not in KINDS:
        raise BadInput(f"a step of kind {kind!r} is not known", hint=f"kinds: {', '.join(KINDS)}")
    return KINDS[kind].model_validate(fields)


# the steps that make their shards on a cluster, where there is one
SPREAD = (Read, Dedup, Score, Decontaminate, Contamination, Sift)


def is_spread(step: Step) -> bool:
    """Say whether a step's shards can be made on a cluster."""
    return isinstance(step, SPREAD)


def is_run(step: Step) -> bool:
    """Say whether a step is a training line, which grows in place."""
    return isinstance(step, Run)
