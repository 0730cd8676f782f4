"""The engine makes the difference of a plan in processes of their own, and judges them by records."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ramify import worker
from ramify.ground import artifact, files
from ramify.ground.errors import Busy, Corrupt, Diverged, NotFound, RamifyError
from ramify.runs.engine import Engine
from ramify.runs.lab import JOBS, Lab
from ramify.runs.plan import Item, plan
from ramify.train.places import point_folder, points

from .conftest import Copy
from .tiny import STEP, loaded, make, prints, told

LOUD = Path(__file__).with_name("loud.py")
FOR_EVER = "steps=100000"


class Heard:
    """What an engine told."""

    def __init__(self) -> None:
        self.started_names: list[str] = []
        self.notes: list[str] = []
        self.errors: dict[str, RamifyError | None] = {}

    def started(self, item: Item) -> None:
        self.started_names.append(item.name)

    def progress(self, item: Item, done: float, total: float, unit: str, note: str) -> None:
        assert 0 <= done <= total

    def note(self, item: Item, text: str) -> None:
        self.notes.append(text)

    def ended(self, item: Item, error: RamifyError | None) -> None:
        self.errors[item.name] = error


def ramify(
    *arguments: str, lab: Lab, first: Callable[[], None] | None = None, **environment: str
) -> subprocess.Popen[str]:
    """Start the loud `ramify`, that does something first."""
    return subprocess.Popen(
        [sys.executable, str(LOUD), *arguments, "--lab", str(lab.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=first,
        env={**os.environ, **environment},
    )


def test_from_texts_to_an_evaluated_branch_and_then_nothing_to_do(
    tmp_path: Path, recipe_file: Path, whole: Lab
) -> None:
    """In processes of their own, side by side, the same bits as in one process one by one."""
    lab, recipe, heard = Lab(tmp_path / "lab"), loaded(recipe_file), Heard()
    only = ["evals/cool-10"]
    Engine(lab, cores=2).run(plan(recipe, lab, only=only), heard)
    assert heard.errors == dict.fromkeys(heard.started_names)
    assert heard.started_names.index("cool-10") > heard.started_names.index("trunk")
    made = prints(lab)
    assert {"words", "clean", f"cool-10/at/{10 * STEP:015d}", "evals/cool-10"} <= made.keys()
    assert made.items() <= prints(whole).items()
    assert told(lab, "cool-10") == told(whole, "cool-10")
    assert plan(recipe, lab, only=only).to_do == ()
    assert list((lab.folder / JOBS).iterdir()) == []
    assert list(lab.folder.rglob("*.partial")) == []


def test_a_tree_that_grows_leaves_what_is_made_as_it_is(
    copy: Copy, whole: Lab, recipe_file: Path
) -> None:
    lab = copy(whole)
    before = {path: path.stat().st_mtime_ns for path in lab.folder.rglob("*") if path.is_file()}
    make(loaded(recipe_file, cools="[10, 15, 20]"), lab)
    grown = {lab.folder / "trunk" / "journal.jsonl"}
    changed = {path for path, when in before.items() if path.stat().st_mtime_ns != when}
    assert {path for path in changed if ".locks" not in path.parts} <= grown
    new = prints(lab).keys() - prints(whole).keys()
    assert new == {
        f"trunk/at/{16 * STEP:015d}",
        f"trunk/windows/{16 * STEP:015d}",
        f"cool-20/at/{20 * STEP:015d}",
        "evals/cool-20",
    }
    assert [tokens for tokens, *_ in told(lab, "trunk")] == [n * STEP for n in range(1, 17)]


def test_a_step_that_fails_holds_back_only_what_needs_it(
    copy: Copy, data: Lab, recipe_file: Path
) -> None:
    lab, heard = copy(data), Heard()
    planned = plan(loaded(recipe_file, wild=1e38), lab, only=["evals/cosine", "cool-10"])
    with pytest.raises(
        Diverged, match=r"cosine blew up: 4 steps in a row.*; its learning rate"
    ) as seen:
        Engine(lab, cores=2).run(planned, heard)
    assert "\n" not in str(seen.value)
    assert {name for name, error in heard.errors.items() if error is None} == {"trunk", "cool-10"}
    assert isinstance(heard.errors["cosine"], Diverged)
    assert "evals/cosine" not in heard.errors
    assert points(lab.folder / "cool-10").keys() == {10 * STEP}


def test_a_step_that_another_makes_is_busy_and_nothing_is_touched(
    copy: Copy, data: Lab, recipe_file: Path
) -> None:
    lab, before = copy(data), prints(data)
    planned = plan(loaded(recipe_file), lab, only=["trunk"])
    with (
        artifact.lock(lab.lock("trunk")),
        pytest.raises(Busy, match=f"trunk is being made by process {os.getpid()} since .*; wait"),
    ):
        Engine(lab).run(planned, Heard())
    assert prints(lab) == before
    assert not (lab.folder / "trunk").exists()


def test_a_lab_that_another_drives_is_busy_and_the_other_is_not_disturbed(
    copy: Copy, data: Lab, recipe_file: Path
) -> None:
    lab, heard = copy(data), Heard()
    with (
        artifact.lock(lab.whole_lock),
        pytest.raises(Busy, match=f"{lab.folder} is being made by process {os.getpid()} since"),
    ):
        Engine(lab).run(plan(loaded(recipe_file), lab), heard)
    assert heard.started_names == []


def test_a_step_is_judged_by_its_record_and_not_by_how_its_process_ended(
    recipe_file: Path, tmp_path: Path
) -> None:
    """The last file operation of a worker gives its folder its name: killed just then, it is done."""
    log, arguments = tmp_path / "operations", ["run", str(recipe_file), "--only", "text/words"]
    with ramify(*arguments, lab=Lab(tmp_path / "once"), RAMIFY_FAILPOINT_LOG=str(log)) as driver:
        driver.communicate()
    lines = [line.split(" ", 2) for line in log.read_text().splitlines()]
    last = max(int(n) for process, n, _ in lines if int(process) != driver.pid)
    assert last > max(int(n) for process, n, _ in lines if int(process) == driver.pid)
    lab = Lab(tmp_path / "killed")
    with ramify(*arguments, lab=lab, RAMIFY_FAILPOINT=str(last)) as driver:
        out, err = driver.communicate()
    assert (driver.returncode, err) == (0, "")
    assert "✔ [1/1] text/words" in out
    with ramify(*arguments, lab=Lab(tmp_path / "half"), RAMIFY_FAILPOINT=str(last - 1)) as driver:
        out, err = driver.communicate()
    assert driver.returncode == 1
    assert err.startswith("ramify: text/words was killed by signal 9 without a record; look into")


def the_driver(lab: Lab, driver: subprocess.Popen[str]) -> int:
    return driver.pid


def the_worker(lab: Lab, driver: subprocess.Popen[str]) -> int:
    return int(json.loads(lab.lock("trunk").read_text())["process"])


@pytest.mark.parametrize(
    ("whom", "how", "code", "says"),
    [
        (the_worker, signal.SIGKILL, 1, r"trunk was killed by signal 9 without a record; look into"),
        (the_worker, signal.SIGTERM, 130, r"trunk was told to stop; type the same command to go on"),
        (the_driver, signal.SIGTERM, 130, r"stopped; type the same command to go on"),
        (the_driver, signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)  # fmt: skip
def test_whoever_is_stopped_and_however_the_run_goes_on_bit_for_bit(
    copy: Copy,
    data: Lab,
    recipe_file: Path,
    tmp_path: Path,
    whom: Callable[[Lab, subprocess.Popen[str]], int],
    how: signal.Signals,
    code: int,
    says: str,
) -> None:
    lab = copy(data)
    arguments = ["run", str(recipe_file), "--only", "trunk", "--set", FOR_EVER]
    with ramify(*arguments, lab=lab) as driver:
        assert driver.stdout is not None
        next(line for line in driver.stdout if line.startswith("progress trunk"))
        os.kill(whom(lab, driver), how)
        _, err = driver.communicate()
    assert driver.returncode == code
    assert re.fullmatch(f"ramify: {says}.*\n" if says else "", err)
    with artifact.lock(lab.lock("trunk"), wait=True):  # a worker whose driver died leaves by itself
        reached = max(points(lab.folder / "trunk"), default=0)
    assert (reached > 0) == (how == signal.SIGTERM or whom is the_driver)
    goes_on_as_one_that_never_stopped(lab, data, recipe_file, tmp_path, reached + 3 * STEP)


def goes_on_as_one_that_never_stopped(
    lab: Lab, data: Lab, recipe_file: Path, home: Path, until: int
) -> None:
    other = Lab(shutil.copytree(data.folder, home / "never-stopped"))
    recipe = loaded(recipe_file, steps=100000)
    for each in (lab, other):
        make(recipe, each, "trunk", until=until)
    assert told(lab, "trunk") == told(other, "trunk")
    assert prints(other).items() <= prints(lab).items()


def test_two_ranks_under_torchrun_leave_when_their_driver_is_killed(
    copy: Copy, data: Lab, recipe_file: Path, tmp_path: Path
) -> None:
    lab = copy(data)
    arguments = ["run", str(recipe_file), "--only", "trunk", "--set", FOR_EVER, "--processes", "2"]
    with ramify(*arguments, lab=lab) as driver:
        assert driver.stdout is not None
        next(line for line in driver.stdout if line.startswith("progress trunk"))
        driver.kill()
        driver.communicate()
    with artifact.lock(lab.lock("trunk"), wait=True):
        reached = max(points(lab.folder / "trunk"))
    record = artifact.require_sound(point_folder(lab.folder / "trunk", reached))
    assert record.facts["world"] == 2
    make(loaded(recipe_file, steps=100000), lab, "trunk", until=reached + 2 * STEP)
    other = Lab(shutil.copytree(data.folder, tmp_path / "alone"))
    make(loaded(recipe_file, steps=100000), other, "trunk", until=reached + 2 * STEP)
    ours, theirs = told(lab, "trunk"), told(other, "trunk")
    assert [line[:2] for line in ours] == [line[:2] for line in theirs]  # tokens and hash chain
    assert [loss for *_, loss in ours] == pytest.approx([loss for *_, loss in theirs], rel=1e-4)


def test_a_file_that_cannot_be_written_is_one_clear_line_and_nothing_is_lost(
    copy: Copy, data: Lab, recipe_file: Path, tmp_path: Path
) -> None:
    """A limit on the size of files stands in for a full disk: weights fit, moments do not."""
    lab = copy(data)
    limit = (40_000, 40_000)
    arguments = ["run", str(recipe_file), "--only", "trunk"]
    with ramify(
        *arguments, lab=lab, first=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    ) as driver:
        _, err = driver.communicate()
    assert driver.returncode == 1
    assert re.fullmatch(r"ramify: .*optimizer.safetensors cannot be written: .*too large.*\n", err)
    assert prints(data).items() <= prints(lab).items()
    assert points(lab.folder / "trunk") == {}
    assert list(lab.folder.rglob("*.tmp")) == []
    goes_on_as_one_that_never_stopped(lab, data, recipe_file, tmp_path, 12 * STEP)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a disk of `size`, or skip the test where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True, check=False,
    ) if shutil.which("mount") else None  # fmt: skip
    if done is None or done.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # it may still be mapped


def test_a_full_disk_says_so_and_what_is_finished_stays(
    data: Lab, recipe_file: Path, tmp_path: Path
) -> None:
    pages = sum(path.stat().st_size // 4096 + 1 for path in data.folder.rglob("*"))
    with small_disk(tmp_path / "disk", f"{pages * 4096 + 130_000}"):
        lab = Lab(shutil.copytree(data.folder, tmp_path / "disk" / "lab"))
        before = prints(lab)
        with pytest.raises(OSError, match="No space left on device") as full:
            make(loaded(recipe_file), lab, "trunk")
        assert worker._hint(full.value) == "free some space, then type the same command again"
        after = prints(lab)
        assert before.items() <= after.items()
        assert not any(problems for _, problems in lab.verify())
        moved = Lab(shutil.copytree(lab.folder, tmp_path / "larger"))
    goes_on_as_one_that_never_stopped(moved, data, recipe_file, tmp_path, 12 * STEP)


def test_a_truncated_shard_is_refused_by_name_with_what_to_type(
    copy: Copy, data: Lab, recipe_file: Path
) -> None:
    lab = copy(data)
    shard = lab.folder / "words" / "shards" / "00000.bin"
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(Corrupt, match=r"00000.bin has \d+ bytes, its record says .*forget words,"):
        make(loaded(recipe_file), lab, "trunk")


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_a_damaged_point_is_refused_and_made_again_once_forgotten(
    copy: Copy, whole: Lab, recipe_file: Path, damage: str
) -> None:
    lab = copy(whole)
    lab.forget("cool-10")
    file = point_folder(lab.folder / "trunk", 8 * STEP) / "tensors" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    match damage:
        case "missing":
            file.unlink()
        case "truncated":
            file.write_bytes(data[:-9])
        case _:
            file.write_bytes(data)
    assert [name for name, wrong in lab.verify() if wrong] == [f"trunk/at/{8 * STEP:015d}"]
    with pytest.raises(
        Corrupt, match=f"model.safetensors .*; type: ramify forget trunk@{8 * STEP}"
    ):
        make(loaded(recipe_file), lab)
    assert lab.forget(f"trunk@{8 * STEP}") == [f"trunk@{8 * STEP}"]
    make(loaded(recipe_file), lab)
    assert prints(lab) == prints(whole)
    assert not any(wrong for _, wrong in lab.verify())


def test_forgetting_what_lies_after_a_token_leaves_a_shorter_run(
    copy: Copy, whole: Lab, recipe_file: Path
) -> None:
    lab = copy(whole)
    assert lab.forget("trunk", after=8 * STEP) == [f"trunk@{12 * STEP}"]
    assert points(lab.folder / "trunk").keys() == {8 * STEP}
    # what lay there can be asked for otherwise now, and the data that was read stays as it was
    with pytest.raises(NotFound, match=f"trunk has no point at {12 * STEP} tokens; points: 512"):
        lab.forget(f"trunk@{12 * STEP}")
    make(loaded(recipe_file), lab)
    assert prints(lab) == prints(whole)


def test_a_window_of_a_run_that_asked_otherwise_is_not_taken_for_this_one(
    copy: Copy, whole: Lab, data: Lab, recipe_file: Path
) -> None:
    """It was killed after its first window and before its first point, and then changed."""
    lab = copy(data)
    other = loaded(recipe_file, peak=0.5)
    make(other, lab, "trunk", until=4 * STEP)
    files.remove(lab.folder / "trunk" / "at")
    make(loaded(recipe_file), lab, "trunk")
    window = f"trunk/windows/{4 * STEP:015d}"
    assert prints(lab)[window] == prints(whole)[window]


def test_an_input_that_is_not_what_the_plan_took_it_for_is_refused(
    copy: Copy, data: Lab, recipe_file: Path
) -> None:
    lab = copy(data)
    path = lab.folder / "words" / artifact.RECORD
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "fingerprint": "0" * 32}))
    with pytest.raises(RamifyError, match="words was made otherwise by another process meanwhile"):
        make(loaded(recipe_file), lab, "trunk")
