"""A recipe for a folder of jsonl, from raw rows to a trained tree.

ramify run examples/02_your_own_text.py --set folder=my/texts --set budget=4M
"""

from ramify import (
    Complete,
    Constant,
    Corpus,
    Dedup,
    Evaluate,
    Export,
    Files,
    Numerics,
    Read,
    Recipe,
    Ref,
    Stage,
    Tokenize,
    Tokenizer,
    Tokens,
    Trunk,
    preset,
)

ROWS, SEQ_LEN = 16, 256
STEP = ROWS * SEQ_LEN


def recipe(
    folder: str = "my/texts",
    text_column: str = "text",
    budget: Tokens = 1_000_000,
    vocab: int = 2048,
) -> Recipe:
    """Return one corpus, one trunk, and a cooldown to half and to all of `budget`."""
    # [data] every document kept or dropped has its reason; near-copies of held-out text are gone
    read = Read(name="text/raw", source=Files(path=folder, text_column=text_column))
    clean = Dedup(name="text/clean", corpora={"own": Ref(name=read.name)}, held_out=0.02)
    corpus = Corpus(ref=Ref(name=clean.name), part="own")
    tokenizer = Tokenizer(name="tokenizer", corpora={"own": corpus}, vocab=vocab)
    own = Tokenize(
        name="own", corpus=corpus, tokenizer=Ref(name=tokenizer.name), max_context=SEQ_LEN
    )
    # [/data]

    # [tree] a run at a constant rate has no length: both answers leave one trunk
    whole = budget // STEP * STEP
    trunk = Trunk(
        name="trunk",
        model=preset("micro", vocab=vocab),
        sources={"own": Ref(name=own.name)},
        stages=(Stage(mixture={"own": 1.0}),),
        seq_len=SEQ_LEN,
        rows=ROWS,
        schedule=Constant(peak=2e-3, warmup=2 * STEP),
        tokens=round(0.8 * whole / STEP) * STEP,
        numerics=Numerics(threads=1),
    )
    cools = [
        trunk.cooldown("cool-half", whole // 2 // STEP * STEP),
        trunk.cooldown("cool-whole", whole),
    ]
    # [/tree]

    ends = {cool.name: Ref(name=cool.name, at=cool.tokens) for cool in cools}
    evals = [
        Evaluate(name=f"evals/{name}", model=end, corpora=trunk.sources, seq_len=SEQ_LEN)
        for name, end in ends.items()
    ]
    best = Export(
        name="best",
        models=ends,
        scores={name: Ref(name=f"evals/{name}") for name in ends},
        tokenizer=Ref(name=tokenizer.name),
    )
    heard = Complete(name="heard", model=Ref(name=best.name), prompts=("The ",))
    return Recipe(
        name="your-own-text",
        steps=(read, clean, tokenizer, own, trunk, *cools, *evals, best, heard),
    )
