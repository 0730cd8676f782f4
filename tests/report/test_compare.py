"""Like is compared with like: what may stand beside what, and what is said where it may not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from ramify.evals import scores
from ramify.report.compare import BUDGET, LEFT, MEAN, Pair, alike_until, pairs
from ramify.report.summary import Summary, summary
from ramify.report.tree import RunFolder
from ramify.runs.job import told as told_step
from ramify.runs.lab import Lab
from ramify.runs.recipe import Recipe
from ramify.train.steps import Run, Trunk

STEP = 8 * 32


def of(found: list[Pair], question: str) -> list[Pair]:
    return [pair for pair in found if pair.question == question]


def born(home: Path, name: str, *runs: Run) -> RunFolder:
    """Return a run that has its run.json and nothing else."""
    folder = home / name
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"lineage": [told_step(run) for run in runs]}))
    return RunFolder(name, folder)


def test_a_cooldown_stands_beside_the_cosine_of_its_budget(lab: Lab) -> None:
    told = summary(lab)
    (pair,) = of(pairs(lab, told), BUDGET)
    assert (pair.model, pair.other, pair.at, pair.other_at) == (
        "cool-late",
        "cosine",
        50 * STEP,
        50 * STEP,
    )
    assert (pair.decay, pair.other_decay, pair.refused) == ("decayed", "decayed", None)
    found = scores.compare(lab.at("evals/late"), lab.at("evals/cosine"))
    assert {d: pair.differences[d] for d in found} == found
    mean = sum(d.bits_per_byte for d in found.values()) / len(found)
    assert pair.differences[MEAN].bits_per_byte == pytest.approx(mean)


def test_a_decayed_model_beside_one_that_is_not_says_so(lab: Lab) -> None:
    (pair,) = of(pairs(lab, summary(lab)), LEFT)  # of cool-early neither point was evaluated
    assert (pair.model, pair.decay) == ("cool-late", "decayed")
    assert (pair.other, pair.other_at, pair.other_decay) == ("trunk", 40 * STEP, "constant")


def test_models_evaluated_on_other_corpora_are_not_compared(lab: Lab) -> None:
    told = summary(lab)
    other = tuple(
        replace(e, like=(*e.like, "other")) if e.model == "cosine" else e for e in told.evaluations
    )
    (pair,) = of(pairs(lab, replace(told, evaluations=other)), BUDGET)
    assert pair.differences == {}
    assert pair.refused == "not both evaluated on the same corpora"


def test_models_of_other_mixtures_are_not_compared(
    lab: Lab, recipe: Recipe, tmp_path: Path
) -> None:
    trunk = cast("Trunk", recipe.by_name["trunk"])
    # it keeps the first mixture past token 20 steps, where the trunk and its control change theirs
    crossing = trunk.cooldown("crossing", 24 * STEP, fraction=0.5)
    control = trunk.cosine("control", 24 * STEP)
    runs = {
        "crossing": born(tmp_path, "crossing", trunk, crossing),
        "control": born(tmp_path, "control", control),
    }
    assert alike_until(runs["crossing"], runs["control"], 24 * STEP) == 20 * STEP
    assert alike_until(runs["crossing"], runs["control"], 18 * STEP) == 18 * STEP
    told: Summary = summary(lab)
    point = next(iter(told.runs["trunk"].points.values()))
    for run in runs.values():  # as if each had come to its end
        run.__dict__.update(line=run.line, points={24 * STEP: point})
    judged = tuple(replace(told.evaluations[0], model=name, at=24 * STEP) for name in runs)
    (pair,) = of(pairs(lab, replace(told, runs=runs, evaluations=judged)), BUDGET)
    assert pair.refused is not None
    assert "mixtures differ from token 5.12K on" in pair.refused


def test_runs_of_other_seeds_read_no_batch_in_common(recipe: Recipe, tmp_path: Path) -> None:
    trunk = cast("Trunk", recipe.by_name["trunk"])
    one = born(tmp_path, "one", trunk)
    two = born(tmp_path, "two", trunk.but(seed=1))
    assert alike_until(one, two, 10 * STEP) == 0
