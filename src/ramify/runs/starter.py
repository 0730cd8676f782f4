"""A first recipe for a folder of text: its corpora found, its sizes chosen from what is there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from string import Template

from ramify.ground.errors import BadInput, NotFound
from ramify.ground.units import show_bytes, show_count
from ramify.model.config import PRESETS, preset

TEXT = frozenset({".txt", ".md", ".rst", ".jsonl", ".parquet", ".py", ".c", ".h", ".cpp", ".js", ".ts", ".go",
                  ".rs", ".java", ".rb", ".php", ".sh", ".sql", ".tex", ".html"})  # fmt: skip
PACKED = frozenset({".gz", ".zst"})
BYTES_A_TOKEN = 3.3  # of a byte-level vocabulary of a few thousand, on English and code
PACKED_FACTOR = 4.0  # text is about this much larger than its archive
EPOCHS = 2.0  # the whole budget reads each token about twice; beyond 4 to 5 it stops helping
TOKENS_A_PARAMETER = 20.0  # Hoffmann et al. 2022, the usual first guess
SIZES = ("nano", "micro", "mini", "h33M", "135M")
LEAST_BYTES = 200_000
SHARES = (0.25, 0.5, 1.0)  # of the budget: the answers of the first tree
WARM_UP = 0.04  # of the budget; written down as tokens, since a trunk knows no budget


def write_recipe(folder: Path, out: Path) -> Iterator[str]:
    """Write a recipe for the text under `folder` to `out`; yield lines that say what was chosen.

    Each sub-folder with text becomes a corpus, or the folder itself. Raises NotFound for no folder,
    BadInput where there is too little text or where `out` is there.
    """
    if not folder.exists():
        raise NotFound(f"there is no {folder}", hint="name a folder of text or jsonl")
    if out.exists():
        raise BadInput(f"{out} is there already", hint="give --out another name")
    corpora = _corpora(folder)
    total = sum(size for _, size in corpora.values())
    if total < LEAST_BYTES:
        raise BadInput(
            f"{folder} holds {show_bytes(total)} of text that can be read",
            hint=f"{show_bytes(LEAST_BYTES)} is the least to learn from (txt, md, jsonl, parquet, source; .gz and .zst of these)",
        )
    vocab = 4096 if total < 100e6 else 16384
    tokens = EPOCHS * total / BYTES_A_TOKEN
    size = _size(tokens, vocab)
    rows, seq_len = (16, 256) if size in ("nano", "micro", "mini") else (64, 512)
    step = rows * seq_len
    budget = max(round(tokens / step), 32) * step
    out.write_text(_text(out, corpora, total, size, vocab, rows, seq_len, budget))
    for name, (_, size_bytes) in corpora.items():
        yield f"corpus {name}: {show_bytes(size_bytes)}"
    yield f"model {size}, budget {show_count(budget)} tokens (about {EPOCHS:g} times the text)"
    yield f"wrote {out}; now type: ramify plan {out}"


def _corpora(folder: Path) -> dict[str, tuple[Path, float]]:
    if folder.is_file():
        return {_label(folder.name.split(".")[0]): (folder, _text_bytes(folder))}
    own = sum(_text_bytes(path) for path in folder.iterdir() if path.is_file())
    inner = {
        _label(path.name): (path, sum(_text_bytes(p) for p in path.rglob("*") if p.is_file()))
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    }
    inner = {name: found for name, found in inner.items() if found[1] > 0}
    if own or not inner:
        whole = own + sum(size for _, size in inner.values())
        return {_label(folder.resolve().name): (folder, whole)}
    return inner


def _label(name: str) -> str:
    kept = "".join(c if c.isalnum() and c.isascii() else "-" for c in name).strip("-").lower()
    return kept or "text"


def _text_bytes(path: Path) -> float:
    suffixes = path.suffixes
    packed = bool(suffixes) and suffixes[-1] in PACKED
    kind = suffixes[-2] if packed and len(suffixes) > 1 else path.suffix
    if path.name.startswith(".") or kind not in TEXT:
        return 0.0
    return path.stat().st_size * (PACKED_FACTOR if packed or kind == ".parquet" else 1.0)


def _size(tokens: float, vocab: int) -> str:
    """Return the named size whose parameters are nearest to a twentieth of the tokens."""
    wanted = math.log(max(tokens / TOKENS_A_PARAMETER, 1))
    return min(SIZES, key=lambda name: abs(math.log(preset(name, vocab=vocab).parameters) - wanted))


def _text(
    out: Path, corpora: dict[str, tuple[Path, float]], total: float, size: str, vocab: int, rows: int, seq_len: int, budget: int
) -> str:  # fmt: skip
    assert size in PRESETS
    step = rows * seq_len
    shares = _shares({name: bytes_ for name, (_, bytes_) in corpora.items()})
    lines = [f'    "{name}": {str(path.resolve())!r},' for name, (path, _) in corpora.items()]
    return TEMPLATE.substitute(
        name=_label(out.stem),
        folders="\n".join(lines),
        mixture=", ".join(f'"{name}": {share}' for name, share in shares.items()),
        size=size,
        vocab=vocab,
        rows=rows,
        seq_len=seq_len,
        budgets=", ".join(f"{round(share * budget / step) * step:_}" for share in SHARES),
        warmup=f"{max(round(WARM_UP * budget / step), 1) * step:_}",
        probe=f"{max(round(budget / 10 / step), 1) * step:_}",
        total=show_bytes(total),
        peak=f"{2e-3 if rows == 16 else 1e-3:g}",
    )


def _shares(sizes: dict[str, float]) -> dict[str, float]:
    """Return shares by size, as decimals of two places that sum to 1, none below 0.01."""
    total = sum(sizes.values())
    hundredths = {name: max(int(100 * size / total), 1) for name, size in sizes.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    hundredths[largest] += 100 - sum(hundredths.values())
    return {name: count / 100 for name, count in hundredths.items()}


TEMPLATE = Template('''"""A trunk and its cooldowns on $total of text. Change anything; what is made and unchanged is kept."""

from ramify import (
    Complete, Constant, Corpus, Dedup, Evaluate, Export, Files, Numerics, Probe, Read, Recipe, Ref,
    Stage, Tokenize, Tokenizer, Tokens, preset,
    Trunk,
)

FOLDERS = {
$folders
}


def recipe(
    budgets: tuple[Tokens, ...] = ($budgets),
    warmup: Tokens = $warmup,
    vocab: int = $vocab,
    seed: int = 0,
) -> Recipe:
    """Return the tree: budgets answered by one trunk, and a cosine run of the longest to compare with.

    Add a budget, and the trunk goes on from where it is.
    """
    reads = [Read(name=f"text/{c}", source=Files(path=path)) for c, path in FOLDERS.items()]
    clean = Dedup(name="text/clean", corpora={c: Ref(name=f"text/{c}") for c in FOLDERS})
    corpora = {c: Corpus(ref=Ref(name="text/clean"), part=c) for c in FOLDERS}
    tokenizer = Tokenizer(name="tokenizer", corpora=corpora, vocab=vocab)
    packed = [
        Tokenize(name=f"tokens/{c}", corpus=corpora[c], tokenizer=Ref(name="tokenizer"), max_context=$seq_len)
        for c in FOLDERS
    ]
    sources = {c: Ref(name=f"tokens/{c}") for c in FOLDERS}
    step = $rows * $seq_len
    ends_at = [max(round(tokens / step), 2) * step for tokens in sorted(budgets)]
    trunk = Trunk(
        name="trunk",
        model=preset("$size", vocab=vocab),
        sources=sources,
        stages=(Stage(mixture={$mixture}),),
        seq_len=$seq_len,
        rows=$rows,
        schedule=Constant(peak=$peak, warmup=warmup),
        tokens=round(0.8 * ends_at[-1] / step) * step,
        probe=Probe(every=$probe),
        numerics=Numerics(threads=1),
        seed=seed,
    )
    names = [f"{tokens / 1e6:.4g}M" for tokens in ends_at]
    cools = [trunk.cooldown(f"cool-{n}", end) for n, end in zip(names, ends_at, strict=True)]
    cosine = trunk.cosine(f"cosine-{names[-1]}", ends_at[-1])
    ends = {run.name: Ref(name=run.name, at=run.tokens) for run in (*cools, cosine)}
    evals = [
        Evaluate(name=f"evals/{name}", model=end, corpora=sources, seq_len=$seq_len, limit_tokens=50_000)
        for name, end in ends.items()
    ]
    best = Export(
        name=f"best-{names[-1]}",
        models=ends,
        scores={name: Ref(name=f"evals/{name}") for name in ends},
        tokenizer=Ref(name="tokenizer"),
    )
    heard = Complete(name=f"heard-{names[-1]}", model=Ref(name=best.name), prompts=("The ", "In the beginning"))
    return Recipe(
        name="$name",
        steps=(*reads, clean, tokenizer, *packed, trunk, cosine, *cools, *evals, best, heard),
    )
''')
