"""Between the command line and the fit: words to what is asked, a bar while it runs, a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from ramify.ground.errors import BadInput
from ramify.ground.units import parse_count
from ramify.report.arms import training_curves
from ramify.report.fit_terminal import shown
from ramify.report.fitting import SCHEDULE, Answer, Asked, answer, is_lab
from ramify.report.pictures import check_ending, draw, draw_schedules
from ramify.report.schedules import Schedules, schedules
from ramify.report.schedules import shown as shown_schedules
from ramify.runs.lab import Lab
from ramify.scaling.table import Columns

NEEDED = ("params", "loss")
LEAST_DRAWS, MOST_DRAWS = 20, 100_000  # fewer have no ends of 95%


def asked(
    columns: Mapping[str, str | None],
    *,
    where: Sequence[str],
    exclude_lowest_ratio: int,
    law: str,
    compare: str | None,
    budget: str | None,
    draws: int,
    seed: int,
) -> Asked:
    """Return what the options ask; BadInput for one that is wrong, with what to type."""
    if draws != 0 and not LEAST_DRAWS <= draws <= MOST_DRAWS:
        raise BadInput(f"--bootstrap {draws}", hint="type: --bootstrap 1000")
    return Asked(
        columns=_columns(columns),
        where=tuple(where),
        exclude_lowest_ratio=exclude_lowest_ratio,
        law=law,
        arms=_arms(compare) if compare is not None else None,
        budget=float(parse_count(budget)) if budget else None,
        draws=draws,
        seed=seed,
    )


def _columns(given: Mapping[str, str | None]) -> Columns | None:
    if not any(given.values()):
        return None
    named = {name: column for name, column in given.items() if column is not None}
    missing = [f"--{name} COLUMN" for name in NEEDED if name not in named]
    if missing and set(named) - {"loss"}:
        raise BadInput("a table needs its columns named", hint=f"type: {' '.join(missing)}")
    return Columns(**{"params": "parameters", "loss": "loss", **named})


def _arms(compare: str) -> tuple[str, str]:
    names = [name.strip() for name in compare.split(",")]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise BadInput(f"--compare {compare}", hint="name two arms: --compare cosine,branches")
    return names[0], names[1]


def found(path: Path, what: Asked, plot: Path | None) -> Answer | Schedules:
    """Fit what is asked, with a bar on a terminal while it runs, and draw it if a file is named."""
    if plot is not None:
        check_ending(plot)
    console = Console(stderr=True)
    if what.law == SCHEDULE and is_lab(path) and what.columns is None and what.arms is None:
        with console.status("fitting loss curves"):
            curves = schedules(Lab.open(path), what.where)
        if plot is not None:
            draw_schedules(curves, plot)
        return curves
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("resampling", total=what.draws or None)
        told = answer(path, what, lambda done, of: bar.update(task, completed=done, total=of))
    if plot is not None:
        draw(told, plot, training_curves(Lab.open(path), what.where) if is_lab(path) else ())
    return told


def show(told: Answer | Schedules, plot: Path | None, console: Console) -> None:
    """Print what was found, and where the picture is."""
    console.print(shown_schedules(told) if isinstance(told, Schedules) else shown(told))
    if plot is not None:
        console.print(f"picture: {plot}")
