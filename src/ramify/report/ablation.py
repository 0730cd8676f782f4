"""What an ablation found, as words and for a terminal: what each trial removed, gained, and is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ramify.ground.artifact import Record
from ramify.ground.units import show_count

LOOKS = {"earned its place": "green", "a cost": "red"}
HEAD = ("tried", "documents", "of tokens", "gain", "interval", "verdict")
CAPTION = "Gain: bits per byte that the sibling without it needs above the model with it, paired by seed, on "
ONE_BY_ONE = (
    "each interval holds for itself: of twenty filters that do nothing, one is expected outside"
)


def ablation_tables(records: Mapping[str, Record]) -> Iterator[RenderableType]:
    """Yield a table for each ablation of a lab."""
    for facts in ablations(records):
        drawn = Table(box=None, pad_edge=False)
        for number, heading in enumerate(HEAD):
            right = 0 < number < len(HEAD) - 1
            drawn.add_column(
                heading, justify="right" if right else "left", overflow="fold", no_wrap=number > 0
            )
        for name, trial in facts["trials"].items():
            *numbers, verdict = cells(trial)
            drawn.add_row(name, *numbers, Text(verdict, style=LOOKS.get(verdict, "")))
        yield Group(drawn, Text(f"{caption(facts)}; {ONE_BY_ONE}", style="dim"))


def told_of_ablation(facts: Mapping[str, Any]) -> str:
    """Return in a few words how many trials had which verdict."""
    verdicts = [trial["verdict"] for trial in facts["trials"].values()]
    return ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))


def ablations(records: Mapping[str, Record]) -> list[Mapping[str, Any]]:
    """Return what each ablation of a lab told."""
    return [record.facts for record in records.values() if record.kind == "ablation"]


def caption(facts: Mapping[str, Any]) -> str:
    """Return what the gains of an ablation are, and over how many seeds."""
    seeds = max(trial["seeds"] for trial in facts["trials"].values())
    on = ", ".join(facts["judged_on"])
    return f"{CAPTION}{on}; intervals of {facts['level']:.0%} over {seeds} seeds"


def cells(trial: Mapping[str, Any]) -> Iterator[str]:
    """Yield the cells of one trial, as HEAD has them, after its name."""
    out, share = trial["documents"], trial["tokens"] / max(trial["of_tokens"], 1)
    gain = trial["judged"]
    yield show_count(out) if out >= 0 else f"-{show_count(-out)}"
    yield f"{share:.1%}"
    yield f"{gain['mean']:+.3f}"
    yield "one seed" if gain["low"] is None else f"{gain['low']:+.3f} to {gain['high']:+.3f}"
    yield trial["verdict"]
