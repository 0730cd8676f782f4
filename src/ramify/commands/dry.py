"""The command that runs a recipe's curation on a sample: dry."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from ramify.commands.shared import (
    AsJson,
    LabDir,
    Settings,
    Spec,
    TokenPrice,
    app,
    console,
    lab_of,
    plan_of,
    recipe_of,
)


@app.command("dry")
def dry_command(
    spec: Spec,
    lab_dir: LabDir = None,
    settings: Settings = None,
    sample: Annotated[
        str, typer.Option("--sample", metavar="SHARE", help="Of each source: 1% or 0.01")
    ] = "1%",
    labels: Annotated[
        int | None,
        typer.Option(
            "--labels",
            min=1,
            metavar="N",
            help="Ask each model for at most N labels [default: ask nobody]",
        ),
    ] = None,
    token_price: TokenPrice = None,
    as_json: AsJson = False,
) -> None:
    """Run the curation of a recipe on a sample, apart from its lab, and tell what the whole will cost."""
    from ramify.ground.errors import Busy, RamifyError, Stopped
    from ramify.report.dry import told
    from ramify.runs.dry import dry, freshen, home, parse_share
    from ramify.runs.lab import Lab
    from ramify.runs.price import token_prices

    share, prices = parse_share(sample), token_prices(token_price)
    recipe = recipe_of(spec, settings)
    made = dry(recipe, share=share, labels=labels)
    lab = home(Lab(lab_of(recipe, lab_dir)), share, labels)
    _say_who_is_asked(made, labels)
    freshen(made.recipe, lab)
    failed: RamifyError | None = None
    planned = plan_of(made.recipe, lab, None, None)
    try:
        _work(planned, lab, quiet=as_json)
    except (Busy, Stopped):
        raise
    except RamifyError as error:
        failed = error
    from ramify.runs.estimate import estimate

    found = estimate(made, lab, prices=prices)
    if as_json:
        print(json.dumps(found.json(), indent=1))
    else:
        console(least=120).print(told(found, lab.folder))
    if failed is not None:
        raise failed


def _say_who_is_asked(made: Any, labels: int | None) -> None:
    if labels is None:
        return
    for step in made.wants_labels():
        asked = made.recipe.by_name[step.name]
        print(
            f"{step.name}: asks {step.labeller.model} at {step.server.base_url} for at most "
            f"{asked.sample:,} labels and {asked.cap.tokens:,} tokens",
            file=sys.stderr,
        )


def _work(planned: Any, lab: Any, *, quiet: bool) -> None:
    from ramify.runs.engine import Engine
    from ramify.runs.progress import Silent, watch

    if not planned.to_do:
        return
    if quiet:
        Engine(lab).run(planned, Silent())
    else:
        watch(planned, lab)
