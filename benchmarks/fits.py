"""Scaling fits on public measurements, beside what their authors published.

Five sets that others measured: the points of Chinchilla's figure 4 (245, with the five of fewest
tokens per parameter left out as in the published replication, and with all), the isoFLOP sweeps of
Porian et al. and their optima, the over-training runs of Gadre et al. (fitted on the small,
predicted for the large; the bar there, and OLMo's, is ours), the loss curves of the multi-power
law's authors, and OLMo's ladder at 190M. A row is one of them; a bar is a published number and how
near to it the fit must come.

Run from the project root: `python benchmarks/fits.py`. The last line is JSON. It reads
../shared/data/scaling, and leaves with code 1 where that is not there.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from scipy.optimize import curve_fit

from ramify.scaling.curves import Curve, curve, fit_curves
from ramify.scaling.fit import fit
from ramify.scaling.isoflop import fit_isoflop
from ramify.scaling.law import Floats
from ramify.scaling.one_size import fit_tokens
from ramify.scaling.points import Points, checked, without_lowest_ratio
from ramify.scaling.table import Columns, points_of, read_points, read_rows

DATA = Path(__file__).parents[2] / "shared" / "data" / "scaling"
DRAWS = 1000
Figures = dict[str, Any]

# Besiroglu et al. 2024: value, and standard error as printed
PUBLISHED = {"E": (1.8172, 0.03), "A": (482.01, 124.58), "B": (2085.43, 1293.23),
             "alpha": (0.3478, 0.02), "beta": (0.3658, 0.02)}  # fmt: skip
WITHIN = {"E": 0.003, "A": 0.05 * 482.01, "B": 0.05 * 2085.43, "alpha": 0.003, "beta": 0.003}
ALL_POINTS = {"E": 1.891, "beta": 0.453}
SWEEP = ("dataset", "hparams", "warmup", "decay", "param_count", "val")
STEMS = ("formll_summary_df", "formll_summary_df_att", "formll_summary_df_kaplan_tuned_hparams")
WARMUP, PEAK = 2160, 3e-4  # of the multi-power law's runs
FITTED_ON = ("constant_24000", "cosine_24000", "wsdcon_9")
FINAL = ("wsd_20000_24000", "wsdld_20000_24000")
LONG = ("constant_72000", "cosine_72000")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def bar(what: str, value: float, op: str, limit: float) -> Figures:
    """Return a bar, and whether it holds."""
    holds = value <= limit if op == "<=" else value >= limit
    return {"what": what, "value": value, "op": op, "bar": limit, "holds": bool(holds)}


def chinchilla(figures: Figures) -> Iterator[Figures]:
    """Yield the bars of the parametric law on the points of Chinchilla's figure 4."""
    columns = Columns("Model Size", "loss", flops="Training FLOP")
    everything = read_points(DATA / "chinchilla_svg_extracted_data.csv", columns)
    points = without_lowest_ratio(everything, 5)
    began = time.perf_counter()
    found = fit(points, draws=DRAWS)
    seconds = time.perf_counter() - began
    whole = fit(everything).law.constants
    assert found.bootstrap is not None
    intervals = found.bootstrap.intervals()
    for name, value in found.law.constants.items():
        published, error = PUBLISHED[name]
        low, high = intervals[name]
        width = (high - low) / 3.92 / error
        figures[f"chinchilla {name}"] = {
            "fitted": value, "low": low, "high": high, "published": published,
            "interval over published": width, "with all 245": whole[name],
        }  # fmt: skip
        off = abs(value - published)
        yield bar(f"chinchilla: {name} off the published {published}", off, "<=", WITHIN[name])
        what = f"chinchilla: times as wide or narrow as the published interval of {name}"
        yield bar(what, max(width, 1 / width), "<=", 2.0)
    for name, value in ALL_POINTS.items():
        off = abs(whole[name] - value)
        yield bar(f"chinchilla: with the outliers, {name} off {value}", off, "<=", 0.003)
    optimum = found.law.optimum(5.76e23)
    figures["chinchilla optimum at 5.76e23 FLOPs"] = optimum.json()
    figures["chinchilla bootstrap seconds"] = seconds
    yield bar(f"chinchilla: seconds of a fit with {DRAWS} draws", seconds, "<=", 60)


def isoflop(figures: Figures) -> Iterator[Figures]:
    """Yield the share of published optima that parabolas, and Akima splines, come within."""
    inside: list[bool] = []
    splined: list[bool] = []
    for stem in STEMS:
        rows, optima = read_rows(DATA / f"{stem}__isoflop.csv.zst"), _optima(stem)
        for sweep in dict.fromkeys(tuple(row[k] for k in SWEEP) for row in rows):
            where = [f"{k}={v}" for k, v in zip(SWEEP, sweep, strict=True)]
            points = points_of(rows, Columns("n_params", "loss", flops="flops"), where)
            found = fit_isoflop(points, draws=DRAWS)
            near = [
                (p, *optima[sweep, round(p.flops, -12)])
                for p in found.parabolas
                if (sweep, round(p.flops, -12)) in optima
            ]
            mine = [bool(abs(np.log(p.parameters / n)) <= 1.96 * sd) for p, n, sd in near]
            inside += mine
            splined += [bool(abs(np.log(p.interpolated / n)) <= 1.96 * sd) for p, n, sd in near]
            low, high = found.intervals["exponent"]
            figures["isoflop " + " ".join(sweep[1:5])] = {
                "budgets": len(found.parabolas), "exponent": found.exponent, "low": low,
                "high": high, "optima inside": sum(mine), "of": len(mine),
            }  # fmt: skip
    yield bar("isoflop: share of optima inside the published 95% intervals, by parabola",
              float(np.mean(inside)), ">=", 0.95)  # fmt: skip
    yield bar("isoflop: the same by the spline through the points",
              float(np.mean(splined)), ">=", 0.99)  # fmt: skip


def _optima(stem: str) -> dict[tuple[Any, float], tuple[float, float]]:
    return {
        (tuple(row[k] for k in SWEEP), round(float(row["flops"]), -12)): (
            float(row["n"]),
            float(row["n_star_std"]),
        )
        for row in read_rows(DATA / f"{stem}__optima.csv")
        if row["n"] != "nan"
    }


def overtraining(figures: Figures) -> Iterator[Figures]:
    """Yield errors on the large of laws fitted on the small, the authors' procedure beside them.

    Fitted on runs of 20 tokens per parameter or more, since that is where the authors fit and
    predict; what all small runs give, down to 5 tokens per parameter, stands beside it.
    Theirs, repeated here: E + a/N^2η + b/D^2η by least squares on five chosen runs (Gadre et al.
    2024), which is our law with equal exponents.
    """
    rows = read_rows(DATA / "mlf_scaling_models.jsonl.zst")
    for corpus in ("rpj", "c4_original"):
        mine = [row for row in rows if row["dataset_name"] == corpus]
        points = checked(*(np.array(c, float) for c in zip(*map(_run, mine), strict=True)))
        ratio = points.tokens / points.parameters
        small = points.take((points.parameters < 5e8) & (ratio > 19))
        large = points.take(points.parameters > 1e9)
        law, theirs = fit(small).law, _their_law(points)
        of_all = fit(points.take(points.parameters < 5e8)).law
        for i in range(len(large)):
            n, d, loss = (float(x[i]) for x in (large.parameters, large.tokens, large.loss))
            figures[f"overtraining {corpus} {n / 1e9:.1f}B on {d / 1e9:.0f}B tokens"] = {
                "measured": loss, "predicted": float(law.loss(n, d)),
                "error": float(law.loss(n, d)) / loss - 1,
                "error from all small runs": float(of_all.loss(n, d)) / loss - 1,
                "error of the authors' procedure": float(theirs(n, d)) / loss - 1,
            }  # fmt: skip
        missed = np.abs(law.loss(large.parameters, large.tokens) / large.loss - 1)
        if corpus == "rpj":  # the one the authors predict
            yield bar("overtraining: mean error on runs of 1.4B and 6.9B from those below 0.5B",
                      float(missed.mean()), "<=", 0.01)  # fmt: skip


def _run(row: Any) -> tuple[float, float, float]:
    asked = row["hyperparameters"]
    losses = [r["loss"] for r in row["results"] if "c4_val" in r["val_data"][0]]
    return asked["params"], asked["tokens"], losses[0]


def _their_law(points: Points) -> Any:
    ratio = points.tokens / points.parameters
    at_optimum = (points.parameters < 5e8) & (np.abs(ratio / 20 - 1) < 0.1)
    overtrained = (points.parameters < 2e7) & (np.abs(ratio / 320 - 1) < 0.1)
    five = points.take(at_optimum | overtrained)
    assert len(five) == 5

    def law(x: tuple[Floats, Floats], e: float, a: float, b: float, eta: float) -> Floats:
        predicted: Floats = e + a * (x[0] / 1e8) ** (-2 * eta) + b * (x[1] / 1e9) ** (-2 * eta)
        return predicted

    found, _ = curve_fit(law, (five.parameters, five.tokens), five.loss, p0=[1.7, 1, 1, 0.15])
    return lambda n, d: law((n, d), *found)


def multipower(figures: Figures) -> Iterator[Figures]:
    """Yield the errors of the multi-power law on curves that it was not fitted to."""
    for folder in sorted((DATA / "multipowerlaw").glob("csv_*"), key=lambda p: int(p.name[4:])):
        size = folder.name[4:] + "M"
        curves = {path.stem: _curve(path) for path in sorted(folder.glob("*.csv"))}
        began = time.perf_counter()
        law = fit_curves([curves[name] for name in FITTED_ON])
        seconds = time.perf_counter() - began
        for name, one in curves.items():
            missed = law.predict(one.rates, one.at, warmup=one.warmup) - one.loss
            mean, final = float(np.abs(missed).mean()), float(missed[-1])
            part = "fitted" if name in FITTED_ON else "predicted"
            figures[f"multipower {size} {name}"] = {
                "curve": part, "mean absolute error": mean, "error of the final loss": final,
            }  # fmt: skip
            if name in FINAL:
                yield bar(f"multipower {size}: {name}, mean absolute error", mean, "<=", 0.003)
                what = f"multipower {size}: {name}, error of the final loss"
                yield bar(what, abs(final), "<=", 0.012)
            if name in LONG:
                yield bar(f"multipower {size}: {name}, mean absolute error", mean, "<=", 0.015)
        figures[f"multipower {size} law"] = {**law.constants, "seconds": seconds}


def _curve(path: Path) -> Curve:
    rows = read_rows(path)
    steps, rates, losses = ([float(r[k]) for r in rows] for k in ("step", "lr", "loss"))
    return curve(np.array(steps), rates, losses, first=WARMUP, warmup=PEAK * WARMUP / 2)


def ladder(figures: Figures) -> Iterator[Figures]:
    """Yield how near the law of one size comes to OLMo 190M's longest run from the shorter ones."""
    finals = {name: _final(name) for name in ("0.5xC", "1xC", "1xC-rerun", "2xC", "5xC", "10xC")}
    shorter = [finals[name] for name in finals if name != "10xC"]
    points = checked([190e6] * len(shorter), *(list(c) for c in zip(*shorter, strict=True)))
    law = fit_tokens(points, draws=DRAWS)
    for name, (tokens, loss) in finals.items():
        figures[f"ladder 190M {name}"] = {
            "tokens": tokens, "measured": loss, "predicted": float(law.loss(tokens)),
            "error": float(law.loss(tokens)) / loss - 1,
        }  # fmt: skip
    tokens, loss = finals["10xC"]
    again = abs(finals["1xC"][1] - finals["1xC-rerun"][1])
    figures["ladder 190M difference of a run and its rerun"] = again
    low, high = law.loss_interval(tokens) or (np.nan, np.nan)
    yield bar("ladder: error of 190M's loss at 10xC, from those up to 5xC",
              abs(float(law.loss(tokens)) - loss), "<=", 0.01)  # fmt: skip
    yield bar("ladder: it lies inside the predicted 95% interval (1 is yes)",
              float(low <= loss <= high), ">=", 1)  # fmt: skip


def _final(name: str) -> tuple[float, float]:
    last = read_rows(DATA / "olmo_ladder" / f"190M-{name}.csv.zst")[-1]
    loss = float(last["eval/c4_en-validation/CrossEntropyLoss"])
    return float(last["throughput/total_tokens"]), loss


ROWS = {"chinchilla": chinchilla, "isoflop": isoflop, "overtraining": overtraining,
        "multipower": multipower, "ladder": ladder}  # fmt: skip


def measured() -> tuple[Figures, Sequence[Figures]]:
    """Return the figures and the bars of every row."""
    figures: Figures = {}
    bars: list[Figures] = []
    for name, row in ROWS.items():
        began = time.perf_counter()
        bars += row(figures)
        say(f"{name}: {time.perf_counter() - began:.1f} s")
    for one in bars:
        say(
            f"{'holds' if one['holds'] else 'FAILS'}  {one['what']}: {one['value']:.4g} {one['op']} {one['bar']:g}"
        )
    return figures, bars


def main() -> int:
    """Measure, print one JSON object, and return 1 if a bar does not hold."""
    if not DATA.is_dir():
        say(f"there is no {DATA}: nothing to fit")
        print(json.dumps({"name": "fits", "n": {}, "hardware": {}, "figures": {}, "bars": []}))
        return 1
    figures, bars = measured()
    told = {
        "name": "fits",
        "n": {"bootstrap draws": DRAWS},
        "hardware": {
            "processor": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "scipy": scipy.__version__,
        },
        "figures": figures,
        "bars": bars,
    }
    print(json.dumps(told))
    return 0 if all(one["holds"] for one in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
