"""A run is its position: growing, stopping, branching, replaying and averaging change no bit of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ramify.ground import artifact
from ramify.ground.errors import BadInput, Corrupt, Diverged, Mismatch
from ramify.ground.journal import read
from ramify.ground.step import Ref
from ramify.optim.schedule import Constant
from ramify.tokens.mixture import Stage
from ramify.train import checkpoint
from ramify.train.line import Line
from ramify.train.places import point_folder, points
from ramify.train.steps import Probe, Trunk

from .conftest import STEP, Grow, trunk


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted((folder / "tensors").glob("*.safetensors"))
    return {name: value.clone() for file in files for name, value in load_file(file).items()}


def assert_same(one: Path, other: Path) -> None:
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (one / "state.json").read_text() == (other / "state.json").read_text()


def at(run: Path, steps: int) -> Path:
    return point_folder(run, steps * STEP)


def test_a_run_that_was_stopped_goes_on_as_if_it_never_had(grow: Grow, tmp_path: Path) -> None:
    whole = grow([trunk()], [20 * STEP], home=tmp_path / "whole")
    for steps in (1, 3, 7):
        parts = grow([trunk()], [20 * STEP], home=tmp_path / f"{steps}", stop_after=steps)
        assert max(points(parts)) == steps * STEP
        grow([trunk()], [20 * STEP], home=tmp_path / f"{steps}")
        assert_same(at(whole, 20), at(parts, 20))
        told = [[x["chain"] for x in read(run / "journal.jsonl", "step")] for run in (whole, parts)]
        assert told[0] == told[1]
        assert len(told[0]) == 20
        window = "windows/" + f"{8 * STEP:015d}"
        assert_same_weights(whole / window, parts / window)


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = checkpoint.load_weights(one), checkpoint.load_weights(other)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_trunk_learns(grow: Grow) -> None:
    run = grow([trunk()], [20 * STEP])
    losses = [line["loss"] for line in read(run / "journal.jsonl", "step")]
    assert sum(losses[-4:]) < sum(losses[:4]) - 0.5


def test_a_trunk_that_is_extended_or_refined_later_keeps_what_it_was(grow: Grow) -> None:
    run = grow([trunk()], [12 * STEP])
    before = tensors(at(run, 12))
    stages = (*trunk().stages, Stage(at=16 * STEP, mixture={"code": 1.0}))
    grow([trunk(tokens=20 * STEP, stages=stages)], [12 * STEP, 20 * STEP])
    assert all(torch.equal(before[name], value) for name, value in tensors(at(run, 12)).items())
    assert points(run).keys() == {12 * STEP, 20 * STEP}


def test_a_branch_agrees_with_its_trunk_in_data_and_leaves_at_its_rate(grow: Grow) -> None:
    root = trunk()
    run = grow([root], [10 * STEP, 20 * STEP])
    branch = root.cooldown("cool", 20 * STEP, fraction=0.5)
    cool = grow([root, branch], [20 * STEP], parent=at(run, 10))
    trunk_lines = read(run / "journal.jsonl", "step")[10:]
    cool_lines = read(cool / "journal.jsonl", "step")
    assert [x["chain"] for x in cool_lines] == [x["chain"] for x in trunk_lines]
    assert cool_lines[0]["loss"] == trunk_lines[0]["loss"]
    assert cool_lines[0]["rate"] == root.schedule.peak
    assert cool_lines[-1]["rate"] < cool_lines[0]["rate"] * 0.1
    record = artifact.read_record(at(cool, 20))
    assert record is not None
    assert record.facts["decayed"] is True


def test_a_point_thought_of_later_is_replayed_to_the_same_bits(grow: Grow, tmp_path: Path) -> None:
    asked_first = grow([trunk()], [6 * STEP, 20 * STEP], home=tmp_path / "first")
    later = grow([trunk()], [20 * STEP], home=tmp_path / "later")
    journal = (later / "journal.jsonl").read_text()
    grow([trunk()], [6 * STEP, 20 * STEP], home=tmp_path / "later")
    assert_same(at(asked_first, 6), at(later, 6))
    assert (later / "journal.jsonl").read_text() == journal


def test_a_changed_recipe_under_an_old_name_is_refused_with_the_field(grow: Grow) -> None:
    grow([trunk()], [4 * STEP])
    other = trunk(schedule=Constant(peak=1e-3, warmup=4 * STEP))
    with pytest.raises(Mismatch, match=r"schedule.peak was 0.003, now 0.001.*ramify forget trunk"):
        grow([other], [8 * STEP])


def test_a_corrupt_newest_point_falls_back_to_the_one_before_and_says_so(
    grow: Grow, tmp_path: Path
) -> None:
    run = grow([trunk()], [6 * STEP, 12 * STEP])
    whole = tensors(at(run, 12))
    file = at(run, 12) / "tensors" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    notes: list[str] = []
    grow([trunk()], [6 * STEP, 12 * STEP], notes=notes)
    assert "its hash differs" in notes[0]
    assert all(torch.equal(whole[name], value) for name, value in tensors(at(run, 12)).items())


def test_a_missing_shard_is_never_half_a_model(grow: Grow) -> None:
    run = grow([trunk()], [6 * STEP])
    (at(run, 6) / "tensors" / "model.safetensors").unlink()
    with pytest.raises(Corrupt, match=r"model.safetensors is missing"):
        checkpoint.load_model(at(run, 6))
    with pytest.raises(Corrupt, match="does not hold the tensors"):
        checkpoint.load_model(at(run, 6), check=False)


def test_a_rate_that_blows_up_stops_with_the_loss_and_what_to_change(grow: Grow) -> None:
    wild = trunk(schedule=Constant(peak=1e4), skip_limit=3, tokens=200 * STEP)
    with pytest.raises(Diverged, match=r"trunk blew up: 4 steps in a row.*lower the peak"):
        grow([wild], [200 * STEP])


def test_steps_that_are_not_finite_are_counted_and_leave_the_weights(grow: Grow) -> None:
    poison = trunk(schedule=Constant(peak=1e38), skip_limit=3, tokens=200 * STEP)
    with pytest.raises(Diverged, match="not finite"):
        grow([poison], [200 * STEP])


def test_probes_tell_bits_per_byte_of_each_domain_with_an_error(grow: Grow) -> None:
    run = grow([trunk(probe=Probe(every=8 * STEP))], [16 * STEP])
    seen = read(run / "journal.jsonl", "probe")
    assert [line["tokens"] for line in seen] == [8 * STEP, 16 * STEP]
    assert seen[0]["bits_per_byte"].keys() == {"code", "prose"}
    assert all(error is not None for error in seen[0]["standard_error"].values())


def test_a_run_is_probed_at_its_end_however_short_and_no_weight_knows(
    grow: Grow, tmp_path: Path
) -> None:
    root = trunk(probe=Probe(every=8 * STEP))
    run = grow([root], [5 * STEP], home=tmp_path / "probed")
    unseen = grow([trunk()], [5 * STEP], home=tmp_path / "unseen")
    assert [line["tokens"] for line in read(run / "journal.jsonl", "probe")] == [5 * STEP]
    assert read(unseen / "journal.jsonl", "probe") == []
    assert_same(at(run, 5), at(unseen, 5))
    cool = grow(
        [root, root.cooldown("cool", 7 * STEP, fraction=0.3)], [7 * STEP], parent=at(run, 5)
    )
    assert [line["tokens"] for line in read(cool / "journal.jsonl", "probe")] == [7 * STEP]


def test_documents_can_be_kept_apart(grow: Grow, tmp_path: Path) -> None:
    one = grow([trunk()], [12 * STEP], home=tmp_path / "a")
    other = grow([trunk(mask_documents=True)], [12 * STEP], home=tmp_path / "b")
    told = [read(run / "journal.jsonl", "step") for run in (one, other)]
    assert [line["chain"] for line in told[0]] == [line["chain"] for line in told[1]]
    assert [line["loss"] for line in told[0]] != [line["loss"] for line in told[1]]


def test_a_cooldown_before_the_warm_up_ends_or_off_a_step_is_refused() -> None:
    with pytest.raises(BadInput, match="before the warm-up ends"):
        Line([trunk(), trunk().cooldown("c", 4 * STEP, fraction=0.5)])
    with pytest.raises(BadInput, match="steps of"):
        trunk().cooldown("c", 10 * STEP + STEP // 3, fraction=0.5)
    root: Trunk = trunk()
    wrong = root.cooldown("c", 20 * STEP).but(parent=Ref(name="trunk", at=8 * STEP + 1))
    with pytest.raises(BadInput, match="within a step"):
        Line([root, wrong])


def test_a_branch_at_the_edge_of_a_stage_keeps_the_mixture_before_it(
    grow: Grow, tmp_path: Path
) -> None:
    root = trunk()
    branch = root.cooldown("cool", 10 * STEP, fraction=0.2)
    assert branch.leaves_at == root.stages[1].at == 8 * STEP
    line = Line([root, branch])
    assert line.mixture_at(9 * STEP) == line.mixture_at(0) == root.stages[0].mixture
    other = trunk(stages=(root.stages[0], Stage(at=8 * STEP, mixture={"code": 1.0})))
    assert root.asked(8 * STEP) == other.asked(8 * STEP)
    chains = []
    for which, home in ((root, tmp_path / "a"), (other, tmp_path / "b")):
        run = grow([which], [8 * STEP], home=home)
        cool = grow([which, branch], [10 * STEP], parent=at(run, 8), home=home)
        chains.append([line["chain"] for line in read(cool / "journal.jsonl", "step")])
    assert chains[0] == chains[1]
