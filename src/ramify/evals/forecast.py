"""The run function of a forecast: what evaluations of a trunk say of a cooldown off it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ramify.evals.steps import Forecast
from ramify.ground import files
from ramify.ground.errors import BadInput, Mismatch
from ramify.ground.step import Input, Tell
from ramify.scaling.forecast import Before, Seen, forecast

FORECAST = "forecast.json"


def run_forecast(
    step: Forecast, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Write what the cooldown will end at, in mean bits per byte over the domains evaluated.

    Raises Mismatch where the evaluations are not of the points that are named, or not of the same
    domains, BadInput for a point at which a cooldown cannot have left.
    """
    before = _before(step.name, inputs, "", step.ends_at)
    seen = []
    for number in range(len(step.learned)):
        ended = inputs[f"learned.{number}.ended"]
        known = _before(step.name, inputs, f"learned.{number}.", _at(ended))
        _check_alike(step.name, inputs["left"], ended)
        seen.append(Seen(known, _bits(ended)))
        tell(number + 1, len(step.learned), "cooldowns")
    told = forecast(before, seen, step.level)
    facts = {
        "bits_per_byte": told.loss,
        "low": told.low,
        "high": told.high,
        "level": told.level,
        "method": told.method,
        "learned_from": told.learned_from,
        "left_out_error": told.left_out_error,
        "known": asdict(before),
        "domains": list(inputs["left"].record["facts"]["scores"]),
        "leaves_at": step.trunk.at,
        "ends_at": step.ends_at,
    }
    files.write_json(out / FORECAST, facts)
    return facts


def _before(name: str, inputs: Mapping[str, Input], where: str, ends_at: int) -> Before:
    """Return what was known where a cooldown left: never anything of the cooldown itself."""
    point, left = inputs[f"{where}trunk"], inputs[f"{where}left"]
    averaged = inputs.get(f"{where}averaged")
    at = int(point.record["facts"]["tokens"])
    judged = left.record["parents"]["model"]
    if (judged["fingerprint"], judged["at"]) != (point.fingerprint, at):
        raise Mismatch(
            f"{name} takes {left.record['name']} for the evaluation of {point.record['name']}@{at}",
            hint="evaluate the very point that the cooldown leaves",
        )
    if ends_at <= at:
        raise BadInput(f"{name} learns from a cooldown that leaves at {at} and ends at {ends_at}")
    if averaged is not None:
        _check_alike(name, left, averaged)
    return Before(
        loss=_bits(left),
        fraction=1 - at / ends_at,
        averaged=None if averaged is None else _bits(averaged),
    )


def _at(evaluation: Input) -> int:
    at = evaluation.record["parents"]["model"]["at"]
    if at is None:
        raise BadInput(
            f"{evaluation.record['name']} does not say at which token it evaluates its run",
            hint="evaluate Ref(name=..., at=...)",
        )
    return int(at)


def _check_alike(name: str, one: Input, other: Input) -> None:
    keys = [
        (tuple(e.record["facts"]["scores"]), e.record["step"]["seq_len"], e.record["step"]["limit_tokens"])
        for e in (one, other)
    ]  # fmt: skip
    if keys[0] != keys[1]:
        raise Mismatch(
            f"{name} takes {one.record['name']} and {other.record['name']}, which read other documents",
            hint="give both the same corpora, seq_len and limit_tokens",
        )


def _bits(evaluation: Input) -> float:
    """Return the plain mean of bits per byte over the domains."""
    bits = [score["bits_per_byte"] for score in evaluation.record["facts"]["scores"].values()]
    return float(sum(bits) / len(bits))
