"""Every step of a lab in one table, and what the tree cost against its controls and one-by-one runs.

Everything is read from records and journals; nothing is measured or guessed here but the seconds of
one-by-one training, which are its FLOPs at the speed that the tree itself went at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from ramify.ground.artifact import ASKED, Record, partial
from ramify.report.forecasts import Forecasted, forecasts
from ramify.report.quality import DATA_KINDS
from ramify.report.tree import RunFolder, others_of, runs_of
from ramify.runs.lab import Lab, Place, read_json
from ramify.scaling.flops import forward_flops, six_nd
from ramify.train.steps import AVERAGES, Cooldown, Cosine

LAST_STEPS = 20  # over which the loss of a point is averaged
DecayState = Literal["decayed", "constant", "part way", "averaged", ""]
RUN_KINDS = ("trunk", "cosine", "cooldown")


@dataclass(frozen=True)
class Row:
    """One step that is there. Of a run, numbers are those of its newest point."""

    name: str
    kind: str
    state: Literal["done", "partial"]
    parent: str | None = None  # the run that it left, averages or evaluates
    leaves_at_tokens: int | None = None
    ends_at_tokens: int | None = None  # the newest point
    wanted_tokens: int | None = None  # how far it was last asked to go
    told_tokens: int | None = None  # how far its journal tells
    loss: float | None = None  # nats: the mean of its last steps
    loss_steps: int = 0
    bits_per_byte: Mapping[str, float] = field(default_factory=dict)
    standard_error: Mapping[str, float | None] = field(default_factory=dict)
    bits_from: str | None = None  # which evaluation or probe told them
    decayed: bool = False
    decay: DecayState = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    step_seconds: float | None = None  # of training steps alone
    tokens: int = 0  # trained by this step itself
    replayed_tokens: int = 0
    skipped_steps: int = 0
    diverged_at_tokens: int | None = None  # where it blew up, as it was asked for
    flops: float = 0.0
    parameters: int | None = None
    peak_rate: float | None = None
    mixture: Mapping[str, float] = field(default_factory=dict)  # of its last batch
    stages: tuple[tuple[int, Mapping[str, float]], ...] = ()  # (from tokens on, mixture)
    seed: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None
    made: str = ""

    @property
    def is_run(self) -> bool:
        """Whether it trains."""
        return self.kind in RUN_KINDS

    @property
    def is_average(self) -> bool:
        """Whether it is a mean of weights."""
        return self.kind in AVERAGES

    @property
    def mean_bits(self) -> float | None:
        """The plain mean of bits per byte over its domains."""
        bits = self.bits_per_byte.values()
        return sum(bits) / len(bits) if bits else None


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found of one model, and what decides whether another is like it."""

    name: str
    model: str
    at: int | None  # the tokens of the model
    decay: DecayState
    scores: Mapping[str, Mapping[str, Any]]
    like: tuple[Any, ...]  # equal for evaluations of the same corpora, length and limit

    @property
    def bits(self) -> dict[str, float]:
        """Bits per byte by domain."""
        return {domain: score["bits_per_byte"] for domain, score in self.scores.items()}

    @property
    def errors(self) -> dict[str, float | None]:
        """The standard errors of `bits`."""
        return {domain: score["standard_error"] for domain, score in self.scores.items()}


Judged = Mapping[tuple[str, int | None], tuple[Evaluation, ...]]
"""The evaluations of each point: by model and tokens."""


def _by_model(evaluations: Iterable[Evaluation]) -> Judged:
    found: dict[tuple[str, int | None], tuple[Evaluation, ...]] = {}
    for one in evaluations:
        found[one.model, one.at] = (*found.get((one.model, one.at), ()), one)
    return found


@dataclass(frozen=True)
class Amount:
    """Tokens, FLOPs counted per matrix product, seconds of one worker, and 6ND beside the FLOPs."""

    tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    six_nd: float = 0.0


@dataclass(frozen=True)
class Spent:
    """What was spent; one_by_one is a cosine run from scratch for each answer of a cooldown."""

    tree: Amount
    controls: Amount
    one_by_one: Amount  # its seconds are reckoned at the tree's speed
    answers: int  # finished cooldowns, those that differ only in their descent counted once

    @property
    def answers_told(self) -> str:
        """How many answers there are, in words."""
        return f"{self.answers} answer{'s' * (self.answers != 1)}"

    @property
    def ratio(self) -> float | None:
        """How many times the tree's FLOPs one-by-one training costs, None without an answer."""
        return self.one_by_one.flops / self.tree.flops if self.answers else None


@dataclass(frozen=True)
class Summary:
    """A lab as it stands."""

    rows: tuple[Row, ...]
    evaluations: tuple[Evaluation, ...]
    spent: Spent
    runs: Mapping[str, RunFolder]
    records: Mapping[str, Record]  # of finished steps that are no runs

    @cached_property
    def forecasts(self) -> tuple[Forecasted, ...]:
        """Every forecast, scored where its cooldown was run and evaluated."""
        return forecasts(self.records, self.runs, self.evaluations)

    @cached_property
    def by_name(self) -> Mapping[str, Row]:
        """The rows by name."""
        return {row.name: row for row in self.rows}

    def row(self, name: str) -> Row:
        """Return the row of a step."""
        return self.by_name[name]

    def evaluations_of(self, model: str, at: int | None) -> tuple[Evaluation, ...]:
        """Return the evaluations of exactly this point."""
        return self._by_model.get((model, at), ())

    @cached_property
    def _by_model(self) -> Mapping[tuple[str, int | None], tuple[Evaluation, ...]]:
        return _by_model(self.evaluations)

    @property
    def domains(self) -> list[str]:
        """Every domain that anything was scored on, those of evaluations first, in their order."""
        evaluated = [d for e in self.evaluations for d in e.scores]
        return list(dict.fromkeys([*evaluated, *(d for r in self.rows for d in r.bits_per_byte)]))

    def json(self) -> dict[str, Any]:
        """Return the summary as plain data, as `ramify show --json` prints it."""
        return {
            "steps": [asdict(row) for row in self.rows],
            "spent": {**asdict(self.spent), "ratio": self.spent.ratio},
            "forecasts": [one.json() for one in self.forecasts],
        }


@dataclass(frozen=True)
class _Found:
    """What lies in a lab, before it is put into rows."""

    runs: Mapping[str, RunFolder]
    records: Mapping[str, Record]
    evaluations: Mapping[str, Evaluation]
    judged: Judged


def summary(lab: Lab) -> Summary:
    """Return what stands in a lab: data steps, then runs as the tree grows, averages, evaluations."""
    runs = {run.name: run for run in runs_of(lab)}
    others = list(others_of(lab))
    records = {place.name: record for place, record in others if record is not None}
    evaluations = tuple(_evaluations(records, runs))
    named = {one.name: one for one in evaluations}
    found = _Found(runs, records, named, _by_model(evaluations))
    rows = [_run_row(run, found.judged) for run in runs.values()]
    rows += [_other_row(lab, place, record, found) for place, record in others]
    return Summary(tuple(sorted(rows, key=_rank)), evaluations, _spent(runs), runs, records)


def _rank(row: Row) -> int:
    order = (*DATA_KINDS, "run", *AVERAGES, "evaluate", "forecast", "ablation")
    kind = "run" if row.is_run else row.kind
    return order.index(kind) if kind in order else len(order)


def _run_row(run: RunFolder, judged: Judged) -> Row:
    end = run.end
    told = run.series.end
    at = end if end is not None else told
    loss, steps = run.series.recent_loss(at, LAST_STEPS) if at else (None, 0)
    bits, errors, source = _bits(run, end, judged)
    wall, cpu = run.cost
    reached = max(end or run.begins_at, run.begins_at + run.line.step_tokens)
    schedule = run.line.root.model_dump(include={"schedule"})["schedule"]
    return Row(
        name=run.name,
        kind=run.run.kind(),
        state="done" if end is not None and end >= run.run.tokens else "partial",
        parent=run.parent,
        leaves_at_tokens=run.run.leaves_at if isinstance(run.run, Cooldown) else None,
        ends_at_tokens=end,
        wanted_tokens=run.run.tokens,
        told_tokens=told,
        loss=loss,
        loss_steps=steps,
        bits_per_byte=bits,
        standard_error=errors,
        bits_from=source,
        decayed=run.line.decayed(end) if end is not None else False,
        decay=decay_of(run, end),
        seconds=wall or run.step_seconds,
        cpu_seconds=cpu,
        step_seconds=run.step_seconds,
        tokens=run.tokens,
        replayed_tokens=run.replayed,
        skipped_steps=len(run.series.skipped),
        diverged_at_tokens=run.diverged_at,
        flops=run.flops(run.tokens),
        parameters=run.line.root.model.parameters,
        peak_rate=schedule["peak"],
        mixture=run.line.mixture_at(reached - run.line.step_tokens),
        stages=tuple(run.line.stages(reached)),
        seed=run.line.root.seed,
        inputs={where: str(ref) for where, ref in run.run.refs().items()},
        facts=dict(run.newest.facts) if run.newest else {},
        fingerprint=run.newest.fingerprint if run.newest else None,
        made=run.newest.made if run.newest else "",
    )


def decay_of(run: RunFolder, tokens: int | None) -> DecayState:
    """Return where the learning rate stands at a point: the end of its descent, on it, or constant."""
    if tokens is None:
        return ""
    if run.line.decayed(tokens):
        return "decayed"
    if run.line.is_schedule_free:
        return "averaged"
    return "constant" if run.run.kind() == "trunk" else "part way"


def _bits(
    run: RunFolder, end: int | None, judged: Judged
) -> tuple[dict[str, float], dict[str, float | None], str | None]:
    """Return bits per byte of the newest point: as evaluated if it was, else as last probed."""
    if (found := best_evaluation(run.name, end, judged)) is not None:
        return found.bits, found.errors, found.name
    probes = [p for p in run.series.probes if end is None or p["tokens"] <= end]
    if not probes:
        return {}, {}, None
    last = probes[-1]
    return last["bits_per_byte"], last["standard_error"], f"probe at {last['tokens']}"


def best_evaluation(model: str, at: int | None, judged: Judged) -> Evaluation | None:
    """Return the evaluation of exactly this point that read the most, None if there is none."""
    found = judged.get((model, at), ())
    return max(found, key=lambda e: sum(s["bytes"] for s in e.scores.values()), default=None)


def _other_row(lab: Lab, place: Place, record: Record | None, found: _Found) -> Row:
    if record is None:
        return Row(place.name, _begun_kind(lab, place), "partial")
    row = Row(
        name=place.name,
        kind=record.kind,
        state="done",
        seconds=record.cost.get("seconds", 0.0),
        cpu_seconds=record.cost.get("cpu_seconds", 0.0),
        seed=record.step.get("seed"),
        inputs={where: _ref(parent) for where, parent in record.parents.items()},
        facts=record.facts,
        fingerprint=record.fingerprint,
        made=record.made,
    )
    if record.kind in AVERAGES:
        return _average_row(row, record, found)
    return _evaluate_row(row, record, found) if record.kind == "evaluate" else row


def _average_row(row: Row, record: Record, found: _Found) -> Row:
    best = best_evaluation(row.name, record.facts["tokens"], found.judged)
    run = _run_of(record.name, found)
    return replace(
        row,
        parent=next(iter(record.parents.values()))["name"],
        ends_at_tokens=record.facts["tokens"],
        decay="averaged",
        bits_per_byte=best.bits if best else {},
        standard_error=best.errors if best else {},
        bits_from=best.name if best else None,
        parameters=run.line.root.model.parameters if run else None,
    )


def _evaluate_row(row: Row, record: Record, found: _Found) -> Row:
    own = found.evaluations[row.name]
    run = _run_of(own.model, found)
    root = run.line.root if run else None
    tokens = sum(score["tokens"] for score in own.scores.values())
    return replace(
        row,
        parent=own.model,
        ends_at_tokens=own.at,
        decayed=own.decay == "decayed",
        decay=own.decay,
        bits_per_byte=own.bits,
        standard_error=own.errors,
        bits_from=own.name,
        flops=forward_flops(root.model, record.step["seq_len"], tokens) if root else 0.0,
    )


def _run_of(model: str, found: _Found) -> RunFolder | None:
    """Return the run that a model is of, itself or as a mean of its weights; None if it is not there."""
    while model not in found.runs:
        record = found.records.get(model)
        if record is None or record.kind not in AVERAGES:
            return None
        model = next(iter(record.parents.values()))["name"]
    return found.runs[model]


def _begun_kind(lab: Lab, place: Place) -> str:
    asked = partial(lab.at(place.name)) / ASKED
    return str(read_json(asked).get("kind", "")) if asked.is_file() else ""


def _ref(parent: Mapping[str, Any]) -> str:
    return parent["name"] if parent["at"] is None else f"{parent['name']}@{parent['at']}"


def _evaluations(
    records: Mapping[str, Record], runs: Mapping[str, RunFolder]
) -> Iterator[Evaluation]:
    for name, record in records.items():
        if record.kind != "evaluate":
            continue
        model, at = record.parents["model"]["name"], record.parents["model"]["at"]
        corpora = {
            where: p["fingerprint"] for where, p in record.parents.items() if where != "model"
        }
        decay: DecayState = ""
        if (run := runs.get(model)) is not None:
            at = run.run.tokens if at is None else at
            decay = decay_of(run, at)
        elif (made := records.get(model)) is not None:
            at, decay = made.facts.get("tokens"), "averaged" if made.kind in AVERAGES else ""
        like = (
            *sorted(corpora.items()),
            record.step["seq_len"],
            record.step["limit_tokens"],
        )
        yield Evaluation(name, model, at, decay, record.facts["scores"], like)


def _spent(runs: Mapping[str, RunFolder]) -> Spent:
    tree = [run for run in runs.values() if not isinstance(run.run, Cosine)]
    controls = [run for run in runs.values() if isinstance(run.run, Cosine)]
    cools = [run for run in tree if isinstance(run.run, Cooldown)]
    answers = {run.line.answer: run for run in cools if run.end == run.run.tokens}.values()
    whole = _amount(tree)
    flops = sum(run.flops(run.run.tokens) for run in answers)
    return Spent(
        tree=whole,
        controls=_amount(controls),
        one_by_one=Amount(
            tokens=sum(run.run.tokens for run in answers),
            flops=flops,
            seconds=flops * whole.seconds / whole.flops if whole.flops else 0.0,
            six_nd=sum(six_nd(run.line.root.model.parameters, run.run.tokens) for run in answers),
        ),
        answers=len(answers),
    )


def _amount(runs: Iterable[RunFolder]) -> Amount:
    """Add up what runs cost, replays included."""
    trained = [(run, run.tokens + run.replayed) for run in runs]
    return Amount(
        tokens=sum(tokens for _, tokens in trained),
        flops=sum(run.flops(tokens) for run, tokens in trained),
        seconds=sum(run.cost[0] or run.step_seconds for run, _ in trained),
        six_nd=sum(six_nd(run.line.root.model.parameters, tokens) for run, tokens in trained),
    )


def error_of_mean(errors: Mapping[str, float | None]) -> float | None:
    """Return the standard error of a plain mean over domains, None where one domain's is not known."""
    known = [error for error in errors.values() if error is not None]
    if not known or len(known) < len(errors):
        return None
    return math.sqrt(sum(error**2 for error in known)) / len(known)
