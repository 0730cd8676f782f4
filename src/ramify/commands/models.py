"""Commands on one model: eval, complete, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ramify.commands.shared import (
    AsJson,
    InLab,
    Target,
    app,
    found_lab,
)


@app.command("eval")
def eval_command(
    target: Target,
    lab_dir: InLab = None,
    limit: Annotated[
        str | None, typer.Option("--limit", metavar="TOKENS", help="Of each domain [default: all]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bits per byte of a model on the held-out documents of its sources, with standard errors."""
    from ramify.ground.units import parse_count
    from ramify.runs.use import evaluate

    told = evaluate(found_lab(lab_dir), target, parse_count(limit) if limit else None)
    if as_json:
        print(json.dumps(told, indent=1))
        return
    print(f"{told['target']}: {told['state']}")
    for domain, score in told["scores"].items():
        error = score["standard_error"]
        spread = "" if error is None else f" ± {error:.3f}"
        print(
            f"  {domain:12} {score['bits_per_byte']:.3f}{spread} bits per byte ({score['documents']} documents)"
        )


@app.command("complete")
def complete_command(
    target: Target,
    prompt: Annotated[str, typer.Argument(help="The text to go on with")],
    lab_dir: InLab = None,
    tokens: Annotated[int, typer.Option("--tokens", help="At most so many new ones")] = 64,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token")] = 0.7,
    top_p: Annotated[
        float, typer.Option("--top-p", help="Of the likeliest tokens' probability")
    ] = 0.95,
    seed: Annotated[int, typer.Option("--seed")] = 0,
) -> None:
    """Complete a line with a model of the lab."""
    from ramify.runs.use import complete

    print(
        complete(
            found_lab(lab_dir),
            target,
            prompt,
            tokens=tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
    )


@app.command("export")
def export_command(
    target: Target,
    to: Annotated[Path, typer.Option("--to", help="The new folder")],
    lab_dir: InLab = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
) -> None:
    """Write a model as a Hugging Face folder, refused unless transformers computes the same logits."""
    from ramify.runs.use import export

    for line in export(found_lab(lab_dir), target, to, dtype):
        print(line)
