"""The small models' web loses its score 0 and some of its scores 1 and 2."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tests.runs.tiny import make

from ramify.recipes.smollm2_small_web import recipe
from ramify.runs.lab import Lab
from ramify.runs.recipe import load

SAID = "this is told because people asked for it and nothing else would do for them"


def test_score_0_is_dropped_and_scores_1_and_2_are_thinned(llm: Any, tmp_path: Path) -> None:
    rows = [
        {"url": f"https://site-{n % 7}.org/{n}", "text": f"page {n} says word{n} " + f"{SAID} {n}. " * (n % 5)
         + f"There is text {n} in any case for the reader of the page."}
        for n in range(200)
    ]  # fmt: skip
    (tmp_path / "web.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lab = Lab(tmp_path / "lab")
    wanted = recipe(
        web=str(tmp_path / "web.jsonl"), share_of_1=0.0, server=llm.url, model="rule", sample=200,
        vocab=300, max_context=64,
    )  # fmt: skip
    make(wanted, lab, *(step.name for step in wanted.steps))
    before, after = (scores(lab, name) for name in ("web/education/scored", "web/good"))
    assert min(before[0], before[1]) > 0
    assert after[0] == after[1] == 0
    assert 0 < after[2] < before[2]
    assert (after[3], after[4]) == (before[3], before[4])


def scores(lab: Lab, name: str) -> Counter[int]:
    """Return how many documents have each score, rounded with halves up."""
    found = pq.read_table(lab.at(name) / "documents")["score"].to_pylist()
    return Counter(int(score + 0.5) for score in found)


def test_null_at_the_door_is_no_column_where_there_may_be_none() -> None:
    without = load("smollm2_small_web", {"url_column": "null"})
    assert without == recipe(url_column=None)
    named = load("smollm2_small_web", {"text_column": "null"})
    assert named == recipe(text_column="null")
