"""A folder is finished when its record is there: killed anywhere, it is finished or it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramify.ground import artifact, files
from ramify.ground.artifact import Record
from ramify.ground.errors import Busy, Corrupt, Mismatch

KILLED = Path(__file__).with_name("killed.py")
HOLD = """
import sys
from pathlib import Path
from ramify.ground import artifact
driver = int(sys.argv[2]) if len(sys.argv) > 2 else None
with artifact.lock(Path(sys.argv[1]), driver=driver):
    print("held", flush=True)
    sys.stdin.read()
"""


def record(**fields: Any) -> Record:
    given = {"name": "made", "kind": "made", "fingerprint": "f", "asked": {"seed": 1}, "step": {}}
    return Record(**{**given, **fields})


def make(folder: Path, text: str = "text") -> Record:
    work = artifact.begin(folder, {"seed": 1})
    (work / "inner").mkdir(exist_ok=True)
    files.write_text(work / "inner" / "file", text)
    return artifact.seal(work, folder, record())


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return what killed.py tells: for each way and each file operation, what was found."""
    home = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, str(KILLED), str(home)], capture_output=True, text=True, check=True
    )
    told: dict[str, list[Any]] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(("way", "seed"), [("fresh", 1), ("after", 1), ("back", 2)])
def test_a_folder_killed_at_any_file_operation_is_finished_or_not_and_can_be_made_again(
    killed: dict[str, list[Any]], way: str, seed: int
) -> None:
    *dead, alive = killed[way]
    assert len(dead) >= 20
    assert {ended for ended, *_ in dead} == {-9}
    assert {seen for _, seen, *_ in dead} <= {"nothing", "sound"}
    for ended, seen, again, finally_seen, text, left in killed[way]:
        # finished before the kill, it is what was asked then
        wanted = 1 if seen == "sound" else seed
        assert (again, finally_seen, text) == (0, "sound", f"inner/two of {wanted}"), ended
        assert left == []
    assert alive[:2] == [0, "sound"]


def test_a_finished_folder_tells_its_files_with_size_and_hash(tmp_path: Path) -> None:
    made = make(tmp_path / "a" / "made")
    assert artifact.read_record(tmp_path / "a" / "made") == made
    assert made.files.keys() == {"inner/file"}
    assert made.files["inner/file"].bytes == 4
    assert {"python", "ramify"} <= made.versions.keys()
    assert artifact.require_sound(tmp_path / "a" / "made") == made


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_text("tex"), "has 3 bytes, its record says 4"),
        (lambda path: path.write_text("texx"), "its hash differs"),
    ],
)
def test_what_is_not_sound_is_named(tmp_path: Path, damage: Any, says: str) -> None:
    folder = tmp_path / "made"
    made = make(folder)
    assert artifact.unsound(folder, made) == []
    damage(folder / "inner" / "file")
    assert says in artifact.unsound(folder, made)[0]
    assert bool(artifact.unsound(folder, made, hashes=False)) == (says != "its hash differs")
    with pytest.raises(Corrupt, match=f"{says}.*type: ramify forget made"):
        artifact.require_sound(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "made"}', "\0" * 20])
def test_a_record_that_cannot_be_read_is_corrupt_and_none_is_none(
    tmp_path: Path, text: str
) -> None:
    folder = tmp_path / "made"
    assert artifact.read_record(folder) is None
    make(folder)
    (folder / artifact.RECORD).write_text(text)
    with pytest.raises(Corrupt, match=r"record.json is not a record"):
        artifact.read_record(folder)


def test_an_unfinished_folder_is_kept_for_the_same_asking_alone(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    work = artifact.begin(folder, {"seed": 1})
    files.write_text(work / "half", "done")
    assert (artifact.begin(folder, {"seed": 1}) / "half").exists()
    assert not (artifact.begin(folder, {"seed": 2}) / "half").exists()
    (work / artifact.ASKED).write_text("torn")
    (work / artifact.RECORD).write_text("torn")
    assert [p.name for p in artifact.begin(folder, {"seed": 2}).iterdir()] == [artifact.ASKED]


def test_what_is_finished_is_never_replaced_nor_what_lies_inside(tmp_path: Path) -> None:
    make(tmp_path / "made")
    with pytest.raises(Mismatch, match="was finished by another process"):
        make(tmp_path / "made", "other")
    make(tmp_path / "group" / "inner")
    with pytest.raises(Mismatch, match=r"group is the folder of .*inner"):
        make(tmp_path / "group")
    assert (tmp_path / "group" / "inner" / "inner" / "file").read_text() == "text"


def test_what_a_killed_removal_left_gives_way(tmp_path: Path) -> None:
    (tmp_path / "made" / "inner").mkdir(parents=True)
    (tmp_path / "made" / "inner" / "old").touch()
    make(tmp_path / "made")
    assert not (tmp_path / "made" / "inner" / "old").exists()


def test_differences_are_told_by_field() -> None:
    old = {"optimizer": {"beta2": 0.95}, "stages": [{"at": 0}, {"at": 8}], "seed": 1}
    new = {"optimizer": {"beta2": 0.99}, "stages": [{"at": 0}, {"at": 9}], "rows": 4}
    assert artifact.differences(old, new) == [
        "optimizer.beta2 was 0.95, now 0.99",
        "stages[1].at was 8, now 9",
        "seed was 1, now the default",
        "rows was the default, now 4",
    ]
    assert artifact.differences({"stages": [1]}, {"stages": [1, 2]}) == [
        "stages was [1], now [1, 2]"
    ]


SCALAR = st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=2)
ASKED = st.dictionaries(st.text(max_size=2), SCALAR | st.lists(SCALAR, max_size=2), max_size=4)


@given(ASKED, ASKED)
def test_two_askings_differ_in_a_field_or_have_one_fingerprint(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    def without_none(asked: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in asked.items() if value is not None}

    one, other = without_none(one), without_none(other)
    same = artifact.digest(one) == artifact.digest(other)
    assert same == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))
    if not artifact.differences(one, other):
        assert one == other


def hold(path: Path, *driver: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *driver],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_lock_keeps_another_process_out_until_its_owner_dies(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "grid+made.lock"
    with hold(path) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with (
            pytest.raises(Busy, match=f"grid/made is being made by process {owner.pid} since"),
            artifact.lock(path),
        ):
            pass
        owner.kill()
    with artifact.lock(path):
        pass
    assert path.read_text() == ""


def test_an_owner_whose_driver_has_died_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "made.lock"
    with subprocess.Popen([sys.executable, "-c", ""]) as driver:
        pass
    with hold(path, str(driver.pid)) as orphan:
        assert orphan.stdout is not None
        assert orphan.stdin is not None
        assert orphan.stdout.readline() == "held\n"
        with hold(path, str(os.getpid())) as heir:
            assert heir.stdout is not None
            orphan.stdin.close()
            assert heir.stdout.readline() == "held\n"
            heir.kill()
