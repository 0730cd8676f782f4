"""The study of Hägele et al. at a size for one CPU: every claim beside its control, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ramify.curate.steps import Dedup, PythonInstallation, Read
from ramify.evals.steps import Evaluate
from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step
from ramify.ground.units import Tokens
from ramify.model.config import ModelConfig
from ramify.optim.config import Ema, ScheduleFree, Windows
from ramify.optim.schedule import Shape
from ramify.runs.grid import Grid, Size, Sweep, label
from ramify.runs.recipe import Recipe
from ramify.scaling.rules import scaled_to_width
from ramify.tokens.mixture import Stage
from ramify.tokens.steps import Corpus, Tokenize, Tokenizer
from ramify.train.steps import Cooldown, EmaAverage, Interpolate, Numerics, Trunk

Rate = Literal["best", "low"]
Part = Literal["core", "shapes", "fractions", "rates", "averages", "path"]
PARTS: tuple[Part, ...] = ("core", "shapes", "fractions", "rates", "averages", "path")
DOMAINS: tuple[Literal["code", "prose", "math"], ...] = ("code", "prose", "math")
MIXTURE = {"prose": 0.4, "code": 0.3, "math": 0.3}
ROWS, SEQ_LEN, VOCAB = 16, 256, 2048
STEP = ROWS * SEQ_LEN
SIZES = {  # parameters with the vocabulary: 0.43M, 1.05M, 2.42M; head_dim 32 and 64, ffw 8/3 width
    "0.4M": ModelConfig(layers=6, width=64, heads=2, kv_heads=1, ffw=192, vocab=VOCAB),
    "1M": ModelConfig(layers=4, width=128, heads=2, kv_heads=1, ffw=352, vocab=VOCAB),
    "2.4M": ModelConfig(layers=5, width=192, heads=3, kv_heads=1, ffw=512, vocab=VOCAB),
}
BUDGETS = ("1M", "2M", "4M")
# each arm's best in the part `rates` (0.4M parameters, 1M tokens); a third of it is kept as a warning
PEAKS = {"best": (12e-3, 16e-3), "low": (4e-3, 8e-3)}  # constant, maximum of the cosine
WARMUP = 20 * STEP
WINDOWS = Windows(steps=20, every=2)
EMA = Ema(decay=0.95, every=2)
HORIZONS = (1, 2, 4, 8)  # windows: 2% to 16% of the longest budget
FORETOLD_FROM = 4  # windows behind where each cooldown leaves
VARIED = "0.4M"  # the size at which one thing is varied at a time
SHAPES: tuple[Shape, ...] = ("linear", "cosine", "mirror_cosine", "square")
FRACTIONS = (0.02, 0.05, 0.1, 0.4)  # 0.2 is in the core
RATES = (2e-3, 4e-3, 8e-3, 16e-3, 32e-3)
PATH = (0.25, 0.5, 0.75)  # the ends are in the core


def recipe(
    parts: tuple[Part, ...] = PARTS,
    sizes: tuple[str, ...] = tuple(SIZES),
    budgets: tuple[str, ...] = BUDGETS,
    seeds: tuple[int, ...] = (0, 1, 2),
    corpus_bytes: Tokens = 12_000_000,
    held_out: Tokens = 40_000,
    rate: Rate = "best",
) -> Recipe:
    """Return the parts asked for; they share what they can, so that each costs only what is new.

    Rates were swept at the smallest size; at others they are scaled by the width (`scaled_to_width`).
    Raises BadInput for a size that is none of SIZES.
    """
    for size in sizes:
        if size not in SIZES:
            raise BadInput(f"no size is called {size!r}", hint=f"use one of {', '.join(SIZES)}")
    data, sources = _data(corpus_bytes)
    study = _Study(sources, budgets, seeds, held_out, rate)
    steps = {step.name: step for step in data}
    for part in parts:
        for step in study.part(part, sizes):
            steps[step.name] = _both(steps.get(step.name), step)
    return Recipe(name="reproduction", steps=tuple(steps.values()))


def _both(one: Step | None, other: Step) -> Step:
    """Return the step that two parts ask for: of a trunk, the one that goes further."""
    if isinstance(one, Trunk) and isinstance(other, Trunk):
        return one if one.tokens >= other.tokens else other
    return other


def _data(corpus_bytes: int) -> tuple[list[Step], dict[str, Ref]]:
    reads = [
        Read(name=f"text/{d}", source=PythonInstallation(part=d), limit_bytes=corpus_bytes)
        for d in DOMAINS
    ]
    clean = Dedup(
        name="text/clean",
        corpora={d: Ref(name=f"text/{d}") for d in DOMAINS},
        held_out=0.03,
        held_out_least=16,
    )
    corpora: dict[str, Corpus] = {d: Corpus(ref=Ref(name=clean.name), part=d) for d in DOMAINS}
    tokenizer = Tokenizer(name="tokenizer", corpora=corpora, vocab=VOCAB, sample_bytes=2_000_000)
    packed = [
        Tokenize(name=d, corpus=corpora[d], tokenizer=Ref(name=tokenizer.name), max_context=512)
        for d in DOMAINS
    ]
    return [*reads, clean, tokenizer, *packed], {d: Ref(name=d) for d in DOMAINS}


class _Study:
    """The runs of the study, part by part."""

    def __init__(
        self,
        sources: dict[str, Ref],
        budgets: tuple[str, ...],
        seeds: tuple[int, ...],
        held: int,
        rate: Rate,
    ) -> None:
        self.rate = rate
        self.sources, self.seeds, self.held_out = sources, seeds, held
        self.budgets = budgets
        self.common = {
            "sources": sources,
            "stages": (Stage(mixture=MIXTURE),),
            "seq_len": SEQ_LEN,
            "rows": ROWS,
            "warmup": WARMUP,
            "seeds": seeds,
            "held_out": held,
            "numerics": Numerics(threads=1),
        }

    def part(self, part: Part, sizes: tuple[str, ...]) -> Iterator[Step]:
        """Yield the steps of a part; what is varied leans on the trunks of one size."""
        if part == "core":
            yield from self.grid(sizes).steps()
        elif part == "rates":
            yield from self.rates()
        else:
            made = self.grid((VARIED,), full=False).steps()
            yield from made
            for trunk in [step for step in made if isinstance(step, Trunk)]:
                cools = [s for s in made if isinstance(s, Cooldown) and s.parent.name == trunk.name]
                yield from getattr(self, part)(trunk, max(cools, key=lambda cool: cool.tokens))

    def grid(self, sizes: tuple[str, ...], *, full: bool = True) -> Grid:
        """Return cooldowns of 20% beside cosine and window averages, or the cooldowns alone."""
        return Grid(
            **self.common,  # type: ignore[arg-type]
            name="core" if self.rate == "best" else self.rate,
            sizes={name: self.size(name) for name in sizes},
            budgets=self.budgets,  # type: ignore[arg-type]
            cosine=full,
            windows=WINDOWS,
            ema=EMA,
            averages=(FORETOLD_FROM,) if full else (),
            evaluate_left=True,
            forecast=full,
        )

    def size(self, name: str) -> Size:
        """Return a size with the rates of both arms."""
        model, tuned_at = SIZES[name], SIZES[VARIED].width
        constant, cosine = (
            scaled_to_width(peak, width=model.width, tuned_at=tuned_at) for peak in PEAKS[self.rate]
        )
        return Size(model=model, peak=constant, cosine_peak=cosine)

    def shapes(self, trunk: Trunk, last: Cooldown) -> Iterator[Step]:
        """Yield (b): the other shapes over the last 20% of the longest budget."""
        for shape in SHAPES:
            yield from self._beside(trunk, last, f"cool-{shape}20", shape=shape)

    def fractions(self, trunk: Trunk, last: Cooldown) -> Iterator[Step]:
        """Yield (c): other lengths of the cooldown that ends on the longest budget."""
        ends = [
            step for f in FRACTIONS for step in self._beside(trunk, last, f"cool-sqrt{100 * f:g}", fraction=f)
        ]  # fmt: skip
        leaves = [step.leaves_at for step in ends if isinstance(step, Cooldown)]
        yield trunk.but(tokens=max(trunk.tokens, *leaves))
        yield from ends

    def averages(self, trunk: Trunk, last: Cooldown) -> Iterator[Step]:
        """Yield (e): the trunk where the last cooldown ends, its means and moving average there, schedule-free runs."""
        home, end = trunk.name.removesuffix("/trunk"), last.tokens
        grown = trunk.but(tokens=max(trunk.tokens, end))
        moving = EmaAverage(name=f"{home}/ema-{label(end)}", run=grown.point(end), ema=EMA)
        means = grown.averages(end, HORIZONS, home=f"{home}/windows-{label(end)}")
        yield from (grown, moving, *means)
        yield self._evaluate(home, grown.point(end))
        for mean in (moving, *means):
            yield self._evaluate(home, Ref(name=mean.name))
        yield from self._schedule_free(trunk, last)

    def path(self, trunk: Trunk, last: Cooldown) -> Iterator[Step]:
        """Yield (f): weights on the straight line from where the last cooldown leaves to its end."""
        home = trunk.name.removesuffix("/trunk")
        for share in PATH:
            between = Interpolate(
                name=f"{home}/path-{share:g}", a=last.parent, b=Ref(name=last.name, at=last.tokens), share=share,
            )  # fmt: skip
            yield between
            yield self._evaluate(home, Ref(name=between.name))

    def rates(self) -> Iterator[Step]:
        """Yield (d): learning rates; each a cooldown of 20% beside a cosine with that very peak."""
        sweep = Sweep(
            **self.common,  # type: ignore[arg-type]
            name="rates",
            model=SIZES[VARIED],
            peaks=RATES,
            budgets=self.budgets[:1],  # type: ignore[arg-type]
            cosine_over_constant=1.0,
        )
        yield from sweep.steps()

    def _schedule_free(self, trunk: Trunk, last: Cooldown) -> Iterator[Step]:
        home = trunk.name.removesuffix("/trunk")
        for betas in ((0.95, 0.99), (0.9, 0.95)):
            free = trunk.but(
                name=f"{home}/free-{betas[0]:g}-{betas[1]:g}",
                optimizer=ScheduleFree(beta1=betas[0], beta2=betas[1]),
                schedule=trunk.schedule,
                tokens=last.tokens,
                windows=None,
                ema=None,
            )
            yield free
            yield self._evaluate(home, free.point(last.tokens))

    def _beside(
        self,
        trunk: Trunk,
        last: Cooldown,
        what: str,
        *,
        fraction: float = 0.2,
        shape: Shape = "sqrt",
    ) -> Iterator[Step]:
        home = trunk.name.removesuffix("/trunk")
        name = f"{home}/{what}-{label(last.asked_tokens or last.tokens)}"
        cool = trunk.cooldown(name, last.tokens, fraction=fraction, shape=shape)
        yield cool
        yield self._evaluate(home, Ref(name=cool.name, at=cool.tokens))

    def _evaluate(self, home: str, model: Ref) -> Evaluate:
        what = model.name.removeprefix(f"{home}/")
        at = "" if model.at is None or what.startswith(("cool", "free")) else f"-{label(model.at)}"
        return Evaluate(
            name=f"{home}/evals/{what}{at}",
            model=model,
            corpora=self.sources,
            seq_len=SEQ_LEN,
            limit_tokens=self.held_out,
        )
