"""What a person sees while an engine works: a bar per step with rate and time left, or plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ramify.ground.errors import RamifyError, Stopped
from ramify.ground.units import show_count, show_seconds
from ramify.runs.engine import Engine
from ramify.runs.lab import Lab
from ramify.runs.plan import Item, Plan

SHOWN = 6  # of the steps that wait
LINE_SECONDS = 10.0  # between lines of one step, where there is no terminal


def watch(
    plan: Plan,
    lab: Lab,
    *,
    processes: int = 1,
    parallel: str = "ddp",
    ray: str | None = None,
) -> None:
    """Run a plan and show how it goes, and at the end which steps were not made and what waits for them."""
    engine = Engine(lab, processes=processes, parallel=parallel, ray=ray)
    console = Console(highlight=False)
    try:
        _watch(engine, plan, console)
    finally:
        for line in not_made(engine.failed, engine.held):
            _print(line)


def not_made(failed: Mapping[str, RamifyError], held: Sequence[str]) -> Iterator[str]:
    """Yield a line for each of several steps that failed, and one for those that wait for them.

    Of one alone only its name is told: the door tells its error anyway.
    """
    told = {name: error for name, error in failed.items() if not isinstance(error, Stopped)}
    if len(told) > 1:
        for name, error in told.items():
            yield f"not made: {name}: {error}"
    if told and held:
        more = f" and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
        whom = f"not made: {next(iter(told))}; waiting for it" if len(told) == 1 else "waiting"
        yield f"{whom}: {', '.join(held[:SHOWN])}{more}"


def _watch(engine: Engine, plan: Plan, console: Console) -> None:
    if not console.is_terminal:
        engine.run(plan, Lines(len(plan.to_do)))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[done]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=False) as bars:
        engine.run(plan, Bars(bars, len(plan.to_do)))


class Lines:
    """Plain lines for logs: starts, ends, and now and then how far."""

    def __init__(self, steps: int) -> None:
        self.steps, self.ended_count = steps, 0
        self.began: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def started(self, item: Item) -> None:
        """A worker took up a step."""
        self.began[item.name] = self.last[item.name] = time.monotonic()

    def progress(self, item: Item, done: float, total: float, unit: str, note: str) -> None:
        """A worker told how far it is."""
        now = time.monotonic()
        if now - self.last[item.name] < LINE_SECONDS:
            return
        self.last[item.name] = now
        _print(f"  {item.name}: {show_count(done)} of {show_count(total)} {unit}  {note}")

    def note(self, item: Item, text: str) -> None:
        """A worker said something that a person should know."""
        _print(f"  {item.name}: {text}")

    def ended(self, item: Item, error: RamifyError | None) -> None:
        """A worker ended, and was judged."""
        self.ended_count += 1
        took = show_seconds(time.monotonic() - self.began[item.name])
        mark, why = ("✔", "") if error is None else ("✘", f": {error.message}")
        _print(f"{mark} [{self.ended_count}/{self.steps}] {item.name} ({took}){why}")


class Silent:
    """Says nothing: where only JSON may be printed."""

    def started(self, item: Item) -> None:
        """A worker took up a step."""

    def progress(self, item: Item, done: float, total: float, unit: str, note: str) -> None:
        """A worker told how far it is."""

    def note(self, item: Item, text: str) -> None:
        """A worker said something that a person should know."""

    def ended(self, item: Item, error: RamifyError | None) -> None:
        """A worker ended, and was judged."""


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Bars:
    """A bar per working step; finished ones become a line above the bars."""

    def __init__(self, bars: Progress, steps: int) -> None:
        self.bars, self.steps, self.ended_count = bars, steps, 0
        self.tasks: dict[str, TaskID] = {}
        self.began: dict[str, float] = {}

    def started(self, item: Item) -> None:
        """A worker took up a step."""
        self.began[item.name] = time.monotonic()
        self.tasks[item.name] = self.bars.add_task(item.name, total=None, done="", note="")

    def progress(self, item: Item, done: float, total: float, unit: str, note: str) -> None:
        """A worker told how far it is."""
        task = self.tasks[item.name]
        speed = self.bars.tasks[self.bars.task_ids.index(task)].speed
        rate = f" {show_count(round(speed))}/s" if speed else ""
        text = f"{show_count(done)} of {show_count(total)} {unit}{rate}"
        fields: dict[str, Any] = {"done": text, "note": note}
        self.bars.update(task, completed=done, total=total, **fields)

    def note(self, item: Item, text: str) -> None:
        """A worker said something that a person should know."""
        self.bars.console.print(f"  {item.name}: {text}", markup=False)

    def ended(self, item: Item, error: RamifyError | None) -> None:
        """A worker ended, and was judged."""
        self.ended_count += 1
        self.bars.remove_task(self.tasks.pop(item.name))
        took = show_seconds(time.monotonic() - self.began[item.name])
        mark, why = ("[green]✔[/]", "") if error is None else ("[red]✘[/]", escape(error.message))
        self.bars.console.print(f"{mark} {item.name} [dim]{took}[/] {why}")
