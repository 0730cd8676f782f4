"""What is typed at a lab: looked at, forgotten, verified, run again; and one line where it is wrong."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ramify import cli
from ramify.ground.artifact import RECORD
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.train.places import point_folder

from .conftest import Copy
from .tiny import STEP, loaded

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ramify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Return a function that types a command at a lab: (code, out, err)."""

    def typed(*words: object, lab: Lab) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ramify", *map(str, words), "--lab", str(lab.folder)])
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return typed


def test_a_whole_lab_has_nothing_to_do_and_says_what_to_type_next(
    ramify: Typed, copy: Copy, whole: Lab, recipe_file: Path
) -> None:
    lab = copy(whole)
    code, out, err = ramify("run", recipe_file, lab=lab)
    assert (code, err) == (0, "")
    assert out.startswith(f"tiny: all 15 steps are done in {lab.folder}; nothing to do\n")
    assert len(re.findall(r"^  ramify (?:complete|show|plan) ", out, re.MULTILINE)) == 3


def test_a_byte_that_flipped_is_found_and_its_file_named(
    ramify: Typed, copy: Copy, whole: Lab
) -> None:
    lab = copy(whole)
    code, out, _ = ramify("verify", lab=lab)
    assert code == 0
    assert out.endswith("folders looked at, 0 with something wrong\n")
    shard = lab.folder / "sums" / "shards" / "00000.bin"
    data = bytearray(shard.read_bytes())
    data[7] ^= 1
    shard.write_bytes(data)
    code, out, err = ramify("verify", lab=lab)
    assert (code, err) == (1, "")
    assert f"{shard} is not the file that its record names (its hash differs)" in out
    code, out, _ = ramify("verify", "--json", lab=lab)
    assert (code, list(json.loads(out)["wrong"])) == (1, ["sums"])


@pytest.mark.parametrize("name", [f"trunk/at/{12 * STEP:015d}", "words"])
def test_a_torn_record_is_found_and_can_be_forgotten(
    ramify: Typed, copy: Copy, whole: Lab, name: str
) -> None:
    lab = copy(whole)
    (lab.folder / name / RECORD).write_text("torn")
    code, out, _ = ramify("verify", lab=lab)
    assert code == 1
    assert f"{name}/record.json is not a record\n" in out
    code, out, err = ramify("show", lab=lab)
    assert (code, err) == (0, "") or (code, len(err.splitlines()), err[:8]) == (1, 1, "ramify: ")
    step, *_ = name.split("/")
    code, out, err = ramify("forget", step, lab=lab)
    assert (code, err) == (0, "")
    assert not (lab.folder / step).exists()


def test_a_run_whose_birth_cannot_be_read_is_found(ramify: Typed, copy: Copy, whole: Lab) -> None:
    lab = copy(whole)
    (lab.folder / "cosine" / "run.json").write_text("{")
    code, out, _ = ramify("verify", lab=lab)
    assert (code, "cosine/run.json cannot be read" in out) == (1, True)


def test_what_is_forgotten_is_wanted_again_and_its_children_are_named(
    ramify: Typed, copy: Copy, whole: Lab, recipe_file: Path
) -> None:
    lab = copy(whole)
    code, out, _ = ramify("forget", "cool-10", lab=lab)
    assert (code, out) == (
        0, "forgot cool-10\nnote: made from it, and still there: evals/cool-10\n",
    )  # fmt: skip
    assert [item.name for item in plan(loaded(recipe_file), lab).to_do] == ["cool-10"]
    ramify("run", recipe_file, lab=lab)
    code, out, _ = ramify("forget", f"trunk@{8 * STEP}", lab=lab)
    assert (code, out) == (0, f"forgot trunk@{8 * STEP}\n")
    code, out, _ = ramify("forget", "trunk", "--after", str(8 * STEP), lab=lab)
    assert out.startswith(f"forgot trunk@{12 * STEP}\n")
    assert "cool-10" not in out  # it left at 8 steps, before what is gone
    assert not point_folder(lab.folder / "trunk", 12 * STEP).exists()


def test_all_that_was_made_from_a_step_is_forgotten_with_it_and_nothing_else(
    ramify: Typed, copy: Copy, whole: Lab
) -> None:
    lab = copy(whole)
    before = {place.name for place in lab.places()}
    code, out, _ = ramify("forget", "trunk", "--with-children", lab=lab)
    gone = [line.removeprefix("forgot ") for line in out.splitlines()]
    assert code == 0
    assert gone[-1] == "trunk"
    assert {"cool-10", "evals/cool-10"} < set(gone)
    assert gone.index("evals/cool-10") < gone.index("cool-10")  # a kill leaves no orphan
    assert before - set(gone) == {place.name for place in lab.places()}
    assert {"words", "clean", "cosine"} <= before - set(gone)


def test_documents_kept_and_dropped_are_looked_at(ramify: Typed, whole: Lab) -> None:
    code, out, _ = ramify("look", "text/words", "--dropped", lab=whole)
    assert code == 0
    assert re.search(r"short.txt #0 .*\[too_short: 2 characters\]\nno\n", out)
    code, out, _ = ramify("look", "clean", "--count", 2, lab=whole)
    assert (code, out.count("── ")) == (0, 2)


def test_a_batch_of_a_run_is_decoded_row_by_row(ramify: Typed, whole: Lab) -> None:
    code, out, _ = ramify("look", "trunk", "--batch", 3, lab=whole)
    assert code == 0
    assert out.startswith(f"trunk, batch 3: tokens {3 * STEP} to {4 * STEP}\n")
    assert len(re.findall(r"^── row \d: (?:words|sums) at \d+", out, re.MULTILINE)) == 4


WRONG: list[tuple[list[object], str]] = [
    (["look", "nowhere"], "nowhere is not in .*; there: clean, cool-10"),
    (["look", "words", "--dropped"], "words has no such documents"),
    (["look", "text/words", "--why", "nothing"], "words has no such documents"),
    (["look", "text/words", "--count", 0], "0 documents of text/words; ask for 1 or more"),
    (["look", "words", "--batch", 1], "words is no run of .*; runs: cool-10, cool-15, cosine"),
    (["look", "trunk", "--batch", -1], "batch -1 of trunk; batches count from 0"),
    (["forget", "nowhere"], "nowhere is not in"),
    (["forget", "../words"], "'../words' cannot name a step"),
    (["forget", "words", "--after", 1], "words is no run; type: ramify forget words"),
    (["forget", "words@64"], "words is no run"),
    (["forget", "trunk@64", "--with-children"], "--with-children goes with a whole step"),
    (["forget", "trunk@64"], "trunk has no point at 64 tokens; points: 512, 768"),
    (["forget", "trunk@x"], "'x' is not a count"),
    (["eval", "nowhere"], "nowhere is not in"),
    (["eval", "trunk@64"], "trunk has no point at 64 tokens; points: 512, 768"),
    (["eval", "words"], "words is a tokenize, no model; name a run or an average"),
    (["run", "{recipe}", "--until", 63], "no step that ends by 63 tokens; give 64 or more"),
    (["run", "{recipe}", "--set", "seed=1"], "trunk was made otherwise: seed was the default"),
    (
        ["run", "{recipe}", "--set", "cools=[20]", "--parallel", "both", "--processes", 2],
        "2 processes with parallel='both'; give 1 or more, and ddp or fsdp",
    ),
    (["run", "{recipe}", "--set", "cools=[2]"], "line .*: cool-2 leaves at 128 tokens and ends at"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_whatever_is_wrong_is_one_line_and_nothing_is_touched(
    ramify: Typed, whole: Lab, recipe_file: Path, words: list[object], said: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")}
    words = [str(recipe_file) if word == "{recipe}" else word for word in words]
    code, _, err = ramify(*words, lab=whole)
    assert code == 1
    assert re.fullmatch(f"ramify: .*{said}.*\n", err), err
    after = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")}
    locks = {path for path in after if ".locks" in path.parts} | {whole.folder}
    assert {p for p in after if after[p] != before.get(p)} <= locks


def test_a_lab_is_never_made_of_a_folder_that_holds_something_else(
    ramify: Typed, tmp_path: Path, recipe_file: Path
) -> None:
    (tmp_path / "thesis.tex").touch()
    for place in (tmp_path, tmp_path / "thesis.tex"):
        code, _, err = ramify("run", recipe_file, lab=Lab(place))
        assert code == 1
        assert re.fullmatch("ramify: .* is there, and is no lab; give --lab another folder\n", err)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
