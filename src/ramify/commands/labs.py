"""Commands on what a lab holds: show, look, report, forget, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ramify.commands.shared import (
    AsJson,
    InLab,
    app,
    console,
    found_lab,
)


@app.command("show")
def show_command(
    name: Annotated[
        str | None,
        typer.Argument(help="A corpus, or a part of one (NAME/PART): what went in and out"),
    ] = None,
    lab_dir: InLab = None,
    as_json: AsJson = False,
) -> None:
    """Draw a lab as a tree: parents, mixtures, tokens, losses, decay state, cost; or a corpus as a funnel."""
    if name is not None:
        _show_funnel(name, lab_dir, as_json)
        return
    from ramify.report.summary import summary

    told = summary(found_lab(lab_dir))
    if as_json:
        print(json.dumps(told.json(), indent=1))
        return
    from ramify.report.terminal import closing, tree

    terminal = console()
    terminal.print(tree(told))
    terminal.print(closing(told))


def _show_funnel(name: str, lab_dir: Path | None, as_json: bool) -> None:
    from ramify.report.funnel import funnel, funnel_table, told_of_provenance

    passages = funnel(found_lab(lab_dir), name)
    if as_json:
        print(json.dumps([vars(each) for each in passages], indent=1))
    else:
        terminal = console(least=120)
        terminal.print(funnel_table(passages))
        for line in told_of_provenance(passages):
            terminal.print(line, markup=False)


@app.command("look")
def look_command(
    name: Annotated[str, typer.Argument(help="A corpus or NAME/PART, or a run with --batch")],
    lab_dir: InLab = None,
    dropped: Annotated[bool, typer.Option("--dropped", help="Documents that were dropped")] = False,
    why: Annotated[str | None, typer.Option("--why", help="Only those with this reason")] = None,
    count: Annotated[int, typer.Option("--count", help="How many")] = 5,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Decode this batch of a run, from 0")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of documents")] = 0,
    page: Annotated[
        Path | None, typer.Option("--page", help="Write documents of all its steps to this page")
    ] = None,
) -> None:
    """Look at data: documents kept and dropped, or a batch of a run, decoded."""
    if page is not None:
        from ramify.report.samples import write_samples

        print(write_samples(found_lab(lab_dir), name, page, count=count, seed=seed))
        return
    from ramify.runs.look import decoded_batch, documents

    lab = found_lab(lab_dir)
    if batch is not None:
        lines = decoded_batch(lab, name, batch)
    else:
        lines = documents(
            lab, name, kept=not dropped and why is None, why=why, count=count, seed=seed
        )
    for line in lines:
        print(line)


@app.command("trace")
def trace_command(
    document: Annotated[str, typer.Argument(metavar="DOC|URL", help="An id, its start, a URL")],
    lab_dir: InLab = None,
) -> None:
    """Say which steps and runs saw a document, and at which tokens."""
    from ramify.runs.trace import trace

    print(*trace(found_lab(lab_dir), document), sep="\n")


@app.command("report")
def report_command(
    lab_dir: InLab = None,
    out: Annotated[Path | None, typer.Option("--out", help="[default: LAB/report.html]")] = None,
) -> None:
    """Write the lab's report: one page that holds all it shows."""
    from ramify.report.page import write

    lab = found_lab(lab_dir)
    print(write(lab, out or lab.folder / "report.html"))


@app.command("forget")
def forget_command(
    name: Annotated[str, typer.Argument(help="A step")],
    lab_dir: InLab = None,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="TOKENS", help="Of a run, only what lies beyond"),
    ] = None,
    with_children: Annotated[
        bool, typer.Option("--with-children", help="And all steps made from it, however far")
    ] = False,
) -> None:
    """Remove a step from a lab, so that it can be made otherwise."""
    from ramify.ground.errors import BadInput
    from ramify.ground.units import parse_count

    lab = found_lab(lab_dir)
    if with_children and (after or "@" in name):
        raise BadInput("--with-children goes with a whole step", hint="leave --after and @ out")
    beyond = parse_count(after) if after else None
    for child in lab.descendants(name) if with_children else ():
        print(f"forgot {lab.forget(child)[0]}", flush=True)
    children = lab.children(name, beyond)
    for gone in lab.forget(name, beyond):
        print(f"forgot {gone}")
    if children:
        print(f"note: made from it, and still there: {', '.join(children)}")


@app.command("verify")
def verify_command(lab_dir: InLab = None, as_json: AsJson = False) -> None:
    """Check every record, size and hash of a lab; leave with code 1 if something is wrong."""
    found = dict(found_lab(lab_dir).verify())
    wrong = {name: problems for name, problems in found.items() if problems}
    if as_json:
        print(json.dumps({"folders": len(found), "wrong": wrong}, indent=1))
    else:
        for problems in wrong.values():
            print("\n".join(problems))
        print(f"{len(found)} folders looked at, {len(wrong)} with something wrong")
    if wrong:
        raise typer.Exit(1)
