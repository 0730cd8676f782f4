"""Presentation MathML as LaTeX.

<math> ─► annotation or alttext, where the author left the LaTeX ─► else: element by element
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ramify.curate.symbols import (
    ENCLOSED,
    FUNCTIONS,
    LARGE,
    MATH,
    OVER,
    TEXT,
    UNDER,
    VARIANTS,
)
from ramify.ground.extras import need

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

TEX = frozenset({"application/x-tex", "tex", "latex", "application/x-latex", "math/tex"})
NO_CONTENT = frozenset({"annotation", "annotation-xml", "none", "mprescripts", "malignmark"})
DEEPEST = 200  # elements in one another; beyond it a formula is its text
COMMAND = re.compile(r"\\[A-Za-z]+$")
ATOM = re.compile(r"(?:[A-Za-z0-9]|\\[A-Za-z]+)$")
EM = re.compile(r"\s*([+-]?[0-9]*\.?[0-9]+)\s*(em|ex|px|pt)?")
NAMED = re.compile(r"&(?!(?:lt|gt|amp|quot|apos);)[A-Za-z][A-Za-z0-9]*;")  # HTML's, unknown to XML
PREFIX = re.compile(r"<(/?)(?:m|mml|math):", re.IGNORECASE)
STYLES = {"italic": "mathit", "bold": "mathbf", "normal": "mathrm"}


def latex_of(markup: str) -> str | None:
    """Return the LaTeX of one `<math>` element given as markup, or None if it says nothing.

    What the author left as LaTeX (an annotation, `alttext`) is returned as it is.
    """
    markup = NAMED.sub(lambda found: html.unescape(found.group()), PREFIX.sub(r"<\1", markup))
    etree = need("lxml.etree", extra="web")
    parser = etree.XMLParser(recover=True, remove_comments=True, no_network=True)
    try:
        root = etree.fromstring(markup, parser)
    except etree.XMLSyntaxError:  # recovery found no element at all
        return None
    return None if root is None else latex(root)


def latex(math: Element) -> str | None:
    """Return the LaTeX of a `<math>` element, or None if it is empty."""
    if _depth(math) > DEEPEST:
        return _text(_told(math)) or None
    written = authored(math) or _children(math)
    return tidy(written) or None


def authored(math: Element) -> str | None:
    """Return the LaTeX that the author left beside the MathML, if any."""
    for element in math.iter():
        if _name(element) == "annotation" and (element.get("encoding") or "").lower() in TEX:
            found = " ".join(_told(element).split())
            if found:
                return unwrapped(found)
    found = math.get("alttext") or ""
    return unwrapped(found) if _looks_like_latex(found) else None


def unwrapped(found: str) -> str:
    """Return LaTeX without the delimiters and the `{\\displaystyle }` around all of it."""
    found = found.strip()
    for before, after in (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$")):
        if len(found) > 2 * len(before) and found.startswith(before) and found.endswith(after):
            found = found[len(before) : -len(after)].strip()
            break
    styled = re.fullmatch(r"\{\\(?:display|text)style\s*(.*)\}", found, re.DOTALL)
    return styled.group(1).strip() if styled and _balanced(styled.group(1)) else found


def tidy(written: str) -> str:
    """Return LaTeX with single spaces and none at its ends; a trailing backslash keeps its space."""
    found = " ".join(written.split())
    return found + " " if found.endswith("\\") and not found.endswith("\\\\") else found


def _balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"\\.|[{}]", text):
        depth += (brace == "{") - (brace == "}")
        if depth < 0:
            return False
    return depth == 0


def _looks_like_latex(text: str) -> bool:
    return bool(text.strip()) and ("\\" in text or " " not in text.strip() or "^" in text)


def _depth(element: Element) -> int:
    deepest, waiting = 0, [(element, 1)]
    while waiting:
        inner, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting.extend((child, depth + 1) for child in inner)
    return deepest


def _told(element: Element) -> str:
    """Return all text inside an element."""
    return "".join(str(piece) for piece in element.itertext())


def _name(element: Element) -> str:
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def joined(parts: Iterable[str]) -> str:
    """Return pieces of LaTeX side by side; a command is kept apart from a letter behind it."""
    found = ""
    for part in parts:
        if found and part and part[0].isalpha() and COMMAND.search(found):
            found += " "
        found += part
    return found


def _symbols(text: str) -> str:
    """Return the characters of an operator or identifier in math mode."""
    return joined(MATH.get(char, char) for char in text)


def _text(text: str) -> str:
    """Return text for math mode: words inside `\\text{}`, symbols of mathematics outside."""
    text = re.sub(r"\s+", " ", text)
    found = []
    for symbols, words in re.findall(r"([^\x00-\x7f\xa0-\xff\u2000-\u206f]+)|([\x00-\x7f\xa0-\xff\u2000-\u206f]+)", text):  # fmt: skip
        if symbols and all(char in MATH for char in symbols):
            found.append(_symbols(symbols))
        else:
            plain = "".join(TEXT.get(char, char) for char in symbols or words)
            found.append(f"\\text{{{plain}}}" if plain else "")
    return joined(found)


def _write(element: Element) -> str:
    name = _name(element)
    if name in NO_CONTENT or not name:
        return ""
    written = WRITERS.get(name, _children)(element)
    return _styled(element, written) if written else ""


def _children(element: Element) -> str:
    parts = [_symbols(" ".join((element.text or "").split()))]
    for child in element:
        parts.append(_write(child))
        parts.append(_symbols(" ".join((child.tail or "").split())))
    return joined(parts)


def _styled(element: Element, written: str) -> str:
    """Wrap what is written as `mathvariant` and its older spellings ask."""
    variant = element.get("mathvariant") or ""
    if not variant and element.get("fontweight") == "bold":
        variant = "bold"
    name = _name(element)
    if name == "mtext":
        return written.replace("\\text{", "\\textbf{") if variant == "bold" else written
    command = VARIANTS.get(variant)
    if command is None or (name in ("mstyle", "mo") and variant == "normal"):
        return written
    if written.startswith((f"\\{command}{{", "\\operatorname", "\\mathrm{")):
        return written
    if command == "mathbf" and COMMAND.search(written):  # \mathbf leaves Greek as it is
        command = "boldsymbol"
    return f"\\{command}{{{written}}}"


def _flat(element: Element) -> str:
    """Return an element's text with single spaces, no-break spaces kept."""
    return re.sub(r"[ \t\r\n]+", " ", _told(element)).strip(" ")


def _identifier(element: Element) -> str:
    text = _flat(element)
    if text in FUNCTIONS:
        return f"\\{text}"
    letters = len(text) > 1 and text.isascii() and text.isalpha()
    return f"\\mathrm{{{text}}}" if letters else _symbols(text)


def _number(element: Element) -> str:
    return _symbols(_flat(element)).replace(",", "{,}")


def _operator(element: Element) -> str:
    text = _flat(element)
    if text in FUNCTIONS:
        return f"\\{text}"
    if len(text) > 1 and text.isascii() and text.isalpha():
        return f"\\operatorname{{{text}}}"
    return _symbols(text)


def _words(element: Element) -> str:
    text = _told(element)
    return _text(text) if text.strip(" \t\r\n") else ("\\ " if text else "")


def _space(element: Element) -> str:
    if element.get("linebreak") == "newline":
        return "\\ "
    found = EM.match(element.get("width") or "")
    width = (
        float(found.group(1)) * {"ex": 0.5, "px": 1 / 16, "pt": 0.1}.get(found.group(2) or "em", 1)
        if found
        else 0.0
    )
    for least, command in ((2.0, "\\qquad"), (1.0, "\\quad"), (0.2, "\\ "), (0.01, "\\,")):
        if width >= least:
            return command
    return ""


def _parts(element: Element, count: int) -> list[str]:
    """Return the first `count` children in LaTeX, and empty ones for those that are missing."""
    found = [_write(child) for child in element if isinstance(child.tag, str)]
    return [*found, *[""] * count][:count]


def _fraction(element: Element) -> str:
    over, under = _parts(element, 2)
    thickness = element.get("linethickness") or ""
    if re.fullmatch(r"0[a-z]*|0\.0*[a-z]*", thickness):
        return f"{{{over} \\atop {under}}}"
    return f"\\frac{{{over}}}{{{under}}}"


def _root(element: Element) -> str:
    under, index = _parts(element, 2)
    return f"\\sqrt[{{{index}}}]{{{under}}}"


def _base(written: str) -> str:
    """Return what can carry a script: one token as it is, anything else in braces."""
    return written if ATOM.match(written) else f"{{{written}}}"


def _sub(element: Element) -> str:
    base, low = _parts(element, 2)
    return f"{_base(base)}_{{{low}}}"


def _sup(element: Element) -> str:
    base, high = _parts(element, 2)
    if high == "°":  # the degree sign is raised already
        return joined([base, high])
    return f"{_base(base)}^{{{high}}}"


def _subsup(element: Element) -> str:
    base, low, high = _parts(element, 3)
    return f"{_base(base)}_{{{low}}}^{{{high}}}"


def _bare(element: Element) -> str:
    return "".join(_told(element).split())


def _takes_limits(base: str) -> bool:
    return base in LARGE or base.startswith(("\\overbrace{", "\\underbrace{"))


def _over(element: Element) -> str:
    base, high = _parts(element, 2)
    mark = OVER.get(_bare(element[1])) if len(element) > 1 else None
    if mark:
        return f"\\{_wide(mark, base)}{{{base}}}"
    if _takes_limits(base):
        return f"{base}{'' if base.startswith(chr(92) + 'over') else _limits(base)}^{{{high}}}"
    return f"\\overset{{{high}}}{{{base}}}"


def _wide(mark: str, base: str) -> str:
    """Return the accent that reaches over all of a base."""
    if ATOM.match(base):
        return mark
    return {"hat": "widehat", "tilde": "widetilde", "vec": "overrightarrow"}.get(mark, mark)


def _limits(base: str) -> str:
    return "\\limits" if base.startswith(("\\int", "\\iint", "\\iiint", "\\oint")) else ""


def _under(element: Element) -> str:
    base, low = _parts(element, 2)
    mark = UNDER.get(_bare(element[1])) if len(element) > 1 else None
    if mark:
        return f"\\{mark}{{{base}}}"
    if _takes_limits(base):
        return f"{base}{_limits(base)}_{{{low}}}"
    return f"\\underset{{{low}}}{{{base}}}"


def _underover(element: Element) -> str:
    base, low, high = _parts(element, 3)
    if _takes_limits(base):
        return f"{base}{_limits(base)}_{{{low}}}^{{{high}}}"
    return f"\\overset{{{high}}}{{\\underset{{{low}}}{{{base}}}}}"


def _multiscripts(element: Element) -> str:
    inner = [child for child in element if isinstance(child.tag, str)]
    names = [_name(child) for child in inner]
    middle = names.index("mprescripts") if "mprescripts" in names else len(inner)
    behind = [_write(child) for child in inner[1:middle]]
    before = [_write(child) for child in inner[middle + 1 :]]
    base = _base(_write(inner[0])) if inner else "{}"
    return joined([*_pairs("{}", before), base, *_pairs("", behind, "{}")])


def _pairs(lead: str, scripts: list[str], next_lead: str = "{}") -> list[str]:
    """Return scripts in pairs of low and high, each after its lead."""
    found = []
    for low, high in zip(scripts[::2], [*scripts[1::2], ""], strict=False):
        found.append(f"{lead}{f'_{{{low}}}' if low else ''}{f'^{{{high}}}' if high else ''}")
        lead = next_lead
    return found


def _fenced(element: Element) -> str:
    opened, closed = element.get("open", "("), element.get("close", ")")
    marks = (
        "".join((element.get("separators") or ",").split())
        if element.get("separators") != ""
        else ""
    )
    inner = [_write(child) for child in element if isinstance(child.tag, str)]
    parts = [inner[0]] if inner else []
    for number, part in enumerate(inner[1:]):
        parts += [_symbols(marks[min(number, len(marks) - 1)]) if marks else "", part]
    return joined([f"\\left{_delimiter(opened)} ", *parts, f" \\right{_delimiter(closed)}"])


def _delimiter(char: str) -> str:
    char = char.strip()
    written = MATH.get(char, char)
    known = char in "()[]|/<>" or written.startswith(("\\l", "\\r", "\\{", "\\}", "\\V"))
    return (written or ".") if char and known else "."


def _table(element: Element) -> str:
    rows = [row for row in element if _name(row) in ("mtr", "mlabeledtr")]
    aligned = (element.get("columnalign") or "").split()
    if not aligned:
        first = [cell.get("columnalign", "") for row in rows[:1] for cell in row]
        aligned = first if any(first) else []
    columns = max((len(row) for row in rows), default=1)
    written = [" & ".join(_cell(cell) for cell in row) or "{}" for row in rows]
    body = " \\\\ ".join(written)
    if not aligned:
        return f"\\begin{{matrix}} {body} \\end{{matrix}}"
    letters = [{"left": "l", "right": "r"}.get(side.strip(), "c") for side in aligned]
    spec = "".join([*letters, *[letters[-1]] * columns][: max(columns, 1)])
    return f"\\begin{{array}}{{{spec}}} {body} \\end{{array}}"


def _cell(cell: Element) -> str:
    written = _styled(cell, _children(cell)).strip()
    return f"{{{written}}}" if written.startswith(("[", "*")) else written


def _enclosed(element: Element) -> str:
    written = _children(element)
    notation = " ".join((element.get("notation") or "longdiv").split())
    if notation == "longdiv":
        return f"\\overline{{) {written}}}"
    command = ENCLOSED.get(notation)
    return f"\\{command}{{{written}}}" if command else written


def _first(element: Element) -> str:
    inner = [child for child in element if isinstance(child.tag, str)]
    return _write(inner[0]) if inner else ""


WRITERS: dict[str, Callable[[Element], str]] = {
    "mi": _identifier,
    "mn": _number,
    "mo": _operator,
    "mtext": _words,
    "ms": _words,
    "mspace": _space,
    "mfrac": _fraction,
    "msqrt": lambda element: f"\\sqrt{{{_children(element)}}}",
    "mroot": _root,
    "msub": _sub,
    "msup": _sup,
    "msubsup": _subsup,
    "mover": _over,
    "munder": _under,
    "munderover": _underover,
    "mmultiscripts": _multiscripts,
    "mfenced": _fenced,
    "mtable": _table,
    "menclose": _enclosed,
    "mphantom": lambda element: f"\\phantom{{{_children(element)}}}",
    "semantics": _first,
    "maction": _first,
}
