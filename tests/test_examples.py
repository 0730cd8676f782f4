"""The examples run as a user runs them, small enough for every day."""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import ramify
from ramify.report.summary import summary
from ramify.runs import plan
from ramify.runs.lab import Lab
from ramify.runs.recipe import Recipe, find, load

from .runs.tiny import make

EXAMPLES = Path(ramify.__file__).parents[2] / "examples"


def typed(*arguments: str) -> str:
    """Return what `ramify ...` prints; it must leave with code 0."""
    door = str(Path(sys.executable).with_name("ramify"))
    done = subprocess.run([door, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def contents(lab: Path) -> dict[str, str]:
    """Return every file of a lab that a record vouches for, and every record, by hash."""
    folders = [record.parent for record in lab.rglob("record.json")]
    files = (path for folder in folders for path in folder.iterdir() if path.is_file())
    return {
        path.relative_to(lab).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_the_quickstart_from_python_grows_a_branch_and_prints_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def up_to_a_quarter(recipe: Recipe, lab: str | Path) -> plan.Plan:
        return plan.plan(recipe, Lab(lab), only=["cool-quarter"])

    monkeypatch.setattr(ramify, "plan", up_to_a_quarter)  # the whole of it takes minutes
    main = find(str(EXAMPLES / "01_quickstart.py:main"))
    main(budget=163_840, corpus_bytes=1_000_000, lab=str(tmp_path / "lab"))
    said = capsys.readouterr().out
    assert "the tree trains 40,960 tokens" in said
    assert "cool-quarter      40,960 tokens   loss" in said
    probed = [row["bits_per_byte"] for row in ramify.open(tmp_path / "lab").points()]
    assert {"code", "prose", "math"} in [{*domains} for domains in probed if domains]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of jsonl: pieces of the standard library, one line that is no JSON among them."""
    library = Path(sysconfig.get_path("stdlib"))
    text = "".join((library / name).read_text("utf-8") for name in ("argparse.py", "doctest.py"))
    lines = [json.dumps({"text": text[i : i + 1500]}) for i in range(0, 150_000, 1500)]
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("\n".join([*lines[:50], "{no json", *lines[50:]]) + "\n")
    return folder


def test_a_folder_of_jsonl_becomes_a_tree_and_a_model_that_speaks(
    tmp_path: Path, texts: Path
) -> None:
    lab = tmp_path / "lab"
    recipe = str(EXAMPLES / "02_your_own_text.py")
    settings = [f"folder={texts}", "budget=32768", "vocab=400"]
    flags = [word for setting in settings for word in ("--set", setting)]
    said = typed("run", recipe, "--lab", str(lab), *flags)
    assert "✔ [11/11] heard" in said
    counts = json.loads((lab / "text/raw/counts.json").read_bytes())
    assert counts["seen"] == counts["kept"] + sum(counts["dropped"].values()) == 101
    cools = ramify.open(lab).points()
    assert {row["run"] for row in cools if row["decayed"]} == {"cool-half", "cool-whole"}
    assert (lab / "best" / "model.safetensors").is_file()
    heard = json.loads((lab / "heard/completions.json").read_bytes())
    assert [line["prompt"] for line in heard] == ["The "]
    assert typed("complete", "best", "The ", "--lab", str(lab)).startswith("The ")
    assert (lab / "report.html").is_file()


def test_one_more_budget_makes_only_what_is_new(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    recipe = str(EXAMPLES / "03_extend_a_trunk.py")
    run = functools.partial(typed, "run", recipe, "--lab", str(lab), "--set", "corpus_bytes=400K")
    first = run("--set", 'budgets=["32768"]')
    assert "✔ [6/6] cool-32K" in first
    made = contents(lab)
    more = 'budgets=["32768", "65536"]'
    second = run("--set", more)
    assert [line.split(" (")[0] for line in second.splitlines() if line.startswith("✔")] == [
        "✔ [1/2] trunk",
        "✔ [2/2] cool-65K",
    ]
    assert made.items() <= contents(lab).items()
    assert {*ramify.open(lab).points_of("trunk")} == {16_384, 26_624, 53_248}
    assert "all 7 steps are done" in run("--set", more)


def test_a_grid_is_priced_foretold_and_made_as_its_line_says(tmp_path: Path) -> None:
    """In this process: a worker for each of its many small steps would take a minute."""
    settings = {
        "budgets": '["40960", "81920"]',
        "corpus_bytes": "300K",
        "cosine": "false",
        "held_out": "4K",
    }
    recipe = load(str(EXAMPLES / "04_scaling_grid.py"), settings)
    lab = Lab(tmp_path / "lab")
    tokens = plan.plan(recipe, lab).tokens
    assert tokens.tree / tokens.one_by_one == pytest.approx((0.8 * 2 + 0.2 * 3) / 3)
    half = [step for step in recipe.steps if step.name.startswith("grid/50K/")]
    for step in half:
        if step.kind() == "forecast":
            make(recipe, lab, step.name)
    make(recipe, lab, *(step.name for step in half))
    rows = ramify.open(lab.folder).points()
    ends = {row["run"]: row["tokens"] for row in rows if row["decayed"]}
    home = "grid/50K/s0/cool-sqrt20-"
    assert ends == {f"{home}40.96K": 40_960, f"{home}81.92K": 81_920}
    told = summary(lab).forecasts
    assert [one.learned_from for one in told] == [0, 1]
    assert all(one.made_before and one.seen is not None for one in told)
