"""A whole lab in little: texts, a recipe as a person writes it, and the lab made in this process."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from ramify.ground import artifact
from ramify.ground.journal import read as read_journal
from ramify.runs.engine import job_of
from ramify.runs.execute import execute
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.recipe import Recipe, load
from ramify.train import places

STEP = 64
DOMAINS = ("words", "sums")
RECIPE = '''\
"""A tree in little: a trunk of two stages, cooldowns, a cosine, an average, evaluations."""

from ramify import (
    Average, Constant, Corpus, Dedup, Ema, Evaluate, Files, ModelConfig, Numerics, Probe, Read,
    Recipe, Ref, Stage, Tokenize, Tokenizer, Trunk, Windows,
)

TEXTS = "{texts}"
STEP = 64


def recipe(
    steps: int = 12,
    peak: float = 1e-2,
    share: float = 0.75,
    cools: list[int] = [10, 15],
    extra: list[int] = [],
    seed: int = 0,
    wild: float | None = None,
) -> Recipe:
    names = ("words", "sums")
    reads = [Read(name=f"text/{{n}}", source=Files(path=f"{{TEXTS}}/{{n}}")) for n in names]
    clean = Dedup(name="clean", corpora={{n: Ref(name=f"text/{{n}}") for n in names}}, held_out_least=3)
    corpora = {{n: Corpus(ref=Ref(name="clean"), part=n) for n in names}}
    tokenizer = Tokenizer(name="tokenizer", corpora=corpora, vocab=300)
    sources = {{n: Ref(name=n) for n in names}}
    packed = [
        Tokenize(name=n, corpus=corpora[n], tokenizer=Ref(name="tokenizer"), max_context=16)
        for n in names
    ]
    windows = Windows(steps=4, every=2)
    trunk = Trunk(
        name="trunk",
        model=ModelConfig(layers=1, width=16, heads=2, kv_heads=1, ffw=32, vocab=300),
        sources=sources,
        stages=(
            Stage(mixture={{"words": share, "sums": 1 - share}}),
            Stage(at=6 * STEP, mixture={{"words": 0.5, "sums": 0.5}}),
        ),
        seq_len=16,
        rows=4,
        schedule=Constant(peak=peak, warmup=2 * STEP),
        tokens=steps * STEP,
        points=tuple(n * STEP for n in extra),
        numerics=Numerics(threads=1, compile=False, dtype="float32"),
        windows=windows,
        ema=Ema(decay=0.5, every=2),
        skip_limit=3,
        seed=seed,
    )
    branches = [trunk.cooldown(f"cool-{{n}}", n * STEP) for n in cools]
    cosine = trunk.cosine("cosine", 15 * STEP, peak=wild)
    mean = Average(name="mean", run=trunk.point(12 * STEP), last=2, windows=windows)
    ends = {{run.name: Ref(name=run.name, at=run.tokens) for run in (*branches, cosine)}}
    ends["mean"] = Ref(name="mean")
    evals = [
        Evaluate(name=f"evals/{{n}}", model=end, corpora=sources, seq_len=16)
        for n, end in ends.items()
    ]
    return Recipe(
        name="tiny",
        steps=(*reads, clean, tokenizer, *packed, trunk, *branches, cosine, mean, *evals),
    )
'''


def write_texts(home: Path) -> Path:
    """Write files of seeded sentences and of seeded sums, and one that is too short to keep."""
    draw = random.Random(0)
    words = [f"{a}{b}" for a in ("ka", "lo", "mi", "ren", "stu") for b in ("ba", "do", "fi", "gu")]
    for domain in DOMAINS:
        (home / domain).mkdir(parents=True)
    for number in range(16):
        said = " ".join(draw.choice(words) for _ in range(60))
        sums = [(draw.randrange(99), draw.randrange(99)) for _ in range(25)]
        told = "\n".join(f"the sum of {a} and {b} is surely {a + b}" for a, b in sums)
        (home / "words" / f"{number:02d}.txt").write_text(said)
        (home / "sums" / f"{number:02d}.txt").write_text(told)
    (home / "words" / "short.txt").write_text("no")
    return home


def write_recipe(home: Path, texts: Path) -> Path:
    """Write the recipe of the tree in little for some texts."""
    path = home / "tiny.py"
    path.write_text(RECIPE.format(texts=texts))
    return path


def quiet(*_: Any, **__: Any) -> None:
    """Hear something, and say nothing."""


def make(recipe: Recipe, lab: Lab, *only: str, until: int | None = None) -> Lab:
    """Do every job that the engine would give to a worker, one after the other, in this process."""
    lab.create()
    planned = plan(recipe, lab, only=only, until=until)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)  # nothing here outlives the machine
        for item in planned.to_do:
            assert execute(job_of(planned, lab, item, 1), quiet, quiet, lambda: False)
    return lab


def prints(lab: Lab) -> dict[str, dict[str, str]]:
    """Return the hash of every file of every finished folder: what was made, bit for bit."""
    found = {}
    for place in lab.places():
        folders = [place.folder]
        if place.is_run:
            folders = [
                *places.points(place.folder).values(),
                *places.windows(place.folder).values(),
            ]
        for folder in folders:
            record = artifact.read_record(folder)
            if record is not None:
                name = folder.relative_to(lab.folder).as_posix()
                found[name] = {file: made.sha256 for file, made in record.files.items()}
    return found


def told(lab: Lab, run: str) -> list[tuple[int, str, float]]:
    """Return tokens, hash chain and loss of every step of a run, as its journal tells them."""
    lines = read_journal(lab.at(run) / places.JOURNAL, "step")
    return [(line["tokens"], line["chain"], line["loss"]) for line in lines]


def loaded(path: Path, **settings: Any) -> Recipe:
    """Return the recipe in a file, with settings as they are typed."""
    return load(str(path), {name: str(value) for name, value in settings.items()})
