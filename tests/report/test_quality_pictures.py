"""A classifier and its scores can be looked at: each panel shows what the folder tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ramify.ground.errors import BadInput
from ramify.report.quality import LABEL_KINDS, told_of_quality
from ramify.report.quality_pictures import draw, picture

pytest.importorskip("matplotlib")

TOLD = {"f1": 0.75, "precision": 0.7, "recall": 0.8, "auc": 0.9}
CARD: dict[str, Any] = {
    "confusion": {"scale": [0, 1], "counts": [[8, 2], [1, 9]]},
    "classifier": {"thresholds": {"1": TOLD}},
    "length_alone": {"thresholds": {"1": {**TOLD, "f1": 0.5}}},
    "calibration": {"reliability": [{"score": 0.1, "label": 0.2}, {"score": 0.9, "label": 0.8}]},
}
KEPT = {"kept_at": {"cut": [0.0, 1.0], "documents": [20, 9], "bytes": [100, 50]}}
FACTS: dict[str, dict[str, Any]] = {
    "annotate": {"kept": 9, "seen": 10, "spent": {"dollars": 1.5}},
    "sheet": {"documents": 12},
    "audit": {"compared": {"ann": {"kappa": 0.5, "documents": 12}, "b": {"kappa": None, "documents": 3}}},
    "classify": {"learned": True, "thresholds": {"1": TOLD}},
    "score": {"seen": 10},
    "select": {"kept": 9, "seen": 10},
}  # fmt: skip


def heights(line: Any) -> list[float]:
    return [float(y) for y in line.get_ydata()]


def test_a_classifier_is_drawn_with_its_counts_beside_the_length_alone(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(json.dumps(CARD))
    matrix, f1, calibration = picture(tmp_path).axes
    assert [text.get_text() for text in matrix.texts] == ["8", "2", "1", "9"]
    assert [heights(line)[0] for line in f1.lines] == [0.75, 0.5]
    assert heights(calibration.lines[1]) == [0.2, 0.8]
    draw(tmp_path, tmp_path / "card.png")
    assert (tmp_path / "card.png").read_bytes().startswith(b"\x89PNG")


def test_what_each_threshold_keeps_is_drawn_as_shares(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text(json.dumps(KEPT))
    (axes,) = picture(tmp_path).axes
    assert [heights(line) for line in axes.lines] == [[1.0, 0.45], [1.0, 0.5]]


def test_a_folder_with_nothing_to_draw_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has nothing of quality to draw"):
        picture(tmp_path)


def test_every_kind_is_told_in_a_line() -> None:
    assert {kind: told_of_quality(kind, FACTS[kind]) for kind in LABEL_KINDS} == {
        "annotate": "9 of 10 documents labelled · $1.50",
        "sheet": "a sheet of 12 documents",
        "audit": "ann: kappa 0.50 of 12 · b: no kappa of 3",
        "classify": "F1 0.75 at 1",
        "score": "10 documents scored",
        "select": "9 of 10 documents kept",
    }
    assert told_of_quality("classify", {"learned": False}).startswith("learned nothing")
