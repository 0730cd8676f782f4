"""A branch with fresh moments: off a point or an average, warmed again, in the data where that stood."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from ramify.ground import artifact
from ramify.ground.errors import BadInput, Corrupt
from ramify.ground.journal import read
from ramify.ground.step import Ref
from ramify.optim import schedule
from ramify.train import checkpoint
from ramify.train.average import run_average
from ramify.train.line import Line
from ramify.train.places import points
from ramify.train.steps import Average, Cooldown

from .conftest import STEP, Grow, trunk
from .test_average import WINDOWS, given
from .test_make import assert_same, at, tensors

ROOT = trunk(tokens=12 * STEP)
MEAN = Average(name="mean", run=Ref(name="trunk", at=12 * STEP), last=2, windows=WINDOWS)
OFF = ROOT.cooldown("off", 20 * STEP, off=MEAN, rewarm=3 * STEP)


def averaged(run: Path, home: Path) -> Path:
    """Make the average as a worker does, and return its folder."""
    work = artifact.begin(home / "mean", {"asked": "so"})
    point = given(at(run, 12))
    facts = run_average(MEAN, {"run": point}, work, lambda *_, **__: None)
    record = artifact.Record(
        name="mean", kind="average", fingerprint="f", asked={}, step={}, facts=facts
    )
    artifact.seal(work, home / "mean", record)
    return home / "mean"


def test_a_branch_off_an_average_begins_as_the_average_where_that_stood(
    grow: Grow, tmp_path: Path
) -> None:
    run = grow([ROOT], [12 * STEP, 20 * STEP])
    mean = averaged(run, tmp_path)
    off = grow([ROOT, OFF], [13 * STEP, 20 * STEP], parent=mean)
    lines, trunks = (read(each / "journal.jsonl", "step") for each in (off, run))
    assert OFF.leaves_at == 12 * STEP
    assert [line["chain"] for line in lines] == [line["chain"] for line in trunks[12:]]
    assert lines[0]["loss"] != trunks[12]["loss"]
    # a step of AdamW with fresh moments moves a weight by the rate, and by what it decays
    first, was = checkpoint.load_weights(at(off, 13)), checkpoint.load_weights(mean)
    moved = max(float((first[name] - was[name]).abs().max()) for name in was)
    assert 0.5 * 3e-5 < moved < 1.5 * 3e-5
    state = json.loads((at(off, 20) / "state.json").read_text())
    assert (state["steps"], state["tokens"]) == (8, 20 * STEP)
    record = artifact.read_record(at(off, 20))
    assert record is not None
    assert (record.facts["decayed"], record.parents["parent"]["name"]) == (True, "mean")


def test_the_rate_comes_up_again_and_then_down(grow: Grow, tmp_path: Path) -> None:
    run = grow([ROOT], [12 * STEP])
    off = grow([ROOT, OFF], [20 * STEP], parent=averaged(run, tmp_path))
    rates = [line["rate"] / 3e-3 for line in read(off / "journal.jsonl", "step")]
    up = [0.01 + 0.99 * n / 3 for n in range(3)]
    down = [1 - math.sqrt(n / 5) for n in range(5)]
    assert rates == pytest.approx([*up, *down])


@pytest.mark.parametrize(
    "off", [OFF, ROOT.cooldown("off", 18 * STEP, fraction=1 / 3, carry="weights")]
)
def test_a_branch_with_fresh_moments_that_was_stopped_goes_on_as_if_it_never_had(
    grow: Grow, tmp_path: Path, off: Cooldown
) -> None:
    run = grow([ROOT], [12 * STEP])
    parent = averaged(run, tmp_path) if off is OFF else at(run, 12)
    end = off.tokens // STEP
    whole = grow([ROOT, off], [off.tokens], parent=parent, home=tmp_path / "whole")
    for steps in (1, 4):
        home = tmp_path / f"{steps}"
        parts = grow([ROOT, off], [off.tokens], parent=parent, home=home, stop_after=steps)
        assert max(points(parts)) == (12 + steps) * STEP
        grow([ROOT, off], [off.tokens], parent=parent, home=home)
        assert_same(at(whole, end), at(parts, end))


def test_weights_alone_leave_the_moments_of_a_point_behind(grow: Grow, tmp_path: Path) -> None:
    run = grow([ROOT], [12 * STEP])
    kinds: tuple[Cooldown, ...] = (
        ROOT.cooldown("all", 18 * STEP, fraction=1 / 3),
        ROOT.cooldown("weights", 18 * STEP, fraction=1 / 3, carry="weights"),
    )
    both = [grow([ROOT, kind], [13 * STEP, 18 * STEP], parent=at(run, 12)) for kind in kinds]
    lines = [read(each / "journal.jsonl", "step") for each in both]
    assert lines[0][0]["loss"] == lines[1][0]["loss"]  # the same weights on the same batch
    assert lines[0][0]["rate"] == lines[1][0]["rate"]
    first = [tensors(at(each, 13)) for each in both]
    names = [name for name in first[0] if name.startswith("optimizer.exp_avg.")]
    assert not any(torch.equal(first[0][name], first[1][name]) for name in names)
    told = [json.loads((at(each, 18) / "state.json").read_text())["steps"] for each in both]
    assert told == [18, 6]


def test_an_average_that_does_not_tell_its_batches_is_refused(grow: Grow, tmp_path: Path) -> None:
    mean = averaged(grow([ROOT], [12 * STEP]), tmp_path)
    record = artifact.read_record(mean)
    assert record is not None
    facts = {name: fact for name, fact in record.facts.items() if name != "chain"}
    older = record.model_copy(update={"facts": facts})
    (mean / artifact.RECORD).write_text(older.model_dump_json())
    with pytest.raises(Corrupt, match=r"mean does not tell which batches.*ramify forget mean"):
        grow([ROOT, OFF], [20 * STEP], parent=mean)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"parent": Ref(name="mean"), "carry": "all"},
            "a branch of mean must say where.*no moments",
        ),
        ({"rewarm": STEP}, "carries its moments on and has rewarm=64; give carry='weights'"),
        ({"stands_at": STEP, "carry": "weights"}, "leaves trunk@768 and has stands_at=64"),
        (
            {"parent": Ref(name="mean"), "carry": "weights", "stands_at": 20 * STEP},
            "leaves at 1280 tokens and ends at 1280; let it end above",
        ),
    ],
)
def test_a_branch_that_cannot_leave_so_is_refused(fields: dict[str, object], says: str) -> None:
    plain = {"name": "off", "parent": Ref(name="trunk", at=12 * STEP), "tokens": 20 * STEP}
    with pytest.raises(ValueError, match=says):
        Cooldown.model_validate({**plain, **fields})


def test_a_branch_that_is_over_before_it_is_warm_is_refused() -> None:
    with pytest.raises(BadInput, match="off: a cooldown from 768 to 1280 tokens is over before"):
        Line([ROOT, OFF.but(rewarm=8 * STEP)])
    assert Line([ROOT, OFF.but(rewarm=8 * STEP - 1)]).rate(20 * STEP) == 0
    again = ROOT.cooldown("more", 22 * STEP).but(parent=Ref(name="off", at=13 * STEP))
    with pytest.raises(BadInput, match="more: a cooldown leaves at 832 tokens, before the warm-up"):
        Line([ROOT, OFF, again])
    assert isinstance(Line([ROOT, OFF]).schedule, schedule.Leaving)
