"""Pages as text: formulas are found once and kept, code and tables stay, what is beside goes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

pytest.importorskip("resiliparse")

from ramify.curate.extract import extract
from ramify.curate.steps import Extraction

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "web"
WORDS = (
    "A circle is the set of all points of the plane at one distance from a point within it. " * 4
)
MATH = "<math><mfrac><mn>1</mn><mi>x</mi></mfrac></math>"


def page(inner: str) -> str:
    return (
        f"<html><body class='comments-open'><article><p>{WORDS}</p>{inner}</article></body></html>"
    )


def text(inner: str, **how: Any) -> str:
    return extract(page(inner), Extraction(**how)).text


@pytest.mark.parametrize(
    ("markup", "latex"),
    [
        (f"<p>so {MATH} is</p>", r"so $\frac{1}{x}$ is"),
        (f'<p>so {MATH.replace("<math>", "<math display=block>")} is</p>', r"$$\frac{1}{x}$$"),
        ('<p>so <script type="math/tex">a<b</script> is</p>', "so $a<b$ is"),
        ('<p><script type="math/tex; mode=display">E=mc^2</script></p>', "$$E=mc^2$$"),
        (
            '<p>so <span class="MathJax_Preview">p</span><span class="MathJax"><span>a2</span></span>'
            '<script type="math/tex">a^2</script> is</p>',
            "so $a^2$ is",
        ),
        (
            '<p>so <span class="katex"><span class="katex-mathml"><math><semantics><mi>q</mi><annotation'
            ' encoding="application/x-tex">q_1</annotation></semantics></math></span>'
            '<span class="katex-html">q1</span></span> is</p>',
            "so $q_1$ is",
        ),
        (
            '<p>so <span class="mwe-math-element"><span style="display:none"><math alttext="{\\displaystyle'
            ' x^2}"><mi>x</mi></math></span><img class="mwe-math-fallback-image-inline"'
            ' alt="{\\displaystyle x^2}"></span> is</p>',
            "so $x^2$ is",
        ),
        ('<p>so <img src="https://latex.codecogs.com/gif.latex?a&amp;space;b"> is</p>', "so $a b$ is"),
        ('<p>so <img src="/latex.php?latex=x%5E2&amp;bg=fff&amp;s=0" alt=""> is</p>', "so $x^2$ is"),
        ('<p>so <img src="/cgi-bin/mimetex.cgi?\\Re(z)&lt;0"> is</p>', "so $\\Re(z)<0$ is"),
        ('<p>so <span class="math-container">$M_1$</span> is</p>', "so $M_1$ is"),
        ("<p>so \\(x^2\\) is</p>", "so $x^2$ is"),
        ("<p>so \\[x^2\\] is</p>", "so $$x^2$$ is"),
        ("<p>so <mjx-container class='MathJax'><mjx-assistive-mml><math><mi>z</mi></math>"
         "</mjx-assistive-mml></mjx-container> is</p>", "so $z$ is"),
    ],
)  # fmt: skip
def test_every_kind_of_mathematics_becomes_latex_once(markup: str, latex: str) -> None:
    found = extract(page(markup), Extraction())
    assert latex in found.text
    assert found.text.count(latex) == 1
    assert found.text.count("$") in (2, 4)
    assert (found.formulas_seen, found.formulas_kept) == (1, 1)


def test_code_is_fenced_with_its_spaces_and_tables_keep_their_cells() -> None:
    code = "def f(x):\n    return  x"
    got = text(f'<pre><code class="language-python">{code}\n</code></pre>')
    assert f"```python\n{code}\n```" in got
    got = text("<table><tr><th>sides</th><th>name</th></tr><tr><td>3</td><td>tri</td></tr></table>")
    assert re.search(r"sides\s+name\n3\s+tri", got)
    assert "```" not in text(f"<pre><code>{code}</code></pre>", code=False)


def test_what_stands_beside_the_text_is_left_out_unless_asked() -> None:
    beside = (
        '<header>Menu</header><div class="comments-list">First!</div><figcaption class="caption">c</figcaption>'
        '<footer>Imprint</footer><nav>Home</nav>'
    )  # fmt: skip
    got = text(beside)
    assert got == WORDS.strip()
    assert "Imprint" in text(beside, main_content=False)


def test_trafilatura_keeps_formulas_too() -> None:
    pytest.importorskip("trafilatura")
    assert r"so $\frac{1}{x}$ is" in text(f"<p>so {MATH} is</p>", by="trafilatura")


@pytest.mark.parametrize("name", ["div", "b", "table", "math"])
def test_a_page_of_a_million_nested_tags_is_dropped_at_once(name: str) -> None:
    for closed in ("", f"</{name}>" * 1_000_000):
        broken = extract(f"<{name}>" * 1_000_000 + closed, Extraction()).broken
        assert broken is not None
        assert broken.startswith("too_deep")


@pytest.mark.parametrize("markup", ["", "<", "plain", "<html>", "<p>\0</p>"])
def test_a_page_that_is_hardly_one_is_no_error(markup: str) -> None:
    assert extract(markup, Extraction()).broken is None


def test_a_page_that_is_no_utf8_is_dropped_with_the_place() -> None:
    assert extract("<p>\udc80x", Extraction()).broken == "not_text: invalid UTF-8 at character 3"


def rows(name: str) -> list[dict[str, Any]]:
    path = SHARED / f"{name}.jsonl.zst"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with pa.input_stream(str(path), compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().splitlines()]


@pytest.mark.shared
def test_of_real_pages_every_formula_is_there_and_none_twice() -> None:
    pages = {row["id"]: row["html"] for row in rows("ccmath_pages")}
    expected = {
        "math_physicsforums_2.html": r"<formula[^>]*>(.*?)</formula>",
        "img_mimetex_cgi.html": r'mimetex\.cgi\?([^"]*)"',
    }
    for name, pattern in expected.items():
        want = Counter("".join(x.split()) for x in re.findall(pattern, pages[name], re.DOTALL))
        got = extract(pages[name].replace("&lt;", "<").replace("&gt;", ">"), Extraction()).text
        got = re.sub(r"(?ms)^```.*?^```", "", got)
        have = Counter(
            "".join((a or b).split()) for a, b in re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", got)
        )
        assert sum(have.values()) == sum(want.values())


@pytest.mark.shared
def test_of_real_pages_the_formulas_read_by_hand_are_there_in_their_order() -> None:
    """All of the set but the page of bare MathML, which benchmarks/formulas.py compares by KaTeX."""
    expected = json.loads((ROOT / "benchmarks" / "data" / "ccmath.json").read_text("utf-8"))
    for row in rows("ccmath_pages"):
        page = expected[row["id"]]
        text = re.sub(r"(?ms)^```.*?^```", "", extract(row["html"], Extraction()).text)
        if page["written"] == "text":  # a list without any markup
            assert text.split() == " ".join(page["formulas"]).split()
        elif page["written"] == "AsciiMath":
            found = re.findall(r"(?s)(?<!\\)`(.+?)(?<!\\)`", text)
            assert solid(x for x in found if x.strip("\\ ")) == solid(page["formulas"])
        elif row["id"] != "mathjax-mml-chtml.html":
            found = re.findall(r"(?s)\$\$(.+?)\$\$|\$(?=\S)([^$]+?)(?<=\S)\$(?!\d)", text)
            assert solid(a or b for a, b in found) == solid(page["formulas"])


def solid(formulas: Iterable[str]) -> list[str]:
    return ["".join(formula.split()) for formula in formulas]


@pytest.mark.parametrize(
    "definition",
    [
        r"\newcommand{\vectwo}[2]{\left[\begin{array}{r}#1 \\ \text{#2} \end{array}\right]}",
        r"\newcommand\R{\mathbb R} \renewcommand{\S}{s} % the reals",
        r"\DeclareMathOperator*{\argmin}{arg\,min}",
        r"\def\set#1{\{#1\}} \definecolor{shade}{gray}{0.9} \require{mhchem}",
    ],
)
@pytest.mark.parametrize(
    "markup",
    [
        "<p>so \\({}\\)</p>",
        "<p>so $${}$$</p>",
        '<p>so <script type="math/tex">{}</script></p>',
        '<p>so <span class="math-container">${}$</span></p>',
    ],
)
def test_what_only_defines_commands_is_no_formula(markup: str, definition: str) -> None:
    found = extract(page(markup.replace("{}", definition) + "<p>and \\(x^2\\).</p>"), Extraction())
    assert re.search(r"so\s*\n\s*and \$x\^2\$\.$", found.text)
    assert found.text.count("$") == 2
    assert (found.formulas_seen, found.formulas_kept) == (1, 1)


def test_a_definition_before_a_formula_stays_with_it() -> None:
    assert r"$\newcommand{\R}{\mathbb R} \R$" in text(r"<p>\(\newcommand{\R}{\mathbb R} \R\)</p>")


@pytest.mark.parametrize(
    ("inside", "kept"),
    [
        (f"<img src='a.png'><figcaption>Of {MATH} alone</figcaption>", r"Of $\frac{1}{x}$ alone"),
        (r"<img src='a.png'><figcaption>Figure \(a_1\)</figcaption>", "Figure $a_1$"),
        ("<pre><code>x = 1</code></pre>", "```\nx = 1\n```"),
        ("<table><tr><td>one</td><td>two</td></tr></table>", "one\t\ttwo"),
    ],
)
def test_a_figure_that_holds_more_than_a_picture_is_read(inside: str, kept: str) -> None:
    assert kept in text(f"<figure class='wp-block'>{inside}</figure><p>{WORDS}</p>")


def test_a_figure_that_holds_a_picture_is_left_out_with_its_caption() -> None:
    assert "A caption" not in text(
        "<figure><img src='a.png'><figcaption>A caption</figcaption></figure>"
    )


def test_a_page_of_thousands_of_formulas_and_code_blocks_is_read_to_its_end() -> None:
    """Where each took time that grows with those before it, this would take a minute."""
    lines = (
        f"<p>Line {n} has <math><mi>x</mi><mo>=</mo><mn>{n}</mn></math> in it.</p>"
        f'<pre class="code">y = {n}</pre>'
        for n in range(4000)
    )
    found = extract(f"<html><body><main>{''.join(lines)}</main></body></html>", Extraction())
    assert (found.formulas_seen, found.formulas_kept) == (4000, 4000)
    assert "$x=3999$" in found.text
    assert "y = 3999" in found.text


def test_a_tag_of_a_million_attributes_is_dropped_at_once_and_a_long_image_is_not() -> None:
    many = " ".join(f'a{n}="x"' for n in range(1_000_000))
    found = extract(f"<html><body><p {many}>text</p></body></html>", Extraction())
    assert found.broken == "too_long: a tag of 1000001 attributes"
    image = f'<img src="data:image/png;base64,{"A" * 1_000_000}">'
    page = f"<html><body><p>{'One sentence of many. ' * 40}</p>{image}</body></html>"
    assert extract(page, Extraction()).broken is None
