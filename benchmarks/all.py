"""Runs every benchmark, keeps what each said, and writes docs/benchmarks.md from what was kept.

benchmarks/NAME.py ── last line, JSON ──▶ docs/benchmarks/NAME.json ──▶ docs/benchmarks.md

python benchmarks/all.py                 run all (gpu_step only where there is a GPU; not the study)
python benchmarks/all.py --only NAME     run this one; may be repeated
python benchmarks/all.py --write-only    run none, write the page again

A benchmark that was not run keeps what it last said, with its date.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "benchmarks"
KEPT = ROOT / "docs" / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"
NEEDS_GPU = frozenset({"gpu_step"})
ROWS_ALONE = {"reproduction": ["--write-only"]}  # training takes hours: judged from its kept rows
NEEDED = ("name", "n", "hardware", "figures", "bars")
HEAD = """<!-- written by benchmarks/all.py from docs/benchmarks/*.json: type make bench -->

# Benchmarks

Each is one command that prints its figures as JSON; `make bench` runs them all and writes this
page. Rivals are measured in the same run, on the same machine. A bar is a figure that the
project set itself beforehand; one that does not hold stays here and says so.
"""


def names() -> list[str]:
    """Return every benchmark there is, this file left out."""
    return sorted(p.stem for p in SCRIPTS.glob("*.py") if p != Path(__file__).resolve())


def has_gpu() -> bool:
    """Say whether torch sees a GPU, asked of a process of its own so that none is held."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def run(name: str) -> bool:
    """Run one benchmark, showing what it says; keep its last line. False if that is no JSON."""
    print(f"── {name}", flush=True)
    last = ""
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *ROWS_ALONE.get(name, [])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line if line.strip() else last
    told = _told(last)
    if told is None:
        print(f"{name} left with code {process.returncode} and no figures", file=sys.stderr)
        return False
    KEPT.mkdir(parents=True, exist_ok=True)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    kept = {"date": date, "command": f"python benchmarks/{name}.py", **told}
    (KEPT / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    return True


def _told(line: str) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except json.JSONDecodeError:
        return None
    whole = isinstance(told, dict) and all(key in told for key in NEEDED)
    return told if whole and told["figures"] else None  # one without a GPU measures nothing


def page() -> str:
    """Return the page, from the benchmarks' own words and what each last said."""
    return "\n".join([HEAD, *(_section(name) for name in names())])


def _section(name: str) -> str:
    words = ast.get_docstring(ast.parse((SCRIPTS / f"{name}.py").read_text("utf-8"))) or ""
    about = [p for p in words.split("\n\n") if not p.startswith(("Run from", "python "))]
    kept = KEPT / f"{name}.json"
    told = json.loads(kept.read_text("utf-8")) if kept.exists() else None
    parts = [f"## {name}", *about, *(_measured(told) if told else [_not_run(name)])]
    return "\n\n".join(parts) + "\n"


def _not_run(name: str) -> str:
    return f"Not measured yet. The command: `python benchmarks/{name}.py`."


def _measured(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"`{told['command']}`, {told['date']}; {_words(told['hardware'])}; n: {_words(told['n'])}."
    rows = [
        (bar["what"], f"{bar['op']} {_value(bar['bar'])}", _value(bar["value"]),
         "holds" if bar["holds"] else "**does not hold**")
        for bar in told["bars"]
    ]  # fmt: skip
    if rows:
        yield _table(("bar", "asked", "measured", ""), rows)
    figures = told["figures"]
    plain = {key: value for key, value in figures.items() if not isinstance(value, dict)}
    if plain:
        yield _table(("figure", "value"), ((key, _value(v)) for key, v in plain.items()))
    alike: dict[tuple[str, ...], dict[str, Any]] = {}
    for key, value in figures.items():
        if isinstance(value, dict):
            alike.setdefault(tuple(value), {})[key] = value
    for inner, rows_of in alike.items():
        yield _nested(inner, rows_of)


def _nested(inner: tuple[str, ...], figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return figures that hold the same figures inside as a table: a row each, a column per name."""
    rows = ((key, *(_value(value) for value in each.values())) for key, each in figures.items())
    return _table(("figure", *inner), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    return _value(value)


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def main() -> int:
    """Run what is asked, write the page, and return 1 if something said nothing or missed a bar."""
    parser = argparse.ArgumentParser(description="Run the benchmarks and write their page.")
    parser.add_argument("--only", action="append", choices=names(), help="may be repeated")
    parser.add_argument("--write-only", action="store_true", help="run none")
    asked = parser.parse_args()
    chosen = [] if asked.write_only else asked.only or names()
    if not asked.only and NEEDS_GPU & {*chosen} and not has_gpu():
        chosen = [name for name in chosen if name not in NEEDS_GPU]
        print(f"no GPU here: {', '.join(sorted(NEEDS_GPU))} left as it was")
    silent = [name for name in chosen if not run(name)]
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    kept = (json.loads((KEPT / f"{n}.json").read_text("utf-8")) for n in chosen if n not in silent)
    missed = [f"{k['name']}: {b['what']}" for k in kept for b in k["bars"] if not b["holds"]]
    for line in missed:
        print(f"does not hold: {line}")
    return int(bool(silent or missed))


if __name__ == "__main__":
    sys.exit(main())
