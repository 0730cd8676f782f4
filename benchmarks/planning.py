"""How long a plan takes: a tree of 10,000 steps, and what the door costs before it opens."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ramify.curate.steps import Files, Read
from ramify.ground.step import Ref
from ramify.model.config import preset
from ramify.optim.schedule import Constant
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.recipe import Recipe
from ramify.tokens.mixture import Stage
from ramify.tokens.steps import BroughtTokenizer, Corpus, Tokenize
from ramify.train.steps import Trunk

STEPS = 10_000
TRUNKS = 10
N = 7
HELP_N = 11


def tree() -> Recipe:
    """Return a recipe of 10,000 steps: ten trunks, and a thousand cooldowns off each."""
    read = Read(name="raw", source=Files(path="text"))
    tokenizer = BroughtTokenizer(name="tokenizer", path=Path("tokenizer.json"))
    packed = Tokenize(
        name="packed", corpus=Corpus(ref=Ref(name="raw")), tokenizer=Ref(name="tokenizer")
    )
    steps = [read, tokenizer, packed]
    each = (STEPS - len(steps) - TRUNKS) // TRUNKS
    for t in range(TRUNKS):
        trunk = Trunk(
            name=f"t{t}/trunk",
            model=preset("135M"),
            sources={"text": Ref(name="packed")},
            stages=(Stage(mixture={"text": 1.0}),),
            seq_len=2048,
            rows=512,
            schedule=Constant(peak=3e-3, warmup=2048 * 512 * 2000),
            tokens=2048 * 512 * 2_000_000,
            seed=t,
        )
        steps.append(trunk)
        first = 10_000
        steps += [
            trunk.cooldown(f"t{t}/c{k}", trunk.step_tokens * (first + 1000 * k))
            for k in range(each)
        ]
    return Recipe(name="tree", steps=tuple(steps))


def seconds(work: Callable[[], object], n: int) -> list[float]:
    """Return the wall seconds of n goes."""
    took = []
    for go in range(n):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
        print(f"  {go + 1}/{n}: {took[-1]:.3f} s", file=sys.stderr)
    return took


def main() -> int:
    """Measure, print one JSON object, and return 1 if a bar does not hold."""
    print("building the recipe", file=sys.stderr)
    began = time.perf_counter()
    recipe = tree()
    built = time.perf_counter() - began
    assert len(recipe.steps) > STEPS - TRUNKS
    with tempfile.TemporaryDirectory() as home:
        lab = Lab(Path(home) / "lab")
        print("planning", file=sys.stderr)
        planned = seconds(lambda: plan(recipe, lab), N)
    print("ramify --help", file=sys.stderr)
    door = [str(Path(sys.executable).with_name("ramify")), "--help"]
    opened = seconds(lambda: subprocess.run(door, check=True, capture_output=True), HELP_N)
    plan_s, help_s = statistics.median(planned), statistics.median(opened)
    bars = [
        {
            "what": f"plan of {len(recipe.steps)} steps, seconds",
            "value": plan_s,
            "op": "<",
            "bar": 1.0,
        },
        {"what": "ramify --help, seconds", "value": help_s, "op": "<", "bar": 0.3},
    ]
    for bar in bars:
        bar["holds"] = bar["value"] < bar["bar"]
    told = {
        "name": "planning",
        "n": N,
        "hardware": {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "figures": {
            "steps": len(recipe.steps),
            "recipe_built_and_checked_seconds": built,
            "plan_seconds": {"median": plan_s, "min": min(planned), "max": max(planned)},
            "help_seconds": {"median": help_s, "min": min(opened), "max": max(opened), "n": HELP_N},
        },
        "bars": bars,
    }
    print(json.dumps(told))
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
