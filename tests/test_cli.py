"""The door: its commands are a frozen list, and whatever is wrong is told in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.typed import typed

from ramify import Ref, cli
from ramify.runs.recipe import Prints, load

COMMANDS = {
    "new",
    "check",
    "plan",
    "dry",
    "run",
    "show",
    "look",
    "trace",
    "eval",
    "complete",
    "fit",
    "export",
    "report",
    "forget",
    "verify",
}
Ramify = Callable[..., tuple[int, str, str]]
BAD_RECIPE = """
from ramify import Constant, Recipe, Ref, Stage, Trunk, preset
def recipe() -> Recipe:
    trunk = Trunk(name="trunk", model=preset("nano"), sources={"a": Ref(name="a")}, seq_len=16, rows=4,
                  stages=(Stage(mixture={MIXTURE}),), schedule=Constant(peak=1e-3), tokens=6400)
    return Recipe(name="bad", steps=(trunk,))
"""


@pytest.fixture
def ramify(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Ramify:
    """Return a function that runs a command in a folder of its own: (code, out, err)."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = typed(monkeypatch, *words)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_the_commands_are_these() -> None:
    assert {command.name for command in cli.app.registered_commands} == COMMANDS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "nope"], "no recipe is called 'nope'"),
        (["plan", "gone.py"], "there is no recipe gone.py"),
        (["plan", "quickstart", "--set", "x=1"], "has no setting 'x'"),
        (["plan", "quickstart", "--set", "budget"], "write --set NAME=VALUE"),
        (["plan", "quickstart", "--set", "budget=much"], "is not a count"),
        (["plan", "quickstart", "--set", "budget=4K"], "too little"),
        (["plan", "quickstart", "--only", "nope"], "has no step 'nope'"),
        (["plan", "quickstart", "--price", "cheap"], "is no amount"),
        (["plan", "quickstart", "--token-price", "cheap"], "is no amount"),
        (["dry", "quickstart", "--sample", "200%"], "a sample of 2; write --sample 1%"),
        (["show", "--lab", "nowhere"], "there is no lab in nowhere"),
        (["show"], "which lab?"),
        (["verify", "--lab", "nowhere"], "there is no lab"),
        (["new", "nowhere"], "there is no nowhere"),
    ],
)  # fmt: skip
def test_a_wrong_word_gets_one_line_and_code_1(ramify: Ramify, words: list[str], said: str) -> None:
    code, _, err = ramify(*words)
    assert code == 1
    assert err.startswith("ramify: ")
    assert said in err
    assert len(err.strip().splitlines()) == 1


READ_ALONE = """
from ramify import Files, Read, Recipe
def recipe() -> Recipe:
    return Recipe(name="alone", steps=(Read(name="read", source=Files(path="texts")),))
"""


def test_a_dry_run_tells_of_the_whole_and_leaves_no_lab(ramify: Ramify, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(40):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"word {number} " * (number % 4 * 20))
    (tmp_path / "alone.py").write_text(READ_ALONE)
    code, out, _ = ramify("dry", "alone.py", "--sample", "50%", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["share"] == 1  # so little is read whole
    assert told["steps"][0]["documents_in"]["value"] == 40
    code, out, _ = ramify("dry", "alone.py", "--sample", "50%")
    assert code == 0
    assert "CPU-hours" in out
    assert not (tmp_path / "labs" / "alone" / "lab.json").exists()


@pytest.mark.parametrize(
    ("mixture", "said"),
    [
        ('{"a": 0.7}', "the mixture sums to 0.7, not 1"),
        ('{"b": 1.0}', "names b, which is no source"),
        ('{"a": 1.0}', "which is no step"),
        ("{", "bad.py: SyntaxError"),
    ],
)
def test_a_wrong_recipe_gets_one_line(
    ramify: Ramify, tmp_path: Path, mixture: str, said: str
) -> None:
    (tmp_path / "bad.py").write_text(
        BAD_RECIPE.replace("MIXTURE", mixture.strip("{}") if mixture != "{" else "(")
    )
    code, _, err = ramify("plan", "bad.py")
    assert code == 1, err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_folder_of_jsonl_gets_a_recipe_that_plans(ramify: Ramify, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    rows = [json.dumps({"text": f"document {i} " + "some words of it " * 40}) for i in range(400)]
    (texts / "a.jsonl").write_text("\n".join(rows))
    code, out, err = ramify("new", str(texts), "--out", "mine.py")
    assert (code, err) == (0, "")
    assert "ramify plan mine.py" in out
    code, out, err = ramify("plan", "mine.py", "--json")
    assert (code, err) == (0, "")
    planned = json.loads(out)
    assert {"name", "kind", "parent", "leaves_at_tokens", "ends_at_tokens", "state"} <= planned[
        "steps"
    ][0].keys()
    for what in ("tokens", "flops"):
        assert planned[what].keys() >= {"tree", "controls", "one_by_one"}
    assert ramify("new", str(texts), "--out", "mine.py")[0] == 1  # nothing is overwritten


def test_the_recipe_of_a_folder_takes_more_budgets_without_another_trunk(
    ramify: Ramify, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("some words of it " * 20_000)
    assert ramify("new", "a.txt", "--out", "mine.py")[0] == 0
    code, out, err = ramify("plan", "mine.py", "--json", "--set", 'budgets=["200K", "1M"]')
    assert (code, err) == (0, "")
    few = Prints(load("mine.py", {"budgets": '["200K"]'}))
    more = Prints(load("mine.py", {"budgets": '["200K", "1M"]'}))
    steps = {step["name"] for step in json.loads(out)["steps"]}
    assert {"cool-0.2007M", "cool-0.9994M", "cosine-0.9994M", "best-0.9994M"} <= steps
    for name in ("cool-0.2007M", "evals/cool-0.2007M"):
        assert few.of(Ref(name=name)) == more.of(Ref(name=name))


def test_a_dry_run_makes_nothing(ramify: Ramify, tmp_path: Path) -> None:
    code, out, _ = ramify("run", "quickstart", "--dry-run")
    assert code == 0
    assert "cool-whole" in out
    assert list(tmp_path.iterdir()) == []
