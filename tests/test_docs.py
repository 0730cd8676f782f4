"""The docs say what is: generated parts are fresh, commands parse, and what they name is there."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import ramify
from ramify.cli import app
from ramify.runs.recipe import find, installed

ROOT = Path(ramify.__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PROMPT = re.compile(r"^(?:\$ |\.venv/bin/)?(?=(?:ramify|make|python) )")


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


MAKE = module(ROOT / "docs" / "make.py")
BENCH = module(ROOT / "benchmarks" / "all.py")


def read(page: Path) -> str:
    return page.read_text("utf-8")


def fenced(text: str) -> Iterator[str]:
    """Yield the command lines of code blocks that show a shell, continued lines joined."""
    for language, block in FENCE.findall(text):
        if language in ("python", "toml", "json"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if found := PROMPT.match(line):
                yield line[found.end() :]


def inline(text: str) -> Iterator[str]:
    for code in INLINE.findall(FENCE.sub("", text)):
        if PROMPT.match(code):
            yield code


def shown() -> list[tuple[str, str]]:
    """Return (page, command) of every command that a person could type after us."""
    found = []
    for page in [*MAKE.prose_pages(), ROOT / "CHANGELOG.md", ROOT / "docs" / "benchmarks.md"]:
        name = str(page.relative_to(ROOT))
        found += [(name, command) for command in (*fenced(read(page)), *inline(read(page)))]
    found += [
        (f"examples/{example.name}", line)
        for example in sorted((ROOT / "examples").glob("*.py"))
        for line in (inspect.getdoc(module(example)) or "").splitlines()
        if PROMPT.match(line)
    ]
    return found


COMMANDS = shown()


def words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


def of(program: str) -> list[Any]:
    return [pytest.param(c, id=f"{page}: {c}") for page, c in COMMANDS if words(c)[0] == program]


def test_what_is_generated_is_fresh() -> None:
    assert MAKE.stale() == [], "type: make docs"


def test_the_page_of_benchmarks_is_what_they_last_said() -> None:
    assert read(ROOT / "docs" / "benchmarks.md") == BENCH.page()


@pytest.mark.parametrize("command", of("ramify"))
def test_a_command_that_is_shown_is_understood(command: str) -> None:
    group: Any = typer.main.get_command(app)
    for each in group.commands.values():
        each.callback = lambda **_: None
    _, *rest = words(command)
    if len(rest) == 1 and rest[0] in group.commands:
        return  # the name of a command, in a sentence
    with pytest.raises(SystemExit) as left:
        group.main(rest, prog_name="ramify")
    assert left.value.code == 0, f"ramify does not understand: {command}"


@pytest.mark.parametrize("command", of("ramify"))
def test_a_setting_that_is_shown_is_one_of_its_recipe(command: str) -> None:
    _, *rest = words(command)
    given = [value.split("=")[0] for flag, value in itertools.pairwise(rest) if flag == "--set"]
    if not given or not (rest[1] in installed() or (ROOT / rest[1]).is_file()):
        return
    spec = rest[1] if rest[1] in installed() else str(ROOT / rest[1])
    assert {*given} <= {*inspect.signature(find(spec)).parameters}


@pytest.mark.parametrize("command", of("make"))
def test_a_target_that_is_shown_is_in_the_makefile(command: str) -> None:
    targets = re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE)
    assert words(command)[1] in targets


@pytest.mark.parametrize("command", of("python"))
def test_a_script_that_is_shown_is_there(command: str) -> None:
    script = words(command)[1]
    assert script.startswith("-") or (ROOT / script).is_file()


def test_every_example_is_quoted_or_named_in_the_docs() -> None:
    docs = "".join(read(page) for page in MAKE.prose_pages())
    for example in (ROOT / "examples").glob("*.py"):
        assert example.name in docs


def test_every_command_is_shown_with_an_example() -> None:
    page = ROOT / "docs" / "all-of-ramify.md"
    typed = {words(command)[1] for command in fenced(read(page)) if len(words(command)) > 1}
    group: Any = typer.main.get_command(app)
    assert {*group.commands} <= typed


def test_a_span_that_is_not_there_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"03_extend_a_trunk.py has no span \[nothing\]"):
        MAKE.span("03_extend_a_trunk.py", "nothing")


def test_an_output_is_taken_in_between_its_markers_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, said = tmp_path / "page.md", tmp_path / "said.txt"
    page.write_text(
        "prose\n<!-- output: a -->\nold\n<!-- /output -->\n<!-- output: b -->\nb\n<!-- /output -->\n"
    )
    said.write_text("new \\1\n")
    monkeypatch.setattr(MAKE, "prose_pages", lambda: [page])
    assert MAKE.put_output("a", said) == [page]
    assert MAKE.put_output("c", said) == []
    kept = "<!-- output: b -->\nb\n<!-- /output -->\n"
    assert read(page) == f"prose\n<!-- output: a -->\n```\nnew \\1\n```\n<!-- /output -->\n{kept}"


def test_a_benchmark_that_says_nothing_keeps_what_it_last_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BENCH, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(BENCH, "SCRIPTS", tmp_path)
    script = tmp_path / "quick.py"
    script.write_text(
        '"""What is quick.\n\nRun from anywhere: `python quick.py`.\n"""\nprint("going")\n'
        'print(\'{"name": "quick", "n": 3, "hardware": {"cores": 2}, "figures": {"s": 0.5,'
        ' "t": {"median": 1234567}}, "bars": [{"what": "s", "value": 0.5, "op": "<", "bar": 0.1,'
        ' "holds": false}]}\')\n'
    )
    assert "Not measured yet" in BENCH.page()
    assert BENCH.run("quick")
    page = BENCH.page()
    assert "| s | < 0.1 | 0.5 | **does not hold** |" in page
    assert "| t | 1,234,567 |" in page
    assert "n: 3" in page
    assert "Run from" not in page
    empty = '{"name": "quick", "n": 3, "hardware": "no GPU", "figures": {}, "bars": []}'
    for said in ("broken", empty):
        script.write_text(f'"""What is quick."""\nprint({said!r})\n')
        assert not BENCH.run("quick")
        assert BENCH.page() == page
