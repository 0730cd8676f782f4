"""Finds the mathematics of a parsed page, and puts marks in its place that become LaTeX afterwards.

page ─► KaTeX, MathJax, MathML, wiki math, formula images ─► marks ─► text extraction ─► $LaTeX$

A mark is text that no page holds, so an extractor neither reads a formula for markup nor folds its
spaces, and those that it keeps can be counted.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from ramify.curate.mathml import latex_of, tidy, unwrapped

BEGIN, END = "\u2983\u2985", "\u2986\u2984"  # trafilatura takes private characters out
MARK = re.compile(f"{BEGIN}([0-9]+){END}")
# Of what a server of formula images is asked: the LaTeX stands in the address.
IMAGE = re.compile(
    r"(?:codecogs\.com/[^?]*\?|latex\.php\?(?:[^\"]*?&)?latex=|(?:mime|math|forkosh)tex(?:\.cgi|/)?[^?]*\?"
    r"|/tex\.cgi\?|cht=tx[^\"]*?chl=|chl=[^\"]*?(?=&[^\"]*cht=tx))(.*)",
    re.IGNORECASE | re.DOTALL,
)
IMAGE_CLASS = re.compile(
    r"(?:^|[\s_-])(?:tex|latex|math|mwe-math\S*)(?:$|[\s_-])",
    re.IGNORECASE,
)
TAIL = re.compile(r"&(?:bg|fg|s|c|is-pending-load|zoom|chs|chf|chco)=.*", re.DOTALL)
DPI = re.compile(r"^(?:\\(?:dpi|bg|fg|small|large|inline|fn)(?:\{[^}]*\}|_[a-z]+)?\s*)+")
DELIMITED = re.compile(
    r"\\\((?P<round>(?:[^\\]|\\(?!\)))+?)\\\)|\\\[(?P<square>(?:[^\\]|\\(?!\]))+?)\\\]"
    r"|\$\$(?P<double>[^$]+)\$\$",
    re.DOTALL,
)
TWO = re.compile(r"\$[^$]+(?:\$\$[^$]+)+\$")
EMPTY = re.compile(r"\$\\(?:begin|end)group\$\n*")  # what some sites wrap an answer in
DISPLAY = ("\\[", "$$")
NAME = r"(?:\{\s*\\[A-Za-z]+\s*\}|\\[A-Za-z]+)"
BRACED = r"\{(?:\\.|[^{}\\]|\{(?:\\.|[^{}\\]|\{(?:\\.|[^{}\\]|\{(?:\\.|[^{}\\]|\{[^{}]*\})*\})*\})*\})*\}"
# LaTeX of these alone tells how other formulas are written: in its place a reader sees nothing.
DEFINITIONS = re.compile(
    rf"(?:\\(?:(?:re|provide)?newcommand|DeclareMathOperator)\*?\s*{NAME}(?:\s*\[[^\]]*\])*\s*{BRACED}"
    rf"|\\g?def\s*\\[A-Za-z]+[#0-9]*\s*{BRACED}|\\definecolor(?:\s*{BRACED}){{3}}|\\require\s*{BRACED}"
    r"|%[\w\s]*+|\s)++",
    re.DOTALL,
)
GONE = BEGIN + END  # stands where such LaTeX was
LEFT_OUT = re.compile(rf"(?:{GONE}(\s*))+")
BEFORE = 80  # characters looked back over for the beginning of a line
Node = Any  # a DOM node of resiliparse, which has no types


class Formulas:
    """The formulas taken out of one page, in order; `restored` puts them back into its text."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def mark(self, latex: str, *, display: bool = False) -> str:
        """Return the mark of a formula given without delimiters."""
        return self.hold(f"$${latex}$$" if display else f"${latex}$")

    def hold(self, text: str) -> str:
        """Return the mark of a text that is to come out as it is."""
        self.found.append(text)
        return f"{BEGIN}{len(self.found) - 1}{END}"

    def restored(self, text: str) -> tuple[str, set[int]]:
        """Return the text with every mark replaced, and the numbers of those that were there."""
        kept: set[int] = set()

        def put(match: re.Match[str]) -> str:
            number = int(match.group(1))
            if number >= len(self.found) or number in kept:  # an extractor that repeats itself
                return ""
            kept.add(number)
            return self.found[number]

        return MARK.sub(put, text), kept


def take_formulas(tree: Any, formulas: Formulas) -> None:
    """Replace the mathematics of a parsed page by marks; containers first, so that none counts twice."""
    document = tree.document
    for selectors, reader in READERS:
        for node in document.query_selector_all(selectors)[:]:  # its iterator is quadratic
            if node.parent is None:  # went with what it stood in
                continue
            written = reader(node)
            if written is not None:
                latex, display = written
                seen = latex and not defines_only(latex)
                _replace(tree, node, formulas.mark(latex, display=display) if seen else "")


def _replace(tree: Any, node: Node, text: str) -> None:
    node.parent.replace_child(tree.create_text_node(text), node)


Written = tuple[str, bool] | None  # LaTeX (empty: leave it out) and whether it stands by itself


def _of_math(node: Node) -> Written:
    latex = latex_of(node.html)
    return (latex, node.getattr("display") == "block") if latex else ("", False)


def _inner(node: Node) -> str | None:
    """Return the LaTeX of the first `<math>` inside a node, or what its annotation says."""
    math = node.query_selector("math")
    if math is not None:
        return latex_of(math.html)
    annotation = node.query_selector("annotation")
    return unwrapped(annotation.text) if annotation is not None else None


def _of_katex(node: Node) -> Written:
    latex = _inner(node)
    display = "katex-display" in (node.getattr("class") or "")
    return (latex, display) if latex else None


def _of_wiki(node: Node) -> Written:
    math = node.query_selector("math")
    latex = _inner(node)
    if not latex:
        image = node.query_selector("img")
        latex = unwrapped(image.getattr("alt") or "") if image is not None else None
    if not latex:
        return None
    display = math is not None and math.getattr("display") == "block"
    return latex, display or "display" in (node.getattr("class") or "")


def _of_mathjax(node: Node) -> Written:
    """Read what MathJax 2 rendered: its script follows and has the source, else `data-mathml` has."""
    behind = node.next_element
    if behind is not None and _is_math_script(behind):
        return "", False
    latex = None
    within = [node, *node.query_selector_all("[data-mathml]")[:]]
    for inner in within:
        if inner.getattr("data-mathml"):
            latex = latex_of(inner.getattr("data-mathml"))
            break
    latex = latex or _inner(node)
    return (latex, "Display" in (node.getattr("class") or "")) if latex else None


def _is_math_script(node: Node) -> bool:
    return node.tag == "script" and (node.getattr("type") or "").lower().startswith("math/")


def _of_container(node: Node) -> Written:
    """Read MathJax 3's container: MathML for screen readers, or the source as text."""
    latex = _inner(node)
    text = " ".join(node.text.split())
    if not latex and ("\\" in text or "^" in text or "_" in text or node.query_selector("formula")):
        latex = unwrapped(text)
    return (latex, node.getattr("display") == "true") if latex else None


def _of_script(node: Node) -> Written:
    kind, source = (node.getattr("type") or "").lower(), node.text.strip()
    display = "display" in kind
    if kind.startswith("math/mml"):
        return latex_of(source) or "", display
    if kind.startswith("math/asciimath"):
        return None
    source = re.sub(r"^%?\s*<!\[CDATA\[|%?\s*\]\]>$", "", source).strip()
    return tidy(unwrapped(source)), display


def _of_image(node: Node) -> Written:
    address = next(
        (found for name in ("src", "data-src") if (found := _asked(node, name))),
        "",
    )
    alt = " ".join((node.getattr("alt") or "").split())
    if not address and not (
        IMAGE_CLASS.search(node.getattr("class") or "")
        and ("\\" in alt or "^" in alt or "$" in alt)
    ):
        return None
    if any(_tag(up) == "noscript" for up in _ancestors(node)):  # stands beside the image it repeats
        return None
    written = (
        address if not alt or alt.lower() in ("formula", "equation", "latex", "[tex]") else alt
    )
    display = (alt or address).startswith(DISPLAY) or "\\displaystyle" in (alt or address)[:16]
    return tidy(unwrapped(written)), display


def _asked(node: Node, attribute: str) -> str:
    """Return the LaTeX in the address of an image, or nothing."""
    found = IMAGE.search(node.getattr(attribute) or "")
    if not found:
        return ""
    latex = html.unescape(TAIL.sub("", found.group(1)))
    latex = unquote(latex.replace("+", "%20") if "%" in latex else latex).replace("&space;", " ")
    return DPI.sub("", latex).strip()


def _ancestors(node: Node) -> Iterator[Node]:
    up = node.parent
    while up is not None:
        yield up
        up = up.parent


def _tag(node: Node) -> str:
    return str(node.tag or "")


def _of_span(node: Node) -> Written:
    """Read an element whose class says that its text is mathematics, if it looks it."""
    text = node.text.strip()
    if TWO.fullmatch(text):  # side by side without a space
        return tidy(text[1:-1].replace("$$", "$ $")), False
    if DELIMITED.fullmatch(text) or (text.startswith("$") and text.endswith("$") and len(text) > 2):
        return tidy(unwrapped(text)), text.startswith(DISPLAY)
    looks = "\\" in text or "^" in text
    return (tidy(text), False) if looks and MARK.search(text) is None and len(text) < 2000 else None


IMAGES = ", ".join(
    f'img[{where}*="{word}" i]'
    for where, words in (
        ("src", ("latex", "tex.cgi", "mathtex", "mimetex", "cht=tx")),
        ("data-src", ("latex",)),
        ("class", ("tex", "math")),
    )
    for word in words
)
# Where each kind of mathematics stands, and how it is read.
READERS = (
    (".katex-display", _of_katex),
    (".katex", _of_katex),
    (".mwe-math-element", _of_wiki),
    (".MathJax_Preview", lambda node: ("", False)),
    (".MathJax_Display, .MathJax_SVG_Display, .MJXc-display", _of_mathjax),
    (".MathJax, .MathJax_SVG, .MathJax_CHTML, .mjx-chtml", _of_mathjax),
    ("mjx-container", _of_container),
    ('script[type^="math/"]', _of_script),
    ("math", _of_math),
    (IMAGES, _of_image),
    (".math-container, .math-tex, span.math, .math.inline, .math.display, formula", _of_span),
)
# Few and cheap: a page where none of them matches has none of what READERS look for. What KaTeX and
# MathJax 3 make matches by the MathML within, or by its class.
HINTS = 'math, script[type^="math/"], [class*="math" i], img[src*="tex" i]'


def defines_only(latex: str) -> bool:
    """Return whether LaTeX does nothing but define commands, so that nothing of it is seen."""
    return DEFINITIONS.fullmatch(latex) is not None


def _within(match: re.Match[str]) -> str:
    return str(match["round"] or match["square"] or match["double"])


def delimited(text: str) -> int:
    """Return how many formulas stand in a text between the delimiters of LaTeX."""
    return sum(not defines_only(_within(match)) for match in DELIMITED.finditer(text))


def in_dollars(text: str) -> str:
    """Return a text whose `\\(...\\)` and `\\[...\\]` are `$...$` and `$$...$$`, definitions left out."""

    def put(match: re.Match[str]) -> str:
        inner = _within(match)
        if defines_only(inner):
            return GONE
        dollars = "$$" if match["round"] is None else "$"
        return f"{dollars}{inner.strip()}{dollars}"

    return LEFT_OUT.sub(_space, DELIMITED.sub(put, EMPTY.sub("", text)))


def _space(match: re.Match[str]) -> str:
    """Return the space to leave where something was left out: none at the beginning of a line."""
    start = match.start()
    before = match.string[max(0, start - BEFORE) : start].rpartition("\n")[2]
    return match[1] if before.strip() else ""
