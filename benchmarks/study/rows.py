"""One row for each evaluated model of the study's lab: what is kept of it once the lab is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ramify
from ramify.report.compare import BUDGET, MEAN, pairs
from ramify.report.summary import Evaluation, Row, Summary, summary
from ramify.report.tree import RunFolder
from ramify.runs.lab import Lab
from ramify.train.steps import Cooldown, Cosine

Kept = dict[str, Any]
ROUNDED = 6


def rows_of(lab: Lab) -> list[Kept]:
    """Return a row for each evaluation and each forecast of a lab."""
    told = summary(lab)
    beside = {
        pair.model: [pair.differences[MEAN].bits_per_byte, pair.differences[MEAN].standard_error]
        for pair in pairs(lab, told)
        if pair.question == BUDGET and pair.refused is None
    }
    evaluated = (_row(told, one, beside) for one in told.evaluations)
    return [*(row for row in evaluated if row), *_forecasts(told)]


def _row(told: Summary, one: Evaluation, beside: Mapping[str, Any]) -> Kept | None:
    model = told.row(one.model)
    run = _run(told, model)
    if run is None:
        return None
    part, size, seed, *_ = one.model.split("/")
    bits = {domain: round(value, ROUNDED) for domain, value in one.bits.items()}
    found: Kept = {
        "name": one.name,
        "arm": _arm(model, run),
        "part": part,
        "size": size,
        "seed": int(seed.removeprefix("s")),
        "tokens": one.at,
        "parameters": model.parameters or run.line.root.model.parameters,
        "bits": bits,
        "mean": round(sum(bits.values()) / len(bits), ROUNDED),
        "peak": run.line.root.model_dump(include={"schedule"})["schedule"]["peak"],
        **_asked(told, model, run),
    }
    if one.model in beside:
        found["minus_cosine"] = beside[one.model]
    return found


def _run(told: Summary, model: Row) -> RunFolder | None:
    while model.name not in told.runs:
        if model.parent is None or model.parent not in told.by_name:
            return None
        model = told.row(model.parent)
    return told.runs[model.name]


def _arm(model: Row, run: RunFolder) -> str:
    return "schedulefree" if run.line.is_schedule_free else model.kind


def _asked(told: Summary, model: Row, run: RunFolder) -> Kept:
    """Return what is varied: of a cooldown its shape and fraction, of a mean its windows, and so on."""
    step = run.run
    if model.name in told.records:
        asked = told.records[model.name].step
        return {key: asked[key] for key in ("last", "share", "windows", "ema") if key in asked}
    if isinstance(step, Cooldown):
        over = step.tokens - step.leaves_at
        return {
            "shape": str(step.descent.shape),
            "fraction": round(over / step.tokens, 2),  # of whole steps: 19.96% was asked as 20%
            "leaves_at": step.leaves_at,
            "flops": run.flops(over),
        }
    optimizer = run.line.root.optimizer
    whole = {"flops": run.flops(step.tokens)} if isinstance(step, Cosine) else {}
    return {**whole, "betas": [optimizer.beta1, optimizer.beta2]}


def _forecasts(told: Summary) -> Iterator[Kept]:
    for one in told.forecasts:
        part, size, seed, *_ = one.name.split("/")
        yield {
            "name": one.name, "arm": "forecast", "part": part, "size": size,
            "seed": int(seed.removeprefix("s")), "tokens": one.ends_at, "foretold": one.bits_per_byte,
            "low": one.low, "high": one.high, "level": one.level, "seen": one.seen,
            "learned_from": one.learned_from, "made_before": one.made_before, "method": one.method,
        }  # fmt: skip


def read(path: Path) -> list[Kept]:
    """Return the rows that were kept, none where nothing was."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def keep(path: Path, lab: Path) -> list[Kept]:
    """Put the rows of a lab beside those kept before, the newer of a name in the older one's place."""
    both = {row["name"]: row for row in read(path)}
    both |= {row["name"]: row for row in rows_of(ramify.open(lab))}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(both[name]) + "\n" for name in sorted(both)))
    return [both[name] for name in sorted(both)]
