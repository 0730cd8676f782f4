"""Writes the parts of the docs that are generated, and never touches prose.

examples/NN.py  # [span] ... # [/span]   ─▶  <!-- example: NN.py [span] --> ... <!-- /example -->
the command line, the step classes       ─▶  docs/reference/

python docs/make.py                      write what has changed
python docs/make.py --check              only name what is stale, and leave with code 1
python docs/make.py --output NAME FILE   put a file between <!-- output: NAME --> and <!-- /output -->
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import subprocess
import sys
import textwrap
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

import ramify
from ramify.cli import app
from ramify.curate import filters
from ramify.ground import errors
from ramify.ground.step import Step
from ramify.model.config import PRESETS
from ramify.optim import schedule
from ramify.runs.lab import Lab
from ramify.train.steps import Root, Trunk

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
HEAD = "<!-- written by docs/make.py: change the source, then type: make docs -->\n\n"
READERS = ("points", "journal", "points_of", "record", "places", "parents", "children", "verify")
QUOTE = re.compile(
    r"(<!-- example: (?P<file>\S+) \[(?P<span>\w+)\] -->\n).*?(<!-- /example -->)", re.DOTALL
)
OUTPUT = re.compile(r"(<!-- output: (?P<name>.+?) -->\n)(?P<text>.*?)(<!-- /output -->)", re.DOTALL)


def prose_pages() -> list[Path]:
    """Return every page that people write: the README and the docs, without the generated ones."""
    docs = (ROOT / "docs").rglob("*.md")
    written = (p for p in docs if REFERENCE not in p.parents and p.name != "benchmarks.md")
    return [ROOT / "README.md", *sorted(written)]


def pages() -> dict[Path, str]:
    """Return every page that holds something generated, as it should be."""
    quoted = {page: QUOTE.sub(_quoted, page.read_text("utf-8")) for page in prose_pages()}
    made = {
        "commands.md": commands(),
        "steps.md": steps(),
        "sizes.md": sizes(),
        "python.md": python(),
    }
    return {**quoted, **{REFERENCE / name: HEAD + text for name, text in made.items()}}


def stale() -> list[Path]:
    """Return the pages that are not what they should be."""
    return [p for p, text in pages().items() if not p.exists() or p.read_text("utf-8") != text]


def span(file: str, name: str) -> str:
    """Return what stands between `# [name]` and `# [/name]` in an example, the marks left out.

    A comment behind the opening mark is kept as the first line.
    """
    text = (ROOT / "examples" / file).read_text("utf-8")
    found = re.search(rf"^( *)# \[{name}\]([^\n]*)\n(.*?)^ *# \[/{name}\]", text, re.M | re.S)
    if found is None:
        raise LookupError(f"examples/{file} has no span [{name}]")
    comment = f"{found[1]}#{found[2]}\n" if found[2].strip() else ""
    return textwrap.dedent(comment + found[3])


def _quoted(found: re.Match[str]) -> str:
    code = _formatted(span(found["file"], found["span"]))
    return f"{found[1]}```python\n{code}```\n{found[4]}"


def _formatted(code: str) -> str:
    # lines that stood further to the right break elsewhere, and ruff formats code in pages too
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "quoted.py", "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, check=True)
    return done.stdout


def commands() -> str:
    """Return every command with its arguments and options, as the command line itself knows them."""
    group: Any = typer.main.get_command(app)
    parts = ["# Commands\n\nEach takes `--help`. A count may be written `4096`, `2M` or `0.5B`.\n"]
    for name, command in group.commands.items():
        rows = [_parameter(p) for p in command.params if p.name != "help"]
        usage = " ".join(["ramify", name, *_usage(command.params)])
        parts.append(
            f"## {name}\n\n{command.help}\n\n```sh\n{usage}\n```\n\n{_table(rows, ('argument or option', ''))}"
        )
    return "\n".join(parts)


def _usage(params: Iterable[Any]) -> Iterator[str]:
    for param in params:
        if param.param_type_name == "argument":
            yield _shown(param)
    yield "[OPTIONS]"


def _shown(param: Any) -> str:
    return str(param.metavar or param.opts[-1].lstrip("-").upper())


def _parameter(param: Any) -> tuple[str, str]:
    if param.param_type_name == "argument":
        return f"`{_shown(param)}`", param.help or ""
    value = "" if param.is_flag else f" {_shown(param)}"
    default = "" if param.default in (None, False) else f" [default: {param.default}]"
    return f"`{', '.join(param.opts)}{value}`", f"{param.help or ''}{default}".strip()


def _table(rows: Iterable[tuple[str, ...]], head: tuple[str, ...]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    told = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "".join(f"| {line} |\n" for line in told)


def steps() -> str:
    """Return every class that a recipe is written with: its fields, defaults and comments."""
    named = [getattr(ramify, name) for name in ramify.__all__ if name not in ("open", "plan")]
    classes = [each for each in named if inspect.isclass(each) and issubclass(each, BaseModel)]
    parts = [
        "# Steps and their fields\n\nA field marked *conduct* changes no result and is in no"
        " fingerprint; every other field of a step is its identity. `name` is never identity.\n",
        *(_class(each, each.__name__) for each in classes),
        "## The shape of a descent: ramify.optim.schedule.Cooldown\n\n" + _body(schedule.Cooldown),
        "# Filters\n\nIn `ramify.curate.filters`, for `Read(filters=...)`.\n",
        *(_class(each, each.__name__) for each in _filters()),
    ]
    return "\n".join(parts)


def _filters() -> Iterator[type[BaseModel]]:
    for each in vars(filters).values():
        if inspect.isclass(each) and issubclass(each, filters.Verdict) and each != filters.Verdict:
            yield each


def _class(each: type[BaseModel], title: str) -> str:
    return f"## {title}\n\n{_body(each)}"


def _body(each: type[BaseModel]) -> str:
    rows = [_field(each, name) for name in each.model_fields if name != "kind"]
    return f"{inspect.getdoc(each)}\n\n{_table(rows, ('field', 'type', 'default', ''))}"


def _field(each: type[BaseModel], name: str) -> tuple[str, str, str, str]:
    home = next(c for c in each.__mro__ if name in inspect.get_annotations(c))
    annotation, comment = _written(home)[name]
    notes = ["*conduct*"] if issubclass(each, Step) and _is_conduct(each, name) else []
    notes += [comment] if comment else []
    return f"`{name}`", f"`{annotation}`", _default(each, name), ". ".join(notes)


def _is_conduct(each: type[Step], name: str) -> bool:
    # how long a root runs is left out of what it asks for; a cosine run's horizon says it instead
    return name in each.conduct or name == "name" or (issubclass(each, Root) and name == "tokens")


def _default(each: type[BaseModel], name: str) -> str:
    field = each.model_fields[name]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    plain = isinstance(value, BaseModel) and value == type(value).model_construct()
    return f"`{type(value).__name__}()`" if plain else f"`{value!r}`"


def _written(home: type) -> dict[str, tuple[str, str]]:
    """Return each field's annotation and comment as they stand in the source of its class."""
    source = textwrap.dedent(inspect.getsource(home))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        node.target.id: (ast.unparse(node.annotation), comments.get(node.end_lineno or 0, ""))
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def sizes() -> str:
    """Return the table of named network sizes, with parameters counted."""
    head = ("name", "layers", "width", "heads", "kv heads", "ffw", "vocabulary", "parameters")
    rows = [
        (f"`{name}`", *map(str, (c.layers, c.width, c.heads, c.kv_heads, c.ffw)),
         f"{c.vocab:,}", f"{c.parameters:,}")
        for name, c in PRESETS.items()
    ]  # fmt: skip
    return (
        "# Named sizes\n\nFor `preset(NAME, vocab=...)`: 135M, 360M and 1.7B are SmolLM2's, those"
        " with an h are of Hägele et al., Table 2, the rest are for one CPU. Embeddings are tied"
        f" and counted once.\n\n{_table(rows, head)}"
    )


def python() -> str:
    """Return what a notebook calls: functions, methods of a lab and a trunk, and the errors."""
    functions = [ramify.open, ramify.plan, ramify.run]
    methods = [getattr(Lab, name) for name in READERS]
    trunk = [Trunk.cooldown, Trunk.cosine, Trunk.point, Trunk.but]
    tree = (inspect.getdoc(errors) or "").split("\n\n", 1)[1]
    return "\n".join(
        [
            "# From Python\n",
            *(_function(each, f"ramify.{each.__name__}") for each in functions),
            "# Of a lab\n\n`ramify.open(FOLDER)` and `ramify.run(...)` return one.\n",
            *(_function(each, f"lab.{each.__name__}") for each in methods),
            "# Of a trunk\n",
            *(_function(each, f"trunk.{each.__name__}") for each in trunk),
            "# Errors\n\nAll in `ramify.ground.errors`. Each is also the built-in behind it, and"
            f" carries `message` and `hint`.\n\n```\n{tree}\n```\n",
        ]
    )


def _function(function: Any, title: str) -> str:
    source = ast.parse(textwrap.dedent(inspect.getsource(function))).body[-1]
    assert isinstance(source, ast.FunctionDef)
    asked = ast.unparse(source.args).removeprefix("self").removeprefix(", ")
    returns = f" -> {ast.unparse(source.returns)}" if source.returns else ""
    return (
        f"## {title}\n\n```python\n{title}({asked}){returns}\n```\n\n{inspect.getdoc(function)}\n"
    )


def put_output(name: str, file: Path) -> list[Path]:
    """Put a file's text, fenced, between the markers of that output; return the pages changed."""
    fence = f"```\n{file.read_text('utf-8').strip()}\n```\n"
    changed = []
    for page in prose_pages():
        text = page.read_text("utf-8")
        new = OUTPUT.sub(lambda m: f"{m[1]}{fence}{m[4]}" if m["name"] == name else m[0], text)
        if new != text:
            page.write_text(new, "utf-8")
            changed.append(page)
    return changed


def main(arguments: list[str]) -> int:
    """Write, check, or take in an output; return the exit code."""
    if arguments[:1] == ["--output"]:
        changed = put_output(arguments[1], Path(arguments[2]))
    else:
        wanted = pages()
        changed = stale()
        for page in () if arguments == ["--check"] else changed:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(wanted[page], "utf-8")
    for page in changed:
        sys.stdout.write(f"{page.relative_to(ROOT)}\n")
    return int(bool(changed) and arguments == ["--check"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
