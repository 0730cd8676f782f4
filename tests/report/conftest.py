"""A small real lab from two folders of text files, made once, and in this process to be quick."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ramify.curate.steps import Dedup, Files, Read
from ramify.evals.steps import Evaluate
from ramify.ground.step import Ref, Step
from ramify.model.config import ModelConfig
from ramify.optim.config import Windows
from ramify.optim.schedule import Constant
from ramify.runs.execute import execute
from ramify.runs.job import Given, Job, told
from ramify.runs.lab import Lab
from ramify.runs.plan import Item, Plan, plan
from ramify.runs.recipe import Recipe
from ramify.tokens.mixture import Stage
from ramify.tokens.steps import Corpus, Tokenize, Tokenizer
from ramify.train import places
from ramify.train.steps import Average, Numerics, Probe, Run, Trunk

STEP = 8 * 32
DOMAINS = ("words", "sums")
MODEL = ModelConfig(layers=1, width=16, heads=2, kv_heads=1, ffw=32, vocab=300)


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Hear how far a step is, and say nothing."""


def write_texts(home: Path) -> None:
    """Write files of seeded sentences and of seeded sums, and one that is too short to keep."""
    draw = random.Random(0)
    words = [f"{a}{b}" for a in ("ka", "lo", "mi", "ren", "stu") for b in ("ba", "do", "fi", "gu")]
    for domain in DOMAINS:
        (home / domain).mkdir(parents=True)
    for number in range(40):
        said = " ".join(draw.choice(words) for _ in range(150))
        sums = [(draw.randrange(99), draw.randrange(99)) for _ in range(60)]
        told = "\n".join(f"the sum of {a} and {b} is surely {a + b}" for a, b in sums)
        (home / "words" / f"{number:02d}.txt").write_text(said)
        (home / "sums" / f"{number:02d}.txt").write_text(told)
    (home / "words" / "short.txt").write_text("no")


def tiny(home: Path) -> Recipe:
    """Return a trunk of two stages with two cooldowns, a cosine, an average, and evaluations."""
    reads = [Read(name=f"text/{d}", source=Files(path=str(home / d))) for d in DOMAINS]
    corpora = {d: Ref(name=f"text/{d}") for d in DOMAINS}
    clean = Dedup(name="text/clean", corpora=corpora, held_out_least=4)
    parts = {d: Corpus(ref=Ref(name="text/clean"), part=d) for d in DOMAINS}
    tokenizer = Tokenizer(name="tokenizer", corpora=parts, vocab=300)
    packed = [
        Tokenize(name=d, corpus=parts[d], tokenizer=Ref(name="tokenizer"), max_context=32)
        for d in DOMAINS
    ]
    sources = {d: Ref(name=d) for d in DOMAINS}
    windows = Windows(steps=10, every=5)
    trunk = Trunk(
        name="trunk",
        model=MODEL,
        sources=sources,
        stages=(
            Stage(at=0, mixture={"words": 0.75, "sums": 0.25}),
            Stage(at=20 * STEP, mixture={"words": 0.5, "sums": 0.5}),
        ),
        seq_len=32,
        rows=8,
        schedule=Constant(peak=1e-2, warmup=4 * STEP),
        tokens=40 * STEP,
        numerics=Numerics(threads=1, compile=False),
        probe=Probe(every=10 * STEP, limit_tokens=500),
        windows=windows,
    )
    early = trunk.cooldown("cool-early", 20 * STEP)
    late = trunk.cooldown("cool-late", 50 * STEP)
    cosine = trunk.cosine("cosine", 50 * STEP)
    mean = Average(name="mean", run=trunk.point(40 * STEP), last=2, windows=windows)
    judged: dict[str, Any] = {
        "late": Ref(name="cool-late", at=late.tokens),
        "cosine": Ref(name="cosine", at=cosine.tokens),
        "left": late.parent,
    }
    evals = [
        Evaluate(name=f"evals/{n}", model=ref, corpora=sources, seq_len=32)
        for n, ref in judged.items()
    ]
    steps = (*reads, clean, tokenizer, *packed, trunk, early, late, cosine, mean, *evals)
    return Recipe(name="tiny", steps=steps)


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    home = tmp_path_factory.mktemp("texts")
    write_texts(home)
    return tiny(home)


def make(recipe: Recipe, lab: Lab) -> Lab:
    """Do every job that an engine would give to a worker, one after the other."""
    lab.create()
    planned = plan(recipe, lab)
    for item in planned.to_do:
        assert execute(job(planned, lab, item), quiet, quiet_note, lambda: False)
    return lab


def quiet_note(note: str) -> None:
    """Hear a note, and say nothing."""


def job(planned: Plan, lab: Lab, item: Item) -> Job:
    """Return the job that makes a step of a plan."""
    step, recipe, prints = item.step, planned.recipe, planned.prints
    lineage: tuple[Step, ...] = recipe.lineage(step) if isinstance(step, Run) else (step,)
    refs = dict(step.refs())
    for above in lineage:
        refs |= {where: ref for where, ref in above.refs().items() if where.startswith("sources.")}
    inputs = {
        where: Given(path=str(folder(recipe, lab, ref)), fingerprint=prints.of(ref))
        for where, ref in refs.items()
    }
    return Job(
        steps=tuple(told(each) for each in lineage),
        inputs=inputs,
        folder=str(lab.at(item.name)),
        lock=str(lab.lock(item.name)),
        points=item.points,
        asked={} if isinstance(step, Run) else json.loads(json.dumps(prints.asked(item.name))),
    )


def folder(recipe: Recipe, lab: Lab, ref: Ref) -> Path:
    """Return where what a ref names is kept."""
    end = recipe.end(ref)
    return lab.at(ref.name) if end is None else places.point_folder(lab.at(ref.name), end)


@pytest.fixture(scope="session")
def lab(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make(recipe, Lab(tmp_path_factory.mktemp("labs") / "tiny"))


def grid_of(recipe: Recipe) -> Recipe:
    """Return the data of a recipe with three sizes, each a trunk and three evaluated cooldowns."""
    made = (Run, Average, Evaluate)
    steps = [step for step in recipe.steps if not isinstance(step, made)]
    tiny_trunk = next(step for step in recipe.steps if isinstance(step, Trunk))
    for ffw in (32, 512, 2048):
        trunk = tiny_trunk.but(
            name=f"{ffw}/trunk",
            model=MODEL.model_copy(update={"ffw": ffw}),
            stages=(Stage(at=0, mixture={"words": 0.5, "sums": 0.5}),),
            tokens=10 * STEP,
            probe=None,
            windows=None,
        )
        steps.append(trunk)
        for ends in (10, 20, 30):
            cool = trunk.cooldown(f"{ffw}/cool-{ends}", ends * STEP)
            model = Ref(name=cool.name, at=cool.tokens)
            judged = Evaluate(
                name=f"{ffw}/eval-{ends}", model=model, corpora=trunk.sources, seq_len=32
            )
            steps += [cool, judged]
    return Recipe(name="grid", steps=tuple(steps))


@pytest.fixture(scope="session")
def grid(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make(grid_of(recipe), Lab(tmp_path_factory.mktemp("labs") / "grid"))
