"""Pictures of what `ramify fit` found, drawn with matplotlib: each panel is a function of its own.

a lab                its training curves with their envelope, before the others
the parametric law   losses over FLOPs with the envelope · loss over (N, D) with the frontier · residuals
isoFLOP              a parabola per budget · the best size over the budget
one size             its losses over tokens
two arms             the diagonal with its line · the exponents of both, resampled
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ramify.ground.errors import BadInput
from ramify.ground.extras import need
from ramify.ground.units import show_flops
from ramify.report.arms import TrainingCurve
from ramify.report.fitting import Answer, Fitted
from ramify.report.schedules import Schedules
from ramify.scaling.compare import Comparison
from ramify.scaling.isoflop import IsoFlop, budgets_of
from ramify.scaling.law import NAMES, Floats, Law
from ramify.scaling.one_size import TokensLaw
from ramify.scaling.points import Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".pdf")
PANEL = (5.4, 4.4)  # inches
INK, BLUE, ORANGE, GREEN, GREY = "#222222", "#0072B2", "#D55E00", "#009E73", "#888888"  # Okabe-Ito
DARK_ENOUGH = 0.9  # of the colours: its last are too light for points on white
COLOURS = "viridis"  # told apart by the colour-blind, and in print
MOST_CURVES = 8  # of the law, one a size
MOST_LINES = 24  # runs whose training is drawn


def check_ending(path: Path) -> None:
    """Raise BadInput for a picture that cannot be written, MissingExtra without matplotlib."""
    if path.suffix not in ENDINGS:
        raise BadInput(f"--plot {path}", hint=f"end its name in {', '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise BadInput(f"--plot {path}: there is no folder {path.parent}", hint="make it first")
    need("matplotlib", extra="plots")


def draw(answer: Answer, path: Path, curves: Sequence[TrainingCurve] = ()) -> None:
    """Draw every panel that an answer has, and a lab's training curves, into a png, svg or pdf."""
    check_ending(path)
    figure = picture(answer, curves)
    figure.savefig(path, dpi=150, facecolor="white")


def draw_schedules(told: Schedules, path: Path) -> None:
    """Draw the losses of runs as points and the law of their schedules as lines through them."""
    check_ending(path)
    figure, (axes,) = _figure(1)
    schedule_curves(axes, told)
    figure.savefig(path, dpi=150, facecolor="white")


def picture(answer: Answer, curves: Sequence[TrainingCurve] = ()) -> Figure:
    """Return the panels of an answer as a matplotlib figure, for a notebook."""
    panels = _panels(answer)
    if curves:
        panels = [lambda axes: training_curves(axes, curves), *panels]
    figure, axes = _figure(len(panels))
    for one, panel in zip(axes, panels, strict=True):
        panel(one)
    return figure


def _panels(answer: Answer) -> list[Callable[[Axes], None]]:
    unit, points = answer.unit, answer.points
    if (fitted := answer.fitted) is not None:
        return [
            lambda axes: envelope(axes, fitted, unit),
            lambda axes: contour(axes, fitted, unit),
            lambda axes: residuals(axes, fitted),
        ]
    if (isoflop := answer.isoflop) is not None:
        return [
            lambda axes: parabolas(axes, points, isoflop, unit),
            lambda axes: best_sizes(axes, isoflop),
        ]
    if (law := answer.one_size) is not None:
        return [lambda axes: one_size(axes, points, law, unit)]
    comparison = answer.comparison
    assert comparison is not None
    return [
        lambda axes: diagonal(axes, comparison, unit),
        lambda axes: exponents(axes, comparison),
    ]


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    columns = 2 if panels == 4 else panels
    rows = panels // columns
    figure = need("matplotlib.figure", extra="plots").Figure(
        figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained"
    )
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=9)
    return figure, axes


def schedule_curves(axes: Axes, told: Schedules) -> None:
    """Draw each run's own stretch: seen, and as the law has it."""
    ordered = sorted(told.runs, key=lambda run: run.falls)  # trunks first, under what leaves them
    for run in ordered[:MOST_LINES]:
        curve, colour = run.curve, ORANGE if run.falls else BLUE
        warmup = run.tokens - len(curve.rates) * run.step_tokens
        at = warmup + (curve.at + 1) * run.step_tokens
        axes.plot(at, curve.loss, ".", color=colour, ms=3, alpha=0.6)
        law = told.law.predict(curve.rates, curve.at, warmup=curve.warmup)
        axes.plot(at, law, "-", color=INK, lw=0.9)
    axes.set(xlabel="tokens", ylabel="loss of training batches, nats")
    axes.set_title(
        f"{min(len(ordered), MOST_LINES)} of {len(ordered)} runs under one law", fontsize=10
    )
    for label, colour in (("constant rate", BLUE), ("falling rate", ORANGE)):
        axes.plot([], [], ".", color=colour, label=label)
    axes.plot([], [], "-", color=INK, lw=0.9, label="multi-power law")
    axes.legend(frameon=False, fontsize=8)


def training_curves(axes: Axes, curves: Sequence[TrainingCurve]) -> None:
    """Draw training losses over FLOPs, trunks and what decays, and the least that any run reached."""
    scale = _log_scale(np.array([one.parameters for one in curves], float))
    colours = _colours()
    for one in curves:
        style = "-" if one.decays else ":"
        axes.plot(one.flops, one.loss, style, color=colours(scale(one.parameters)), lw=1.2)
    flops = np.concatenate([one.flops for one in curves])
    order = np.argsort(flops)
    least = np.minimum.accumulate(np.concatenate([one.loss for one in curves])[order])
    axes.step(flops[order], least, where="post", color=INK, lw=1.8, label="envelope")
    axes.plot([], [], ":", color=GREY, label="constant rate")
    axes.plot([], [], "-", color=GREY, label="decaying")
    axes.set_xscale("log")
    _labels(axes, "training FLOPs", "training loss (nats per token)", "Training curves")
    axes.legend(fontsize=8, frameon=False)
    mappable = need("matplotlib.cm", extra="plots").ScalarMappable(norm=scale, cmap=_colours())
    _bar(axes, mappable, "parameters N")


def envelope(axes: Axes, found: Fitted, unit: str) -> None:
    """Draw losses over FLOPs, the law's curve of some sizes, and the least loss of each budget."""
    points, law = found.fit.points, found.fit.law
    scale = _log_scale(points.parameters)
    colours = _colours()
    flops = np.geomspace(points.flops.min() / 2, points.flops.max() * 2, 200)
    for n in _some_sizes(points):
        mine = flops[flops / (points.flops_each * n) >= points.tokens.min() / 2]
        losses = law.loss(n, mine / (points.flops_each * n))
        axes.plot(mine, losses, color=colours(scale(n)), lw=1, alpha=0.7)
    shown = axes.scatter(
        points.flops, points.loss, c=points.parameters, norm=scale, cmap=_colours(), s=14, zorder=3
    )
    best = [law.optimum(c, points.flops_each).loss for c in flops]
    axes.plot(flops, best, color=INK, lw=2, label="envelope: the best of any size")
    axes.axhline(law.E, color=GREY, ls=":", lw=1.2, label=f"E = {law.E:.3g}")
    _labels(axes, "training FLOPs", _loss(unit), "Losses and the law of each size")
    axes.set_xscale("log")
    low, high = points.loss.min(), points.loss.max()
    axes.set_ylim(min(law.E, low) - 0.05 * (high - low), high + 0.1 * (high - low))
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    _bar(axes, shown, "parameters N")


def contour(axes: Axes, found: Fitted, unit: str) -> None:
    """Draw the law's loss over (N, D), the points, and the frontier of the best N and D."""
    points, law = found.fit.points, found.fit.law
    n = np.geomspace(points.parameters.min() / 1.5, points.parameters.max() * 1.5, 120)
    d = np.geomspace(points.tokens.min() / 1.5, points.tokens.max() * 1.5, 120)
    losses = law.loss(n[None, :], d[:, None])
    low, high = float(losses.min()), float(np.quantile(losses, 0.995))
    levels = law.E + np.geomspace(low - law.E, high - law.E, 13)
    filled = axes.contourf(n, d, losses, levels=levels, cmap=f"{COLOURS}_r", extend="max")
    axes.contour(n, d, losses, levels=levels, colors="white", linewidths=0.5)
    axes.scatter(points.parameters, points.tokens, s=9, color="white", edgecolor=INK, lw=0.6)
    best_n, best_d = _frontier(law, points, n, d)
    axes.plot(best_n, best_d, color=ORANGE, lw=2.5, label="efficient frontier")
    at = found.optimum
    if n[0] < at.parameters < n[-1] and d[0] < at.tokens < d[-1]:
        label = f"best for {show_flops(at.flops)} FLOPs"
        axes.plot([at.parameters], [at.tokens], "*", color=ORANGE, mec=INK, ms=13, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(n[0], n[-1])
    axes.set_ylim(d[0], d[-1])
    _labels(axes, "parameters N", "tokens D", "Loss over sizes and budgets")
    axes.legend(fontsize=8, loc="upper left", framealpha=0.85)
    _bar(axes, filled, _loss(unit), "%.2f")


def _frontier(law: Law, points: Points, n: Floats, d: Floats) -> tuple[Floats, Floats]:
    each = points.flops_each
    optima = [
        law.optimum(c, each) for c in np.geomspace(each * n[0] * d[0], each * n[-1] * d[-1], 60)
    ]
    return np.array([o.parameters for o in optima]), np.array([o.tokens for o in optima])


def residuals(axes: Axes, found: Fitted) -> None:
    """Draw how far the law misses each point, over tokens per parameter."""
    points = found.fit.points
    missed = 100 * np.expm1(found.fit.residuals)
    scale = _log_scale(points.parameters)
    shown = axes.scatter(points.tokens / points.parameters, missed, c=points.parameters,
                         norm=scale, cmap=_colours(), s=16)  # fmt: skip
    axes.axhline(0, color=INK, lw=1)
    axes.set_xscale("log")
    _labels(axes, "tokens per parameter D/N", "predicted over measured loss, less 1 (%)",
            "Residuals")  # fmt: skip
    _bar(axes, shown, "parameters N")


def parabolas(axes: Axes, points: Points, found: IsoFlop, unit: str) -> None:
    """Draw each budget's losses over sizes with its parabola and lowest point."""
    scale = _log_scale(np.array([p.flops for p in found.parabolas]))
    colours = _colours()
    for budget in budgets_of(points):
        near = [p for p in found.parabolas if abs(p.flops / budget.flops - 1) < 1e-6]
        colour = colours(scale(budget.flops)) if near else GREY
        axes.plot(np.exp(budget.x), np.exp(budget.y), "o", color=colour, ms=3.5)
        for p in near:
            n = np.geomspace(p.from_parameters / 1.2, p.to_parameters * 1.2, 80)
            axes.plot(n, p.at(n), color=colour, lw=1.5)
            axes.plot([p.parameters], [p.loss], "D", color=colour, mec=INK, ms=6, zorder=4)
    axes.set_xscale("log")
    heights = np.array([p.loss for p in found.parabolas])
    room = 0.45 * float(np.ptp(heights)) + 0.02 * heights.max()
    axes.set_ylim(heights.min() - 0.25 * room, heights.max() + room)
    _labels(axes, "parameters N", _loss(unit), "IsoFLOPs; diamonds are the best sizes")
    mappable = need("matplotlib.cm", extra="plots").ScalarMappable(norm=scale, cmap=_colours())
    _bar(axes, mappable, "training FLOPs C")


def best_sizes(axes: Axes, found: IsoFlop) -> None:
    """Draw the best size over the budget, with intervals and the power law through them."""
    flops = np.array([p.flops for p in found.parabolas])
    sizes = np.array([p.parameters for p in found.parabolas])
    if found.optima:
        low, high = np.array(found.optima).T
        axes.vlines(flops, low, high, color=BLUE, lw=2, alpha=0.5)
    axes.plot(flops, sizes, "D", color=BLUE, mec=INK, ms=6, label="lowest point, 95% interval")
    line = np.geomspace(flops.min() / 2, flops.max() * 2, 50)
    axes.plot(line, found.factor * line**found.exponent, color=ORANGE, lw=1.8,
              label=rf"$N_{{opt}} \propto C^{{{found.exponent:.3f}}}$")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    _labels(axes, "training FLOPs C", "best parameters N", "The best size over the budget")
    axes.legend(fontsize=9, frameon=False, loc="upper left")


def one_size(axes: Axes, points: Points, law: TokensLaw, unit: str) -> None:
    """Draw one size's losses over tokens with its law, its interval, and where it leads."""
    tokens = np.geomspace(points.tokens.min() / 1.3, points.tokens.max() * 10, 100)
    if len(law.draws):
        e, b, beta = law.draws.T
        low, high = np.percentile(e + b * tokens[:, None] ** -beta, [2.5, 97.5], axis=1)
        axes.fill_between(tokens, low, high, color=BLUE, alpha=0.15, lw=0, label="95% interval")
    axes.plot(tokens, law.loss(tokens), color=BLUE, lw=1.8, label=f"E + B/D^{law.beta:.3f}")
    axes.axhline(law.E, color=GREY, ls=":", lw=1.2, label=f"E = {law.E:.4g}")
    axes.plot(points.tokens, points.loss, "o", color=INK, ms=5, label="measured")
    axes.set_xscale("log")
    _labels(axes, "tokens D", _loss(unit), "One size over its budgets")
    axes.legend(fontsize=9, frameon=False)


def diagonal(axes: Axes, found: Comparison, unit: str) -> None:
    """Draw the losses of pairs, one arm over the other, the line through them, and y = x."""
    first, second = found.arms
    _labels(
        axes,
        f"{second}: {_loss(unit)}",
        f"{first}: {_loss(unit)}",
        "Pairs of one size, budget, seed",
    )
    if found.pairs is None:
        axes.text(0.5, 0.5, "no pairs", ha="center", transform=axes.transAxes, color=GREY)
        return
    x, y = found.pairs.second, found.pairs.first
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    room = 0.05 * (high - low or 1)
    ends = np.array([low - room, high + room])
    axes.plot(ends, ends, color=GREY, ls="--", lw=1, label="y = x")
    axes.scatter(x, y, s=22, color=BLUE, edgecolor="white", lw=0.5, zorder=3)
    if (line := found.pairs.line) is not None:
        axes.plot(ends, line.slope * ends + line.intercept, color=ORANGE, lw=1.8,
                  label=f"y = {line.slope:.3f}x {line.intercept:+.3f}")  # fmt: skip
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_aspect("equal")
    axes.legend(fontsize=9, frameon=False, loc="upper left")


def exponents(axes: Axes, found: Comparison) -> None:
    """Draw the resampled exponents of both arms: where the clouds part, the exponents differ."""
    _labels(axes, "α: how fast size helps", "β: how fast data helps", f"Exponents: {found.verdict}")
    if found.fits is None:
        axes.text(0.5, 0.5, "an arm cannot carry a law", ha="center", transform=axes.transAxes,
                  color=GREY)  # fmt: skip
        return
    at = [NAMES.index("alpha"), NAMES.index("beta")]
    for arm, one, colour in zip(found.arms, found.fits, (BLUE, ORANGE), strict=True):
        assert one.bootstrap is not None
        alpha, beta = one.bootstrap.draws[:, at].T
        axes.scatter(alpha, beta, s=5, color=colour, alpha=0.25, lw=0)
        label = f"{arm}, {len(one.points)} points"
        axes.plot([one.law.alpha], [one.law.beta], "D", color=colour, mec=INK, ms=8, label=label)
    draws = np.concatenate([f.bootstrap.draws[:, at] for f in found.fits if f.bootstrap])
    low, high = np.percentile(draws, [0.5, 99.5], axis=0)
    room = 0.1 * (high - low)
    axes.set_xlim(low[0] - room[0], high[0] + room[0])
    axes.set_ylim(low[1] - room[1], high[1] + room[1])
    axes.legend(fontsize=9, frameon=False)


def _labels(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.set_title(title, fontsize=11, loc="left")


def _loss(unit: str) -> str:
    return f"loss ({unit})" if unit else "loss"


def _log_scale(values: Floats) -> Any:
    low, high = float(values.min()), float(values.max())
    colors = need("matplotlib.colors", extra="plots")
    return colors.LogNorm(low, high if high > low else 1.1 * low)


def _colours() -> Any:
    whole = need("matplotlib", extra="plots").colormaps[COLOURS]
    shades = whole(np.linspace(0, DARK_ENOUGH, 256))
    return need("matplotlib.colors", extra="plots").ListedColormap(shades)


def _bar(axes: Axes, shown: Any, label: str, ticks: str | None = None) -> None:
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(shown, ax=axes, pad=0.02, format=ticks)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _some_sizes(points: Points) -> Floats:
    sizes = np.unique(points.parameters)
    if len(sizes) <= MOST_CURVES:
        return sizes
    wanted = np.geomspace(sizes[0], sizes[-1], MOST_CURVES)
    nearest = [int(np.abs(np.log(sizes / n)).argmin()) for n in wanted]
    return sizes[sorted(set(nearest))]
