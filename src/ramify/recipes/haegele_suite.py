"""The suite of Hägele et al., Table 3, as one grid: eight sizes from 33M to 360M, three budgets each."""

from __future__ import annotations

from ramify.curate.steps import Dedup, Files, Read
from ramify.ground.errors import BadInput
from ramify.ground.step import Ref
from ramify.ground.units import Tokens
from ramify.model.config import preset
from ramify.optim.config import Windows
from ramify.runs.grid import Grid, Size
from ramify.runs.recipe import Recipe
from ramify.tokens.mixture import Stage
from ramify.tokens.steps import Corpus, Tokenize, Tokenizer
from ramify.train.steps import Numerics

SEQ_LEN = 512
ROWS = 200  # of 512: 0.1M tokens; the 360M has 0.2M
WARMUP_STEPS = 300
GPT2_VOCAB = 50_257  # their networks have 50,304: room to a multiple of 64
TABLE_3 = {  # budgets in millions of tokens, and the constant rate: half of their cosine's
    "33M": ((300, 700, 1000), 1e-3),
    "53M": ((400, 800, 1200), 1e-3),
    "60M": ((800, 1300, 1800), 1e-3),
    "93M": ((1000, 1800, 2600), 1e-3),
    "124M": ((1500, 2600, 3600), 5e-4),
    "151M": ((2600, 3800, 5100), 5e-4),
    "210M": ((3800, 5100, 6400), 5e-4),
    "360M": ((5100, 7700, 10_200), 5e-4),
}


def recipe(
    folder: str = "text",
    sizes: tuple[str, ...] = tuple(TABLE_3),
    fraction: float = 0.2,
    seeds: tuple[int, ...] = (0,),
    cosine: bool = False,
    held_out: Tokens = 3_000_000,
) -> Recipe:
    """Return the suite on the text in `folder`, which need not be there to be priced.

    They trained on SlimPajama-6B with the vocabulary of GPT-2; here one of its size is trained on
    the folder. With `cosine`, the runs that they compare with are trained too.
    """
    if unknown := [name for name in sizes if name not in TABLE_3]:
        raise BadInput(
            f"the suite has no size {unknown[0]!r}", hint=f"it has: {', '.join(TABLE_3)}"
        )
    read = Read(name="text/raw", source=Files(path=folder))
    clean = Dedup(name="text/clean", corpora={"text": Ref(name=read.name)})
    corpus = Corpus(ref=Ref(name=clean.name), part="text")
    tokenizer = Tokenizer(name="tokenizer", corpora={"text": corpus}, vocab=GPT2_VOCAB)
    packed = Tokenize(
        name="text/tokens", corpus=corpus, tokenizer=Ref(name=tokenizer.name), max_context=SEQ_LEN
    )
    grid = Grid(
        sizes={name: _size(name) for name in sizes},
        sources={"text": Ref(name=packed.name)},
        stages=(Stage(mixture={"text": 1.0}),),
        seq_len=SEQ_LEN,
        rows=ROWS,
        warmup=WARMUP_STEPS * ROWS * SEQ_LEN,
        cooldowns=((fraction, "sqrt"),),
        seeds=seeds,
        cosine=cosine,
        windows=Windows(),
        held_out=held_out,
        numerics=Numerics(),
    )
    return Recipe(name="haegele_suite", steps=(read, clean, tokenizer, packed, *grid.steps()))


def _size(name: str) -> Size:
    budgets, peak = TABLE_3[name]
    rows = 2 * ROWS if name == "360M" else ROWS
    return Size(
        model=preset(f"h{name}"),
        budgets=tuple(millions * 10**6 for millions in budgets),
        peak=peak,
        rows=rows,
        warmup=WARMUP_STEPS * rows * SEQ_LEN,
    )
