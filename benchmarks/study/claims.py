"""What the rows say of each claim of the paper: what was seen, how often, an interval, a verdict."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import stats

from study.rows import Kept

Verdict = Literal["holds", "does not hold at this scale", "cannot be told"]
MARGIN = 1.0  # percent of bits per byte: closer than that is a match
SLACK = 0.005  # of a cooldown's share of its run
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold at this scale"
UNTOLD: Verdict = "cannot be told"
Unit = tuple[str, int]  # (size, seed): runs that share no weights


@dataclass(frozen=True)
class Claim:
    """One claim of Hägele et al., and what this study says of it."""

    key: str
    claim: str
    where: str  # in the paper
    seen: str
    n: int
    unit: str
    interval: tuple[float, float] | None
    verdict: Verdict
    picture: str | None = None
    measure: str = "%"  # of the interval


def claims(rows: Sequence[Kept]) -> list[Claim]:
    """Return every claim that the rows say something of."""
    asked: list[Callable[[Sequence[Kept]], Iterable[Claim]]] = [
        _against_cosine, _shapes, _fractions, _rates, _averages, _path, _exponents, _saved, _forecasts,
    ]  # fmt: skip
    return [claim for ask in asked for claim in ask(rows)]


def of(rows: Iterable[Kept], **fields: object) -> list[Kept]:
    """Return the rows whose fields are these."""
    return [row for row in rows if all(row.get(key) == value for key, value in fields.items())]


def has(row: Kept, fraction: float) -> bool:
    """Whether a cooldown is over this share: whole steps make 0.2008 of 0.2."""
    return bool(abs(row["fraction"] - fraction) < SLACK)


def usual(rows: Iterable[Kept], **fields: object) -> list[Kept]:
    """Return the cooldowns of 20% (1-sqrt) whose other fields are these."""
    return [row for row in of(rows, arm="cooldown", shape="sqrt", **fields) if has(row, 0.2)]


def by_unit(rows: Iterable[Kept]) -> dict[Unit, Kept]:
    """Return rows by size and seed, where each has one."""
    return {(row["size"], row["seed"]): row for row in rows}


def percents(ones: Iterable[Kept], others: Iterable[Kept]) -> list[float]:
    """Return how many percent above its other each one lies, paired by size and seed."""
    mine, theirs = by_unit(ones), by_unit(others)
    both = sorted(mine.keys() & theirs.keys())
    return [100 * (mine[key]["mean"] / theirs[key]["mean"] - 1) for key in both]


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95% t-interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    middle, error = float(np.mean(values)), float(stats.sem(values))
    if error == 0:
        return middle, middle
    low, high = stats.t.interval(0.95, len(values) - 1, loc=middle, scale=error)
    return float(low), float(high)


def below(found: tuple[float, float] | None, bound: float = 0.0) -> Verdict:
    """Judge a claim that the mean lies below a bound."""
    if found is None:
        return UNTOLD
    return HOLDS if found[1] < bound else FAILS if found[0] > bound else UNTOLD


def above(found: tuple[float, float] | None, bound: float = 0.0) -> Verdict:
    """Judge a claim that the mean lies above a bound."""
    return below(None if found is None else (-found[1], -found[0]), -bound)


def within(found: tuple[float, float] | None, margin: float = MARGIN) -> Verdict:
    """Judge a claim that the mean is 0, give or take a margin."""
    if found is None:
        return UNTOLD
    if found[0] > margin or found[1] < -margin:
        return FAILS
    return HOLDS if -margin < found[0] and found[1] < margin else UNTOLD


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):+.2f}%"


def _against_cosine(rows: Sequence[Kept]) -> Iterable[Claim]:
    claim = "A cooldown of 20% (1-sqrt) is no worse than cosine of its own length"
    yield from _beside_cosine(of(rows, part="core"), "a", f"{claim}, each arm at its best rate")
    # kept as a warning: what was seen before the rates were swept
    low = f"{claim}, both arms at rates far below their best (4e-3, cosine 8e-3)"
    yield from _beside_cosine(of(rows, part="low"), "a-low", low)


def _beside_cosine(core: Sequence[Kept], key: str, claim: str) -> Iterable[Claim]:
    cools, cosines = usual(core), of(core, arm="cosine")
    budgets = sorted({row["tokens"] for row in cosines})
    units: dict[Unit, list[float]] = defaultdict(list)
    told = []
    for tokens in budgets:
        mine, theirs = by_unit(_about(cools, tokens)), by_unit(_about(cosines, tokens))
        each = {k: 100 * (mine[k]["mean"] / theirs[k]["mean"] - 1) for k in mine.keys() & theirs}
        for unit, value in each.items():
            units[unit].append(value)
        if each:
            told.append(f"{tokens / 1e6:.1f}M {_mean(list(each.values()))}")
    values = [float(np.mean(each)) for each in units.values()]
    if values:
        found = interval(values)
        yield Claim(
            key, claim, "section 3, Fig. 3-5",
            f"bits per byte {_mean(values)} against cosine ({', '.join(told)})", len(values),
            "size × seed, mean over budgets", found, below(found, MARGIN), "cosine.png" if key == "a" else None,
        )  # fmt: skip


def _about(rows: Iterable[Kept], tokens: int) -> list[Kept]:
    return [row for row in rows if abs(row["tokens"] / tokens - 1) < 0.01]


def _middle(rows: Sequence[Kept]) -> list[Kept]:
    """Return the cooldowns of the size at which things are varied, at the longest budget where they are."""
    core = of(rows, part="core", arm="cooldown")
    others = [row for row in core if row["shape"] != "sqrt" or not has(row, 0.2)]
    varied = {row["size"] for row in others}
    mine = [row for row in core if row["size"] in varied]
    longest = max((row["tokens"] for row in others), default=0)
    return _about(mine, longest) if longest else []


def _shapes(rows: Sequence[Kept]) -> Iterable[Claim]:
    mine = [row for row in _middle(rows) if has(row, 0.2)]
    root = of(mine, shape="sqrt")
    for shape in sorted({row["shape"] for row in mine} - {"sqrt"}):
        values = percents(of(mine, shape=shape), root)
        found = interval(values)
        yield Claim(
            f"b-{shape}", f"(1-sqrt) ends lower than {shape}", "section 3.1, Fig. 4; app. B.1",
            f"{shape} lies {_mean(values)} from (1-sqrt)", len(values), "seed", found, above(found), "shapes.png",
        )  # fmt: skip


def _fractions(rows: Sequence[Kept]) -> Iterable[Claim]:
    mine = of(_middle(rows), shape="sqrt")
    fractions = sorted({round(row["fraction"], 2) for row in mine})

    def at(fraction: float) -> list[Kept]:
        return [row for row in mine if round(row["fraction"], 2) == fraction]

    if len(fractions) < 3:
        return
    for short, long in pairwise(fractions):
        values = percents(at(long), at(short))
        found = interval(values)
        more = long <= 0.201
        claim = f"A cooldown of {long:.0%} ends {'lower than' if more else 'no more than 1% from'} one of {short:.0%}"
        verdict = below(found) if more else within(found)
        yield Claim(
            f"c-{long:g}", claim, "section 3.2, Fig. 5, 19", f"{long:.0%} lies {_mean(values)} from {short:.0%}",
            len(values), "seed", found, verdict, "fractions.png",
        )  # fmt: skip


def best_rate(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return log2 of the best rate, and the curvature in bits, of a parabola through the best three."""
    ordered = sorted(points)
    lowest = min(range(len(ordered)), key=lambda i: ordered[i][1])
    if not 0 < lowest < len(ordered) - 1:
        return None
    near = ordered[lowest - 1 : lowest + 2]
    a, b, _ = np.polyfit([math.log2(rate) for rate, _ in near], [bits for _, bits in near], 2)
    return float(-b / (2 * a)), float(a)


def _rates(rows: Sequence[Kept]) -> Iterable[Claim]:
    swept = of(rows, part="rates")
    ratios, spreads, seeds = [], [], 0
    over = 1.0
    for seed in sorted({row["seed"] for row in swept}):
        mine = of(swept, seed=seed)
        by_rate = [{r["peak"]: r["mean"] for r in of(mine, arm=arm)} for arm in ("cooldown", "cosine")]  # fmt: skip
        # a rate at which one arm blew up or was not run would widen the spread of the other alone
        both = sorted(by_rate[0].keys() & by_rate[1].keys())
        if len(both) < 3:
            continue
        seeds += 1
        arms = [[(peak, bits[peak]) for peak in both] for bits in by_rate]
        found = [best_rate(arm) for arm in arms]
        constant, cosine = found
        if constant and cosine:
            ratios.append(constant[0] - cosine[0])
        over = both[-1] / both[0]
        spreads.append(float(np.ptp([b for _, b in arms[0]]) - np.ptp([b for _, b in arms[1]])))
    if ratios:
        factor = 2.0 ** float(np.mean(ratios))
        found_ratio = interval(ratios)
        yield Claim(
            "d-half", "The best constant rate is half of the best cosine maximum", "Fig. 3",
            f"it is {factor:.2f} times that (log2 {np.mean(ratios):+.2f}, half is −1), where both arms have a best "
            f"rate inside the sweep: {len(ratios)} of {seeds} seeds", len(ratios), "seed",
            found_ratio, within(None if found_ratio is None else (found_ratio[0] + 1, found_ratio[1] + 1), 0.5), "rates.png",
            "log2",
        )  # fmt: skip
    if spreads:
        found_spread = interval(spreads)
        yield Claim(
            "d-flat", "Constant with a cooldown is less sensitive to the rate than cosine", "Fig. 3",
            f"its spread over rates {over:g} times apart is {np.mean(spreads):+.4f} bits per byte from cosine's",
            len(spreads), "seed", found_spread, below(found_spread), "rates.png", "bits per byte",
        )  # fmt: skip


def _averages(rows: Sequence[Kept]) -> Iterable[Claim]:
    core = of(rows, part="core")
    emas = of(core, arm="emaaverage")
    if not emas:
        return
    longest = max(row["tokens"] for row in emas)
    size = emas[0]["size"]
    here = _about(of(core, size=size), longest)
    trunk, ema = of(here, arm="trunk"), of(here, arm="emaaverage")
    cool = usual(here)
    best = _best_windows(of(here, arm="average"))
    free = of(here, arm="schedulefree", betas=[0.95, 0.99])
    adam = of(here, arm="schedulefree", betas=[0.9, 0.95])
    asked = (
        ("e-windows", "A mean over the best window of the trunk is below the trunk itself", "section 4.1", best, trunk, below),
        ("e-above", "and stays above a cooldown that ends on the same tokens", "section 4.1", best, cool, above),
        ("e-ema", "A moving average is worse than the best window", "section 4.1", ema, best, above),
        ("e-free", "A cooldown matches or beats schedule-free (0.95, 0.99)", "section 4.2, Fig. 11", cool, free, _no_worse),
        ("e-betas", "Schedule-free with (0.9, 0.95) is worse than with (0.95, 0.99)", "section 4.2, Fig. 11", adam, free, above),
    )  # fmt: skip
    for key, claim, where, ones, others, judge in asked:
        values = percents(ones, others)
        if values:
            found = interval(values)
            yield Claim(key, claim, where, f"{_mean(values)}", len(values), "seed", found, judge(found), "averages.png")  # fmt: skip


def _no_worse(found: tuple[float, float] | None) -> Verdict:
    return below(found, MARGIN)


def _best_windows(means: Sequence[Kept]) -> list[Kept]:
    """Return of each seed the window that was best over the other seeds; its own, if there is none.

    A window chosen by the very losses that are judged would look better than it is.
    """
    chosen = []
    for seed in sorted({row["seed"] for row in means}):
        mine, others = of(means, seed=seed), [row for row in means if row["seed"] != seed]
        lasts = defaultdict(list)
        for row in others or mine:
            lasts[row["last"]].append(row["mean"])
        best = min(lasts, key=lambda last: float(np.mean(lasts[last])))
        chosen += of(mine, last=best)
    return chosen


def path_of(rows: Sequence[Kept]) -> dict[Unit, list[tuple[float, float]]]:
    """Return (share of the way, bits per byte) from before a cooldown to its end, by run."""
    core = of(rows, part="core")
    paths: dict[Unit, list[tuple[float, float]]] = defaultdict(list)
    ends: dict[Unit, int] = {}
    for row in of(core, arm="interpolate"):
        paths[row["size"], row["seed"]].append((row["share"], row["mean"]))
        ends[row["size"], row["seed"]] = row["tokens"]
    for (size, seed), found in paths.items():
        last = next(iter(usual(core, size=size, seed=seed, tokens=ends[size, seed])), None)
        if last is None:
            continue
        left = of(core, size=size, seed=seed, arm="trunk", tokens=last["leaves_at"])
        found += [(1.0, last["mean"]), *((0.0, row["mean"]) for row in left)]
        found.sort()
    return paths


def _path(rows: Sequence[Kept]) -> Iterable[Claim]:
    paths = [path for path in path_of(rows).values() if len(path) > 2 and path[0][0] == 0]
    if not paths:
        return
    steepest = [
        100 * max(b / a - 1 for (_, a), (_, b) in pairwise(path)) for path in paths
    ]  # the worst step of the way: below 0, it falls all along
    found = interval(steepest)
    yield Claim(
        "f", "The loss falls all along the straight line from before to after the cooldown", "section 3.2, Fig. 7",
        f"its least fall from one of {len(paths[0])} points to the next is {_mean(steepest)}", len(paths), "seed",
        found, below(found), "path.png",
    )  # fmt: skip


def _exponents(rows: Sequence[Kept]) -> Iterable[Claim]:
    from ramify.ground.errors import BadInput  # noqa: PLC0415
    from ramify.scaling.compare import compare  # noqa: PLC0415
    from ramify.scaling.points import Points  # noqa: PLC0415

    core = of(rows, part="core")
    arms = usual(core), of(core, arm="cosine")
    if min(map(len, arms)) < 6:
        return

    def points(arm: Sequence[Kept]) -> Points:
        columns = [np.array([float(r[k]) for r in arm]) for k in ("parameters", "tokens", "mean")]
        n, d, loss = columns
        return Points(n, d, loss, 6 * n * d, seeds=tuple(r["seed"] for r in arm))

    try:
        said = compare(points(arms[0]), points(arms[1]), arms=("branches", "cosine"))
    except BadInput as error:
        yield Claim("g", "Exponents from branches equal those from cosine", "not tested in the paper", str(error), 0, "points", None, UNTOLD)  # fmt: skip
        return
    seen = said.why
    if said.fits:
        exponents = [f"α {one.law.alpha:.3f}, β {one.law.beta:.3f}" for one in said.fits]
        low, high = said.differences["alpha"]
        seen = f"branches {exponents[0]}; cosine {exponents[1]}; Δα {low:+.3f} to {high:+.3f}: {said.why}"
    verdict: Verdict = {"agree": HOLDS, "differ": FAILS}.get(said.verdict, UNTOLD)
    yield Claim(
        "g", "Exponents from branches equal those from cosine", "not tested in the paper", seen, min(map(len, arms)),
        "points of each arm, resampled as if those of one trunk were independent",
        said.differences.get("beta"), verdict, "laws.png", "Δβ",
    )  # fmt: skip


def _saved(rows: Sequence[Kept]) -> Iterable[Claim]:
    core = of(rows, part="core")
    costs: dict[Unit, tuple[float, float]] = {}
    budgets: set[int] = set()
    for unit, cosines in _grouped(of(core, arm="cosine")).items():
        ends = {row["tokens"]: row for row in cosines}
        cools = [row for row in _grouped(usual(core)).get(unit, []) if row["tokens"] in ends]
        if len(cools) < 2:
            continue  # a trunk for one answer saves nothing
        last = max(cools, key=lambda row: row["leaves_at"])
        a_token = last["flops"] / (last["tokens"] - last["leaves_at"])
        tree = sum(row["flops"] for row in cools) + a_token * last["leaves_at"]
        costs[unit] = tree, sum(ends[row["tokens"]]["flops"] for row in cools)
        budgets |= {row["tokens"] for row in cools}
    if costs:
        trees, ones = map(sum, zip(*costs.values(), strict=True))
        told = ", ".join(f"{tokens / 1e6:.1f}M" for tokens in sorted(budgets))
        yield Claim(
            "g-cost", "A trunk and its cooldowns take fewer FLOPs than a cosine run for each budget",
            "section 5, Fig. 13: about half", f"{trees / ones:.1%} of them, {trees:.2g} of {ones:.2g}, at {told} tokens",
            len(costs), "size × seed, counted", None, HOLDS if trees < ones else FAILS,
        )  # fmt: skip


def _grouped(rows: Iterable[Kept]) -> dict[Unit, list[Kept]]:
    found: dict[Unit, list[Kept]] = defaultdict(list)
    for row in rows:
        found[row["size"], row["seed"]].append(row)
    return found


def _forecasts(rows: Sequence[Kept]) -> Iterable[Claim]:
    made = [
        row for row in of(rows, arm="forecast") if row["seen"] is not None and row["made_before"]
    ]
    if not made:
        return
    errors = [100 * (row["seen"] / row["foretold"] - 1) for row in made]
    of_trunks: dict[Unit, list[float]] = defaultdict(list)
    for row, error in zip(made, errors, strict=True):
        of_trunks[row["size"], row["seed"]].append(abs(error))
    inside = sum(row["low"] <= row["seen"] <= row["high"] for row in made)
    # forecasts of one trunk err alike, and errors of both signs do not make a forecast right
    found = interval([float(np.mean(each)) for each in of_trunks.values()])
    yield Claim(
        "h", "The trunk and its averages foretell within 1% what a cooldown reaches", "section 4.1 (as a use of it)",
        f"{inside} of {len(made)} inside their {made[0]['level']:.0%} interval, mean error {np.mean(np.abs(errors)):.2f}%, bias {_mean(errors)}",
        len(of_trunks), "size × seed, mean size of the error", found, below(found, MARGIN), "forecasts.png",
    )  # fmt: skip
