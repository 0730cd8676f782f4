"""A scaling grid in little: two sizes, three budgets, branches beside cosine runs, priced beforehand.

ramify plan examples/04_scaling_grid.py
ramify run examples/04_scaling_grid.py
ramify run examples/04_scaling_grid.py --set seeds='[0, 1, 2]'
"""

from ramify import (
    Corpus,
    Dedup,
    Grid,
    ModelConfig,
    PythonInstallation,
    Read,
    Recipe,
    Ref,
    Stage,
    Tokenize,
    Tokenizer,
    Tokens,
    Windows,
    preset,
)

ROWS, SEQ_LEN = 16, 128
STEP = ROWS * SEQ_LEN


def recipe(
    budgets: tuple[Tokens, ...] = (262_144, 524_288, 1_048_576),
    seeds: tuple[int, ...] = (0,),
    cosine: bool = True,
    corpus_bytes: Tokens = 4_000_000,
    held_out: Tokens = 40_000,
) -> Recipe:
    """Return a trunk for each size and seed, and for each budget a branch and a cosine run."""
    read = Read(name="text/raw", source=PythonInstallation(part="code"), limit_bytes=corpus_bytes)
    clean = Dedup(name="text/clean", corpora={"code": Ref(name=read.name)}, held_out=0.04)
    corpus = Corpus(ref=Ref(name=clean.name), part="code")
    tokenizer = Tokenizer(name="tokenizer", corpora={"code": corpus}, vocab=1024)
    code = Tokenize(
        name="code", corpus=corpus, tokenizer=Ref(name=tokenizer.name), max_context=SEQ_LEN
    )
    # [grid] sizes × budgets × (fraction, shape) × seeds
    grid = Grid(
        sizes={
            "50K": ModelConfig(layers=2, width=32, heads=2, kv_heads=1, ffw=96, vocab=1024),
            "150K": preset("nano", vocab=1024),
        },
        budgets=budgets,
        cooldowns=((0.2, "sqrt"),),
        seeds=seeds,
        peak=4e-3,
        cosine=cosine,
        sources={"code": Ref(name=code.name)},
        stages=(Stage(mixture={"code": 1.0}),),
        seq_len=SEQ_LEN,
        rows=ROWS,
        warmup=8 * STEP,
        windows=Windows(steps=10, every=2),
        averages=(1,),
        forecast=True,
        held_out=held_out,
    )
    # [/grid]
    return Recipe(name="scaling", steps=(read, clean, tokenizer, code, *grid.steps()))
