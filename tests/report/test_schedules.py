"""The multi-power law of a lab's journals: found again where they obey it, refused where they cannot."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ramify.ground.errors import BadInput, NotFound
from ramify.optim.schedule import warmup_of
from ramify.report.fit_door import asked, found
from ramify.report.schedules import Schedules, schedules, shown
from ramify.report.tree import runs_of
from ramify.runs.lab import Lab
from ramify.scaling.curves import MultiPowerLaw
from ramify.train import places

LAW = MultiPowerLaw(L0=2.0, A=1.5, alpha=0.4, B=40.0, C=1.0, beta=0.5, gamma=0.5)


@pytest.fixture(scope="module")
def obedient(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A copy of a real lab whose journals tell the losses that a known law gives their schedules."""
    folder = tmp_path_factory.mktemp("obedient") / "lab"
    shutil.copytree(lab.folder, folder)
    copy = Lab.open(folder)
    for run in runs_of(copy):
        step, warmup = run.line.step_tokens, warmup_of(run.line.schedule)
        end, first = run.series.tokens[-1] // step, warmup // step
        rates = np.array([run.line.rate(i * step) for i in range(end)])
        losses = LAW.predict(rates[first:], warmup=float(rates[:first].sum()))
        journal = run.folder / places.JOURNAL
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        for line in lines:
            if line["kind"] == "step":
                line["loss"] = float(losses[max(line["tokens"] // step - 1 - first, 0)])
        journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return copy


def test_runs_that_obey_a_law_are_explained_by_it_and_foretold_from_the_others(
    obedient: Lab,
) -> None:
    told = schedules(obedient)
    for run in told.runs:
        assert run.told_by(told.law) == pytest.approx(run.end, abs=0.01)
    falling = {run.name for run in told.runs if run.falls}
    assert set(told.foretold) == falling
    assert len(falling) >= 2
    assert told.error is not None
    assert told.error < 0.1  # each from one other decayed run and the trunk


def test_what_lies_ahead_is_told_at_the_end_of_the_longest_trunk(obedient: Lab) -> None:
    told = schedules(obedient)
    trunk = next(run for run in told.runs if run.name == "trunk")
    rates = trunk.curve.rates
    assert told.tokens == trunk.tokens
    constant = LAW.predict(rates, np.array([len(rates) - 1]), warmup=trunk.curve.warmup)
    assert dict(told.ahead)["constant"] == pytest.approx(float(constant[0]), abs=0.1)


def test_json_says_for_every_run_what_was_seen_and_foretold(obedient: Lab) -> None:
    told = schedules(obedient).json()
    assert told["law"].keys() == LAW.constants.keys()
    assert {row["run"] for row in told["runs"]} == {"trunk", "cool-late", "cosine"}
    assert any("left out 1 runs too short" in note for note in told["notes"])
    assert all(row["foretold"] is None for row in told["runs"] if row["run"] == "trunk")
    json.dumps(told)


def test_a_terminal_of_80_columns_holds_it(obedient: Lab) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(shown(schedules(obedient)))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "the multi-power law" in text
    assert "foretold without it" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_door_fits_and_draws_it(obedient: Lab, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "law.png"
    what = asked(
        {}, where=(), exclude_lowest_ratio=0, law="schedule", compare=None, budget=None,
        draws=0, seed=0,
    )  # fmt: skip
    assert isinstance(found(obedient.folder, what, picture), Schedules)
    assert picture.stat().st_size > 10_000


def test_a_table_has_no_loss_curves(tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_text("N,D,loss\n1,2,3\n")
    what = asked(
        {"params": "N", "tokens": "D", "loss": "loss"}, where=(), exclude_lowest_ratio=0,
        law="schedule", compare=None, budget=None, draws=0, seed=0,
    )  # fmt: skip
    with pytest.raises(BadInput, match="loss curves of a lab"):
        found(table, what, None)


def test_a_trunk_alone_cannot_tell_what_lowering_wins(obedient: Lab) -> None:
    with pytest.raises(BadInput, match="no curve lowers its learning rate"):
        schedules(obedient, ("run=trunk",))


def test_runs_are_picked_by_what_runs_have(obedient: Lab) -> None:
    with pytest.raises(BadInput, match="pick runs by run, parameters, seed"):
        schedules(obedient, ("arm=branches",))


def test_a_lab_without_journals_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has a journal"):
        schedules(Lab(tmp_path / "empty").create())
