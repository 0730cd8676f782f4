"""What a dry run told, as a terminal shows it: each step of the whole with intervals, labels, and what to mind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ramify.ground.units import show_bytes, show_count, show_money
from ramify.runs.estimate import Estimate, LabelEstimate, StepEstimate, total
from ramify.runs.resampling import LEVEL, Interval

NUMBER = re.compile(r"[0-9.]+")
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
    table = Table(box=None, pad_edge=False)
    table.add_column("step", overflow="fold")
    for heading in ("in", "out", "kept", "tokens", "CPU-h", "disk"):
        table.add_column(heading, justify="right", no_wrap=True)
    for step in found.steps:
        name = Text(step.name, style="" if step.state == "done" else STATES[step.state])
        if step.state != "done":
            table.add_row(name, Text(step.state, style=STATES[step.state]))
            continue
        table.add_row(name, *_cells(step))
    return table


def _cells(step: StepEstimate) -> Iterator[str]:
    yield around(step.documents_in, documents)
    yield around(step.documents_out, documents)
    yield "" if step.kept is None else around(step.kept.times(100), lambda share: f"{share:.3g}%")
    yield around(step.tokens, show_count)
    yield around(step.cpu_hours, hours)
    yield around(step.disk_bytes, show_bytes)


def around(found: Interval | None, show: Callable[[float], str]) -> str:
    """Return an interval to two digits, as `1.4–2.1M`; one number where both of its ends read the same."""
    if found is None:
        return ""
    low, high = show(found.low), show(found.high)
    if low == high:
        return low
    (number, unit), (top, last) = _in_two(low), _in_two(high)
    return f"{number}{'' if unit == last or number == '0' else unit}–{top}{last}"


def _in_two(shown: str) -> tuple[str, str]:
    """Return the number in what is shown, to two digits (of a share to three), and its unit."""
    found = NUMBER.match(shown)
    if found is None:
        return shown, ""
    unit = shown[found.end() :]
    digits = 3 if unit == "%" else 2
    return f"{float(f'{float(found[0]):.{digits}g}'):g}", unit


def documents(count: float) -> str:
    """Return a number of documents, of which there are no parts."""
    return show_count(round(count))


def hours(count: float) -> str:
    """Return hours with two digits that matter; what is under a hundredth is told as that."""
    if 0 < count < 0.01:
        return "<0.01"
    return f"{count:.2g}" if count < 10 else f"{count:,.0f}"


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
    table = Table(box=None, pad_edge=False)
    table.add_column("labels", overflow="fold")
    for heading in ("documents", "asked", "answered", "money", "cap"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in found.labels:
        table.add_row(
            f"{each.name} by {each.model}",
            around(each.documents, documents),
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
