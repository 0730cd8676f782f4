"""A page's markup in, the text that a person reads there out, formulas as LaTeX.

html ─► tree ─► formulas and code become marks ─► main content ─► text ─► marks become LaTeX and code
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ramify.curate.formulas import (
    BEGIN,
    HINTS,
    Formulas,
    delimited,
    in_dollars,
    take_formulas,
    unprefixed,
)
from ramify.curate.steps import Extraction
from ramify.ground.extras import need

EXTRA = "web"
LONGEST = 16_000_000  # characters of markup that are parsed
MANY_TAGS = 4_000  # from here on the depth is looked at before parsing
DEEPEST = 1_000  # elements in one another: extraction takes time quadratic in it
LEAST = 250  # characters, below which what was skipped is looked at again
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*?(/?)>")
TAG_BEGINS = re.compile(rb"<[a-zA-Z][^<>]*")
LONG_TAG = 20_000  # bytes, from which on the attributes are counted
NAMESPACE = b"http://www.w3.org/1998/Math/MathML"  # without which no prefix stands for MathML
MOST_ATTRIBUTES = 5_000  # of one tag: parsing takes time quadratic in it
VOID = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "td",
        "th",
        "tr",
        "dt",
        "dd",
        "option",
    ]
)
DELIMITERS = ("\\(", "\\[", "$$", "$\\begingroup$")
CODE_CLASS = re.compile(r"code|highlight|language-|lang-|prettyprint|brush:|listing", re.IGNORECASE)
LANGUAGE = re.compile(r"(?:language|lang|brush:\s*|highlight-(?:source-)?)-?([a-zA-Z0-9+#]+)")
SPECIAL = f"pre, {HINTS}"
FIGURES = ("figure", "figcaption")
FIGURE = ", ".join(FIGURES)
LOOKED_AT = f"{SPECIAL}, {FIGURE}"
# Chosen on one half of a set of news pages and held to the other (docs/how-to/web-pages.md).
NOT_ARTICLE = (
    "header", "footer",
    *(f'[class*="{word}" i]' for word in (
        "caption", "comment", "related", "newsletter", "byline", "gallery", "copyright", "tags", "share",
        "more-")),
    *(f'[id*="{word}" i]' for word in ("comment", "consent")),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of one page, and how many formulas its markup and its text have."""

    text: str
    formulas_seen: int = 0
    formulas_kept: int = 0
    broken: str | None = None


def extract(page: str, how: Extraction) -> Extracted:
    """Return the text of a page as `how` asks; a page that cannot be parsed in time is broken.

    Raises MissingExtra without the packages of the extra `web`.
    """
    if len(page) > LONGEST:
        return Extracted("", broken=f"too_long: {len(page)} characters of markup")
    try:
        data = page.encode()  # bytes are looked through faster than characters
    except UnicodeEncodeError as error:  # a lone surrogate, from a row of JSON
        return Extracted("", broken=f"not_text: invalid UTF-8 at character {error.start}")
    tags = int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("<")))
    broken = _too_many_attributes(data) or _too_deep(page, tags)
    if broken is not None:
        return Extracted("", broken=broken)
    if how.formulas and NAMESPACE in data:
        page = unprefixed(page)
    tree = need("resiliparse.parse.html", extra=EXTRA).HTMLTree.parse(page)
    if tree.body is None:
        return Extracted("")
    formulas = Formulas()
    looked_at = tree.document.query_selector_all(LOOKED_AT)[:]  # in one walk
    figures = [node for node in looked_at if node.tag in FIGURES]
    special = len(figures) < len(looked_at)
    if special and how.formulas:
        take_formulas(tree, formulas)
    marked = len(formulas.found)
    if special and how.code:
        _take_code(tree, formulas)
    # marks may have taken the place of some
    _open_figures(tree, tree.document.query_selector_all(FIGURE)[:] if special else figures)
    best = _attempt(tree, how, formulas, marked, skipping=True)
    seen = marked
    if best.formulas_seen > marked:  # some stand in the text between delimiters
        seen = max(best.formulas_seen, marked + delimited(_everything(tree)))
    if len(best.text) < LEAST or best.formulas_kept < seen:  # something was skipped that is wanted
        again = _attempt(tree, how, formulas, marked, skipping=False)
        lost = len(best.text) < LEAST or again.formulas_kept > best.formulas_kept
        best = again if lost else best
    return Extracted(best.text, max(seen, best.formulas_seen), best.formulas_kept)


def _attempt(
    tree: Any, how: Extraction, formulas: Formulas, marked: int, *, skipping: bool
) -> Extracted:
    """Return the text of a tree whose formulas are marks: the first `marked` of those held."""
    text = _text_of(tree, how, skipping)
    between = 0
    if how.formulas and any(delimiter in text for delimiter in DELIMITERS):
        between = delimited(text)
        text = in_dollars(text)
    text, kept = formulas.restored(text)
    return Extracted(text, marked + between, between + sum(number < marked for number in kept))


def _too_many_attributes(data: bytes) -> str | None:
    start, step = 0, LONG_TAG // 2  # a tag so long has a whole step without a `<`
    while start + step <= len(data):
        if data.find(b"<", start, start + step) >= 0:
            start += step
            continue
        tag = TAG_BEGINS.match(data, max(0, data.rfind(b"<", 0, start)))
        attributes = len(tag.group().split()) if tag and len(tag.group()) > LONG_TAG else 0
        if attributes > MOST_ATTRIBUTES:
            return f"too_long: a tag of {attributes} attributes"
        start = data.find(b"<", start + step)
        if start < 0:
            break
    return None


def _too_deep(page: str, tags: int) -> str | None:
    if tags < MANY_TAGS:
        return None
    depth = deepest = 0
    for closing, name, itself in TAG.findall(page):
        if name.lower() in VOID or itself:
            continue
        depth = max(0, depth - 1) if closing else depth + 1
        deepest = max(deepest, depth)
    return f"too_deep: {deepest} elements in one another" if deepest > DEEPEST else None


def _take_code(tree: Any, held: Formulas) -> None:
    """Replace code blocks by marks that become fenced blocks."""
    for node in tree.document.query_selector_all("pre")[:]:
        inner = node.query_selector("code")
        classes = " ".join(
            (each.getattr("class") or "") for each in (node, inner, node.parent) if each is not None
        )
        code = node.text.strip("\n")
        if node.parent is None or not code.strip() or not (inner or CODE_CLASS.search(classes)):
            continue
        found = LANGUAGE.search(classes)
        fence = "````" if "```" in code else "```"
        mark = held.hold(f"{fence}{found.group(1).lower() if found else ''}\n{code}\n{fence}")
        block = tree.create_element("div")
        block.append_child(tree.create_text_node(mark))
        node.parent.replace_child(block, node)


def _open_figures(tree: Any, figures: list[Any]) -> None:
    """Make figures that hold more than a picture plain blocks: extraction skips figures whole."""
    for node in figures:
        text = node.text
        formula_or_code = any(each in text for each in (BEGIN, *DELIMITERS))
        if not formula_or_code and node.query_selector("table, pre") is None:
            continue
        block = tree.create_element("div")
        for child in node.child_nodes[:]:
            block.append_child(child)
        node.parent.replace_child(block, node)


def _text_of(tree: Any, how: Extraction, skipping: bool) -> str:
    if how.by == "trafilatura":
        return _by_trafilatura(tree, how)
    plain = need("resiliparse.extract.html2text", extra=EXTRA).extract_plain_text
    options: dict[str, Any] = {
        "preserve_formatting": True,
        "main_content": how.main_content,
        "list_bullets": True,
        "alt_texts": False,
    }
    if how.main_content and skipping:
        for node in (tree.body, tree.body.parent):  # their classes speak of the whole page
            for attribute in ("class", "id"):
                if node is not None and node.hasattr(attribute):
                    node.delattr(attribute)
        options["skip_elements"] = list(NOT_ARTICLE)
    return str(plain(tree, **options)).strip()


def _by_trafilatura(tree: Any, how: Extraction) -> str:
    found = need("trafilatura", extra=EXTRA).extract(
        tree.document.html,
        include_comments=False,
        include_tables=True,
        favor_precision=how.main_content,
        favor_recall=not how.main_content,
    )
    return str(found or "").strip()


def _everything(tree: Any) -> str:
    """Return the text of the whole page, for counting."""
    return str(need("resiliparse.extract.html2text", extra=EXTRA).extract_plain_text(tree))
