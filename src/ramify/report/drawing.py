"""The tree of runs and its mixtures as SVG, on one token axis: drawn here, so that no script is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ramify.ground.units import show_count
from ramify.report.markup import Markup, join, tag
from ramify.report.summary import Row, Summary

WIDTH, LEFT, RIGHT = 1020.0, 12.0, 300.0
LANE, TOP, GAP = 30.0, 30.0, 10.0
MOST_LANES = 200  # beyond it the table of steps is the better picture
STACK, STRIP = 110.0, 14.0


@dataclass(frozen=True)
class Lane:
    """Where one model is drawn."""

    row: Row
    y: float
    from_y: float | None  # of what it left; None for a root


@dataclass(frozen=True)
class Axis:
    """Tokens to pixels."""

    tokens: int

    def x(self, tokens: float) -> float:
        """Return where a token lies."""
        return LEFT + (WIDTH - LEFT - RIGHT) * tokens / max(self.tokens, 1)

    def ticks(self) -> list[int]:
        """Return about five round token counts, 0 among them."""
        step = 10 ** math.floor(math.log10(max(self.tokens, 10) / 2))
        size = next(step * k for k in (1, 2, 5, 10, 20) if self.tokens / (step * k) <= 6)
        return list(range(0, self.tokens + 1, max(int(size), 1)))

    def draw(self, y: float, height: float) -> Markup:
        """Return the axis above a drawing, its lines through it, and what it counts."""
        marks = []
        for t in self.ticks():
            x = self.x(t)
            anchor = "middle" if t else "start"
            marks.append(tag("line", x1=x, x2=x, y1=y, y2=y + height, class_="grid"))
            text = show_count(t) if t else "0 tokens"
            marks.append(tag("text", text, x=x, y=y - 8, class_="tick", text_anchor=anchor))
        return join(marks)


def axis_of(summary: Summary) -> Axis:
    """Return the axis that every drawing of a lab shares."""
    ends = [row.ends_at_tokens or row.told_tokens or 0 for row in summary.rows]
    return Axis(max(ends, default=0))


def lanes(rows: Sequence[Row]) -> list[Lane]:
    """Return a lane for each model: what left last lies nearest, so that no line crosses a label."""
    models = [row for row in rows if row.is_run or row.is_average]
    names = {row.name for row in models}
    children: dict[str | None, list[Row]] = {}
    for row in models:
        children.setdefault(row.parent if row.parent in names else None, []).append(row)
    placed: list[Lane] = []
    y = TOP
    for root in children.get(None, []):
        y += GAP if placed else LANE / 2
        stack: list[tuple[Row, float | None]] = [(root, None)]
        while stack:
            row, from_y = stack.pop()
            placed.append(Lane(row, y, from_y))
            stack += [(child, y) for child in sorted(children.get(row.name, []), key=_leaves)]
            y += LANE
    return placed


def _leaves(row: Row) -> tuple[int, int]:
    leaves = row.leaves_at_tokens if row.leaves_at_tokens is not None else row.ends_at_tokens
    return leaves or 0, row.ends_at_tokens or 0


def tree_svg(summary: Summary) -> Markup:
    """Return the tree: each run a line along the token axis that leaves its parent at its token."""
    axis, placed = axis_of(summary), lanes(summary.rows)
    shown = placed[:MOST_LANES]
    height = max((lane.y for lane in shown), default=TOP) + LANE
    parts = [axis.draw(TOP, height - TOP - GAP), *(_lane(summary, axis, lane) for lane in shown)]
    if len(placed) > len(shown):
        text = f"{len(placed) - len(shown)} more stand in the table of steps"
        parts.append(tag("text", text, x=LEFT, y=height, class_="label"))
        height += LANE
    return _svg(height, "The tree of runs along tokens; the table of results says the same", parts)


def _svg(height: float, label: str, parts: Sequence[Markup]) -> Markup:
    box = f"0 0 {WIDTH:g} {height:g}"
    return tag("svg", *parts, viewBox=box, width=WIDTH, height=height, role="img", aria_label=label)


def _lane(summary: Summary, axis: Axis, lane: Lane) -> Markup:
    row, y = lane.row, lane.y
    end = row.ends_at_tokens or row.told_tokens or row.leaves_at_tokens or 0
    x0, x1 = axis.x(row.leaves_at_tokens or 0), axis.x(end)
    parts = []
    if row.is_average:
        parts.append(tag("path", d=f"M{x1:.1f} {lane.from_y or y:.1f}V{y:.1f}", class_="run average"))  # fmt: skip
    elif lane.from_y is None:
        parts.append(tag("path", d=f"M{x0:.1f} {y:.1f}H{x1:.1f}", class_=f"run {row.kind}"))
        parts += _marks(summary, axis, row, y)
    else:
        bend = min(10.0, max(x1 - x0, 0.0), y - lane.from_y)
        path = f"M{x0:.1f} {lane.from_y:.1f}V{y - bend:.1f}Q{x0:.1f} {y:.1f} {x0 + bend:.1f} {y:.1f}H{max(x1, x0 + bend):.1f}"
        parts.append(tag("path", d=path, class_=f"run {row.kind}"))
    parts += [_end_mark(row, x1, y), _label(row, x1, y)]
    return tag("g", tag("title", _title(row)), *parts)


def _marks(summary: Summary, axis: Axis, row: Row, y: float) -> Iterator[Markup]:
    """Yield a dot where a point was saved and a bar where the mixture changed."""
    if row.name in summary.runs and row.kind == "trunk":
        for at in summary.runs[row.name].points:
            yield tag("circle", cx=axis.x(at), cy=y, r=2.2, class_="point")
    for at, _ in row.stages[1:]:
        x = axis.x(at)
        yield tag("line", x1=x, x2=x, y1=y - 7, y2=y + 7, class_=f"stage {row.kind}")


def _end_mark(row: Row, x: float, y: float) -> Markup:
    kind = "average" if row.is_average else row.kind
    look = f"end {kind} {row.decay.replace(' ', '-')}"
    if row.is_average:
        return tag("path", d=f"M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z", class_=look)
    return tag("circle", cx=x, cy=y, r=4.6, class_=look)


def _label(row: Row, x: float, y: float) -> Markup:
    bits = row.mean_bits
    told = f" {show_count(row.ends_at_tokens)}" if row.ends_at_tokens else " begun"
    if bits is not None:
        told += f" · {'~' if (row.bits_from or '').startswith('probe') else ''}{bits:.3f}"
    return tag(
        "text",
        tag("tspan", _short(row.name), class_="name"),
        tag("tspan", told, class_="note"),
        x=x + 10,
        y=y + 4,
        class_="label",
    )


def _short(name: str, most: int = 24) -> str:
    """Return a name cut in its middle: names of a grid differ at their ends."""
    return name if len(name) <= most else f"{name[: most // 2 - 2]}…{name[1 - most // 2 :]}"


def _title(row: Row) -> str:
    parts = [row.name, row.kind]
    if row.leaves_at_tokens is not None:
        parts.append(f"leaves {row.parent} at {row.leaves_at_tokens:,} tokens")
    if row.ends_at_tokens:
        parts.append(f"stands at {row.ends_at_tokens:,} tokens, {row.decay}")
    if row.loss is not None:
        parts.append(f"loss {row.loss:.3f} over its last {row.loss_steps} steps")
    return ", ".join(parts)


def mixture_svg(summary: Summary) -> Markup:
    """Return the mixtures along tokens: of a trunk as stacked areas, of every other run as a strip."""
    axis = axis_of(summary)
    sources = sources_of(summary)
    parts: list[Markup] = []
    y = TOP
    for lane in lanes(summary.rows)[:MOST_LANES]:
        row = lane.row
        if not row.stages:
            continue
        tall = row.kind == "trunk"
        height = STACK if tall else STRIP
        parts += _stack(axis, row, sources, y, height, labels=tall)
        last = axis.x(row.ends_at_tokens or row.told_tokens or 0)
        middle = y + height / 2 + 4
        parts.append(tag("text", tag("tspan", _short(row.name), class_="name"), x=last + 10, y=middle, class_="label"))  # fmt: skip
        y += height + GAP
    return _svg(
        y,
        "Mixtures along tokens, as shares of each source",
        [axis.draw(TOP, y - TOP - GAP), *parts],
    )


def sources_of(summary: Summary) -> list[str]:
    """Return every source that a run reads, sorted: its place is its colour."""
    return sorted({name for row in summary.rows for _, mixture in row.stages for name in mixture})


def _stack(
    axis: Axis, row: Row, sources: Sequence[str], y: float, height: float, *, labels: bool
) -> Iterator[Markup]:
    begin, end = row.leaves_at_tokens or 0, row.ends_at_tokens or row.told_tokens or 0
    for at, until, mixture in _stretches(row.stages, begin, end):
        x, width = axis.x(at), axis.x(until) - axis.x(at)
        top = y
        for index, name in enumerate(sources):
            share = mixture.get(name, 0.0)
            if not share:
                continue
            part = share * height
            title = f"{name}: {100 * share:.3g}% from {at:,} to {until:,} tokens"
            yield tag("rect", tag("title", title), x=x, y=top, width=max(width - 1, 0.5), height=max(part - 1, 0.5), class_=f"s{index % 8}")  # fmt: skip
            text = f"{name} {100 * share:.3g}%"
            if labels and part > 15 and width > 7.5 * len(text):
                yield tag("text", text, x=x + 7, y=top + part / 2 + 4, class_="inside")
            top += part


def _stretches(
    stages: Sequence[tuple[int, Mapping[str, float]]], begin: int, end: int
) -> Iterator[tuple[int, int, Mapping[str, float]]]:
    starts = [at for at, _ in stages]
    for (at, mixture), until in zip(stages, [*starts[1:], end], strict=True):
        if max(at, begin) < min(until, end):
            yield max(at, begin), min(until, end), mixture
