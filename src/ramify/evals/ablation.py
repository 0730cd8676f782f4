"""The run function of an ablation: gains by trial and domain, their intervals over seeds, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

from ramify.evals.steps import Ablation, Trial
from ramify.ground import files
from ramify.ground.errors import BadInput, Mismatch
from ramify.ground.step import Input, Tell

ABLATION = "ablation.json"
EARNED, COST, OPEN = "earned its place", "a cost", "cannot be told"


def run_ablation(
    step: Ablation, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Write ablation.json, what each trial removed and gained; return it.

    Raises Mismatch where evaluations that are compared read other documents, BadInput for a domain
    to judge on that none of them has.
    """
    trials = {}
    for number, trial in enumerate(step.trials):
        where = f"trials.{number}"
        pairs = [
            (inputs[f"{where}.pairs.{index}.having"], inputs[f"{where}.pairs.{index}.lacking"])
            for index in range(len(trial.pairs))
        ]
        removed = _removed(inputs[f"{where}.having"], inputs[f"{where}.lacking"])
        trials[trial.name] = {**removed, **_gained(step, trial, pairs)}
        tell(number + 1, len(step.trials), "trials")
    domains = list(next(iter(trials.values()))["gain"])
    told = {"trials": trials, "judged_on": list(step.judged_on) or domains, "level": step.level}
    files.write_json(out / ABLATION, told)
    return told


def _removed(having: Input, lacking: Input) -> dict[str, int]:
    """Return what a corpus lost by what was tried: its documents for training, and its tokens."""
    few, all_ = having.record["facts"], lacking.record["facts"]
    return {
        "documents": all_["documents"] - few["documents"],
        "of_documents": all_["documents"],
        "tokens": all_["tokens"] - few["tokens"],
        "of_tokens": all_["tokens"],
    }


def _gained(step: Ablation, trial: Trial, pairs: Sequence[tuple[Input, Input]]) -> dict[str, Any]:
    gains = [_gain(trial.name, having, lacking) for having, lacking in pairs]
    domains = list(gains[0])
    judged = step.judged_on or tuple(domains)
    missing = [domain for domain in judged if domain not in domains]
    if missing:
        raise BadInput(
            f"{step.name} judges on {missing[0]!r}, which was not evaluated",
            hint=f"there are: {', '.join(domains)}",
        )
    means = [sum(gain[domain] for domain in judged) / len(judged) for gain in gains]
    whole = over_seeds(means, step.level)
    by_domain = {d: over_seeds([gain[d] for gain in gains], step.level) for d in domains}
    return {
        "gain": by_domain,
        "judged": whole,
        "seeds": len(gains),
        "by_seed": means,
        "verdict": verdict(whole),
    }


def _gain(name: str, having: Input, lacking: Input) -> dict[str, float]:
    """Return how many bits per byte less the model needs that had what was tried, by domain."""
    a, b = (each.record["facts"]["scores"] for each in (having, lacking))
    sizes = [{domain: score["bytes"] for domain, score in each.items()} for each in (a, b)]
    if sizes[0] != sizes[1]:
        raise Mismatch(
            f"{name} compares {having.record['name']} with {lacking.record['name']}, which read"
            " other documents",
            hint="evaluate both on the same corpora with the same limit_tokens",
        )
    return {d: b[d]["bits_per_byte"] - a[d]["bits_per_byte"] for d in a}


def over_seeds(values: Sequence[float], level: float) -> dict[str, float | None]:
    """Return the mean of some seeds with Student's interval; no interval of a single one."""
    count, mean = len(values), fmean(values)
    if count < 2:
        return {"mean": mean, "low": None, "high": None}
    half = float(stdtrit(count - 1, (1 + level) / 2)) * stdev(values) / math.sqrt(count)
    return {"mean": mean, "low": mean - half, "high": mean + half}


def verdict(gain: Mapping[str, float | None]) -> str:
    """Return what an interval of gains says."""
    low, high = gain["low"], gain["high"]
    if low is not None and low > 0:
        return EARNED
    return COST if high is not None and high < 0 else OPEN
