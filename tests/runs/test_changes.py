"""Files that a step will want and that are not there are told before hours of other steps."""

from __future__ import annotations

import json
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


def test_items_that_cannot_be_read_are_told_before_labels_are_paid_for(tmp_path: Path) -> None:
    (tmp_path / "crawl").mkdir()
    (tmp_path / "folder").mkdir()
    row = {"id": "1", "task": "farm", "text": "how many plums are there", "answer": "9"}
    for name, each in (("whole", row), ("other", {"id": "1", "question": "how many"})):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(each))
    lab = Lab(tmp_path / "lab")

    def told(name: str) -> list[str]:
        wanted = recipe(pages=str(tmp_path / "crawl"), items=(str(tmp_path / name),))
        return [*notes(plan(wanted, lab), lab)]

    assert told("whole.jsonl") == []
    (line,) = told("other.jsonl")
    assert line.startswith("math/3plus cannot be made: ")
    assert line.endswith("other.jsonl has no column 'task'; items have id, task, text, answer")
    (line,) = told("folder")
    assert line.endswith("folder holds no items; give parquet or .jsonl files of items")


def test_what_a_fetch_reads_and_is_not_there_is_told_before_anything_is_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "crawl").mkdir()
    lab = Lab(tmp_path / "lab")
    wanted = recipe(
        pages=str(tmp_path / "crawl"),
        index=(str(tmp_path / "gone.cdx"), str(tmp_path / "*.cdx")),
        archive=str(tmp_path / "warc"),
    )
    assert [*notes(plan(wanted, lab), lab)] == [
        f"pages/fetched will want {tmp_path}/gone.cdx, which is not there",
        f"pages/fetched will want {tmp_path}/warc, which is not there",
    ]
