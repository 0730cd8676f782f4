"""docs/reproduction.md: the table of claims, and under it the numbers that it rests on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from study.claims import Claim, of, usual
from study.rows import Kept

HEAD = """<!-- written by benchmarks/reproduction.py from docs/reproduction/points.jsonl -->

# What of the paper is seen here

Hägele et al., [arXiv 2405.18392](https://arxiv.org/abs/2405.18392), at a size for one CPU: models of
0.43M, 1.05M and 2.42M parameters on 0.5M to 4M tokens of prose, code and mathematics from a Python
installation (no source beyond one epoch), batches of 16 × 256 tokens, AdamW. Everything is the recipe
`ramify plan reproduction`; losses are bits per byte of held-out documents, the mean of three domains.
Rates are each arm's best in the sweep (d), at 0.43M parameters and 1M tokens: 12·10⁻³ constant,
16·10⁻³ for cosine; at other sizes they are scaled by the width. A first run at 4·10⁻³, with cosine at
twice that by the paper's rule, is kept as (a-low).

An interval is the 95% t-interval of the mean over the units that n counts; runs that share a trunk
are no units of their own, and sizes of one seed, which read the same batches, are. A claim *holds* or
*does not hold at this scale* only where the whole interval says so (of twenty such, one may be wrong by
chance); a match means within 1%. What is too noisy, or was seen once, *cannot be told*.
"""


def text(rows: Sequence[Kept], found: Sequence[Claim], folder: Path) -> str:
    """Return the page."""
    return (
        "\n".join(
            [
                HEAD,
                *_table(found),
                "",
                *_pictures(found, folder),
                *_ends(rows),
                *_left(rows),
                *_again(),
            ]
        )
        + "\n"
    )


def _table(found: Sequence[Claim]) -> Iterator[str]:
    yield "| | claim | in the paper | seen here | n | 95% interval | verdict |"
    yield "|---|---|---|---|---|---|---|"
    for claim in found:
        span = "" if claim.interval is None else _span(claim.interval, claim.measure)
        yield (
            f"| {claim.key} | {claim.claim} | {claim.where} | {claim.seen} | {claim.n} ({claim.unit}) "
            f"| {span} | **{claim.verdict}** |"
        )


def _span(ends: tuple[float, float], measure: str) -> str:
    places = 2 if measure in ("%", "log2") else 4
    low, high = (f"{end:+.{places}f}" for end in ends)
    return f"{low}% to {high}%" if measure == "%" else f"{measure} {low} to {high}"


def _pictures(found: Sequence[Claim], folder: Path) -> Iterator[str]:
    for name in dict.fromkeys(claim.picture for claim in found if claim.picture):
        if (folder / name).exists():
            asked = ", ".join(claim.key for claim in found if claim.picture == name)
            yield f"![{asked}](reproduction/{name})"
            yield ""


def _ends(rows: Sequence[Kept]) -> Iterator[str]:
    """Yield the table of ends: what each size reached on each budget, by arm."""
    yield "## Ends"
    yield ""
    yield "Bits per byte, mean over seeds ± their standard deviation (seeds)."
    yield ""
    yield "| size | tokens | cooldown 20% | cosine | trunk where it left |"
    yield "|---|---|---|---|---|"
    core = of(rows, part="core")
    cells: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cool in usual(core):
        key = cool["size"], cool["tokens"]
        cells[key]["cool"].append(cool["mean"])
        same = {"size": cool["size"], "seed": cool["seed"]}
        cells[key]["cosine"] += [
            r["mean"] for r in of(core, arm="cosine", tokens=cool["tokens"], **same)
        ]
        cells[key]["left"] += [
            r["mean"] for r in of(core, arm="trunk", tokens=cool["leaves_at"], **same)
        ]
    for (size, tokens), cell in sorted(cells.items(), key=lambda item: (item[0][0], item[0][1])):
        shown = " | ".join(_spread(cell[arm]) for arm in ("cool", "cosine", "left"))
        yield f"| {size} | {tokens / 1e6:.1f}M | {shown} |"
    yield ""


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread} ({len(values)})"


def _left(rows: Sequence[Kept]) -> Iterator[str]:
    core = of(rows, part="core")
    yield "## What was run, and what was left"
    yield ""
    for size in ("0.4M", "1M", "2.4M"):
        for arm in ("cooldown", "cosine"):
            yield f"- {size}, {arm}: {_seeds_of_budgets(of(core, size=size, arm=arm))}"
    yield ""
    flops = sum(row.get("flops", 0.0) for row in rows)
    yield f"The branches and cosine runs above took {flops:.2g} FLOPs, counted per matrix product."
    yield "At other sizes shapes, fractions, averages and rates were not varied; nothing was run on a GPU."
    yield ""


def _seeds_of_budgets(rows: Sequence[Kept]) -> str:
    """Return which budgets were run with which seeds, those of the same seeds together."""
    seeds: dict[float, set[int]] = {}
    for row in rows:
        seeds.setdefault(round(row["tokens"] / 1e6, 1), set()).add(row["seed"])
    budgets: dict[tuple[int, ...], list[float]] = {}
    for budget in sorted(seeds):
        budgets.setdefault(tuple(sorted(seeds[budget])), []).append(budget)
    told = (
        f"{', '.join(f'{b:g}' for b in of_these)} million tokens with seeds {', '.join(map(str, which))}"
        for which, of_these in budgets.items()
    )
    return "; ".join(told) or "not run yet"


def _again() -> Iterator[str]:
    yield "## To run it again, or to add to it"
    yield ""
    yield "```sh"
    yield "python benchmarks/reproduction.py --part core --sizes 0.4M --seeds 0,1,2   # one part, resumable"
    yield "python benchmarks/reproduction.py --part shapes --part fractions --seeds 3  # one more seed"
    yield "```"
