"""Commands on many points at once: fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ramify.commands.shared import (
    AsJson,
    app,
    console,
    found_lab,
)


@app.command("fit")
def fit_command(
    where_from: Annotated[
        Path | None,
        typer.Argument(metavar="LAB|FILE", help="A lab, or a CSV or JSON-lines table"),
    ] = None,
    params: Annotated[str | None, typer.Option(metavar="COL", help="Of parameters")] = None,
    tokens: Annotated[str | None, typer.Option(metavar="COL", help="Of tokens")] = None,
    flops: Annotated[
        str | None, typer.Option(metavar="COL", help="Of FLOPs; tokens are then FLOPs/6N")
    ] = None,
    loss: Annotated[str | None, typer.Option(metavar="COL", help="Of losses")] = None,
    arm: Annotated[str | None, typer.Option(metavar="COL", help="Of arms, to compare")] = None,
    seed_column: Annotated[str | None, typer.Option(metavar="COL", help="Of seeds")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COL=VALUE", help="Only these rows; may be repeated")
    ] = None,
    exclude_lowest_ratio: Annotated[
        int, typer.Option(metavar="K", help="Leave out K points of fewest tokens per parameter")
    ] = 0,
    law: Annotated[
        str,
        typer.Option(help="chinchilla, isoflop, tokens (one size) or schedule (a lab's curves)"),
    ] = "chinchilla",
    compare: Annotated[
        str | None, typer.Option(metavar="ARM,ARM", help="Do two arms have one law?")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="FLOPS", help="What the optimum is for")
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(metavar="N", help="Resamples behind an interval")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of the resamples")] = 0,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it: png, svg, pdf")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a scaling law to a lab or a table of losses: constants, intervals, the best size."""
    from ramify.report.fit_door import asked, found, show

    columns = {"params": params, "tokens": tokens, "flops": flops, "loss": loss}
    what = asked(
        {**columns, "arm": arm, "seed": seed_column},
        where=where or (),
        exclude_lowest_ratio=exclude_lowest_ratio,
        law=law,
        compare=compare,
        budget=budget,
        draws=bootstrap,
        seed=seed,
    )
    told = found(where_from or found_lab(None).folder, what, plot)
    if as_json:
        print(json.dumps(told.json(), indent=1))
    else:
        show(told, plot, console())
