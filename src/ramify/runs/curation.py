"""What curation recipes are written with: labels to scores, and corpora to tokens, as steps.

corpus ─► Annotate ─► Classify ─► Score(corpus)         corpora ─► Tokenizer ─► Tokenize each
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ramify.curate.quality_steps import Annotate, Asked, Classify, Encoder, Linear, Score
from ramify.curate.rubrics import Rubric
from ramify.ground.server import Cap, Server
from ramify.ground.step import Ref, Step
from ramify.ground.units import Tokens
from ramify.tokens.steps import BroughtTokenizer, Corpus, Tokenize, Tokenizer


class Labelling(BaseModel):
    """Who labels how much, at which server and for how many tokens each time, and what is trained on it.

    `encoder` is a sentence encoder (a folder, `package:NAME`, or `ORGANISATION/NAME@REVISION`) whose
    embeddings are classified by; None: hashed words. Folds are cut by `group`, as Classify has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    server: str
    keys: tuple[str, ...] = ()
    sample: int = Field(ge=1)
    cap: Tokens
    encoder: str | None = None
    folds: int = 5
    group: Literal["domain", "origin", "document"] = "domain"
    seed: int = 0

    def steps(self, name: str, corpus: Ref, rubric: Rubric) -> tuple[Annotate, Classify, Score]:
        """Return NAME/labels, NAME/classifier and NAME/scored: the corpus with the column `score`."""
        labels = Annotate(
            name=f"{name}/labels",
            corpus=corpus,
            labeller=Asked(model=self.model),
            rubric=rubric,
            sample=self.sample,
            seed=self.seed,
            server=Server(base_url=self.server, keys=self.keys),
            cap=Cap(tokens=self.cap),
        )
        classifier = Classify(
            name=f"{name}/classifier",
            labels=Ref(name=labels.name),
            method=Encoder(model=self.encoder) if self.encoder else Linear(),
            folds=self.folds,
            group=self.group,
            seed=self.seed,
        )
        scored = Score(name=f"{name}/scored", corpus=corpus, classifier=Ref(name=classifier.name))
        return labels, classifier, scored


class Packing(BaseModel):
    """How corpora become tokens: by a tokenizer brought from `tokenizer`, else by one trained on them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    tokenizer: Path | None = None
    vocab: Tokens = 49_152
    max_context: Tokens = 2048
    seed: int = 0

    def steps(
        self, corpora: dict[str, Corpus], learnt_from: dict[str, Corpus] | None = None
    ) -> tuple[Step, ...]:
        """Return the step `tokenizer`, and a step by the name of each corpus that packs it.

        A tokenizer that is trained learns from the corpora themselves, or from `learnt_from`.
        """
        given = learnt_from or corpora
        made = (
            BroughtTokenizer(name="tokenizer", path=self.tokenizer)
            if self.tokenizer
            else Tokenizer(name="tokenizer", corpora=given, vocab=self.vocab, seed=self.seed)
        )
        packed = (
            Tokenize(
                name=name,
                corpus=corpus,
                tokenizer=Ref(name=made.name),
                max_context=self.max_context,
                seed=self.seed,
            )
            for name, corpus in corpora.items()
        )
        return (made, *packed)
