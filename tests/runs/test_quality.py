"""From pages to the good ones in one lab: labelled by a real server, learned, scored, selected, looked at."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ramify import (
    Annotate,
    Asked,
    Cap,
    Classify,
    Files,
    Read,
    Recipe,
    Ref,
    Score,
    Select,
    Server,
)
from ramify.curate.rubrics import EDU_WEB
from ramify.runs.lab import Lab
from ramify.runs.look import documents
from ramify.runs.plan import plan

from .tiny import make

pytest.importorskip("openai")
pytest.importorskip("sklearn")


def pages(path: Path) -> Path:
    """Write pages of one length, some of which give reasons and all of which say so in their words."""
    draw = random.Random(0)
    rows = []
    for number in range(80):
        reasons = number % 6
        words = [
            draw.choice(("the", "a", "of", "and", "was", "to")) for _ in range(60 - 6 * reasons)
        ]
        words += ["because", "it", "follows", "that", "we", "find"] * reasons
        rows.append({"text": " ".join(words), "url": f"https://site{number}.org/"})
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def recipe(source: Path, server: Server, cap: int = 1_000_000) -> Recipe:
    return Recipe(
        name="good",
        steps=(
            Read(name="pages", source=Files(path=str(source))),
            Annotate(
                name="labels",
                corpus=Ref(name="pages"),
                labeller=Asked(model="strict"),
                rubric=EDU_WEB,
                sample=60,
                server=server,
                cap=Cap(tokens=cap),
            ),
            Classify(name="classifier", labels=Ref(name="labels"), group="document"),
            Score(name="scored", corpus=Ref(name="pages"), classifier=Ref(name="classifier")),
            Select(name="good", corpus=Ref(name="scored"), at_least=3),
        ),
    )


def test_pages_are_labelled_learned_scored_selected_and_looked_at(
    llm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAMIFY_TEST_KEY", "sesame")
    source = pages(tmp_path / "pages.jsonl")
    server = Server(base_url=llm.url, keys=("RAMIFY_TEST_KEY",))
    lab = make(recipe(source, server), Lab(tmp_path / "lab"))
    kept = list(documents(lab, "good", kept=True, why=None, count=80, seed=0))
    texts = [line for line in kept if line.startswith(("the", "a", "of", "and", "was", "to"))]
    assert 30 <= len(texts) <= 50
    assert sum(text.count("because") >= 3 for text in texts) / len(texts) > 0.9
    labels = "\n".join(documents(lab, "labels", kept=True, why=None, count=3, seed=0))
    assert "   label " in labels
    assert "reasons are given" in labels
    assert not any(b"sesame" in x.read_bytes() for x in lab.folder.rglob("*") if x.is_file())
    elsewhere = Server(base_url="http://elsewhere/v1", keys=(), concurrency=2)
    assert plan(recipe(source, elsewhere, cap=5), lab).to_do == ()
