"""What the commands share: the application, its options, and how they find a recipe or a lab."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ramify.runs.plan import Plan
    from ramify.runs.recipe import Recipe

app = typer.Typer(
    help="A laboratory for small language models: grow a trunk, branch every answer off it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Spec = Annotated[str, typer.Argument(metavar="RECIPE", help="quickstart, or path.py[:function]")]
LabDir = Annotated[
    Path | None, typer.Option("--lab", help="The lab's folder [default: labs/RECIPE]")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the recipe; may be repeated"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="STEP", help="This step and what it needs; may be repeated"),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TOKENS", help="No point of a run beyond these tokens"),
]
Target = Annotated[
    str, typer.Argument(metavar="NAME[@TOKENS]", help="A run at a token, or an average")
]
InLab = Annotated[
    Path | None, typer.Option("--lab", help="The lab's folder [default: the only one under labs/]")
]
Price = Annotated[
    str | None, typer.Option("--price", metavar="DOLLARS", help="Of an hour of one worker")
]
Speed = Annotated[
    str | None,
    typer.Option("--flops-per-second", help="Of one worker [default: as measured in the lab]"),
]


TokenPrice = Annotated[
    str | None,
    typer.Option(
        "--token-price",
        metavar="IN[,OUT]",
        help="Dollars for a million tokens of questions, of answers [default: the server's]",
    ),
]


def recipe_of(spec: str, settings: list[str] | None) -> Recipe:
    from ramify.ground.errors import BadInput
    from ramify.runs.recipe import load

    pairs = {}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise BadInput(f"--set {setting}", hint="write --set NAME=VALUE, like --set budget=4M")
        pairs[name] = value
    return load(spec, pairs)


def lab_of(recipe: Recipe, given: Path | None) -> Path:
    return given or Path("labs") / recipe.name


def found_lab(given: Path | None) -> Any:
    from ramify.ground.errors import NotFound
    from ramify.runs.lab import Lab

    if given is not None:
        return Lab.open(given)
    here = sorted(Path("labs").glob("*/lab.json"))
    if len(here) != 1:
        names = ", ".join(str(path.parent) for path in here) or "none"
        raise NotFound(f"which lab? There are: {names}", hint="type: --lab DIR")
    return Lab.open(here[0].parent)


def plan_of(
    recipe: Recipe,
    lab: Any,
    only: list[str] | None,
    until: str | None,
    price: str | None = None,
    speed: str | None = None,
    token_price: str | None = None,
) -> Plan:
    from ramify.ground.units import parse_count
    from ramify.runs.plan import money_flag, plan
    from ramify.runs.price import token_prices

    return plan(
        recipe,
        lab,
        flops_per_second=float(parse_count(speed)) if speed else None,
        price_per_hour=money_flag(price),
        only=only or (),
        until=parse_count(until) if until else None,
        token_prices=token_prices(token_price),
    )


def console(least: int | None = None) -> Any:
    """Return the terminal; where there is none, as in a file, lines have `least` columns."""
    from rich.console import Console

    made = Console(soft_wrap=False, highlight=False)
    if least is not None and not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = max(made.width, least)
    return made
