"""A picture for each group of claims, drawn from the rows alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.claims import has, of, path_of, usual
from study.rows import Kept

BLUE, ORANGE, GREEN, GREY, PINK = "#0072B2", "#D55E00", "#009E73", "#888888", "#CC79A7"  # Okabe-Ito
MARKS = {"0.4M": "o", "1M": "s", "2.4M": "^"}
BITS = "held-out bits per byte, mean of three domains"


def draw(rows: Sequence[Kept], folder: Path) -> None:
    """Draw every picture that the rows have something for."""
    pictures: dict[str, Callable[[Axes, Sequence[Kept]], bool]] = {
        "cosine.png": _cosine, "shapes.png": _shapes, "fractions.png": _fractions, "rates.png": _rates,
        "averages.png": _averages, "path.png": _path, "laws.png": _laws,
        "forecasts.png": _forecasts,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, panel in pictures.items():
        figure = Figure(figsize=(5.8, 4.2), layout="constrained")
        axes = figure.add_subplot()
        if panel(axes, rows):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.25, linewidth=0.6)
            # no version of matplotlib in the file, so that equal rows give equal pictures
            figure.savefig(folder / name, dpi=110, facecolor="white", metadata={"Software": None})


def _label(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontsize=11)


def _cosine(axes: Axes, rows: Sequence[Kept]) -> bool:
    core = of(rows, part="core")
    cools = usual(core)
    by_key = {(r["size"], r["seed"], r["tokens"]): r for r in of(core, arm="cosine")}
    both = [(by_key[k], r) for r in cools if (k := (r["size"], r["seed"], r["tokens"])) in by_key]
    if not both:
        return False
    for size in MARKS:
        mine = [(a["mean"], b["mean"]) for a, b in both if a["size"] == size]
        if mine:
            axes.plot(
                *np.array(mine).T, MARKS[size], color=BLUE, alpha=0.8, label=f"{size} parameters"
            )
    ends = [
        min(min(a["mean"], b["mean"]) for a, b in both),
        max(max(a["mean"], b["mean"]) for a, b in both),
    ]
    axes.plot(ends, ends, color=GREY, linewidth=1, label="equal")
    _label(
        axes,
        f"cosine: {BITS}",
        "cooldown of 20% (1-sqrt), same",
        "Cooldown against cosine of its length",
    )
    axes.legend(frameon=False)
    return True


def _spread(
    axes: Axes, xs: Sequence[Any], values: dict[Any, list[float]], color: str, label: str
) -> None:
    """Plot each seed as a dot and the mean as a line."""
    for at, x in enumerate(xs):
        axes.plot([at] * len(values[x]), values[x], "o", color=color, alpha=0.45, markersize=5)
    axes.plot(range(len(xs)), [np.mean(values[x]) for x in xs], "-", color=color, label=label)


def _varied(rows: Sequence[Kept]) -> list[Kept]:
    core = of(rows, part="core", arm="cooldown")
    sizes = {row["size"] for row in core if row["shape"] != "sqrt"}
    mine = [row for row in core if row["size"] in sizes]
    longest = max((row["tokens"] for row in mine), default=0)
    return [row for row in mine if row["tokens"] == longest]


def _shapes(axes: Axes, rows: Sequence[Kept]) -> bool:
    mine = [row for row in _varied(rows) if has(row, 0.2)]
    found: dict[str, list[float]] = defaultdict(list)
    for row in mine:
        found[row["shape"]].append(row["mean"])
    if len(found) < 2:
        return False
    order = sorted(found, key=lambda shape: float(np.mean(found[shape])))
    _spread(axes, order, found, BLUE, "mean over seeds")
    axes.set_xticks(
        range(len(order)), ["1-sqrt" if s == "sqrt" else s.replace("_", " ") for s in order]
    )
    _label(
        axes, "shape of the last 20%", BITS, f"Shapes of the cooldown, {mine[0]['size']} parameters"
    )
    axes.legend(frameon=False)
    return True


def _fractions(axes: Axes, rows: Sequence[Kept]) -> bool:
    mine = of(_varied(rows), shape="sqrt")
    found: dict[float, list[float]] = defaultdict(list)
    for row in mine:
        found[round(row["fraction"], 2)].append(row["mean"])
    if len(found) < 3:
        return False
    order = sorted(found)
    _spread(axes, order, found, BLUE, "1-sqrt cooldown")
    cosines = [r["mean"] for r in of(rows, part="core", arm="cosine", size=mine[0]["size"]) if r["tokens"] == mine[0]["tokens"]]  # fmt: skip
    if cosines:
        axes.axhline(
            float(np.mean(cosines)), color=ORANGE, linestyle="--", label="cosine of the same length"
        )
    axes.set_xticks(range(len(order)), [f"{100 * f:.0f}%" for f in order])
    _label(
        axes,
        "share of the run that is cooldown",
        BITS,
        f"Length of the cooldown, {mine[0]['size']} parameters",
    )
    axes.legend(frameon=False)
    return True


def _rates(axes: Axes, rows: Sequence[Kept]) -> bool:
    swept = of(rows, part="rates")
    if len(swept) < 6:
        return False
    for arm, color, label in (
        ("cooldown", BLUE, "constant, then cooldown"),
        ("cosine", ORANGE, "cosine"),
    ):
        found: dict[float, list[float]] = defaultdict(list)
        for row in of(swept, arm=arm):
            found[row["peak"]].append(row["mean"])
        order = sorted(found)
        for peak in order:
            axes.plot([peak] * len(found[peak]), found[peak], "o", color=color, alpha=0.45)
        axes.plot(order, [np.mean(found[p]) for p in order], "-", color=color, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(order, [f"{p:g}" for p in order])
    axes.minorticks_off()
    _label(
        axes,
        "peak learning rate",
        BITS,
        f"Learning rates, {swept[0]['parameters'] / 1e6:.1f}M parameters, {swept[0]['tokens'] / 1e6:.1f}M tokens",
    )
    axes.legend(frameon=False)
    return True


def _averages(axes: Axes, rows: Sequence[Kept]) -> bool:
    core = of(rows, part="core")
    emas = of(core, arm="emaaverage")
    if not emas:
        return False
    here = [r for r in of(core, size=emas[0]["size"]) if r["tokens"] == emas[0]["tokens"]]
    names = {"trunk": "constant", "emaaverage": "EMA", "average": "window", "cosine": "cosine"}
    found: dict[str, list[float]] = defaultdict(list)
    for row in here:
        if usual([row]):
            found["cooldown 20%"].append(row["mean"])
        elif row["arm"] == "schedulefree":
            found[f"schedule-free\n({row['betas'][0]}, {row['betas'][1]})"].append(row["mean"])
        elif row["arm"] == "average":
            found[f"last {row['last']}\nwindows"].append(row["mean"])
        elif row["arm"] in names:
            found[names[row["arm"]]].append(row["mean"])
    order = sorted(found, key=lambda name: -float(np.mean(found[name])))
    for at, name in enumerate(order):
        axes.plot(found[name], [at] * len(found[name]), "o", color=BLUE, alpha=0.6)
    axes.set_yticks(range(len(order)), order, fontsize=8)
    _label(
        axes,
        BITS,
        "",
        f"At {emas[0]['tokens'] / 1e6:.0f}M tokens, {emas[0]['size']} parameters, a dot a seed",
    )
    return True


def _path(axes: Axes, rows: Sequence[Kept]) -> bool:
    paths = path_of(rows)
    for at, ((size, seed), path) in enumerate(sorted(paths.items())):
        axes.plot(
            *np.array(path).T,
            "o-",
            color=(BLUE, ORANGE, GREEN, PINK)[at % 4],
            label=f"{size}, seed {seed}",
        )
    if not paths:
        return False
    _label(
        axes,
        "share of the way from before the cooldown to its end",
        BITS,
        "The straight line between weights",
    )
    axes.legend(frameon=False)
    return True


def _laws(axes: Axes, rows: Sequence[Kept]) -> bool:
    core = of(rows, part="core")
    arms = {
        "cooldown of 20%": (usual(core), BLUE, "-"),
        "cosine": (of(core, arm="cosine"), ORANGE, "--"),
    }
    drawn = False
    for arm, (mine, colour, style) in arms.items():
        for size, mark in MARKS.items():
            ends: dict[int, list[float]] = defaultdict(list)
            for row in of(mine, size=size):
                ends[row["tokens"]].append(row["mean"])
            if len(ends) < 2:
                continue
            at = sorted(ends)
            means = [float(np.mean(ends[tokens])) for tokens in at]
            label = f"{arm}, {size} parameters"
            axes.plot(at, means, mark + style, color=colour, alpha=0.8, lw=1, label=label)
            drawn = True
    if not drawn:
        return False
    axes.set_xscale("log")
    axes.set_xticks([5e5, 1e6, 2e6], ["0.5M", "1M", "2M"])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=7)
    _label(axes, "tokens", BITS, "What the two laws are fitted to: means over seeds")
    return True


def _forecasts(axes: Axes, rows: Sequence[Kept]) -> bool:
    made = [
        row for row in of(rows, arm="forecast") if row["seen"] is not None and row["made_before"]
    ]
    if not made:
        return False
    for row in made:
        axes.plot([row["seen"]] * 2, [row["low"], row["high"]], color=GREY, alpha=0.5, linewidth=1)
    for size in MARKS:
        mine = of(made, size=size)
        if mine:
            axes.plot(
                [r["seen"] for r in mine],
                [r["foretold"] for r in mine],
                MARKS[size],
                color=BLUE,
                label=f"{size} parameters",
            )
    ends = [min(r["seen"] for r in made), max(r["seen"] for r in made)]
    axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=1, label="equal")
    _label(
        axes,
        "seen once the cooldown was run (bits per byte)",
        "foretold, with its interval",
        "Forecasts made beforehand",
    )
    axes.legend(frameon=False)
    return True
