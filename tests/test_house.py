"""Habits that a machine can see: sizes of files, first lines, and what must not be in the package."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import ramify

HOME = Path(ramify.__file__).parent
ROOT = HOME.parents[1]
FILES = sorted(HOME.rglob("*.py"))
FORBIDDEN = re.compile(
    r"pickle\.load|torch\.load\(|(?<![\w.])eval\(|(?<![\w.])exec\(|NotImplementedError|TODO|FIXME"
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_a_file_is_short_and_begins_with_a_sentence(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].replace("\n", " ")
    assert first.endswith((".", ":", "?")), first
    assert not FORBIDDEN.search(text)


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    assert len(pages[0].read_text().splitlines()) <= 120
    for page in pages:
        for link in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page} links to {link}"
