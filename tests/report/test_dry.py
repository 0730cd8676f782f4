"""Intervals read as people say them, and a dry run is shown with what to mind."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ramify.ground.units import show_bytes, show_count
from ramify.report.dry import around, hours, told
from ramify.runs.estimate import Estimate, LabelEstimate, StepEstimate
from ramify.runs.resampling import Interval


@pytest.mark.parametrize(
    ("low", "high", "show", "said"),
    [
        (1374, 2134, show_count, "1.4–2.1K"),
        (900, 2134, show_count, "900–2.1K"),
        (0, 2134, show_count, "0–2.1K"),
        (87, 87, show_count, "87"),
        (600_000, 9_000_000, show_bytes, "590 KiB–8.6 MiB"),
        (97.34, 100.0, lambda x: f"{x:.3g}%", "97.3–100%"),
        (0.001, 0.002, hours, "<0.01"),
        (0.5, 12.0, hours, "0.5–12"),
    ],
)  # fmt: skip
def test_an_interval_has_one_unit_where_it_can(low: float, high: float, show: object, said: str) -> None:  # fmt: skip
    assert around(Interval(low, high, high), show) == said  # type: ignore[arg-type]


def test_what_was_left_out_and_what_is_not_known_are_told() -> None:
    one = Interval(1.0, 2.0, 3.0)
    steps = (
        StepEstimate("read", "read", "done", one, one, Interval(0.1, 0.2, 0.3), one, one, one),
        StepEstimate("domains", "domainrecall", "left out", notes=("it needs scores",)),
        StepEstimate("good", "select", "failed"),
    )
    labels = LabelEstimate("labels", "judge", one, one, one, None, 1, measured=False)
    found = Estimate("r", steps, (labels,), 0.01, ("read: 30 files, one in 100",))
    console = Console(width=90, file=io.StringIO(), record=True)
    console.print(told(found, Path("labs/r/.dry")))
    shown = " ".join(console.export_text().split())
    for said in ("10–30%", "domains left out", "good failed", "it needs scores", "$? for labels",
                 "(too little)", "one in 100", "1.00% of all bytes", "--labels N"):  # fmt: skip
        assert said in shown
