"""A curation recipe on a sample: which of its steps are run, what stands in for some, what is left out. Torch-free.

sources ─► a share of them ─► the steps as they are asked for ─► what each made of the sample
           labels: none, or a few      scores without labels: every document passes
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ramify.curate.quality_steps import Annotate, Asked, Classify, FromFunction, Score, Select
from ramify.curate.selection_steps import (
    Apportion,
    Contamination,
    DomainRecall,
    Fetch,
    NgramIndex,
    Remove,
)
from ramify.curate.sources import changed
from ramify.curate.steps import Dedup, Fetched, Read, Sample, Sift
from ramify.ground.errors import BadInput, Corrupt, NotFound
from ramify.ground.server import Cap
from ramify.ground.step import Step
from ramify.runs.lab import Lab
from ramify.runs.recipe import Prints, Recipe
from ramify.tokens.steps import BroughtTokenizer, Tokenize, Tokenizer

HOME = ".dry"  # within the lab that the recipe would make
OPEN = -1e9  # a threshold below any score
STAND_IN = FromFunction(function="ramify.curate.stand_in:label")
STAND_IN_LABELS = 2000  # enough to see what a classifier costs
TOKENS_OF_A_LABEL = 10_000  # no question and answer has more, unless the rubric shows more
LEAST_BYTES = 4_000_000  # of a source, for intervals that say something
LEAST_CONTEXT = 16  # so that a sample of a few pages fills a segment

AS_IT_IS = (
    Sift,
    Remove,
    Apportion,
    Score,
    Contamination,
    NgramIndex,
    BroughtTokenizer,
    Tokenizer,
)


@dataclass(frozen=True)
class DryRecipe:
    """What is run of a recipe, and how that differs from it."""

    whole: Recipe
    recipe: Recipe
    left_out: dict[str, str]  # step -> why it is not run
    instead: dict[str, str]  # step -> what is done in its place
    unscored: frozenset[str]  # steps that pass everything on, since nobody gave labels
    unrecalled: dict[str, str]  # steps that pass every domain on, and what would say which to

    def wants_labels(self) -> list[Annotate]:
        """Return the steps of the whole that ask a model."""
        return asking(self.whole)


def asking(recipe: Recipe) -> list[Annotate]:
    """Return the steps of a recipe that ask a model for labels, in order."""
    return [s for s in recipe.ordered if isinstance(s, Annotate) and isinstance(s.labeller, Asked)]


def dry(
    recipe: Recipe, *, share: float, labels: int | None = None, least_bytes: int = LEAST_BYTES
) -> DryRecipe:
    """Return the recipe of a dry run: `share` of every source, at most `labels` of each model asked.

    None asks nobody: labels without meaning are learnt from, so that time is measured, and what would
    be chosen by score is all passed on. Of each source at least `least_bytes` are read. Raises BadInput
    where nothing of the recipe reads a source.
    """
    maker = _Maker(recipe, Sample(share=share, least_bytes=least_bytes), labels)
    for step in recipe.ordered:
        maker.take(step)
    if not any(isinstance(step, Read) for step in maker.steps):
        raise BadInput(
            f"{recipe.name} reads no documents, so there is nothing to take a sample of",
            hint="ramify plan prices its training",
        )
    return DryRecipe(
        whole=recipe,
        recipe=Recipe(name=recipe.name, steps=tuple(maker.steps)),
        left_out=maker.left_out,
        instead=maker.instead,
        unscored=frozenset(maker.unscored),
        unrecalled=maker.unrecalled,
    )


class _Maker:
    """Takes the steps of a recipe one by one, each after those that it needs."""

    def __init__(self, recipe: Recipe, sample: Sample, labels: int | None) -> None:
        self.recipe, self.sample, self.labels = recipe, sample, labels
        self.steps: list[Step] = []
        self.left_out: dict[str, str] = {}
        self.instead: dict[str, str] = {}
        self.unscored: set[str] = set()
        self.unrecalled: dict[str, str] = {}
        self._guessed: set[str] = set()  # steps whose scores come of labels that mean nothing

    def take(self, step: Step) -> None:
        """Enter a step as it is, changed, or among those left out."""
        if any(ref.name in self._guessed for ref in step.refs().values()):
            self._guessed.add(step.name)
        made = self._made(step)
        if made is None:
            return
        gone = next((r.name for r in made.refs().values() if r.name in self.left_out), None)
        if gone is not None:
            self.left_out[step.name] = f"it needs {gone}"
        else:
            self.steps.append(made)

    def _made(self, step: Step) -> Step | None:
        for kind, how in self._ways.items():
            if isinstance(step, kind):
                return how(step)
        if isinstance(step, AS_IT_IS):
            return step
        self.left_out[step.name] = (
            "it passes no documents on: what training costs, ramify plan tells"
        )
        return None

    @property
    def _ways(self) -> dict[type[Step], Callable[[Any], Step | None]]:
        return {
            Read: self._read,
            Annotate: self._annotate,
            Classify: self._classify,
            Select: self._select,
            DomainRecall: self._recall,
            Fetch: self._fetch,
            Dedup: self._dedup,
            Tokenize: self._tokenize,
        }

    def _read(self, step: Read) -> Step | None:
        if isinstance(step.source, Fetched):
            return self._stands_in(step, step.source)
        return step.but(sample=self.sample, limit_bytes=None)

    def _stands_in(self, step: Read, source: Fetched) -> Step | None:
        """Return what takes the place of pages that would be fetched: those of the sample itself."""
        fetch = self.recipe.by_name[source.ref.name]
        domains = fetch.refs().get("domains")  # none where a list of URLs is fetched
        recall = self.recipe.by_name[domains.name] if domains else None
        if not isinstance(recall, DomainRecall):
            self.left_out[step.name] = f"it needs {source.ref.name}"
            return None
        fields: dict[str, Any] = {"corpus": recall.corpus, "part": recall.part}
        self.instead[step.name] = "pages of the sample stand in for those that would be fetched"
        select = {**fields, "name": step.name, "column": recall.score}
        if recall.name in self.left_out:
            self.unscored.add(step.name)
        else:
            self.unrecalled[step.name] = recall.name
        return Select(**select, at_least=OPEN)

    def _annotate(self, step: Annotate) -> Step:
        if not isinstance(step.labeller, Asked):
            return step
        if self.labels is not None:
            most = min(self.labels, step.sample or self.labels)
            told = "what a score keeps is worth as much as a classifier of so few"
            less = step.sample is None or most < step.sample
            asked = f"at most {most} labels are asked for"
            self.instead[step.name] = f"{asked}: {told}" if less else asked
            return step.but(sample=most, cap=capped(step, most))
        self._guessed.add(step.name)
        self.instead[step.name] = "nobody is asked: labels without meaning"
        most = min(STAND_IN_LABELS, step.sample or STAND_IN_LABELS)
        return step.but(labeller=STAND_IN, sample=most, server=None, cap=None)

    def _classify(self, step: Classify) -> Step:
        return step.but(group="document") if step.name in self._guessed else step

    def _select(self, step: Select) -> Step:
        if step.name in self._guessed:
            self.unscored.add(step.name)
            return _open(step)
        if step.domains is None:
            return step
        self.unrecalled[step.name] = step.domains.name
        return step.but(domains=None) if step.shares or step.at_least is not None else _open(step)

    def _recall(self, step: DomainRecall) -> Step | None:
        if step.name in self._guessed:
            self.left_out[step.name] = "it needs scores"
            return None
        return step

    def _fetch(self, step: Fetch) -> None:
        self.left_out[step.name] = (
            "nothing is fetched in a dry run: its index tells how much there is"
        )

    def _dedup(self, step: Dedup) -> Step:
        return step.but(held_out=0.0)

    def _tokenize(self, step: Tokenize) -> Step:
        return step.but(segment=None, max_context=LEAST_CONTEXT)


def _open(step: Select) -> Select:
    """Return what passes every document on that `step` would choose from."""
    return Select(
        name=step.name, corpus=step.corpus, part=step.part, column=step.column, at_least=OPEN
    )


def capped(step: Annotate, labels: int) -> Cap:
    """Return the most that a dry run may spend on so many labels, in tokens, and what the step says."""
    assert step.cap is not None
    most = labels * max(TOKENS_OF_A_LABEL, 2 * step.rubric.excerpt_characters)
    tokens = most if step.cap.tokens is None else min(most, step.cap.tokens)
    return Cap(tokens=tokens, dollars=step.cap.dollars)


def home(lab: Lab, share: float, labels: int | None) -> Lab:
    """Return the lab of a dry run, within the lab that it foretells: one for each share and labels."""
    return Lab(lab.folder / HOME / f"{share:g}-{'unlabelled' if labels is None else labels}")


def freshen(recipe: Recipe, lab: Lab) -> None:
    """Forget in a dry lab what was asked for otherwise, or read of files that are others now."""
    if not lab.folder.is_dir():
        return
    prints = Prints(recipe)
    gone: set[str] = set()
    for step in recipe.ordered:
        above = any(ref.name in gone for ref in step.refs().values())
        if above or _is_stale(step, prints, lab):
            gone.add(step.name)
            with contextlib.suppress(NotFound):
                lab.forget(step.name)


def _is_stale(step: Step, prints: Prints, lab: Lab) -> bool:
    try:
        record = lab.record(step.name)
    except Corrupt:
        return True
    if record is None:
        return False
    if record.asked != prints.asked(step.name):
        return True
    return isinstance(step, Read) and bool(changed(step, lab.at(step.name)))


def parse_share(text: str) -> float:
    """Return the share that `1%` or `0.01` stands for; BadInput for anything else."""
    scale = 0.01 if text.endswith("%") else 1.0
    try:
        share = float(text.removesuffix("%")) * scale
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise BadInput(f"a sample of {share:g}", hint="write --sample 1% or --sample 0.01")
    return share
