"""Gains by what was tried: paired by seed, with Student's interval, and no verdict where none can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ramify.evals.ablation import COST, EARNED, OPEN, over_seeds, run_ablation, verdict
from ramify.evals.steps import Ablation, Pair, Trial
from ramify.ground.errors import BadInput, Mismatch
from ramify.ground.step import Input, Ref

SEEDS = (0, 1, 2)


def quiet(*_: Any, **__: Any) -> None:
    """Say nothing."""


def evaluation(name: str, bits: dict[str, float], size: int = 100) -> Input:
    scores = {d: {"bits_per_byte": b, "bytes": size} for d, b in bits.items()}
    return Input(Path(name), {"name": name, "facts": {"scores": scores}}, name)


def corpus(documents: int, tokens: int) -> Input:
    return Input(Path("c"), {"facts": {"documents": documents, "tokens": tokens}}, "c")


def tried(gains: list[float], tmp_path: Path, **fields: Any) -> dict[str, Any]:
    """Return what is told of one trial whose gain in the domain `a` is as given, by seed."""
    pairs = tuple(Pair(having=Ref(name=f"h{n}"), lacking=Ref(name=f"l{n}")) for n in range(len(gains)))  # fmt: skip
    trial = Trial(name="t", having=Ref(name="few"), lacking=Ref(name="all"), pairs=pairs)
    inputs = {"trials.0.having": corpus(80, 900), "trials.0.lacking": corpus(100, 1000)}
    for n, gain in enumerate(gains):
        inputs[f"trials.0.pairs.{n}.having"] = evaluation("h", {"a": 2.0 + n, "b": 1.0})
        inputs[f"trials.0.pairs.{n}.lacking"] = evaluation("l", {"a": 2.0 + n + gain, "b": 0.9})
    step = Ablation(name="ablation", trials=(trial,), **fields)
    told: dict[str, Any] = run_ablation(step, inputs, tmp_path, quiet)["trials"]["t"]
    return told


def test_the_interval_is_students_over_seeds() -> None:
    values = [0.01, 0.03, 0.02, 0.05]
    found = over_seeds(values, 0.95)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert found["low"] == pytest.approx(low)
    assert found["high"] == pytest.approx(high)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([0.030, 0.031, 0.029], EARNED),
        ([-0.030, -0.031, -0.029], COST),
        ([0.03, -0.02, 0.01], OPEN),
        ([0.5], OPEN),
    ],
)
def test_a_verdict_is_given_where_the_interval_leaves_out_nothing(
    gains: list[float], said: str, tmp_path: Path
) -> None:
    told = tried(gains, tmp_path, judged_on=("a",))
    assert told["verdict"] == said
    assert told["judged"]["mean"] == pytest.approx(np.mean(gains))
    assert (told["documents"], told["tokens"]) == (20, 100)
    assert (tmp_path / "ablation.json").is_file()


def test_without_a_domain_to_judge_on_all_count_alike(tmp_path: Path) -> None:
    told = tried([0.1, 0.1, 0.1], tmp_path)
    assert told["judged"]["mean"] == pytest.approx((0.1 - 0.1) / 2)
    assert told["gain"]["b"]["mean"] == pytest.approx(-0.1)


def test_no_gain_is_no_verdict() -> None:
    assert verdict({"mean": 0.0, "low": 0.0, "high": 0.0}) == OPEN


def test_what_read_other_documents_or_another_domain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="judges on 'c', which was not evaluated"):
        tried([0.1, 0.2], tmp_path, judged_on=("c",))
    trial = Trial(
        name="t", having=Ref(name="few"), lacking=Ref(name="all"),
        pairs=(Pair(having=Ref(name="h"), lacking=Ref(name="l")),),
    )  # fmt: skip
    inputs = {
        "trials.0.having": corpus(1, 1),
        "trials.0.lacking": corpus(1, 1),
        "trials.0.pairs.0.having": evaluation("h", {"a": 1.0}, 100),
        "trials.0.pairs.0.lacking": evaluation("l", {"a": 1.0}, 200),
    }
    with pytest.raises(Mismatch, match="read other documents"):
        run_ablation(Ablation(name="ablation", trials=(trial,)), inputs, tmp_path, quiet)
