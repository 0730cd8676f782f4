"""Files that a step will want and that are not there are told before hours of other steps."""

from __future__ import annotations

from pathlib import Path

from ramify.recipes.finemath import recipe
from ramify.runs.changes import notes
from ramify.runs.lab import Lab
from ramify.runs.plan import plan


def test_what_is_not_there_and_what_is_empty_is_told_before_anything_is_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "crawl").mkdir()
    (tmp_path / "none.jsonl").touch()
    lab = Lab(tmp_path / "lab")
    wanted = recipe(
        pages=str(tmp_path / "crawl"),
        items=(str(tmp_path / "none.jsonl"), str(tmp_path / "gone.jsonl")),
        seeds={"far": str(tmp_path / "urls")},
    )
    assert [*notes(plan(wanted, lab), lab)] == [
        f"domains will want {tmp_path}/urls, which is not there",
        f"math/3plus will want {tmp_path}/gone.jsonl, which is not there",
        f"math/3plus will look for items in {tmp_path}/none.jsonl, which is empty",
    ]
