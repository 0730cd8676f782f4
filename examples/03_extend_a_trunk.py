"""A budget thought of later: the trunk grows on, and only what is new is paid for.

ramify run examples/03_extend_a_trunk.py
ramify run examples/03_extend_a_trunk.py --set budgets='["256K", "512K", "1M"]'
"""

from ramify import (
    Constant,
    Corpus,
    Dedup,
    Numerics,
    PythonInstallation,
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

ROWS, SEQ_LEN = 16, 128
STEP = ROWS * SEQ_LEN


def recipe(
    budgets: tuple[Tokens, ...] = (262_144, 524_288), corpus_bytes: Tokens = 4_000_000
) -> Recipe:
    """Return one trunk over the standard library's source, and a cooldown for each budget."""
    read = Read(name="text/raw", source=PythonInstallation(part="code"), limit_bytes=corpus_bytes)
    clean = Dedup(name="text/clean", corpora={"code": Ref(name=read.name)})
    corpus = Corpus(ref=Ref(name=clean.name), part="code")
    tokenizer = Tokenizer(name="tokenizer", corpora={"code": corpus}, vocab=1024)
    code = Tokenize(
        name="code", corpus=corpus, tokenizer=Ref(name=tokenizer.name), max_context=SEQ_LEN
    )
    # [trunk] `tokens` is no part of a trunk's identity: it grows to wherever a branch leaves it
    trunk = Trunk(
        name="trunk",
        model=preset("nano", vocab=1024),
        sources={"code": Ref(name=code.name)},
        stages=(Stage(mixture={"code": 1.0}),),
        seq_len=SEQ_LEN,
        rows=ROWS,
        schedule=Constant(peak=3e-3, warmup=8 * STEP),
        tokens=8 * STEP,
        numerics=Numerics(threads=1),
    )
    cools = [
        trunk.cooldown(f"cool-{tokens // 1000}K", round(tokens / STEP) * STEP) for tokens in budgets
    ]
    # [/trunk]
    return Recipe(name="extend", steps=(read, clean, tokenizer, code, trunk, *cools))
