"""Commands that write, check, price and make a recipe: new, check, plan, run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ramify.commands.shared import (
    AsJson,
    LabDir,
    Only,
    Price,
    Settings,
    Spec,
    Speed,
    TokenPrice,
    Until,
    app,
    console,
    lab_of,
    plan_of,
    recipe_of,
)

if TYPE_CHECKING:
    from ramify.runs.recipe import Recipe


@app.command("new")
def new_command(
    folder: Annotated[
        Path, typer.Argument(help="A folder or file of txt, md, jsonl, parquet, or source")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the recipe is written")] = Path(
        "recipe.py"
    ),
) -> None:
    """Write a recipe for a folder of text, sized to what is there."""
    from ramify.runs.starter import write_recipe

    for line in write_recipe(folder, out):
        print(line)


@app.command("check")
def check_command(spec: Spec, lab_dir: LabDir = None, settings: Settings = None) -> None:
    """Before money is spent: data, first loss, gradients, one batch overfitted, memory and disk."""
    from ramify.runs.lab import Lab

    recipe = recipe_of(spec, settings)
    lab = Lab(lab_of(recipe, lab_dir))
    _run_to_sources(recipe, lab)
    from ramify.runs.check import check

    failed = 0
    for finding in check(recipe, lab):
        print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}", flush=True)
        failed += not finding.ok
    if failed:
        raise typer.Exit(1)


def _run_to_sources(recipe: Recipe, lab: Any) -> None:
    from ramify.runs.progress import watch
    from ramify.train.steps import Run

    runs = [step for step in recipe.steps if isinstance(step, Run)]
    names = {ref.name for run in runs for where, ref in run.refs().items() if where != "parent"}
    wanted = plan_of(recipe, lab, sorted(names), None)
    if wanted.to_do:
        watch(wanted, lab)


@app.command("plan")
def plan_command(
    spec: Spec,
    lab_dir: LabDir = None,
    settings: Settings = None,
    only: Only = None,
    until: Until = None,
    price: Price = None,
    speed: Speed = None,
    token_price: TokenPrice = None,
    as_json: AsJson = False,
) -> None:
    """Show what is there, what is wanted, and what the difference costs; make nothing."""
    from ramify.runs.lab import Lab

    recipe = recipe_of(spec, settings)
    planned = plan_of(recipe, Lab(lab_of(recipe, lab_dir)), only, until, price, speed, token_price)
    if as_json:
        print(json.dumps(planned.json(), indent=1))
        return
    from ramify.report.terminal import plan_table

    console().print(plan_table(planned))


@app.command("run")
def run_command(
    spec: Spec,
    lab_dir: LabDir = None,
    settings: Settings = None,
    only: Only = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop")] = False,
    processes: Annotated[int, typer.Option(help="Processes per training run, under torchrun")] = 1,
    parallel: Annotated[str, typer.Option(help="ddp or fsdp, with several processes")] = "ddp",
    ray: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of a Ray cluster for curation, or local for this machine's cores"
        ),
    ] = None,
) -> None:
    """Make what is wanted and not there. Type it again to go on; finished steps are kept."""
    if dry_run:
        plan_command(spec, lab_dir, settings, only, until)
        return
    from ramify.ground.errors import Busy, Diverged, RamifyError, Stopped
    from ramify.runs.changes import notes
    from ramify.runs.lab import Lab
    from ramify.runs.progress import watch

    recipe = recipe_of(spec, settings)
    lab = Lab(lab_of(recipe, lab_dir))
    planned = plan_of(recipe, lab, only, until)
    for note in notes(planned, lab):
        print(f"note: {note}")
    kept_out = any(item.state == "diverged" for item in planned.items)
    if not planned.to_do and not kept_out:
        print(
            f"{recipe.name}: all {len(planned.items)} steps are done in {lab.folder}; nothing to do"
        )
    else:
        for warning in planned.warnings:
            print(f"note: {warning}")
    try:
        if planned.to_do:
            watch(planned, lab, processes=processes, parallel=parallel, ray=ray)
    except Diverged:  # the rest is made, and the report tells of both
        _closing(spec, settings, recipe, lab)
        raise
    except (Busy, Stopped):
        raise
    except RamifyError:
        if any(lab.record(item.name) for item in planned.to_do):  # of what could be made
            _samples(recipe, lab)
        raise
    _closing(spec, settings, recipe, lab)


def _closing(spec: str, settings: list[str] | None, recipe: Recipe, lab: Any) -> None:
    from ramify.report.page import write
    from ramify.report.summary import summary
    from ramify.report.terminal import closing, tree

    asked = shlex.join([spec, *(word for setting in settings or [] for word in ("--set", setting))])
    told = summary(lab)
    terminal = console()
    terminal.print(tree(told))
    terminal.print(closing(told))
    page = write(lab, lab.folder / "report.html", command=f"ramify run {asked} --lab {lab.folder}")
    print(f"\nreport: {page}\n")
    _samples(recipe, lab)
    for line in _next(asked, recipe, lab):
        print(f"  {line}")


def _samples(recipe: Recipe, lab: Any) -> None:
    """Write a page of documents beside each corpus that was asked for, where none is yet."""
    from ramify.report.samples import write_beside

    pages = write_beside(lab, [*recipe.by_name])
    if pages:
        more = f" and {len(pages) - 1} more" if len(pages) > 1 else ""
        print(f"samples: {pages[0]}{more}\n")


def _next(spec: str, recipe: Recipe, lab: Any) -> list[str]:
    from ramify.train.steps import Cooldown

    cools = [step for step in recipe.steps if isinstance(step, Cooldown)]
    where = f"--lab {lab.folder}"
    lines = [f"ramify show {where}", f"ramify plan {spec} {where}"]
    if cools:
        best = max(cools, key=lambda step: step.tokens)
        lines.insert(0, f'ramify complete {best.name} "The " {where}')
    return lines
