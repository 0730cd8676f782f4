"""One self-contained HTML page of a lab: no network, no framework, a strict content policy."""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from ramify.ground import files
from ramify.ground.artifact import Record
from ramify.report import drawing, sections
from ramify.report.ablation_page import ablation_section
from ramify.report.compare import Pair, alike_until, pairs
from ramify.report.markup import Child, Markup, data, join, tag
from ramify.report.series import grid, thin
from ramify.report.summary import Summary, summary
from ramify.report.tree import RunFolder
from ramify.runs.lab import Lab, read_json

COMPLETIONS = "completions.json"
MOST_NUMBERS = 60_000  # points of curves on the page, over all runs: about 1.5 MB of it
LEAST_POINTS, MOST_POINTS = 60, 1500  # of one run


def write(lab: Lab, out: Path, *, command: str | None = None) -> Path:
    """Write the report of a lab to `out`, whole or not at all, and return `out`.

    `command` is what makes the lab again, as a person would type it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    own = out.with_name(f".{out.name}.{os.getpid()}")  # others may report on this lab just now
    files.write_text(own, render(lab, command=command))
    files.rename(own, out)
    return out


def render(lab: Lab, *, command: str | None = None) -> str:
    """Return the page: a function of the lab alone, so that the same lab gives the same page."""
    told = summary(lab)
    name = lab.folder.absolute().name
    script = "\n".join((_part("vendor/uPlot.iife.min.js"), _part("page.js")))
    style = "\n".join((_part("vendor/uPlot.min.css"), _part("page.css")))
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    found = pairs(lab, told)
    parts = list(_sections(lab, told, found, command))
    links = [tag("a", title, href=f"#{anchor}") for anchor, title, _ in parts]
    return Template(_part("page.html")).substitute(
        policy=policy,
        title=tag("title", f"{name} · Ramify"),
        style=style,
        heading=tag("h1", name),
        facts=sections.facts(told, found),
        links=join(links),
        sections=join(_section(*part) for part in parts),
        data=data(page_data(told)),
        script=script,
    )


def _part(name: str) -> str:
    return resources.files("ramify.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _section(anchor: str, title: str, body: Child) -> Markup:
    heading = tag("h2", title, id=f"{anchor}-title")
    return tag("section", heading, body, id=anchor, aria_labelledby=f"{anchor}-title")


def _sections(
    lab: Lab, told: Summary, found: Sequence[Pair], command: str | None
) -> Iterator[tuple[str, str, Child]]:
    if told.runs:
        yield "tree", "The tree", _tree(told)
        yield "results", "Results", sections.results(told)
        if compared := sections.comparisons(found):
            yield "compared", "Like with like", compared
        yield "curves", "Learning rate and loss", _curves(told)
        if told.domains:
            yield "bits", "Bits per byte along tokens", _probes(told)
        yield "mixture", "Mixture", _mixture(told)
        if foretold := sections.forecasts(told):
            yield "forecasts", "Forecasts", foretold
        if tried := ablation_section(told.records):
            yield "ablation", "What earned its place", tried
        yield "spent", "Spent", sections.spent(told)
    if shown := sections.completions(_completions(lab, told)):
        yield "completions", "Completions", shown
    if curated := join([sections.curation(told), sections.packed(told)]):
        yield "data", "Data", curated
    yield "steps", "Every step", sections.steps(told)
    yield "again", "How it was made", _provenance(told, command)


def _figure(caption: Child, *body: Child) -> Markup:
    return tag("figure", *body, tag("figcaption", caption))


def _scroll(drawn: Markup, label: str) -> Markup:
    return tag("div", drawn, class_="scroll", tabindex="0", role="region", aria_label=label)


def _tree(told: Summary) -> Markup:
    caption = [
        "Each run along tokens; a branch leaves its parent where it leaves the line. ",
        tag("span", "●", class_="k decayed"), " decayed, ",
        tag("span", "○", class_="k constant"), " rate constant, ",
        tag("span", "◆", class_="k averaged"), " averaged weights. "
        "A bar across a line: the mixture changes; a dot: a point that is kept. "
        "Beside each name: tokens, and mean bits per byte (~ of the last probe).",
    ]  # fmt: skip
    return _figure(caption, _scroll(drawing.tree_svg(told), "The tree of runs, scrolls sideways"))


def _curves(told: Summary) -> Markup:
    box = tag("div", id="curve-box", class_="charts")
    script = "This figure is drawn by a script of this page; the tables hold its end points."
    caption = (
        "Learning rate, training loss, and what a run's loss is above its parent's (a cosine's above the "
        "trunk's) for as long as both read the same batches, so that the noise of batches falls away. "
        "Means run over the whole line of a run: a branch begins where its parent stood. "
        "Drag to look closer, double-click to come back."
    )
    return _figure(caption, box, tag("noscript", tag("p", script)))


def _probes(told: Summary) -> Markup:
    box = tag("div", id="probe-box", class_="grid")
    caption = (
        "Held-out text probed during training, by domain; the band is one standard error by document. "
        "The same documents are read each time, so that the band is wider than the doubt about a change."
    )
    return _figure(caption, box)


def _mixture(told: Summary) -> Markup:
    sources = drawing.sources_of(told)
    key = [
        tag("li", tag("span", "", class_=f"swatch s{index % 8}"), name)
        for index, name in enumerate(sources)
    ]
    caption = "Share of each source in the rows of a batch. A branch keeps what was in force where it left, unless it names a mixture."
    return _figure(caption, _scroll(drawing.mixture_svg(told), "Mixtures, scrolls sideways"), tag("ul", *key, class_="key"))  # fmt: skip


def _completions(lab: Lab, told: Summary) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for name in told.records:
        path = lab.at(name) / COMPLETIONS
        if path.is_file():
            found[_heard(name, told.records[name])] = [
                one for one in read_json(path) if isinstance(one, dict)
            ]
    return found


def _heard(name: str, record: Record) -> str:
    """Return of which model completions are, and how they were drawn."""
    step = record.step
    model = step.get("model")
    parts = [f"{name}, of {model['name']}" if isinstance(model, dict) else name]
    parts += [
        f"{key.replace('_', '-')} {step[key]}"
        for key in ("temperature", "top_p", "seed")
        if key in step
    ]
    return ", ".join(parts)


def _provenance(told: Summary, command: str | None) -> Markup:
    records = [*told.records.values(), *(r for run in told.runs.values() for r in run.points.values())]  # fmt: skip
    cards = [
        {key: value for key, value in run.born["card"].items() if key != "compile_why"}
        for run in told.runs.values()
    ]
    seeds = sorted({row.seed for row in told.rows if row.seed is not None})
    made = sorted(record.made for record in records if record.made)
    items: list[tuple[str, Child]] = [
        ("made again by", tag("code", command or "ramify run RECIPE --lab DIR")),
        ("seeds", ", ".join(map(str, seeds)) or "none"),
        ("versions", _either([record.versions for record in records])),
        ("hardware", _either([record.hardware for record in records])),
        ("numerics", _either(cards)),
        ("made", f"{made[0]} to {made[-1]}" if made else "nothing yet"),
    ]
    return tag("dl", *(join([tag("dt", a), tag("dd", b)]) for a, b in items), class_="again")


def _either(several: Sequence[Mapping[str, Any]]) -> Markup:
    """Return what all agree on, and every value of what they do not."""
    keys = list(dict.fromkeys(key for one in several for key in one))
    parts = []
    for key in keys:
        values = list(dict.fromkeys(str(one[key]) for one in several if key in one))
        text = f"{key} {' or '.join(values)}"
        parts.append(tag("span", text, class_="many" if len(values) > 1 else None))
    return join([parts[0], *(join([" · ", part]) for part in parts[1:])]) if parts else Markup()


def page_data(told: Summary) -> dict[str, Any]:
    """Return what the page's script draws: curves on a common grid of tokens, and probes."""
    runs = list(told.runs.values())
    most = min(max(MOST_NUMBERS // max(len(runs), 1), LEAST_POINTS), MOST_POINTS)
    edges = grid([run.series.tokens for run in runs], most)
    curves = []
    for run in runs:
        thinned = thin(run.series, edges)
        curve = {
            "name": run.name,
            "kind": run.run.kind(),
            "decay": told.row(run.name).decay,
            "parent": run.above if run.above in told.runs else None,
            **_base(told, run),
            "leaves": run.begins_at,
            "first": thinned.first,
            "loss": _short(thinned.loss),
            "rate": _short(thinned.rate),
            "probes": _probe_columns(run.series.probes),
        }
        if thinned.low != thinned.high:
            curve |= {"low": _short(thinned.low), "high": _short(thinned.high)}
        curves.append(curve)
    return {"edges": edges, "runs": curves, "domains": told.domains}


def _base(told: Summary, run: RunFolder) -> dict[str, Any]:
    """Return whose loss a run's is held against along tokens: its parent's, of a cosine the trunk's."""
    trunks = [other for other in told.runs.values() if other.run.kind() == "trunk"]
    alike = [t for t in trunks if t.line.root.model == run.line.root.model]
    base = told.runs.get(run.above or "") or (alike[0] if alike and run not in trunks else None)
    if base is None:
        return {"base": None, "alike": 0}
    return {"base": base.name, "alike": alike_until(run, base, run.series.end or 0)}


def _short(values: Sequence[float], digits: int = 5) -> list[float | None]:
    return [float(f"{x:.{digits}g}") if math.isfinite(x) else None for x in values]


def _probe_columns(probes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    step = max(1, math.ceil(len(probes) / 400))
    kept = [p for i, p in enumerate(probes) if i % step == 0 or i == len(probes) - 1]
    domains = sorted({domain for probe in kept for domain in probe["bits_per_byte"]})
    nothing: Mapping[str, Any] = {}
    return {
        "tokens": [probe["tokens"] for probe in kept],
        "bits": {d: [_number(p["bits_per_byte"].get(d)) for p in kept] for d in domains},
        "errors": {d: [_number(p.get("standard_error", nothing).get(d)) for p in kept] for d in domains},
    }  # fmt: skip


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")
