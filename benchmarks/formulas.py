"""Mathematics of web pages as LaTeX: does it parse, is it the same formula, is every one found?

Three questions. MathML: the 59,623 formulas of two OpenStax textbooks, converted, read back by KaTeX,
and compared with the source: the same characters in the leaves (typographic twins such as the hyphen
and the minus are one), and as many fractions, roots, scripts and cells. Twins, bars over a letter and
nested tokens were counted as equal after a stricter comparison had given 99.57%. Beside them Debian's
pandoc converts 4,000 of the same formulas.

Pages: all 16 of the set. What a reader sees in the main content of each stands in
benchmarks/data/ccmath.json and is expected in the text, each formula once and in that order. LaTeX is
compared as KaTeX lays it out; where KaTeX does not know a command, and in AsciiMath, letter by letter
without spaces. The lists were read in the pages' source: by eye for KaTeX, MathML, codecogs, AsciiMath
and Stack Exchange; by a pattern of the one page, then looked through, for mimetex (42), the `formula`
tags (21) and LibreTexts (303). AsciiMath is expected as it was typed. Formulas outside the main content
(two in comments) are expected only of the whole page. Of the 16, 8 are no pages: lists of formulas
without any markup, which are expected as they stand, none taken for mathematics. The first run of these
lists found two formulas missing and 92 too many on one page: the extraction was mended. One entry was
corrected by the source, which has an exponent on the closing bracket alone.

Run from the project root: `npm install --prefix .venv-peers katex`, then
`python benchmarks/formulas.py`. The data is in ../shared/data. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pyarrow as pa
from lxml import etree

from ramify.curate.extract import extract
from ramify.curate.mathml import latex_of
from ramify.curate.steps import Extraction

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "web"
KATEX = Path(".venv-peers/node_modules/katex").resolve()
SCRIPT = """
const katex = require(process.argv[2]), fs = require('fs');
const all = JSON.parse(fs.readFileSync(process.argv[3]));
const one = x => { try { return katex.renderToString(x, {output: 'mathml', strict: 'ignore', displayMode: true}) }
                   catch (e) { return null } };
fs.writeFileSync(process.argv[4], JSON.stringify(all.map(one)));
"""
MATH = re.compile(r"<m:math.*?</m:math>|<math.*?</math>", re.DOTALL)
PREFIX, UNPREFIXED = re.compile(r"<(/?)m:"), r"<\1"
PANDOC = 4000
LEAVES = frozenset({"mi", "mn", "mo", "mtext", "ms"})
TWINS = str.maketrans("-–‐*'’·µ∆Ω|º∘〈〉〈〉¯ˉ_︷︸⟶⟂ϒ•ˆ̂", "−−−∗′′⋅μΔΩ∣°°⟨⟩⟨⟩‾‾‾⏞⏟→⊥Υ∙^^")
UNSEEN = re.compile("[\\s\u2061-\u2064\u200b\xa0\u2000-\u200a]")
OVER = frozenset("−-–‾¯_")  # a bar over something, however it is typed
SCRIPTS = {"msub": 1, "msup": 1, "munder": 1, "mover": 1, "msubsup": 2, "munderover": 2}

EXPECTED = Path(__file__).parent / "data" / "ccmath.json"  # LaTeX, AsciiMath or text, by page
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
# Not sums of money: as in pandoc, no space within the dollars and no digit behind them.
IN_DOLLARS = re.compile(r"\$\$(.+?)\$\$|\$(?=\S)([^$]+?)(?<=\S)\$(?!\d)", re.DOTALL)
IN_QUOTES = re.compile(r"(?<!\\)`(.+?)(?<!\\)`", re.DOTALL)
SPACES = re.compile(r"[\\\s]*")  # AsciiMath that only sets others apart
PLACED = frozenset({"mfrac", "msqrt", "mroot", "mtable", "mtr", "mtd", *SCRIPTS})


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a set of the shared data."""
    with pa.input_stream(str(SHARED / f"{name}.jsonl.zst"), compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().splitlines()]


def by_katex(formulas: Sequence[str]) -> list[str | None]:
    """Return what KaTeX makes of LaTeX as MathML, None where it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        script, given, made = (Path(folder) / name for name in ("run.js", "in.json", "out.json"))
        script.write_text(SCRIPT)
        given.write_text(json.dumps(list(formulas)))
        subprocess.run(["node", script, KATEX, given, made], check=True)
        found: list[str | None] = json.loads(made.read_text())
    return found


def element(markup: str) -> Any:
    """Return the `<math>` in some markup, namespaces off and annotations emptied."""
    inner = re.search(r"<math.*</math>", re.sub(r"<(/?)m:", r"<\1", markup), re.DOTALL)
    assert inner is not None
    root = etree.fromstring(inner.group(), etree.XMLParser(recover=True))
    for note in root.iter("{*}annotation"):
        note.text = ""
    return root


def name(node: Any) -> str:
    return etree.QName(node).localname if isinstance(node.tag, str) else ""


def structure(root: Any) -> tuple[Counter[str], dict[str, int]]:
    """Return the characters of a formula's leaves, and its fractions, roots, scripts and cells."""
    text, counts = [], Counter[str]()
    nested: set[Any] = set()
    for node in root.iter():
        kind = name(node)
        counts[kind] += 1
        if kind in LEAVES and node not in nested:  # KaTeX puts tokens into tokens
            inner = "".join(node.itertext()).strip()
            nested.update(node.iterdescendants())
            above = node.getparent()
            is_bar = above is not None and name(above) == "mover" and above[-1] is node
            text.append("‾" if is_bar and inner and set(inner) <= OVER else inner)
        elif kind == "mfenced":
            text += [node.get("open", "("), node.get("close", ")")]
            marks = node.get("separators", ",")[:1]
            text.append(marks.strip() * max(0, len(node) - 1))
    told = {
        "fractions": counts["mfrac"],
        "roots": counts["msqrt"] + counts["mroot"],
        "scripts": sum(many * counts[kind] for kind, many in SCRIPTS.items()),
        "cells": counts["mtd"],
    }
    for node in root.iter("{*}mmultiscripts"):
        empty = sum(1 for child in node if name(child) in ("none", "mprescripts"))
        told["scripts"] += len(node) - 1 - empty
    return Counter(UNSEEN.sub("", "".join(text).translate(TWINS))), told


def mathml() -> dict[str, Any]:
    """Return how many formulas of the textbooks parse, and how many come back the same."""

    found: Counter[str] = Counter()
    for row in rows("openstax_cnxml_mathml"):
        found.update(MATH.findall(row["cnxml"]))
    sources = list(found)
    began = time.process_time()
    ours = [latex_of(source) for source in sources]
    rate = len(sources) / (time.process_time() - began)
    read = by_katex([latex or "" for latex in ours])
    parsed = same = 0
    unlike: Counter[str] = Counter()
    for source, again in zip(sources, read, strict=True):
        if again is None:
            continue
        parsed += found[source]
        (leaves, told), (leaves_again, told_again) = (
            structure(element(source)),
            structure(element(again)),
        )
        wrong = [part for part in told if told[part] != told_again[part]]
        if leaves == leaves_again and not wrong:
            same += found[source]
        else:
            unlike[wrong[0] if wrong else "leaves"] += found[source]
    total = found.total()
    return {
        "formulas": total,
        "different formulas": len(sources),
        "formulas a CPU-second": rate,
        "share that parses": parsed / total,
        "share that comes back the same": same / total,
        **{f"unlike in {part}": count for part, count in sorted(unlike.items())},
        **(_pandoc(sources[:PANDOC]) if shutil.which("pandoc") else {}),
    }


def _pandoc(sources: Sequence[str]) -> dict[str, float]:
    """Return the same for pandoc on some of the formulas."""
    page = "".join(f"<p>{PREFIX.sub(UNPREFIXED, x)}</p>" for x in sources)
    began = time.monotonic()
    done = subprocess.run(
        ["pandoc", "-f", "html", "-t", "json"],
        input=page,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - began
    made = []
    for block in json.loads(done.stdout)["blocks"]:
        inner = [
            x["c"][1] for x in block.get("c", []) if isinstance(x, dict) and x.get("t") == "Math"
        ]
        made.append(inner[0] if len(inner) == 1 else None)
    read = by_katex([latex or "\\" for latex in made])
    return {
        "pandoc: formulas": len(sources),
        "pandoc: formulas a second": len(sources) / seconds,
        "pandoc: share that parses": sum(x is not None for x in read) / len(sources),
    }


def pages() -> dict[str, Any]:
    """Return, per page, how many formulas are expected, missing, there too often, and out of order."""
    expected = json.loads(EXPECTED.read_text("utf-8"))
    told: dict[str, Any] = {}
    for row in rows("ccmath_pages"):
        page = expected[row["id"]]
        told[row["id"]] = _compared(page["formulas"], row["html"], page["written"], Extraction())
        if "beside" in page:
            wanted, whole = page["formulas"] + page["beside"], Extraction(main_content=False)
            told[f"{row['id']}, whole"] = _compared(wanted, row["html"], page["written"], whole)
    return told


def _compared(wanted: Sequence[str], markup: str, written: str, how: Extraction) -> dict[str, Any]:
    text = extract(markup, how).text
    if written == "text":
        want, have = list(wanted), _lines(wanted, text)
    elif written == "AsciiMath":
        found = [one for one in IN_QUOTES.findall(text) if not SPACES.fullmatch(one)]
        want, have = (["".join(one.split()) for one in some] for some in (wanted, found))
    else:
        found = [a or b for a, b in IN_DOLLARS.findall(FENCED.sub("", text))]
        want, have = _keys(wanted), _keys(found)
    missing, more = Counter(want) - Counter(have), Counter(have) - Counter(want)
    in_order = sum(
        same.size for same in SequenceMatcher(None, want, have, False).get_matching_blocks()
    )
    return {
        "written as": written,
        "expected": len(want),
        "missing": missing.total(),
        "too often": more.total(),
        "out of order": len(want) - missing.total() - in_order,
    }


def _lines(wanted: Sequence[str], text: str) -> list[str]:
    """Return the lines that a text consists of, one after another, and what is left of it."""
    found, left = [], " ".join(text.split())
    for line in wanted:
        if left.startswith(line):
            found.append(line)
            left = left.removeprefix(line).lstrip()
    return [*found, left] if left else found


def _keys(formulas: Sequence[str]) -> list[str]:
    """Return what all ways to write the same formula have in common, for each formula."""
    keys = []
    for latex, read in zip(formulas, by_katex(formulas), strict=True):
        keys.append("".join(latex.split()) if read is None else "".join(_placed(element(read))))
    return keys


def _placed(node: Any) -> Iterator[str]:
    """Yield the characters of a formula, and brackets around what has a place of its own."""
    kind = name(node)
    if kind in LEAVES:
        yield UNSEEN.sub("", "".join(node.itertext()).translate(TWINS))
    elif kind != "annotation":
        yield f"{kind}(" if kind in PLACED else ""
        for child in node:  # the parts of a plain root, a row or a cell follow one another
            parted = kind in PLACED and kind not in ("msqrt", "mtable", "mtr", "mtd")
            yield "[" if parted else ""
            yield from _placed(child)
            yield "]" if parted else ""
        yield ")" if kind in PLACED else ""


def main() -> None:
    """Measure, and print the figures as one line of JSON."""
    found, there = mathml(), pages()
    say(json.dumps({"mathml": found, "pages": there}, indent=1))
    wrong = sum(page["missing"] + page["too often"] for page in there.values())
    moved = sum(page["out of order"] for page in there.values())
    on_pages = len(json.loads(EXPECTED.read_text("utf-8")))
    parses, same = found["share that parses"], found["share that comes back the same"]
    print(
        json.dumps(
            {
                "name": "formulas",
                "n": {"formulas": found["formulas"], "pages": on_pages},
                "hardware": f"{os.cpu_count()} cores, Python {platform.python_version()}",
                "figures": {"MathML": found, **there},
                "bars": [
                    bar("share of LaTeX that parses", parses, 0.999),
                    bar("share that comes back the same", same, 0.99),
                    bar("formulas missing or twice on the pages", wrong, 0, "<="),
                    bar("formulas out of order on the pages", moved, 0, "<="),
                ],
            }
        )
    )


def bar(what: str, value: float, asked: float, op: str = ">=") -> dict[str, Any]:
    """Return a figure beside what was asked of it."""
    holds = value <= asked if op == "<=" else value >= asked
    return {"what": what, "value": value, "op": op, "bar": asked, "holds": holds}


if __name__ == "__main__":
    main()
