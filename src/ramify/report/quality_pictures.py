"""Pictures of a classifier and of scores, drawn with matplotlib from what their folders tell.

a Classify folder     confusion matrix · F1 at each threshold beside the length alone · reliability
a Score folder        what each cut keeps
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ramify.ground.errors import BadInput
from ramify.ground.extras import need
from ramify.report.pictures import BLUE, COLOURS, GREY, INK, ORANGE, PANEL, check_ending

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CARD, COUNTS = "card.json", "counts.json"


def draw(folder: Path, path: Path) -> None:
    """Draw a Classify or Score folder into a png, svg or pdf; BadInput for a folder of neither."""
    check_ending(path)
    picture(folder).savefig(path, dpi=150, facecolor="white")


def picture(folder: Path) -> Figure:
    """Return the panels of a Classify or Score folder as a matplotlib figure, for a notebook."""
    if (folder / CARD).is_file():
        card = json.loads((folder / CARD).read_bytes())
        figure, axes = _figure(3)
        confusion(axes[0], card["confusion"])
        thresholds(axes[1], card)
        reliability(axes[2], card["calibration"]["reliability"])
        return figure
    told = json.loads((folder / COUNTS).read_bytes()) if (folder / COUNTS).is_file() else {}
    if "kept_at" not in told:
        raise BadInput(
            f"{folder} has nothing of quality to draw", hint="name a Classify or a Score folder"
        )
    figure, axes = _figure(1)
    kept(axes[0], told["kept_at"])
    return figure


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    figures = need("matplotlib.figure", extra="plots")
    figure: Figure = figures.Figure(figsize=(PANEL[0] * panels, PANEL[1]), layout="constrained")
    return figure, [figure.add_subplot(1, panels, n + 1) for n in range(panels)]


def confusion(axes: Axes, told: Mapping[str, Any]) -> None:
    """Draw how many documents of each label got each rounded score; shade by the share of the label."""
    scale, counts = told["scale"], told["counts"]
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    axes.imshow(shares, cmap=COLOURS, vmin=0, vmax=1, origin="lower")
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            colour = INK if shares[y][x] > 0.6 else "white"
            axes.text(x, y, f"{count:,}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(scale)), [str(x) for x in scale])
    axes.set_yticks(range(len(scale)), [str(x) for x in scale])
    axes.set(xlabel="score, rounded", ylabel="label", title="out of fold")


def thresholds(axes: Axes, card: Mapping[str, Any]) -> None:
    """Draw F1 at each threshold, beside the baseline that knows only the length."""
    pairs = (("classifier", BLUE, "o-"), ("length_alone", GREY, "s--"))
    for name, colour, style in pairs:
        told = card[name]["thresholds"]
        at = [float(t) for t in told]
        f1 = [one["f1"] for one in told.values()]
        axes.plot(at, f1, style, color=colour, label=name.replace("_", " "))
    axes.set_xticks(at)
    axes.set(xlabel="threshold", ylabel="F1", ylim=(0, 1.02), title="F1 at each threshold")
    axes.legend(frameon=False)


def reliability(axes: Axes, bins: list[Mapping[str, float]]) -> None:
    """Draw the mean label over the mean score, by tenths of the documents."""
    scores = [one["score"] for one in bins]
    low, high = min(scores), max(scores)
    axes.plot([low, high], [low, high], color=GREY, linewidth=1)
    axes.plot(scores, [one["label"] for one in bins], "o-", color=ORANGE)
    axes.set(xlabel="mean score", ylabel="mean label", title="calibration")


def kept(axes: Axes, curve: Mapping[str, list[float]]) -> None:
    """Draw the share of documents, bytes and, where they were counted, tokens that each cut keeps."""
    colours = {"documents": GREY, "bytes": ORANGE, "tokens": BLUE}
    for unit, colour in colours.items():
        if unit in curve:
            whole = max(curve[unit][0], 1)
            shares = [value / whole for value in curve[unit]]
            axes.plot(curve["cut"], shares, color=colour, label=f"{unit}: {whole:,} in all")
    axes.set(
        xlabel="lowest score kept", ylabel="share kept", ylim=(0, 1.02), title="what a cut keeps"
    )
    axes.legend(frameon=False)
