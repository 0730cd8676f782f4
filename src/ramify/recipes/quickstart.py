"""From the text of this Python installation to a tree of trained models, in minutes on two cores."""

from __future__ import annotations

from typing import Literal

from ramify.curate.steps import Dedup, PythonInstallation, Read
from ramify.evals.steps import Evaluate
from ramify.ground.errors import BadInput
from ramify.ground.step import Ref
from ramify.ground.units import Tokens
from ramify.model.config import preset
from ramify.optim.config import Windows
from ramify.optim.schedule import Constant
from ramify.release.steps import Complete, Export
from ramify.runs.recipe import Recipe
from ramify.tokens.mixture import Stage
from ramify.tokens.steps import Corpus, Tokenize, Tokenizer
from ramify.train.steps import Average, Numerics, Probe, Trunk

DOMAINS: tuple[Literal["code", "prose", "math"], ...] = ("code", "prose", "math")
PROMPTS = ("def", "The function returns", "from sympy import")
ROWS, SEQ_LEN = 16, 256
STEP_TOKENS = ROWS * SEQ_LEN
LEAST = 160_000  # 40 steps: enough for three stages, a warm-up and two windows
STAGES = (  # in the manner of SmolLM2: prose first, then more code, then more mathematics
    (0.0, {"prose": 0.8, "code": 0.15, "math": 0.05}),
    (0.3, {"prose": 0.55, "code": 0.35, "math": 0.1}),
    (0.6, {"prose": 0.4, "code": 0.3, "math": 0.3}),
)


def recipe(
    budget: Tokens = 2_000_000, vocab: int = 3072, corpus_bytes: Tokens = 12_000_000, seed: int = 0
) -> Recipe:
    """Return the quickstart: three corpora, a trunk of three stages, cooldowns to a quarter, half and all of `budget`."""
    if budget < LEAST:
        raise BadInput(f"budget={budget} is too little for a tree", hint=f"give {LEAST} or more")
    reads = [
        Read(name=f"text/{d}", source=PythonInstallation(part=d), limit_bytes=corpus_bytes)
        for d in DOMAINS
    ]
    dedup = Dedup(
        name="text/clean",
        corpora={d: Ref(name=f"text/{d}") for d in DOMAINS},
        held_out=0.03,
        held_out_least=16,
        seed=seed,
    )
    corpora: dict[str, Corpus] = {d: Corpus(ref=Ref(name=dedup.name), part=d) for d in DOMAINS}
    tokenizer = Tokenizer(
        name="tokenizer", corpora=corpora, vocab=vocab, sample_bytes=2_000_000, seed=seed
    )
    packed = [
        Tokenize(
            name=d, corpus=corpora[d], tokenizer=Ref(name="tokenizer"), max_context=512, seed=seed
        )
        for d in DOMAINS
    ]
    sources: dict[str, Ref] = {d: Ref(name=d) for d in DOMAINS}
    every = max(round(budget / STEP_TOKENS) // 120, 1)
    windows = Windows(steps=5 * every, every=every)
    trunk = Trunk(
        name="trunk",
        model=preset("micro", vocab=vocab),
        sources=sources,
        stages=tuple(Stage(at=_step(share * budget), mixture=mixture) for share, mixture in STAGES),
        seq_len=SEQ_LEN,
        rows=ROWS,
        schedule=Constant(peak=4e-3, warmup=_step(0.04 * budget)),
        tokens=_step(0.8 * _step(budget)),
        numerics=Numerics(threads=1),
        probe=Probe(every=max(_step(budget / 10), _step(1)), limit_tokens=4_000),
        windows=windows,
        seed=seed,
    )
    budgets = {
        name: _step(share * budget)
        for name, share in (("quarter", 0.25), ("half", 0.5), ("whole", 1.0))
    }
    cools = [trunk.cooldown(f"cool-{name}", tokens) for name, tokens in budgets.items()]
    cosine = trunk.cosine("cosine-whole", budgets["whole"])
    mean = Average(name="mean", run=trunk.point(trunk.tokens), last=2, windows=windows)
    points = {
        **{cool.name: Ref(name=cool.name, at=cool.tokens) for cool in cools},
        **{f"trunk-at-{cool.name.removeprefix('cool-')}": cool.parent for cool in cools},
        cosine.name: Ref(name=cosine.name, at=cosine.tokens),
        mean.name: Ref(name=mean.name),
    }
    evals = [
        Evaluate(
            name=f"evals/{name}", model=point, corpora=sources, seq_len=SEQ_LEN, limit_tokens=20_000
        )
        for name, point in points.items()
    ]
    decayed = [cool.name for cool in cools]
    best = Export(
        name="best",
        models={name: points[name] for name in decayed},
        scores={name: Ref(name=f"evals/{name}") for name in decayed},
        tokenizer=Ref(name="tokenizer"),
    )
    heard = Complete(name="heard", model=Ref(name="best"), prompts=PROMPTS, seed=seed)
    return Recipe(
        name="quickstart",
        steps=(*reads, dedup, tokenizer, *packed, trunk, cosine, *cools, mean, *evals, best, heard),
    )


def _step(tokens: float, size: int = STEP_TOKENS) -> int:
    """Return tokens as whole steps of the quickstart's batch."""
    return max(round(tokens / size), 0) * size
