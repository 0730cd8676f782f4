"""The door: commands in, one line of error out; nothing heavy is imported until a command needs it."""

from __future__ import annotations

import json
import shlex
import sys
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


def main() -> None:
    """Run a command; print a Ramify error in one line and leave with code 1."""
    from pydantic import ValidationError

    from ramify.ground.errors import RamifyError, Stopped, told

    try:
        app()
    except Stopped as error:
        _fail(str(error), 130)
    except RamifyError as error:
        _fail(str(error), 1)
    except ValidationError as error:
        _fail(told(error), 1)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        full = "; free some space, then type the same command again" if error.errno == 28 else ""
        where = f": {error.filename}" if error.filename else ""
        _fail(f"{error.strerror or error}{where}{full}", 1)
    except KeyboardInterrupt:
        _fail("stopped; type the same command to go on", 130)


def _fail(message: str, code: int) -> None:
    print(f"ramify: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _recipe(spec: str, settings: list[str] | None) -> Recipe:
    from ramify.ground.errors import BadInput
    from ramify.runs.recipe import load

    pairs = {}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise BadInput(f"--set {setting}", hint="write --set NAME=VALUE, like --set budget=4M")
        pairs[name] = value
    return load(spec, pairs)


def _lab_of(recipe: Recipe, given: Path | None) -> Path:
    return given or Path("labs") / recipe.name


def _found_lab(given: Path | None) -> Any:
    from ramify.ground.errors import NotFound
    from ramify.runs.lab import Lab

    if given is not None:
        return Lab.open(given)
    here = sorted(Path("labs").glob("*/lab.json"))
    if len(here) != 1:
        names = ", ".join(str(path.parent) for path in here) or "none"
        raise NotFound(f"which lab? There are: {names}", hint="type: --lab DIR")
    return Lab.open(here[0].parent)


def _plan(
    recipe: Recipe,
    lab: Any,
    only: list[str] | None,
    until: str | None,
    price: str | None = None,
    speed: str | None = None,
) -> Plan:
    from ramify.ground.units import parse_count
    from ramify.runs.plan import money_flag, plan

    return plan(
        recipe,
        lab,
        flops_per_second=float(parse_count(speed)) if speed else None,
        price_per_hour=money_flag(price),
        only=only or (),
        until=parse_count(until) if until else None,
    )


def _console() -> Any:
    from rich.console import Console

    return Console(soft_wrap=False, highlight=False)


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

    recipe = _recipe(spec, settings)
    lab = Lab(_lab_of(recipe, lab_dir))
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
    wanted = _plan(recipe, lab, sorted(names), None)
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
    as_json: AsJson = False,
) -> None:
    """Show what is there, what is wanted, and what the difference costs; make nothing."""
    from ramify.runs.lab import Lab

    recipe = _recipe(spec, settings)
    planned = _plan(recipe, Lab(_lab_of(recipe, lab_dir)), only, until, price, speed)
    if as_json:
        print(json.dumps(planned.json(), indent=1))
        return
    from ramify.report.terminal import plan_table

    _console().print(plan_table(planned))


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
) -> None:
    """Make what is wanted and not there. Type it again to go on; finished steps are kept."""
    if dry_run:
        plan_command(spec, lab_dir, settings, only, until)
        return
    from ramify.ground.errors import Diverged
    from ramify.runs.changes import notes
    from ramify.runs.lab import Lab
    from ramify.runs.progress import watch

    recipe = _recipe(spec, settings)
    lab = Lab(_lab_of(recipe, lab_dir))
    planned = _plan(recipe, lab, only, until)
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
            watch(planned, lab, processes=processes, parallel=parallel)
    except Diverged:  # the rest is made, and the report tells of both
        _closing(spec, settings, recipe, lab)
        raise
    _closing(spec, settings, recipe, lab)


def _closing(spec: str, settings: list[str] | None, recipe: Recipe, lab: Any) -> None:
    from ramify.report.page import write
    from ramify.report.summary import summary
    from ramify.report.terminal import closing, tree

    asked = shlex.join([spec, *(word for setting in settings or [] for word in ("--set", setting))])
    told = summary(lab)
    console = _console()
    console.print(tree(told))
    console.print(closing(told))
    page = write(lab, lab.folder / "report.html", command=f"ramify run {asked} --lab {lab.folder}")
    print(f"\nreport: {page}\n")
    for line in _next(asked, recipe, lab):
        print(f"  {line}")


def _next(spec: str, recipe: Recipe, lab: Any) -> list[str]:
    from ramify.train.steps import Cooldown

    cools = [step for step in recipe.steps if isinstance(step, Cooldown)]
    where = f"--lab {lab.folder}"
    lines = [f"ramify show {where}", f"ramify plan {spec} {where}"]
    if cools:
        best = max(cools, key=lambda step: step.tokens)
        lines.insert(0, f'ramify complete {best.name} "The " {where}')
    return lines


@app.command("show")
def show_command(lab_dir: InLab = None, as_json: AsJson = False) -> None:
    """Draw a lab as a tree: parents, mixtures, tokens, losses, decay state, cost."""
    from ramify.report.summary import summary

    told = summary(_found_lab(lab_dir))
    if as_json:
        print(json.dumps(told.json(), indent=1))
        return
    from ramify.report.terminal import closing, tree

    console = _console()
    console.print(tree(told))
    console.print(closing(told))


@app.command("look")
def look_command(
    name: Annotated[str, typer.Argument(help="A corpus, or a run with --batch")],
    lab_dir: InLab = None,
    dropped: Annotated[bool, typer.Option("--dropped", help="Documents that were dropped")] = False,
    why: Annotated[str | None, typer.Option("--why", help="Only those with this reason")] = None,
    count: Annotated[int, typer.Option("--count", help="How many")] = 5,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Decode this batch of a run, from 0")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of documents")] = 0,
) -> None:
    """Look at data: documents kept and dropped, or a batch of a run, decoded."""
    from ramify.runs.look import decoded_batch, documents

    lab = _found_lab(lab_dir)
    if batch is not None:
        lines = decoded_batch(lab, name, batch)
    else:
        lines = documents(
            lab, name, kept=not dropped and why is None, why=why, count=count, seed=seed
        )
    print(*lines, sep="\n")


@app.command("trace")
def trace_command(
    document: Annotated[str, typer.Argument(metavar="DOC|URL", help="An id, its start, a URL")],
    lab_dir: InLab = None,
) -> None:
    """Say which steps and runs saw a document, and at which tokens."""
    from ramify.runs.trace import trace

    print(*trace(_found_lab(lab_dir), document), sep="\n")


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
    from ramify.runs.use import evaluate, scores

    told = evaluate(_found_lab(lab_dir), target, parse_count(limit) if limit else None)
    if as_json:
        print(json.dumps(told, indent=1))
        return
    print("\n".join(scores(told)))


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
            _found_lab(lab_dir),
            target,
            prompt,
            tokens=tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
    )


@app.command("fit")
def fit_command(
    where_from: Annotated[
        Path | None,
        typer.Argument(metavar="[LAB|FILE]", help="A lab, or a CSV or JSON-lines table"),
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
        str, typer.Option(help="chinchilla, isoflop or tokens (one size)")
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
    told = found(where_from or _found_lab(None).folder, what, plot)
    if as_json:
        print(json.dumps(told.json(), indent=1))
    else:
        show(told, plot, _console())


@app.command("export")
def export_command(
    target: Target,
    to: Annotated[Path, typer.Option("--to", help="The new folder")],
    lab_dir: InLab = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
) -> None:
    """Write a model as a Hugging Face folder, refused unless transformers computes the same logits."""
    from ramify.runs.use import export

    for line in export(_found_lab(lab_dir), target, to, dtype):
        print(line)


@app.command("report")
def report_command(
    lab_dir: InLab = None,
    out: Annotated[Path | None, typer.Option("--out", help="[default: LAB/report.html]")] = None,
) -> None:
    """Write the lab's report: one page that holds all it shows."""
    from ramify.report.page import write

    lab = _found_lab(lab_dir)
    print(write(lab, out or lab.folder / "report.html"))


@app.command("forget")
def forget_command(
    name: Annotated[str, typer.Argument(help="A step")],
    lab_dir: InLab = None,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="TOKENS", help="Of a run, only what lies beyond"),
    ] = None,
) -> None:
    """Remove a step from a lab, so that it can be made otherwise."""
    from ramify.ground.units import parse_count

    lab = _found_lab(lab_dir)
    beyond = parse_count(after) if after else None
    children = lab.children(name, beyond)
    for gone in lab.forget(name, beyond):
        print(f"forgot {gone}")
    if children:
        print(f"note: made from it, and still there: {', '.join(children)}")


@app.command("verify")
def verify_command(lab_dir: InLab = None, as_json: AsJson = False) -> None:
    """Check every record, size and hash of a lab; leave with code 1 if something is wrong."""
    found = dict(_found_lab(lab_dir).verify())
    wrong = {name: problems for name, problems in found.items() if problems}
    if as_json:
        print(json.dumps({"folders": len(found), "wrong": wrong}, indent=1))
    else:
        for problems in wrong.values():
            print("\n".join(problems))
        print(f"{len(found)} folders looked at, {len(wrong)} with something wrong")
    if wrong:
        raise typer.Exit(1)
