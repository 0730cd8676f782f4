"""What a dry run told, as a terminal shows it: each step of the whole with intervals, labels, and what to mind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ramify.ground.units import show_bytes, show_count, show_money
from ramify.runs.estimate import Estimate, LabelEstimate, StepEstimate, total
from ramify.runs.spread import LEVEL, Interval

STATES = {"done": "green", "failed": "bold red", "left out": "dim"}
MINDED = (
    "CPU-hours and disk grow in step with documents here; what a step costs once is multiplied too,"
    " so take them as at most, and deduplication as a little more than in step",
    "documents held out are counted in, and the tokenizer learnt from the sample alone",
)
GUESSED = (
    "tokens of labels are told from the sizes of questions: --labels N asks for a few, and measures"
)


def told(found: Estimate, home: Path) -> RenderableType:
    """Return what a dry run told of the whole."""
    parts: list[RenderableType] = [Text(), _steps(found), Text(), _sums(found)]
    if found.labels:
        parts += [Text(), _labels(found)]
    parts += [Text(), *_minded(found, home)]
    return Group(*parts)


def _steps(found: Estimate) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("step", no_wrap=True)
    for heading in ("in", "out", "kept", "tokens", "CPU-hours", "disk"):
        table.add_column(heading, justify="right", no_wrap=True)
    for step in found.steps:
        name = Text(step.name, style="" if step.state == "done" else STATES[step.state])
        if step.state != "done":
            table.add_row(name, Text(step.state, style=STATES[step.state]))
            continue
        table.add_row(name, *_cells(step))
    return table


def _cells(step: StepEstimate) -> Iterator[str]:
    yield around(step.documents_in, show_count)
    yield around(step.documents_out, show_count)
    yield _share(step.kept)
    yield around(step.tokens, show_count)
    yield around(step.cpu_hours, hours)
    yield around(step.disk_bytes, show_bytes)


def around(found: Interval | None, show: Callable[[float], str]) -> str:
    """Return an interval in words, `low–high`; one number where both ends read the same."""
    if found is None:
        return ""
    low, high = show(round(found.low, 6)), show(round(found.high, 6))
    return low if low == high else f"{low}–{high}"


def hours(count: float) -> str:
    """Return hours with two digits that matter."""
    return f"{count:.2g}" if count < 10 else f"{count:,.0f}"


def _share(kept: Interval | None) -> str:
    if kept is None:
        return ""
    low, high = f"{100 * kept.low:.3g}", f"{100 * kept.high:.3g}%"
    return high if f"{low}%" == high else f"{low}–{high}"


def _sums(found: Estimate) -> Text:
    cpu = total(step.cpu_hours for step in found.steps)
    disk = total(step.disk_bytes for step in found.steps)
    tokens = total(each.tokens for each in found.labels)
    money = total(each.dollars for each in found.labels)
    parts = [f"in all: {around(cpu, hours) or '?'} CPU-hours", f"{around(disk, show_bytes) or '?'} of disk"]  # fmt: skip
    if found.labels:
        parts.append(f"{around(tokens, show_count)} tokens of labels")
        parts.append(around(money, show_money) if money else "$? for labels: give --token-price")
    return Text(" · ".join(parts), style="bold")


def _labels(found: Estimate) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in (
        "labels",
        "by",
        "documents",
        "question tokens",
        "answer tokens",
        "money",
        "cap",
    ):
        right = heading not in ("labels", "by")
        table.add_column(heading, justify="right" if right else "left")
    for each in found.labels:
        table.add_row(
            each.name,
            each.model,
            around(each.documents, show_count),
            around(each.question_tokens, show_count),
            around(each.answer_tokens, show_count),
            around(each.dollars, show_money) or "?",
            _cap(each),
        )
    return table


def _cap(each: LabelEstimate) -> str:
    if each.cap_tokens is None:
        return ""
    over = each.tokens.value > each.cap_tokens
    return show_count(each.cap_tokens) + (" (too little)" if over else "")


def _minded(found: Estimate, home: Path) -> Iterator[Text]:
    where = f"a sample of {found.share:.2%} of all bytes, in {home}"
    yield Text(f"{where}; intervals of {LEVEL}%, by drawing files or documents again", style="dim")
    for line in found.drawn:
        yield Text(f"  {line}", style="dim")
    for step in found.steps:
        for note in step.notes:
            yield Text.assemble((f"{step.name}: ", "bold"), note)
    guessed = any(not each.measured for each in found.labels)
    for note in (*MINDED, *((GUESSED,) if guessed else ())):
        yield Text(f"note: {note}", style="dim")
