"""What a worker does: the function of each step class, and the one way to call it. Workers only."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

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
from ramify.ground import artifact, spread, stop
from ramify.ground.artifact import Record
from ramify.ground.errors import Mismatch, Stopped
from ramify.ground.step import Input, Step, Tell
from ramify.release.steps import Complete, Export
from ramify.runs.job import Job, is_run, is_spread
from ramify.tokens.steps import BroughtTokenizer, BroughtTokens, Tokenize, Tokenizer
from ramify.train.steps import Average, Cooldown, Cosine, EmaAverage, Interpolate, Run, Trunk

# where each is made, imported when it is: curation and packing start without torch
MAKERS: dict[type[Step], str] = {
    Read: "ramify.curate.read:run_read",
    Dedup: "ramify.curate.dedup:run_dedup",
    Annotate: "ramify.curate.annotate:run_annotate",
    Sheet: "ramify.curate.audit:run_sheet",
    Audit: "ramify.curate.audit:run_audit",
    Classify: "ramify.curate.classify:run_classify",
    Score: "ramify.curate.score:run_score",
    Select: "ramify.curate.select:run_select",
    Decontaminate: "ramify.curate.decontaminate:run_decontaminate",
    Contamination: "ramify.curate.decontaminate:run_contamination",
    NgramIndex: "ramify.curate.gram_index:run_index",
    DomainRecall: "ramify.curate.domains:run_recall",
    Fetch: "ramify.curate.fetch:run_fetch",
    Sift: "ramify.curate.sift:run_sift",
    Remove: "ramify.curate.remove:run_remove",
    Apportion: "ramify.curate.apportion:run_apportion",
    Tokenizer: "ramify.tokens.make:run_tokenizer",
    BroughtTokenizer: "ramify.tokens.make:run_brought",
    Tokenize: "ramify.tokens.make:run_tokenize",
    BroughtTokens: "ramify.tokens.bring:run_brought_tokens",
    Trunk: "ramify.train.make:run_train",
    Cosine: "ramify.train.make:run_train",
    Cooldown: "ramify.train.make:run_train",
    Average: "ramify.train.average:run_average",
    EmaAverage: "ramify.train.average:run_ema",
    Interpolate: "ramify.train.average:run_interpolate",
    Evaluate: "ramify.evals.make:run_evaluate",
    Forecast: "ramify.evals.forecast:run_forecast",
    Ablation: "ramify.evals.ablation:run_ablation",
    Export: "ramify.release.make:run_export",
    Complete: "ramify.release.make:run_complete",
}


def maker(kind: type[Step]) -> Callable[..., Any]:
    """Return the function that makes a kind of step."""
    module, _, function = MAKERS[kind].partition(":")
    return cast("Callable[..., Any]", getattr(importlib.import_module(module), function))


def execute(job: Job, tell: Tell, say: Callable[[str], None], stopping: Callable[[], bool]) -> bool:
    """Do a job; return False if it was told to stop before its end. Finished work stays finished."""
    steps = job.lineage()
    step = steps[-1]
    if is_run(step):
        return _train(job, cast("tuple[Run, ...]", steps), tell, say, stopping)
    folder = Path(job.folder)
    made = artifact.read_record(folder)
    if made is not None:
        _require(made.fingerprint == artifact.digest(job.asked), step.name)
        return True
    inputs = _inputs(job)
    began, cpu = time.monotonic(), time.process_time()
    work = artifact.begin(folder, job.asked)
    cluster = spread.over(job.ray if is_spread(step) else None, job.cores, job.threads)
    with stop.heeding(stopping), cluster:
        facts = maker(type(step))(step, inputs, work, _or_stop(tell, stopping))
    cost = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
    refs = step.refs()
    record = Record(
        name=step.name,
        kind=step.kind(),
        fingerprint=artifact.digest(job.asked),
        asked=job.asked,
        step=job.steps[-1],
        parents={
            where: {
                "name": refs[where].name,
                "at": refs[where].at,
                "fingerprint": given.fingerprint,
            }
            for where, given in inputs.items()
        },
        facts=json.loads(json.dumps(facts)),
        cost={key: round(value, 3) for key, value in cost.items()},
    )
    artifact.seal(work, folder, record)
    return True


def _or_stop(tell: Tell, stopping: Callable[[], bool]) -> Tell:
    def told(done: float, total: float, unit: str, note: str = "") -> None:
        tell(done, total, unit, note)
        if stopping():
            raise Stopped("told to stop")

    return told


def _inputs(job: Job) -> dict[str, Input]:
    """Return the inputs with their records; each is what was asked, and its sizes are looked at again."""
    inputs = {}
    for where, given in job.inputs.items():
        folder = Path(given.path)
        record = artifact.require_sound(folder, hashes=False)
        _require(record.fingerprint == given.fingerprint, record.name)
        inputs[where] = Input(folder, record.model_dump(mode="json"), given.fingerprint)
    return inputs


def _require(same: bool, name: str) -> None:
    if not same:  # planned against another state of the lab
        raise Mismatch(
            f"{name} was made otherwise by another process meanwhile",
            hint="type: ramify plan, which shows how",
        )


def _train(
    job: Job,
    lineage: tuple[Run, ...],
    tell: Tell,
    say: Callable[[str], None],
    stopping: Callable[[], bool],
) -> bool:
    train = importlib.import_module("ramify.train.make")
    keeper = importlib.import_module("ramify.train.keeper")
    distributed = importlib.import_module("ramify.train.distributed")
    notes = _Notes(say)
    wanted = keeper.Wanted(
        run=lineage[-1],
        lineage=lineage,
        inputs=_inputs(job),
        folder=Path(job.folder),
        points=job.points,
        keep=job.points,
        tell=tell,
        stopping=stopping,
        notes=notes,
    )
    with distributed.world(job.parallel) as world:
        done: bool = train.run_train(wanted, world)
    return done


class _Notes(list[str]):
    """Says a note when it is made."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self.say = say

    def append(self, note: str) -> None:
        super().append(note)
        self.say(note)

    def extend(self, notes: Any) -> None:
        for note in notes:
            self.append(note)
