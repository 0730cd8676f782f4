"""What an ablation found, for a terminal and for the page: what each trial removed, gained, and is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ramify.ground.artifact import Record
from ramify.ground.units import show_count
from ramify.report.markup import Markup, join
from ramify.report.sections import row_of, table

LOOKS = {"earned its place": "green", "a cost": "red"}
HEAD = ("tried", "documents", "of tokens", "gain", "interval", "verdict")
CAPTION = "Gain: bits per byte that the sibling without it needs above the model with it, paired by seed, on "
ONE_BY_ONE = (
    "each interval holds for itself: of twenty filters that do nothing, one is expected outside"
)


def ablation_tables(records: Mapping[str, Record]) -> Iterator[RenderableType]:
    """Yield a table for each ablation of a lab."""
    for facts in _ablations(records):
        drawn = Table(box=None, pad_edge=False)
        for number, heading in enumerate(HEAD):
            right = 0 < number < len(HEAD) - 1
            drawn.add_column(
                heading, justify="right" if right else "left", overflow="fold", no_wrap=number > 0
            )
        for name, trial in facts["trials"].items():
            *cells, verdict = _cells(trial)
            drawn.add_row(name, *cells, Text(verdict, style=LOOKS.get(verdict, "")))
        yield Group(drawn, Text(f"{_caption(facts)}; {ONE_BY_ONE}", style="dim"))


def ablation_section(records: Mapping[str, Record]) -> Markup | None:
    """Return the ablations of a lab as tables of the page, None where there are none."""
    tables = [
        table(
            f"{_caption(facts)}; {ONE_BY_ONE}.",
            HEAD,
            [row_of(name, *_cells(trial), words=1) for name, trial in facts["trials"].items()],
            words=1,
        )
        for facts in _ablations(records)
    ]
    return join(tables) if tables else None


def told_of_ablation(facts: Mapping[str, Any]) -> str:
    """Return in a few words how many trials had which verdict."""
    verdicts = [trial["verdict"] for trial in facts["trials"].values()]
    return ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))


def _ablations(records: Mapping[str, Record]) -> list[Mapping[str, Any]]:
    return [record.facts for record in records.values() if record.kind == "ablation"]


def _caption(facts: Mapping[str, Any]) -> str:
    seeds = max(trial["seeds"] for trial in facts["trials"].values())
    on = ", ".join(facts["judged_on"])
    return f"{CAPTION}{on}; intervals of {facts['level']:.0%} over {seeds} seeds"


def _cells(trial: Mapping[str, Any]) -> Iterator[str]:
    out, share = trial["documents"], trial["tokens"] / max(trial["of_tokens"], 1)
    gain = trial["judged"]
    yield show_count(out) if out >= 0 else f"-{show_count(-out)}"
    yield f"{share:.1%}"
    yield f"{gain['mean']:+.3f}"
    yield "one seed" if gain["low"] is None else f"{gain['low']:+.3f} to {gain['high']:+.3f}"
    yield trial["verdict"]
