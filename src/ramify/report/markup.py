"""HTML and SVG that cannot be broken out of: text is escaped, only `Markup` is not."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any

VOID = frozenset({"br", "meta", "input"})
Attribute = str | float | bool | None


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | Iterable[str] | None


def tag(name: str, *children: Child, **attributes: Attribute) -> Markup:
    """Return one element: `tag("td", "a < b", class_="n")`; plain strings among its children are escaped.

    An attribute's trailing `_` falls away and its inner ones become `-`; None and False leave it out.
    """
    told = "".join(_attribute(key, value) for key, value in attributes.items())
    inner = join(children)
    return Markup(f"<{name}{told}>" if name in VOID else f"<{name}{told}>{inner}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Return children one after the other, escaped where they are plain."""
    return Markup("".join(_escaped(child) for child in children))


def _escaped(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return html.escape(child)
    return join(child)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(text)}"'


def data(value: Any) -> Markup:
    """Return JSON that may stand inside a script element: it holds no `<`, `>` or `&`."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
