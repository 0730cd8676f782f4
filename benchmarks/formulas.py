"""Mathematics of web pages as LaTeX: does it parse, is it the same formula, is every one found?

Three questions. MathML: the 59,623 formulas of two OpenStax textbooks, converted, read back by KaTeX,
and compared with the source: the same characters in the leaves (typographic twins such as the hyphen
and the minus are one), and as many fractions, roots, scripts and cells. Pages: on pages with KaTeX,
MathJax, MathML, images and delimiters, what a person or a pattern of that one page finds in the markup
is expected in the text, once each: 6 of the 16 pages. Twins, bars over a letter and nested tokens were
counted as equal after a stricter comparison had given 99.57%. Beside them Debian's pandoc converts 4,000 of the same formulas.

Run from the project root: `npm install --prefix .venv-peers katex`, then
`python benchmarks/formulas.py`. The data is in ../shared/data. The last line is JSON.
"""

from __future__ import annotations

import html
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
from collections.abc import Sequence
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

# What is on each page that has mathematics: written down by hand, or a pattern of that one page.
BY_HAND: dict[str, list[str]] = {
    "math_katex_latex_2.html": [r"x+\sqrt{1-x^2}", "E=mc^2"],
    "img_codecogs_com.html": [
        r"IQR = Q_{3}-Q_{1}",
        r"\frac{42+43}{2} = \frac{85}{2} = 42.5",
        r"\frac{51+54}{2} = \frac{105}{2} = 52.5",
    ],
    "mathjax-mml-chtml.html": [
        r"a\ne0",
        r"ax^2+bx+c=0",
        r"x=\frac{-b\pm\sqrt{b^2-4ac}}{2a}\text{.}",
        r"\begin{matrix}\dot x&=\sigma(y-x)\\ \dot y&=\rho x-y-xz\\ \dot z&=-\beta z+xy\end{matrix}",
        r"{(\sum_{k=1}^na_kb_k)}^2\leq(\sum_{k=1}^na_k^2)(\sum_{k=1}^nb_k^2)",
        r"V_1\times V_2=|\begin{matrix}i&j&k\\ \frac{\partial X}{\partial u}&\frac{\partial Y}{\partial u}&0\\"
        r" \frac{\partial X}{\partial v}&\frac{\partial Y}{\partial v}&0\end{matrix}|",
        "k",
        "n",
        r"P(E)=({n\atop k})p^k(1-p)^{n-k}",
        r"\frac1{(\sqrt{\phi\sqrt5}-\phi)e^{\frac25\pi}}=1+\frac{e^{-2\pi}}{1+\frac{e^{-4\pi}}{1+"
        r"\frac{e^{-6\pi}}{1+\frac{e^{-8\pi}}{1+\ldots}}}}",
        r"1+\frac{q^2}{(1-q)}+\frac{q^6}{(1-q)(1-q^2)}+\cdots=\prod_{j=0}^\infty"
        r"\frac1{(1-q^{5j+2})(1-q^{5j+3})},\text{for }|q|<1.",
        r"\begin{matrix}\nabla\times\overrightarrow B-\frac1c\frac{\partial\overrightarrow E}{\partial t}&="
        r"\frac{4\pi}c\overrightarrow j\\ \nabla\cdot\overrightarrow E&=4\pi\rho\\ \nabla\times\overrightarrow E"
        r"+\frac1c\frac{\partial\overrightarrow B}{\partial t}&=\overrightarrow0\\"
        r" \nabla\cdot\overrightarrow B&=0\end{matrix}",
        r"\sqrt{3x-1}+{(1+x)}^2",
    ],
}
PATTERNS = {
    "img_mimetex_cgi.html": r'<img src="/cgi-bin/mimetex\.cgi\?([^"]*)"',
    "math_physicsforums_2.html": r"<formula[^>]*>(.*?)</formula>",
    "stackexchange_1_span-math-container_latex_mathjax.html": r'<span class="math-container">\$+(.*?)\$+</span>',
}


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
    """Return, per page, how many formulas are expected, missing from the text, and there too often."""

    told: dict[str, Any] = {}
    for row in rows("ccmath_pages"):
        expected = list(BY_HAND.get(row["id"], ()))
        if row["id"] in PATTERNS:
            expected = re.findall(PATTERNS[row["id"]], row["html"], re.DOTALL)
            expected = [html.unescape(one) for latex in expected for one in latex.split("$$")]
        if not expected:
            continue
        text = re.sub(r"(?ms)^```.*?^```", "", extract(row["html"], Extraction()).text)
        got = [a or b for a, b in re.findall(r"\$\$(.+?)\$\$|\$([^$]+?)\$", text, re.DOTALL)]
        want, have = (Counter(map(_key, some)) for some in (expected, got))
        told[row["id"]] = {
            "expected": len(expected),
            "missing": (want - have).total(),
            "too often": (have - want).total(),
        }
    return told


def _key(latex: str) -> str:
    """Return what two ways to write one formula have in common."""
    read = by_katex([latex])[0]
    if read is None:
        return "".join(latex.split())
    leaves, told = structure(element(read))
    return json.dumps([sorted(leaves.items()), sorted(told.items())])


def main() -> None:
    """Measure, and print the figures as one line of JSON."""
    found, there = mathml(), pages()
    say(json.dumps({"mathml": found, "pages": there}, indent=1))
    missing = sum(page["missing"] + page["too often"] for page in there.values())
    parses, same = found["share that parses"], found["share that comes back the same"]
    print(
        json.dumps(
            {
                "name": "formulas",
                "n": {"formulas": found["formulas"], "pages": len(there)},
                "hardware": f"{os.cpu_count()} cores, Python {platform.python_version()}",
                "figures": {"MathML": found, **there},
                "bars": [
                    bar("share of LaTeX that parses", parses, 0.999),
                    bar("share that comes back the same", same, 0.99),
                    bar("formulas missing or twice on the pages", missing, 0, "<="),
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
