"""A lab's evaluated points in their arms, and what the door answers about them and about tables."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ramify import cli
from ramify.ground.errors import BadInput, NotFound
from ramify.report import arms
from ramify.report.fit_terminal import shown
from ramify.report.fitting import Asked, answer
from ramify.report.pictures import check_ending, draw
from ramify.report.summary import summary
from ramify.runs.lab import Lab
from ramify.scaling.law import Law
from ramify.scaling.table import Columns

DOMAINS = ("words", "sums")
LAW = Law(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
COLUMNS = Columns("N", "loss", tokens="D", arm="arm")
Ramify = Callable[..., tuple[int, str, str]]


def words(text: str) -> str:
    return " ".join(text.split())


def text_of(path: Path, asked: Asked, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False)
    console.print(shown(answer(path, asked)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms of one law with a little noise, as a CSV; of one size, a few budgets more."""
    path = tmp_path_factory.mktemp("tables") / "points.csv"
    random = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["N", "D", "C", "loss", "arm"])
        for arm in ("cosine", "branches"):
            for n in np.geomspace(2e7, 2e9, 9):
                for flops in (1e18, 3e18, 1e19, 3e19):
                    d = flops / 6 / n
                    loss = float(LAW.loss(n, d)) * np.exp(random.normal(0, 0.002))
                    rows.writerow([n, d, flops, loss, arm])
    return path


@pytest.fixture
def ramify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ramify:
    def typed(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ramify", *args])
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return typed


def test_each_evaluated_point_of_a_lab_is_in_its_arm(lab: Lab) -> None:
    table = arms.table(lab)
    assert {row["run"]: row["arm"] for row in table.rows} == {
        "cool-late": "branches",
        "cosine": "cosine",
        "trunk": "trunk",
    }
    late = next(row for row in table.rows if row["run"] == "cool-late")
    told = summary(lab).row("cool-late")
    assert late["loss"] == pytest.approx(told.mean_bits)
    assert late["tokens"] == told.ends_at_tokens
    assert late["parameters"] == told.parameters
    assert {d: late[d] for d in DOMAINS} == pytest.approx(dict(told.bits_per_byte))
    assert any("left out 1 runs that are unfinished or not evaluated" in n for n in table.notes)
    assert {(row["shape"], row["fraction"]) for row in table.rows if row["arm"] == "cosine"} == {
        (None, None)
    }
    assert told.leaves_at_tokens is not None
    assert told.ends_at_tokens is not None
    assert late["shape"] == "sqrt"
    assert late["fraction"] == pytest.approx(
        1 - told.leaves_at_tokens / told.ends_at_tokens, abs=0.005
    )


def test_a_lab_of_one_size_is_refused_with_what_to_add(lab: Lab) -> None:
    with pytest.raises(BadInput, match="1 size of model cannot tell E"):
        answer(lab.folder, Asked(draws=0))


def test_arms_that_carry_no_law_are_told_by_their_pairs(lab: Lab) -> None:
    asked = Asked(arms=("branches", "cosine"), draws=100)
    told = answer(lab.folder, asked).json()
    assert told["verdict"] == "cannot be told"
    assert told["pairs"]["count"] == 1
    assert "1 pairs" not in text_of(lab.folder, asked)
    with pytest.raises(NotFound, match="no points of swa; arms there: branches, cosine, trunk"):
        answer(lab.folder, Asked(arms=("swa", "cosine")))


def test_a_lab_without_evaluations_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing was evaluated.*add an Evaluate step"):
        arms.table(Lab(tmp_path / "empty").create())


def test_a_grid_is_fitted_from_its_branches(grid: Lab, ramify: Ramify, tmp_path: Path) -> None:
    code, out, err = ramify(
        "fit", str(grid.folder), "--bootstrap", "20", "--json", "--plot", str(tmp_path / "grid.png")
    )
    assert code == 0, err
    told = json.loads(out)
    assert told["points"] == 9
    assert told["unit"] == "bits per byte"
    assert told["law"].keys() == told["intervals"].keys() == {"E", "A", "B", "alpha", "beta"}
    assert told["notes"][0] == "points there: branches 9"
    assert any("is known to no better than 50%" in note for note in told["notes"])
    assert (tmp_path / "grid.png").stat().st_size > 10_000
    curves = arms.training_curves(grid)
    assert {one.run for one in curves} == set(summary(grid).runs)
    assert all(np.isfinite(one.loss).all() and (np.diff(one.flops) > 0).all() for one in curves)


def test_one_domain_of_a_lab_can_be_fitted(grid: Lab) -> None:
    words, mean = (
        answer(grid.folder, Asked(columns=Columns("parameters", loss), draws=0)).points.loss
        for loss in ("words", "loss")
    )
    assert not np.allclose(words, mean)


def test_json_holds_the_law_its_intervals_and_the_optimum(table: Path, ramify: Ramify) -> None:
    code, out, err = ramify(
        "fit", str(table), "--params", "N", "--flops", "C", "--loss", "loss", "--where",
        "arm=cosine", "--exclude-lowest-ratio", "2", "--budget", "1e21", "--bootstrap", "30",
        "--json",
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert told["points"] == 34
    assert told["law"]["alpha"] == pytest.approx(0.35, abs=0.05)
    for name, (low, high) in told["intervals"].items():
        assert low <= told["law"][name] <= high
    best = LAW.optimum(1e21)
    assert told["optimum"]["flops"] == 1e21
    assert told["optimum"]["parameters"] == pytest.approx(best.parameters, rel=0.3)
    assert told["optimum"]["loss"] == pytest.approx(best.loss, rel=0.02)
    assert told["errors"]["leave_one_out"]["mean_absolute"] < 0.01
    assert "left out the 2 points" in told["notes"][-1]


def test_two_arms_of_a_table_are_compared(table: Path) -> None:
    asked = Asked(columns=COLUMNS, arms=("cosine", "branches"), draws=100)
    told = answer(table, asked).json()
    some = Asked(columns=COLUMNS, where=("N=2*",), arms=asked.arms, draws=100)
    assert len(answer(table, some).points) < told["points"]
    assert told["verdict"] in ("agree", "cannot be told")
    assert told["pairs"]["count"] == 36
    assert told["pairs"]["line"]["slope"] == pytest.approx(1, abs=0.02)
    assert set(told["differences"]) == {"E", "A", "B", "alpha", "beta"}
    text = text_of(table, asked)
    assert "36 pairs of one size, budget and seed" in text
    assert f"cosine = {told['pairs']['line']['slope']:.3f}·branches" in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("law", ["chinchilla", "isoflop", "tokens"])
def test_what_a_terminal_shows_fits_it_and_is_whole(table: Path, law: str, width: int) -> None:
    asked = Asked(
        columns=Columns("N", "loss", tokens="D", flops="C"),
        where=("arm=cosine", *(("N=20000000.0",) if law == "tokens" else ())),
        law=law,
        draws=20,
    )
    text = text_of(table, asked, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    said = {
        "chinchilla": ("L(N, D) = E + A/N^α + B/D^β", "per parameter", "N_opt grows as FLOPs^"),
        "isoflop": ("N_opt = G·C^a", "lowest points of 4 budgets", "best size"),
        "tokens": ("L(D) = E + B/D^β", "of one size", "95% interval"),
    }[law]
    for part in said:
        assert part in words(text)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize("law", ["chinchilla", "isoflop", "tokens", "compare"])
def test_every_answer_has_a_picture(table: Path, tmp_path: Path, law: str, ending: str) -> None:
    if law != "chinchilla" and ending != "svg":
        return
    compared = ("cosine", "branches") if law == "compare" else None
    where = () if compared else ("arm=cosine",)
    asked = Asked(
        columns=Columns("N", "loss", tokens="D", flops="C", arm="arm"),
        where=(*where, *(("N=20000000.0",) if law == "tokens" else ())),
        law="chinchilla" if compared else law,
        arms=compared,
        draws=100 if compared else 10,
    )
    draw(answer(table, asked), tmp_path / f"a.{ending}")
    data = (tmp_path / f"a.{ending}").read_bytes()
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending])


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"end its name in \.png"):
        check_ending(tmp_path / "a.jpg")
    with pytest.raises(BadInput, match="there is no folder"):
        check_ending(tmp_path / "no" / "a.png")


def test_without_matplotlib_the_extra_is_named(
    table: Path, ramify: Ramify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = ramify("fit", str(table), "--plot", str(tmp_path / "a.png"))
    assert code == 1
    assert "type: pip install 'ramify[plots]'" in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "which columns of points.csv?; type: --params COLUMN"),
        (("--params", "N"), "a table needs its columns named; type: --loss COLUMN"),
        (("--params", "N", "--loss", "loss"), "neither tokens nor FLOPs; type: --tokens COLUMN"),
        (("--params", "M", "--loss", "loss", "--tokens", "D"), "there is no column 'M'; there: N"),
        (("--params", "N", "--loss", "loss", "--tokens", "D", "--law", "kaplan"), "--law kaplan"),
        (("--compare", "cosine"), "--compare cosine; name two arms"),
        (("--bootstrap", "-1"), "--bootstrap -1; type: --bootstrap 1000"),
        (("--bootstrap", "1"), "--bootstrap 1; type: --bootstrap 1000"),
        (("--budget", "much"), "'much' is not a count"),
        (
            ("--params", "N", "--loss", "loss", "--tokens", "D", "--compare", "a,b"),
            "which column names the arm of a row?; type: --arm COLUMN",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    table: Path, ramify: Ramify, args: tuple[str, ...], said: str
) -> None:
    code, _, err = ramify("fit", str(table), *args)
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert said in err


def test_a_folder_that_is_no_lab_and_a_file_that_is_not_there_are_named(
    ramify: Ramify, tmp_path: Path
) -> None:
    assert "is no lab" in ramify("fit", str(tmp_path))[2]
    columns = ("--params", "N", "--tokens", "D", "--loss", "loss")
    assert "there is no file" in ramify("fit", str(tmp_path / "no.csv"), *columns)[2]
    assert "there is no file" in ramify("fit", str(tmp_path / "no.csv"))[2]
