"""What a summary says is what records and journals say."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from ramify.evals.scores import read_scores
from ramify.ground.artifact import read_record
from ramify.report.summary import Summary, error_of_mean, summary
from ramify.runs.lab import Lab, recent_loss
from ramify.runs.plan import plan
from ramify.runs.recipe import Recipe
from ramify.scaling.flops import train_flops

STEP = 8 * 32


@pytest.fixture(scope="module")
def told(lab: Lab) -> Summary:
    return summary(lab)


def test_every_step_of_the_recipe_has_a_row(told: Summary, recipe: Recipe) -> None:
    assert {row.name for row in told.rows} == {step.name for step in recipe.steps}
    assert {row.kind for row in told.rows} == {step.kind() for step in recipe.steps}
    assert all(row.state == "done" for row in told.rows)


def test_a_run_is_told_at_its_newest_point(told: Summary, lab: Lab) -> None:
    for name, run in told.runs.items():
        row = told.row(name)
        newest = max(lab.points_of(name))
        record = read_record(lab.points_of(name)[newest])
        assert record is not None
        assert row.ends_at_tokens == newest
        assert row.decayed is record.facts["decayed"]
        assert row.loss == pytest.approx(recent_loss(lab.journal(name, "step"), newest))
        assert row.fingerprint == record.fingerprint
        assert row.seconds == pytest.approx(run.points[newest].cost["seconds"])
        assert row.cpu_seconds == pytest.approx(run.points[newest].cost["cpu_seconds"])
        seconds = sum(line["seconds"] for line in lab.journal(name, "step"))
        assert row.step_seconds == pytest.approx(seconds)


def test_branches_are_told_with_where_they_left(told: Summary) -> None:
    late = told.row("cool-late")
    assert (late.parent, late.leaves_at_tokens, late.ends_at_tokens) == (
        "trunk",
        40 * STEP,
        50 * STEP,
    )
    assert (late.decayed, late.decay, late.tokens) == (True, "decayed", 10 * STEP)
    trunk = told.row("trunk")
    assert (trunk.decayed, trunk.decay, trunk.parent) == (False, "constant", None)
    assert [at for at, _ in trunk.stages] == [0, 20 * STEP]
    assert trunk.mixture == {"sums": 0.5, "words": 0.5}
    assert told.row("cool-early").mixture == {"sums": 0.25, "words": 0.75}
    mean = told.row("mean")
    assert (mean.decayed, mean.decay, mean.parent) == (False, "averaged", "trunk")


def test_bits_are_those_of_the_evaluation_of_exactly_that_point(told: Summary, lab: Lab) -> None:
    late = told.row("cool-late")
    scores = read_scores(lab.at("evals/late"))
    assert late.bits_from == "evals/late"
    assert late.bits_per_byte == {d: s["bits_per_byte"] for d, s in scores.items()}
    assert late.standard_error == {d: s["standard_error"] for d, s in scores.items()}


def test_without_an_evaluation_bits_are_of_the_last_probe_and_say_so(
    told: Summary, lab: Lab
) -> None:
    probe = lab.journal("cool-early", "probe")[-1]
    row = told.row("cool-early")
    assert row.bits_from == f"probe at {probe['tokens']}"
    assert row.bits_per_byte == probe["bits_per_byte"]


def test_what_was_spent_is_what_the_plan_said_it_would_cost(
    told: Summary, lab: Lab, recipe: Recipe
) -> None:
    planned = plan(recipe, lab)
    spent = told.spent
    amounts = (spent.tree, spent.controls, spent.one_by_one)
    assert [a.tokens for a in amounts] == list(planned.tokens.json().values())
    assert [a.flops for a in amounts] == pytest.approx(list(planned.flops.json().values()))
    root = told.runs["trunk"].line.root
    assert spent.one_by_one.flops == pytest.approx(train_flops(root.model, 32, 70 * STEP))
    assert spent.answers == 2
    assert spent.ratio == pytest.approx(spent.one_by_one.flops / spent.tree.flops)
    assert spent.one_by_one.six_nd == pytest.approx(6 * root.model.parameters * 70 * STEP)


def test_json_has_what_show_promises(told: Summary) -> None:
    plain = json.loads(json.dumps(told.json(), allow_nan=False))
    for step in plain["steps"]:
        assert {"name", "kind", "state", "parent", "loss", "seconds"} <= step.keys()
        assert isinstance(step["decayed"], bool)
        assert all(isinstance(bits, float) for bits in step["bits_per_byte"].values())
        assert isinstance(step["seconds"], float)


def test_what_is_not_finished_is_told_as_partial(lab: Lab, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(lab.folder, tmp_path / "lab"))
    shutil.rmtree(next((copy / "cool-late" / "at").iterdir()))
    (copy / "mean" / "record.json").unlink()
    (copy / "mean").rename(copy / "mean.partial")
    told = summary(Lab(copy))
    late = told.row("cool-late")
    assert (late.state, late.ends_at_tokens, late.told_tokens) == ("partial", None, 50 * STEP)
    assert late.decayed is False
    assert late.loss is not None
    assert told.row("mean").state == "partial"
    assert told.spent.answers == 1


def test_costs_of_several_lives_are_added_up(lab: Lab, tmp_path: Path) -> None:
    copy = Lab(Path(shutil.copytree(lab.folder, tmp_path / "lab")))
    whole = summary(copy).row("trunk")
    points = copy.points_of("trunk")
    assert len(points) >= 2
    first = min(points)
    journal = copy.at("trunk") / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    old = [line for line in lines if line["tokens"] <= first]
    new = [{**line, "incarnation": 2} for line in lines if line["tokens"] > first]
    begin = {"incarnation": 2, "tokens": first, "kind": "begin"}
    told = [*old, *({**line, "tokens": first + STEP} for line in old[-1:]), begin, *new]
    journal.write_text("".join(json.dumps(line) + "\n" for line in told))
    again = summary(copy).row("trunk")
    records = {at: read_record(folder) for at, folder in points.items()}
    lives = [records[at] for at in (first, max(points))]
    assert again.seconds == pytest.approx(sum(r.cost["seconds"] for r in lives if r), rel=1e-6)
    assert (again.loss, again.tokens) == (whole.loss, whole.tokens)


def test_an_empty_lab_is_summed_up_too(tmp_path: Path) -> None:
    told = summary(Lab(tmp_path / "none").create())
    assert told.rows == ()
    assert told.spent.ratio is None


def test_the_error_of_a_mean_of_domains() -> None:
    assert error_of_mean({"a": 0.3, "b": 0.4}) == pytest.approx(math.hypot(0.3, 0.4) / 2)
    assert error_of_mean({"a": 0.3, "b": None}) is None
    assert error_of_mean({}) is None
