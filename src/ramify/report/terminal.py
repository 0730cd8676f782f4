"""The tree of runs and the plan as a terminal shows them; columns give way where it is narrow."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ramify.ground.units import show_bytes, show_count, show_flops, show_money, show_seconds
from ramify.report.ablation import ablation_tables, told_of_ablation
from ramify.report.forecasts import Forecasted, in_words, track
from ramify.report.quality import (
    CHOICE_KINDS,
    DATA_KINDS,
    LABEL_KINDS,
    told_of_choice,
    told_of_quality,
)
from ramify.report.summary import Amount, Row, Summary, error_of_mean
from ramify.report.wanted_labels import label_lines
from ramify.runs.engine import side_by_side, visible_gpus
from ramify.runs.order import makespan
from ramify.runs.plan import Item, Plan
from ramify.train.steps import AVERAGES, Cooldown, Run

WIDE = 104  # columns from which mixtures stand in the table
DECAY_STYLES = {
    "decayed": "green",
    "averaged": "cyan",
    "part way": "yellow",
    "constant": "yellow",
    "": "",
}
BESIDE = (*AVERAGES, "evaluate", "forecast")  # in the tree itself, or in a table of their own
AVERAGE_WORDS = {
    "average": "average",
    "emaaverage": "moving average",
    "interpolate": "interpolation",
}
STATE_STYLES = {
    "done": "green", "partial": "yellow", "wanted": "dim", "diverged": "bold red", "held": "red",
}  # fmt: skip


def tree(summary: Summary) -> RenderableType:
    """Return the lab as a tree: runs under what they left, data steps above them."""
    return _Tree(summary)


def closing(summary: Summary) -> RenderableType:
    """Return what was spent: on the tree, on controls, and what the same answers cost one by one."""
    return Group(Text(), _spent(summary)) if summary.runs else Text()


def plan_table(plan: Plan) -> RenderableType:
    """Return a plan: every step, what is to do, what it costs, beside one-by-one training."""
    return _PlanTable(plan)


@dataclass(frozen=True)
class _Tree:
    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = [row for row in self.summary.rows if not row.is_run and row.kind not in BESIDE]
        data = [row for row in rows if row.kind in DATA_KINDS]
        after = [row for row in rows if row.kind not in DATA_KINDS]
        if data:
            yield _lines(data)
            yield Text()
        wide = options.max_width >= WIDE
        branches = list(_branches(self.summary.rows))
        if not branches:
            yield Text("no run yet", style="dim")
            return
        yield _runs_table(branches, wide=wide)
        if not wide:
            yield from _mixture_lines(self.summary)
        if any((row.bits_from or "").startswith("probe") for row, _ in branches):
            yield Text("~ the last probe, on fewer documents than an evaluation reads", style="dim")
        if self.summary.forecasts:
            yield Text()
            yield _forecasts(self.summary.forecasts)
        for tried in ablation_tables(self.summary.records):
            yield Text()
            yield tried
        if after:
            yield Text()
            yield _lines(after)


def _runs_table(branches: Sequence[tuple[Row, str]], *, wide: bool) -> Table:
    table = _table()
    table.add_column("run", no_wrap=True)
    for heading in ("tokens", "loss", "bits/byte"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("rate", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    if wide:
        table.add_column("FLOPs", justify="right", no_wrap=True)
        table.add_column("mixture at its end", overflow="ellipsis", no_wrap=True)
    for row, guide in branches:
        cells: list[RenderableType] = [
            _name(row, guide),
            _reached(row),
            _number(row.loss, 3),
            _bits(row),
            Text(row.decay, style=DECAY_STYLES[row.decay]),
            show_seconds(row.seconds) if row.seconds else "",
        ]
        if wide:
            cells += [show_flops(row.flops) if row.flops else "", _mixture(row.mixture)]
        table.add_row(*cells)
    return table


def _table() -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )


def _branches(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Yield runs and averages with the guide that draws their place in the tree."""
    models = [row for row in rows if row.is_run or row.is_average]
    names = {row.name for row in models}
    children: dict[str | None, list[Row]] = {}
    for row in models:
        children.setdefault(row.parent if row.parent in names else None, []).append(row)
    for root in children.get(None, []):
        yield root, ""
        yield from _below(root.name, children, "")


def _below(
    name: str, children: Mapping[str | None, list[Row]], indent: str
) -> Iterator[tuple[Row, str]]:
    # by hand, not recursive: a line of branches may be thousands long
    stack = _inner(name, children, indent)
    while stack:
        row, guide, inside = stack.pop()
        yield row, guide
        stack.extend(_inner(row.name, children, inside))


def _inner(
    name: str, children: Mapping[str | None, list[Row]], indent: str
) -> list[tuple[Row, str, str]]:
    rows = sorted(children.get(name, []), key=lambda row: (_leaves(row), row.ends_at_tokens or 0))
    found = [(row, f"{indent}├─ ", f"{indent}│  ") for row in rows[:-1]]
    found += [(row, f"{indent}└─ ", f"{indent}   ") for row in rows[-1:]]
    return found[::-1]


def _leaves(row: Row) -> int:
    return row.leaves_at_tokens if row.leaves_at_tokens is not None else row.ends_at_tokens or 0


def _name(row: Row, guide: str) -> Text:
    text = Text(guide, style="dim")
    # below a run of its own folder, a name goes without that folder's
    beside = (row.parent or "").rpartition("/")[0] if guide else ""
    text.append(row.name.removeprefix(f"{beside}/"), style="" if row.state == "done" else "yellow")
    if row.leaves_at_tokens is not None:
        text.append(f" @ {show_count(row.leaves_at_tokens)}", style="dim")
    elif row.is_average:
        text.append(f" {AVERAGE_WORDS[row.kind]}", style="dim")
    return text


def _reached(row: Row) -> Text:
    if row.diverged_at_tokens is not None:
        return Text(f"diverged at {show_count(row.diverged_at_tokens)}", style="bold red")
    if row.state == "done" or row.wanted_tokens is None:
        return Text(show_count(row.ends_at_tokens) if row.ends_at_tokens else "")
    reached = row.told_tokens or row.ends_at_tokens or 0
    return Text(f"{show_count(reached)} of {show_count(row.wanted_tokens)}", style="yellow")


def _bits(row: Row) -> Text:
    if row.mean_bits is None:
        return Text()
    if (row.bits_from or "").startswith("probe"):
        return Text(f"~{row.mean_bits:.3f}      ", style="dim")
    error = error_of_mean(row.standard_error)
    return Text(f"{row.mean_bits:.3f}" + (f" ±{error:.3f}".replace("±0.", "±.") if error else ""))


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _mixture(mixture: Mapping[str, float]) -> str:
    shares = sorted(mixture.items(), key=lambda item: (-item[1], item[0]))
    return " ".join(f"{name} {100 * share:.3g}%" for name, share in shares)


def _mixture_lines(summary: Summary) -> Iterator[Text]:
    """Yield, for each root and each branch with a mixture of its own, its stages in one line."""
    for row in summary.rows:
        root = row.is_run and row.parent is None and row.kind != "cosine"
        run = summary.runs.get(row.name)
        own = run is not None and isinstance(run.run, Cooldown) and run.run.mixture is not None
        if not (root or own):
            continue
        stages = [stage for stage in row.stages if root or stage[0] >= (row.leaves_at_tokens or 0)]
        text = Text("mixture of ", style="dim").append(row.name)
        for at, mixture in stages:
            text.append(f"\n  from {show_count(at):>7}  ", style="dim").append(_mixture(mixture))
        yield text


def _forecasts(found: Sequence[Forecasted]) -> RenderableType:
    """Return the running record of forecasts, in mean bits per byte."""
    table = _table()
    table.add_column("forecast", no_wrap=True)
    for heading in ("ends", "foretold", "interval", "seen", "error"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for one in found:
        seen = one.seen is not None
        inside = Text("inside", style="green") if one.is_inside else Text("outside", style="red")
        note = inside if seen else Text("not run yet", style="dim")
        if one.made_before is False:
            note = note.append(", made after it", style="dim")
        table.add_row(
            one.name,
            show_count(one.ends_at),
            f"{one.bits_per_byte:.3f}",
            f"{one.low:.3f} to {one.high:.3f}",
            _number(one.seen, 3),
            f"{one.error:+.3f}" if one.error is not None else "",
            note,
        )
    record = track(found)
    return Group(table, Text(f"forecasts: {in_words(record)}")) if record else table


def _lines(rows: Sequence[Row]) -> Table:
    table = _table()
    table.show_header = False
    table.box = None
    for style in ("", "dim", ""):
        table.add_column(style=style, overflow="fold")
    for row in rows:
        told = told_of(row) if row.state == "done" else "begun, not finished"
        table.add_row(Text(row.name), Text(row.kind), Text(told))
    return table


def told_of(row: Row) -> str:
    """Return in a few words what a step made that is no run."""
    facts = row.facts
    match row.kind:
        case "read" | "sift" | "remove" | "apportion":
            size = show_bytes(facts["bytes"]["kept"])
            return f"{facts['kept']:,} of {facts['seen']:,} documents kept · {size}"
        case "dedup":
            corpora = facts["corpora"].values()
            dropped = sum(c["dropped"] for c in corpora)
            held = sum(c["held_out"] for c in corpora)
            seen = sum(c["seen"] for c in corpora)
            return f"{dropped:,} of {seen:,} near-duplicates dropped · {held:,} held out"
        case kind if kind in LABEL_KINDS:
            return told_of_quality(kind, facts)
        case kind if kind in CHOICE_KINDS:
            return told_of_choice(kind, facts)
        case "tokenizer" | "broughttokenizer":
            return f"vocabulary of {facts['vocab']:,}"
        case "tokenize" | "broughttokens":
            ratio = facts["bytes_per_token"]
            return f"{show_count(facts['tokens'])} tokens · {ratio:.2f} bytes a token"
        case "ablation":
            return told_of_ablation(facts)
        case "export":
            return f"{facts['model']}, logits within {facts['logit_difference']:.0e}"
        case "complete":
            return f"{len(facts['completions'])} texts of {row.inputs.get('model', '')}"
        case _:
            return ""


def _spent(summary: Summary) -> RenderableType:
    spent = summary.spent
    table = _table()
    for heading in ("spent", "tokens", "FLOPs", "6ND", "time"):
        table.add_column(heading, justify="left" if heading == "spent" else "right", no_wrap=True)
    _amount_row(table, "the tree: trunk and branches", spent.tree)
    if spent.controls.tokens:
        _amount_row(table, "controls: cosine", spent.controls)
    if not spent.answers:
        return table
    _amount_row(table, f"{spent.answers_told} one by one", spent.one_by_one, about=True)
    ratio = spent.ratio or math.nan
    words = f"one by one with cosine costs {ratio:.2f}× the tree"
    return Group(table, Text(words, style="bold" if ratio > 1 else ""))


def _amount_row(table: Table, name: str, amount: Amount, *, about: bool = False) -> None:
    time = show_seconds(amount.seconds)
    table.add_row(
        name,
        show_count(amount.tokens),
        show_flops(amount.flops),
        show_flops(amount.six_nd),
        f"about {time}" if about else time,
    )


@dataclass(frozen=True)
class _PlanTable:
    plan: Plan

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plan, wide = self.plan, options.max_width >= WIDE
        table = _table()
        table.add_column("step", overflow="fold")
        table.add_column("state", no_wrap=True)
        headings = ["leaves", "ends", "to do"]
        headings += ["replay", "FLOPs", "disk"] if wide else []
        headings += ["time"]
        headings += ["price"] if plan.price_per_hour is not None else []
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        for item in plan.items:
            table.add_row(*_plan_cells(plan, item, wide=wide))
        yield table
        yield from _plan_totals(plan)
        for warning in plan.warnings:
            yield Text.assemble(("warning ", "bold yellow"), warning)


def _plan_cells(plan: Plan, item: Item, *, wide: bool) -> list[RenderableType]:
    run = item.step if isinstance(item.step, Run) else None
    name = Text(item.name)
    if wide:
        name.append(f" {item.step.kind()}", style="dim")
    cells: list[RenderableType] = [
        name,
        Text(item.state, style=STATE_STYLES[item.state]),
        show_count(run.leaves_at) if isinstance(run, Cooldown) else "",
        _ends(item, run),
        show_count(item.todo_tokens) if item.todo_tokens else "",
    ]
    if wide:
        cells.append(show_count(item.replay_tokens) if item.replay_tokens else "")
        cells.append(show_flops(item.flops) if item.flops else "")
        cells.append(show_bytes(item.disk_bytes) if item.disk_bytes else "")
    unknown = "?" if not plan.flops.tree and item in plan.unread else ""
    cells.append(show_seconds(plan.seconds(item.flops)) if item.flops else unknown)
    if plan.price_per_hour is not None:
        money = plan.money(item.flops)
        cells.append(("<$0.01" if money < 0.01 else show_money(money)) if money else "")
    return cells


def _ends(item: Item, run: Run | None) -> str:
    if run is None:
        return ""
    asked = run.asked_tokens
    rounded = show_count(max(item.points))
    return f"{show_count(asked)}→{rounded}" if asked and asked != run.tokens else rounded


def _plan_totals(plan: Plan) -> Iterator[RenderableType]:
    told = plan.json()["todo"]
    if plan.unread and not plan.flops.tree:
        yield Text(
            f"to do: {len(plan.to_do)} of {len(plan.items)} steps · ? tokens · ? of disk",
            style="bold",
        )
        yield Text(
            "what curation makes is known once it was read: ramify dry reads a sample", style="dim"
        )
    elif plan.to_do:
        parts = [
            f"to do: {len(plan.to_do)} of {len(plan.items)} steps",
            f"{show_count(told['tokens'])} tokens",
            f"{show_flops(told['flops'])} FLOPs",
            f"{show_seconds(told['seconds'])} of one worker",
            *_at_once(plan),
            f"{show_bytes(told['disk_bytes'])} of disk",
        ]
        if told["replay_tokens"]:
            parts.insert(2, f"{show_count(told['replay_tokens'])} of them replayed")
        if told["money"] is not None:
            parts.append(show_money(told["money"]))
        yield Text(" · ".join(parts), style="bold")
        how = "measured in this lab" if plan.measured else "given or assumed, not measured"
        speed = show_flops(plan.flops_per_second)
        yield Text(f"at {speed} FLOPs a second, {how}; training only", style="dim")
    elif all(item.state == "done" for item in plan.items):
        yield Text(f"nothing to do: all {len(plan.items)} steps are there", style="bold green")
    else:
        yield Text("nothing can be done: what is not there diverged, or needs what did")
    yield from label_lines(plan)
    if any(isinstance(item.step, Run) for item in plan.items):
        yield Text()
        yield _plan_spent(plan)


def _at_once(plan: Plan) -> Iterator[str]:
    """Yield how long it takes here, where several steps are made at once."""
    many = side_by_side(plan, len(os.sched_getaffinity(0)), visible_gpus())
    if many > 1:
        yield f"{show_seconds(plan.seconds(makespan(plan, many)))} with {many} at once"


def _plan_spent(plan: Plan) -> RenderableType:
    table = _table()
    table.add_column("the whole of it", no_wrap=True)
    for heading in ("tokens", "FLOPs", "6ND", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    names = ("the tree: trunk and branches", "controls: cosine", "the same answers one by one")
    amounts = zip(*(c.json().values() for c in (plan.tokens, plan.flops, plan.six_nd)), strict=True)
    for name, (tokens, flops, six_nd) in zip(names, amounts, strict=True):
        if tokens:
            cells = (show_count(tokens), show_flops(flops), show_flops(six_nd))
            table.add_row(name, *cells, show_seconds(plan.seconds(flops)))
    if not plan.flops.one_by_one or not plan.flops.tree:
        return table
    share, rough = (c.tree / c.one_by_one for c in (plan.flops, plan.six_nd))
    words = f"one by one with cosine costs {1 / share:.2f}× the tree"
    return Group(table, Text(f"{words}\nthe tree is {share:.1%} of it, {rough:.1%} by 6ND"))
