"""Which filter earned its place: a corpus without each filter and by each alone, annealed in off one trunk.

text ─► near-duplicates out, documents held out ─┬─► no filter ─────────────► trunk ──●─▶ per seed
                                                 ├─► all filters ──► tokens ──────────●─▶ branches of
                                                 ├─► all but one ──► tokens ──────────●─▶ equal tokens
                                                 └─► one alone ────► tokens ──────────●─▶ each evaluated
  each filter: bits per byte of the branch that lacks it less those of the one that has it
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Literal

from ramify.curate.filters import PROSE, Filter
from ramify.curate.steps import Dedup, Files, PythonInstallation, Read, Sift
from ramify.evals.steps import Ablation, Evaluate, Pair, Trial
from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step
from ramify.ground.units import Tokens
from ramify.model.config import preset
from ramify.optim.schedule import Constant
from ramify.runs.recipe import Recipe
from ramify.tokens.mixture import Stage
from ramify.tokens.steps import Corpus, Tokenize, Tokenizer
from ramify.train.steps import Cooldown, Numerics, Trunk

Way = Literal["without", "alone"]
Arm = tuple[int, ...]
"""The filters that a corpus passed, by their numbers, in order."""
TEXT, ALL, PASSING = "text", "all", "passing"


def recipe(
    text: str | None = None,
    text_column: str = "text",
    filters: tuple[Filter, ...] = PROSE,
    ways: tuple[Way, ...] = ("without", "alone"),
    targets: dict[str, str] | None = None,
    corpus_bytes: Tokens | None = None,
    budget: Tokens = 2_000_000,
    anneal: float = 0.4,
    share: float = 1.0,
    model: str = "micro",
    peak: float = 4e-3,
    rows: int = 16,
    seq_len: int = 256,
    vocab: int = 4096,
    seeds: tuple[int, ...] = (0, 1, 2),
    held_out: Tokens = 40_000,
) -> Recipe:
    """Return the ablation of `filters` on the folder `text` (None: this Python's documentation).

    Each arm is a branch that reads its corpus as `share` of the last `anneal` of `budget` tokens, and
    the unfiltered text for the rest, as do the annealing ablations of the SmolLM2 paper (section
    3.1). All are evaluated on held-out documents that pass every filter, on all held-out ones, and on
    those of `targets` (name -> folder), by which filters are judged where there are any.
    """
    if len(filters) < 2:
        raise BadInput(f"{len(filters)} filters leave nothing to compare", hint="give two or more")
    tried = _Tried(filters, text, text_column, targets or {}, corpus_bytes, vocab, seq_len)
    study = _Study(tried, ways, budget, anneal, share, seeds, held_out)
    trunks = [
        Trunk(
            name=f"s{seed}/trunk",
            model=preset(model, vocab=vocab),
            sources={ALL: Ref(name=ALL)},
            stages=(Stage(mixture={ALL: 1.0}),),
            seq_len=seq_len,
            rows=rows,
            schedule=Constant(peak=peak, warmup=round(0.04 * budget / rows / seq_len) * rows * seq_len),
            tokens=round((1 - anneal) * budget / rows / seq_len) * rows * seq_len,
            numerics=Numerics(threads=1),
            seed=seed,
        )
        for seed in seeds
    ]  # fmt: skip
    return Recipe(name="filter_ablation", steps=(*tried.steps(study.arms), *study.steps(trunks)))


class _Tried:
    """The corpora of the ablation: read once, each arm sifted on from as much as it shares."""

    def __init__(
        self,
        filters: tuple[Filter, ...],
        text: str | None,
        text_column: str,
        targets: dict[str, str],
        limit: int | None,
        vocab: int,
        seq_len: int,
    ) -> None:
        self.filters, self.targets = filters, targets
        self.vocab, self.seq_len = vocab, seq_len
        self.every: Arm = tuple(range(len(filters)))
        self.labels = _labels(filters)
        source = (
            PythonInstallation(part="prose")
            if text is None
            else Files(path=text, text_column=text_column)
        )
        self.read = Read(name="read/text", source=source, filters=(), limit_bytes=limit)
        if taken := {TEXT, ALL, PASSING} & {*targets}:
            raise BadInput(f"a target is called {min(taken)!r}", hint="give it another name")

    def named(self, arm: Arm) -> str:
        """Return what an arm is called."""
        if arm in ((), self.every):
            return "full" if arm else "none"
        missing = [self.labels[n] for n in self.every if n not in arm]
        if len(missing) == 1:
            return f"without-{missing[0]}"
        return "only-" + "-".join(self.labels[n] for n in arm)

    def steps(self, arms: list[Arm]) -> Iterator[Step]:
        """Yield what makes the tokens of every arm, of the trunk and of the targets."""
        reads = [Read(name=f"read/{n}", source=Files(path=p)) for n, p in self.targets.items()]
        yield from (self.read, *reads)
        # targets come first: what is near to them leaves the text, held out or not
        corpora = {
            **{n: Ref(name=f"read/{n}") for n in self.targets},
            TEXT: Ref(name=self.read.name),
        }
        yield Dedup(name="clean", corpora=corpora, held_out=0.03, held_out_least=16)
        clean = {label: Corpus(ref=Ref(name="clean"), part=label) for label in corpora}
        tokenizer = Tokenizer(
            name="tokenizer", corpora=clean, vocab=self.vocab, sample_bytes=20_000_000
        )
        yield tokenizer
        sifts = {step.name: step for arm in arms for step in self._sifts(arm)}
        yield from sifts.values()
        yield self._packed(ALL, clean[TEXT], 0)
        yield from (self._packed(name, clean[name], 0) for name in self.targets)
        yield from (self._packed(f"arms/{self.named(arm)}", self._corpus(arm), 1) for arm in arms)

    def _packed(self, name: str, corpus: Corpus, seed: int) -> Tokenize:
        return Tokenize(
            name=name, corpus=corpus, tokenizer=Ref(name="tokenizer"), max_context=2 * self.seq_len, seed=seed
        )  # fmt: skip

    def _shared(self, arm: Arm) -> int:
        """Return how many filters an arm has in common with all of them, from the first on."""
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(arm, self.every, strict=False)))  # fmt: skip

    def _corpus(self, arm: Arm) -> Corpus:
        if not arm:
            return Corpus(ref=Ref(name="clean"), part=TEXT)
        shared = self._shared(arm)
        return Corpus(ref=Ref(name=f"sifted/{'first-' + str(shared) if shared == len(arm) else self.named(arm)}"))  # fmt: skip

    def _sifts(self, arm: Arm) -> Iterator[Sift]:
        shared = self._shared(arm)
        for count in range(1, shared + 1):
            before = self._corpus(self.every[: count - 1])
            yield self._sift(f"sifted/first-{count}", before, (self.filters[count - 1],))
        if shared < len(arm):
            rest = tuple(self.filters[n] for n in arm[shared:])
            yield self._sift(f"sifted/{self.named(arm)}", self._corpus(arm[:shared]), rest)

    def _sift(self, name: str, corpus: Corpus, filters: tuple[Filter, ...]) -> Sift:
        return Sift(name=name, corpus=corpus.ref, part=corpus.part, filters=filters)


def _labels(filters: tuple[Filter, ...]) -> list[str]:
    """Return a name for each filter: its kind, with its number where there are several of a kind."""
    kinds = [each.kind for each in filters]
    return [k if kinds.count(k) == 1 else f"{k}-{n}" for n, k in enumerate(kinds, 1)]


class _Study:
    """The branches of every seed, their evaluations, and what is compared with what."""

    def __init__(
        self,
        tried: _Tried,
        ways: tuple[Way, ...],
        budget: int,
        anneal: float,
        share: float,
        seeds: tuple[int, ...],
        held_out: int,
    ) -> None:
        self.tried, self.budget, self.anneal, self.share = tried, budget, anneal, share
        self.seeds, self.held_out = seeds, held_out
        self.pairs = dict(self._compared(ways))
        self.arms = list(dict.fromkeys(arm for pair in self.pairs.values() for arm in pair))

    def _compared(self, ways: tuple[Way, ...]) -> Iterator[tuple[str, tuple[Arm, Arm]]]:
        """Yield by the name of a trial the arm that has what is tried, and the one that lacks it."""
        every = self.tried.every
        yield "all together", (every, ())
        for way in ways:
            for number, label in zip(every, self.tried.labels, strict=True):
                if way == "without":
                    rest = tuple(n for n in every if n != number)
                    yield f"{label} last", (every, rest)
                else:
                    yield f"{label} alone", ((number,), ())

    def steps(self, trunks: list[Trunk]) -> Iterator[Step]:
        yield from trunks
        for trunk in trunks:
            yield from (self._branch(trunk, arm) for arm in self.arms)
        for trunk in trunks:
            yield from (self._evaluation(trunk, arm) for arm in self.arms)
        yield Ablation(
            name="ablation",
            trials=tuple(self._trial(name, *pair) for name, pair in self.pairs.items()),
            judged_on=tuple(self.tried.targets) or (PASSING,),
        )

    def _named(self, seed: int, arm: Arm) -> str:
        return f"s{seed}/{self.tried.named(arm)}"

    def _branch(self, trunk: Trunk, arm: Arm) -> Cooldown:
        own = self.tried.named(arm)
        mixture = {own: self.share} | ({ALL: 1 - self.share} if self.share < 1 else {})
        return trunk.cooldown(
            self._named(trunk.seed, arm),
            self._end(trunk),
            fraction=self.anneal,
            mixture=mixture,
            sources={own: Ref(name=f"arms/{own}")},
        )

    def _end(self, trunk: Trunk) -> int:
        return round(self.budget / trunk.step_tokens) * trunk.step_tokens

    def _evaluation(self, trunk: Trunk, arm: Arm) -> Evaluate:
        domains = {
            PASSING: Ref(name="arms/full"),
            ALL: Ref(name=ALL),
            **{name: Ref(name=name) for name in self.tried.targets},
        }
        return Evaluate(
            name=f"s{trunk.seed}/evals/{self.tried.named(arm)}",
            model=Ref(name=self._named(trunk.seed, arm), at=self._end(trunk)),
            corpora=domains,
            seq_len=trunk.seq_len,
            limit_tokens=self.held_out,
        )

    def _trial(self, name: str, having: Arm, lacking: Arm) -> Trial:
        corpus = {arm: Ref(name=f"arms/{self.tried.named(arm)}") for arm in (having, lacking)}
        judged = {
            (seed, arm): Ref(name=f"s{seed}/evals/{self.tried.named(arm)}")
            for seed in self.seeds
            for arm in (having, lacking)
        }
        pairs = tuple(
            Pair(having=judged[s, having], lacking=judged[s, lacking]) for s in self.seeds
        )
        return Trial(name=name, having=corpus[having], lacking=corpus[lacking], pairs=pairs)
