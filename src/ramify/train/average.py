"""Means of weights as models like any other: of a run's windows, its moving average, of two models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramify.ground import artifact
from ramify.ground.errors import BadInput, Mismatch, NotFound
from ramify.ground.step import Input, Tell
from ramify.optim.average import between, compose
from ramify.train import checkpoint
from ramify.train.places import windows as windows_of
from ramify.train.steps import Average, EmaAverage, Interpolate


def run_average(
    step: Average, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Write the mean of the run's last windows up to a point; return which windows they were."""
    point = inputs["run"]
    at = int(point.record["facts"]["tokens"])
    saved = windows_of(point.path.parent.parent)
    ended = [folder for ends, folder in saved.items() if ends <= at]
    chosen = ended[: -step.last - 1 : -1]
    if len(chosen) < step.last:
        raise NotFound(
            f"{step.name} wants {step.last} windows up to {at} tokens, {step.run.name} has {len(chosen)}",
            hint=f"let {step.run.name} save windows=Windows(steps={step.windows.steps}, every={step.windows.every})",
        )
    parts = []
    for number, folder in enumerate(chosen):
        record = artifact.require_sound(folder)
        if record.facts["windows"] != step.windows.model_dump():
            raise Mismatch(
                f"{folder} is a window of {record.facts['windows']}, {step.name} asks for {step.windows.model_dump()}",
                hint=f"ask for what was saved, or type: ramify forget {step.run.name}",
            )
        parts.append((checkpoint.load_weights(folder), int(record.facts["count"])))
        tell(number + 1, len(chosen), "windows")
    checkpoint.write_weights(out, checkpoint.read_config(point.path), compose(parts))
    return {**_stands(point), "ends": [int(folder.name) for folder in chosen]}


def run_ema(step: EmaAverage, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Write the moving average that a point holds; return how many sets of weights it took.

    Raises Mismatch where the point holds another one, or one that its run began late or not at all.
    """
    point = inputs["run"]
    facts = point.record["facts"]
    held, wanted = facts.get("ema"), {**step.ema.model_dump(), "count": facts.get("ema_due")}
    if held != wanted:
        raise Mismatch(
            f"{step.name} takes a moving average of {wanted}, {step.run} holds {held or 'none'}",
            hint=f"a run must carry it from its first step: give {step.run.name} another name, "
            f"or type: ramify forget {step.run.name}",
        )
    config = checkpoint.read_config(point.path)
    checkpoint.write_weights(out, config, checkpoint.load_weights(point.path, part="ema"))
    tell(1, 1, "averages")
    return {**_stands(point), "taken": held["count"]}


def run_interpolate(
    step: Interpolate, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Write the model on the line between two; return where it stands.

    Raises BadInput where they are of different networks.
    """
    ends = [inputs["a"], inputs["b"]]
    config, other = (checkpoint.read_config(end.path) for end in ends)
    if config != other:
        changed = artifact.differences(config.model_dump(), other.model_dump())
        raise BadInput(
            f"{step.name} lies between two different networks: {changed[0]}",
            hint="name two models of one tree",
        )
    a, b = (checkpoint.load_weights(end.path) for end in ends)
    checkpoint.write_weights(out, config, between(a, b, step.share))
    tell(1, 1, "models")
    later = max(ends, key=lambda end: int(end.record["facts"]["tokens"]))
    return {**_stands(later), "share": step.share}


def _stands(point: Input) -> dict[str, Any]:
    """Return what a model made of a point is known by: a mean of weights is never called decayed."""
    facts = point.record["facts"]
    return {
        "tokens": int(facts["tokens"]),
        "seq_len": facts["seq_len"],
        "chain": facts.get("chain"),
        "decayed": False,
    }
