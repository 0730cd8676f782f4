"""What `ramify fit` found as a terminal shows it: the law in words, its constants, how far to trust it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ramify.ground.units import show_count, show_flops
from ramify.report.fitting import Answer, Fitted, ahead
from ramify.scaling.compare import Comparison, Pairs
from ramify.scaling.isoflop import IsoFlop
from ramify.scaling.law import NAMES
from ramify.scaling.one_size import TokensLaw
from ramify.scaling.trust import Errors

SYMBOLS = dict(zip(NAMES, ("E", "A", "B", "α", "β"), strict=True))
MEANING = {
    "E": "loss that nothing removes",
    "A": "how much a finite size costs",
    "B": "how much finite data costs",
    "alpha": "how fast size helps",
    "beta": "how fast data helps",
}
AHEAD = (1, 10, 100)  # times the budget, for which optima are shown
Interval = tuple[float, float]


def shown(answer: Answer) -> RenderableType:
    """Return everything that was found, and the notes on the points."""
    return Group(*_parts(answer))


def _parts(answer: Answer) -> Iterator[RenderableType]:
    if answer.fitted is not None:
        yield from _fitted(answer, answer.fitted)
    if answer.isoflop is not None:
        yield from _isoflop(answer, answer.isoflop)
    if answer.one_size is not None:
        yield from _one_size(answer, answer.one_size)
    if answer.comparison is not None:
        yield from _comparison(answer, answer.comparison)
    for note in answer.notes:
        yield Text.assemble(("note ", "yellow"), note)


def _fitted(answer: Answer, found: Fitted) -> Iterator[RenderableType]:
    law = found.fit.law
    yield Text.assemble(
        ("L(N, D) = E + A/N^α + B/D^β", "bold"),
        f"   fitted to {len(found.fit.points)} points ({_extent(answer)})",
    )
    intervals = found.fit.bootstrap.intervals() if found.fit.bootstrap else {}
    table = plain_table("constant", "value", *_interval_heading(answer), " ")
    for name, value in law.constants.items():
        cells = [_interval(intervals[name])] if intervals else []
        table.add_row(SYMBOLS[name], _number(value), *cells, Text(MEANING[name], style="dim"))
    yield table
    said = [f"losses in {answer.unit}"] if answer.unit else []
    said += [f"intervals hold 95% of {answer.draws} bootstrap resamples"] if intervals else []
    yield Text("; ".join(said), style="dim")
    yield Text()
    yield _optima(answer, found)
    yield Text()
    yield _trust(found)


def _optima(answer: Answer, found: Fitted) -> RenderableType:
    table = plain_table("best for", "parameters", "tokens", "per parameter", "loss")
    each, bootstrap = found.fit.points.flops_each, found.fit.bootstrap
    for times in AHEAD:
        one = found.fit.law.optimum(times * answer.budget, each)
        table.add_row(
            f"{show_flops(one.flops)} FLOPs",
            show_count(one.parameters),
            show_count(one.tokens),
            f"{one.tokens_per_parameter:.1f}",
            f"{one.loss:.4f}",
        )
        if bootstrap and (ends := bootstrap.optimum(one.flops, each)):
            table.add_row(
                Text("  95%", style="dim"),
                *(Text(_counts(ends[n]), style="dim") for n in ("parameters", "tokens")),
                Text("{:.1f}–{:.1f}".format(*ends["tokens_per_parameter"]), style="dim"),
                Text("{:.3f}–{:.3f}".format(*ends["loss"]), style="dim"),
            )
    a = found.fit.law.parameters_exponent
    told = bootstrap.optimum(answer.budget, each) if bootstrap else {}
    spread = f" ({_interval(told['parameters_exponent'])})" if told else ""
    words = f"N_opt grows as FLOPs^{a:.3f}{spread}, D_opt as FLOPs^{1 - a:.3f}"
    return Group(table, Text(words))


def _trust(found: Fitted) -> RenderableType:
    table = plain_table("how far off the law is", "points", "mean", "bias", "worst")
    rows: tuple[tuple[str, Errors | str | None], ...] = (
        ("the points it was fitted to", found.on_points),
        ("each point, fitted without it", found.left_out),
        ("those of most FLOPs, fitted without them", found.extrapolated),
    )
    said = []
    for what, errors in rows:
        if isinstance(errors, Errors):
            table.add_row(
                what,
                str(errors.points),
                f"{errors.mean_absolute:.2%}",
                f"{errors.bias:+.2%}",
                f"{errors.worst:+.2%}",
            )
        elif errors is not None:
            said.append(Text(f"{what}: not told, {errors}", style="dim"))
    return Group(table, *said)


def _isoflop(answer: Answer, found: IsoFlop) -> Iterator[RenderableType]:
    yield Text.assemble(
        ("N_opt = G·C^a", "bold"),
        f"   through the lowest points of {len(found.parabolas)} budgets ({_extent(answer)})",
    )
    ends = found.intervals.get("exponent")
    yield Text(f"a = {found.exponent:.3f}" + (f" ({_interval(ends)}, 95%)" if ends else ""))
    yield Text()
    names = ["best size", *(["95%"] if found.optima else [])]
    table = plain_table("budget", "points", *names, "per parameter", "loss")
    for i, one in enumerate(found.parabolas):
        spread = [_counts(found.optima[i])] if found.optima else []
        table.add_row(
            f"{show_flops(one.flops)} FLOPs",
            str(one.points),
            show_count(one.parameters),
            *spread,
            f"{one.tokens / one.parameters:.1f}",
            f"{one.loss:.4f}",
        )
    yield table


def _one_size(answer: Answer, found: TokensLaw) -> Iterator[RenderableType]:
    count = len(answer.points)
    yield Text.assemble(
        ("L(D) = E + B/D^β", "bold"),
        f"   of one size, fitted to {count} points ({_extent(answer)})",
    )
    intervals = found.intervals()
    table = plain_table("constant", "value", *(["95% interval"] if intervals else []))
    for name, value in found.constants.items():
        cells = [_interval(intervals[name])] if intervals else []
        table.add_row(SYMBOLS[name], _number(value), *cells)
    yield table
    yield Text()
    table = plain_table("after", "loss", *(["95% interval"] if intervals else []))
    for row in ahead(found, answer.points):
        cells = [_interval(row["interval"])] if row["interval"] else []
        table.add_row(f"{show_count(row['tokens'])} tokens", f"{row['loss']:.4f}", *cells)
    yield table


def _comparison(answer: Answer, found: Comparison) -> Iterator[RenderableType]:
    style = {"agree": "bold green", "differ": "bold red"}.get(found.verdict, "bold yellow")
    first, second = found.arms
    verdicts = {
        "agree": f"{first} and {second}: the exponents agree",
        "differ": f"{first} and {second}: the exponents differ",
        "cannot be told": f"{first} and {second}: whether the exponents agree cannot be told",
    }
    yield Text(verdicts[found.verdict], style=style)
    yield Text(found.why)
    yield Text()
    if found.fits is not None:
        table = plain_table("", first, "95%", second, "95%", "difference, 95%")
        for name in NAMES:
            cells = [
                cell
                for one in found.fits
                if one.bootstrap is not None
                for cell in (
                    _number(one.law.constants[name]),
                    _interval(one.bootstrap.intervals()[name]),
                )
            ]
            table.add_row(SYMBOLS[name], *cells, _interval(found.differences[name]))
        yield table
    if found.pairs is not None:
        yield Text()
        yield from _pairs(answer, found, found.pairs)


def _pairs(answer: Answer, found: Comparison, pairs: Pairs) -> Iterator[RenderableType]:
    first, second = found.arms
    count, unit = len(pairs.first), f"; {answer.unit}" if answer.unit else ""
    spread = (
        f"{_interval(pairs.interval)}, 95%{unit}"
        if pairs.interval
        else f"one says no interval{unit}"
    )
    yield Text(
        f"{count} {'pair' if count == 1 else 'pairs'} of one size, budget and seed: {first} - {second} is "
        f"{pairs.difference:+.4f} on average ({spread})"
    )
    if pairs.line is not None:
        line = pairs.line
        yield Text(
            f"{first} = {line.slope:.3f}·{second} {line.intercept:+.3f}"
            f"   slope {_interval(line.slope_interval)}, "
            f"intercept {_interval(line.intercept_interval)}"
        )


def _extent(answer: Answer) -> str:
    p = answer.points
    sizes = f"{show_count(p.parameters.min())} to {show_count(p.parameters.max())} parameters"
    if p.sizes == 1:
        sizes = f"{show_count(p.parameters.max())} parameters"
    return f"{sizes}, {show_count(p.tokens.min())} to {show_count(p.tokens.max())} tokens"


def _interval_heading(answer: Answer) -> Sequence[str]:
    return ("95% interval",) if answer.draws else ()


def plain_table(*headings: str) -> Table:
    """Return a table without frames: the first column to the left, numbers to the right."""
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for i, heading in enumerate(headings):
        table.add_column(
            heading, justify="right" if i and heading.strip() else "left", no_wrap=True
        )
    return table


def _number(value: float) -> str:
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def _interval(ends: Interval) -> str:
    return f"{_number(ends[0])} to {_number(ends[1])}"


def _counts(ends: Interval) -> str:
    return f"{show_count(ends[0])}–{show_count(ends[1])}"
