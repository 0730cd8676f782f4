"""How fast the scaling laboratory plans a grid, fills two cores with one, fits, and forecasts.

The makespan is that of a small real grid on the standard library's source: from the start of its
first run to the end of its last evaluation, over the sum of what its workers took, each worker's
own start included, divided by the workers side by side. 1 would be two workers busy throughout.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ramify.curate.steps import PythonInstallation, Read
from ramify.ground.errors import RamifyError
from ramify.ground.step import Ref, Step
from ramify.model.config import ModelConfig, preset
from ramify.runs.engine import Engine
from ramify.runs.grid import Grid
from ramify.runs.lab import Lab
from ramify.runs.order import makespan
from ramify.runs.plan import Item, plan
from ramify.runs.recipe import Recipe
from ramify.scaling.fit import fit
from ramify.scaling.forecast import Before, Seen, best
from ramify.scaling.law import Law
from ramify.scaling.points import Points
from ramify.tokens.mixture import Stage
from ramify.tokens.steps import Corpus, Tokenize, Tokenizer
from ramify.train.steps import Numerics

N = 7
CORES = 2
POINTS = 1000
FITTED, DRAWS, FITS = 245, 1000, 3  # points under a law, resamples of them, and how often
SEQ_LEN, ROWS = 128, 16
STEP = SEQ_LEN * ROWS


def data() -> tuple[Step, ...]:
    """Return the steps that make one tokenized source of the standard library."""
    read = Read(name="raw", source=PythonInstallation(part="code"), limit_bytes=4_000_000)
    corpus = Corpus(ref=Ref(name="raw"))
    tokenizer = Tokenizer(name="tokenizer", corpora={"code": corpus}, vocab=1024)
    code = Tokenize(
        name="code", corpus=corpus, tokenizer=Ref(name="tokenizer"), max_context=SEQ_LEN
    )
    return read, tokenizer, code


def large() -> Recipe:
    """Return six sizes, four budgets and three seeds of Hägele et al.'s, with cosine runs."""
    grid = Grid(
        sizes={size: f"h{size}" for size in ("33M", "53M", "60M", "93M", "124M", "151M")},
        budgets=(10**9, 2 * 10**9, 3 * 10**9, 4 * 10**9),
        seeds=(0, 1, 2),
        peak=1e-3,
        cosine=True,
        evaluate_left=True,
        sources={"code": Ref(name="code")},
        stages=(Stage(mixture={"code": 1.0}),),
        seq_len=512,
        rows=200,
        warmup=300 * 102_400,
    )
    return Recipe(name="large", steps=(*data(), *grid.steps()))


def small() -> Recipe:
    """Return three sizes, two budgets and two seeds that two cores train in minutes."""
    small = ModelConfig(layers=2, width=48, heads=2, kv_heads=1, ffw=128, vocab=1024)
    grid = Grid(
        sizes={"small": small, "nano": preset("nano"), "micro": preset("micro")},
        vocab=1024,
        budgets=(64 * STEP, 128 * STEP),
        seeds=(0, 1),
        peak=3e-3,
        sources={"code": Ref(name="code")},
        stages=(Stage(mixture={"code": 1.0}),),
        seq_len=SEQ_LEN,
        rows=ROWS,
        warmup=8 * STEP,
        evaluate=False,
        numerics=Numerics(threads=1),
    )
    return Recipe(name="small", steps=(*data(), *grid.steps()))


class Clock:
    """Hears when each worker started and ended."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.took: dict[str, float] = {}

    def started(self, item: Item) -> None:
        """A worker took up a step."""
        self.began[item.name] = time.monotonic()

    def progress(self, item: Item, done: float, total: float, unit: str, note: str) -> None:
        """A worker told how far it is."""

    def note(self, item: Item, text: str) -> None:
        """A worker said something."""

    def ended(self, item: Item, error: RamifyError | None) -> None:
        """A worker ended."""
        self.took[item.name] = time.monotonic() - self.began[item.name]
        print(f"  {item.name}: {self.took[item.name]:.1f} s", file=sys.stderr)


def seconds(work: Callable[[], object], n: int = N) -> list[float]:
    """Return the wall seconds of n goes."""
    took = []
    for _ in range(n):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return took


def plan_seconds() -> list[float]:
    """Return how long the large grid takes from its line in a recipe to its plan."""
    return seconds(lambda: plan(large(), Lab("nowhere")))


def grid_makespan() -> dict[str, float]:
    """Return what the small grid took on two cores, and what its workers took together."""
    with tempfile.TemporaryDirectory() as home:
        lab, clock, recipe = Lab(Path(home) / "lab"), Clock(), small()
        Engine(lab, cores=CORES).run(plan(recipe, lab, only=["code"]), Clock())
        wanted = plan(recipe, lab)
        began = time.monotonic()
        Engine(lab, cores=CORES).run(wanted, clock)
        took = time.monotonic() - began
    work = sum(clock.took.values())
    flops = sum(item.flops for item in wanted.to_do)
    return {
        "steps": len(wanted.to_do),
        "makespan_seconds": took,
        "work_seconds": work,
        "over_work_by_cores": took / (work / CORES),
        "foretold_by_plan": makespan(wanted, CORES) / (flops / CORES),
    }


def forecast_seconds() -> list[float]:
    """Return how long learning from 1,000 cooldowns and forecasting each of them takes."""
    draw = np.random.default_rng(0)
    seen = [
        Seen(Before(3.0, 0.2, 3.0 * (1 - gap)), 3.0 * (1 - 1.3 * gap + draw.normal(0, 0.003)))
        for gap in draw.uniform(0.01, 0.05, POINTS)
    ]

    def work() -> None:
        learned = best(seen, seen[0].before)
        for one in seen:
            learned.foretell(one.before)

    return seconds(work)


def fit_seconds() -> list[float]:
    """Return how long fitting the law to 245 points takes, with 1,000 resamples of them."""
    draw = np.random.default_rng(0)
    parameters, tokens = 10 ** draw.uniform((7.5, 9.0), (10.0, 11.5), (FITTED, 2)).T
    law = Law(E=1.8172, A=477.8, B=2143.0, alpha=0.3473, beta=0.3672)
    loss = law.loss(parameters, tokens) * np.exp(draw.normal(0, 0.005, FITTED))
    points = Points(parameters, tokens, loss, 6 * parameters * tokens)
    return seconds(lambda: fit(points, draws=DRAWS), FITS)


def main() -> int:
    """Measure, print one JSON object, and return 1 if a bar does not hold."""
    print("planning", file=sys.stderr)
    planned = plan_seconds()
    print("forecasting", file=sys.stderr)
    foretold = forecast_seconds()
    print("fitting", file=sys.stderr)
    fitted = fit_seconds()
    print("a small grid", file=sys.stderr)
    made = grid_makespan()
    bars = [
        {"what": "grid of 6 sizes, 4 budgets, 3 seeds planned, seconds",
         "value": statistics.median(planned), "op": "<", "bar": 1.0},
        {"what": f"makespan of a grid over its work by {CORES} cores",
         "value": made["over_work_by_cores"], "op": "<", "bar": 1.15},
        {"what": f"forecast of {POINTS} cooldowns, seconds",
         "value": statistics.median(foretold), "op": "<", "bar": 5.0},
        {"what": f"fit of {FITTED} points with {DRAWS} resamples, seconds",
         "value": statistics.median(fitted), "op": "<", "bar": 60.0},
    ]  # fmt: skip
    for bar in bars:
        bar["holds"] = bar["value"] < bar["bar"]
    spread = {
        name: {"median": statistics.median(took), "min": min(took), "max": max(took)}
        for name, took in (
            ("plan_seconds", planned),
            ("forecast_seconds", foretold),
            ("fit_seconds", fitted),
        )
    }
    told = {
        "name": "scaling_speed",
        "n": {"plan": N, "forecast": N, "fit": FITS, "grid": 1},
        "hardware": {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "figures": {"steps_planned": len(large().steps), **made, **spread},
        "bars": bars,
    }
    print(json.dumps(told))
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
