"""What can be asked of corpora that are there: what of them must go, and what to fetch by them."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from ramify.curate.steps import LABEL, TAKEN, Bytes
from ramify.ground.errors import BadInput
from ramify.ground.server import holds_a_secret
from ramify.ground.step import Ref, Step


def inside(part: str | None) -> str | None:
    """Return `part` if it can be a corpus within a folder, else raise BadInput."""
    if part is not None and (not part or part.startswith((".", "/")) or ".." in part.split("/")):
        raise BadInput(f"{part!r} is no part of a corpus", hint="write a name like 'code'")
    return part


class Contamination(Step):
    """Say which documents of a corpus hold which evaluation items; the corpus stays as it is.

    Items have the columns id, task, text, answer: files or folders of parquet or JSON lines, or steps
    that made such. An item of at least `ngram` words is found where a document has one of its n-grams
    and, around it, a longest common subsequence of at least `overlap` of the item's words; a shorter
    one where its whole text and its answer stand within `near` words of each other (FineMath,
    section 3.3.2 of the SmolLM2 paper, for the long ones). With `index` the answer is the same, sooner.
    """

    corpus: Ref
    part: str | None = None  # a corpus of a Dedup; None: the folder itself
    items: tuple[Ref | str, ...] = Field(min_length=1)
    ngram: int = Field(default=13, ge=2, le=64)  # words
    overlap: float = Field(default=0.6, gt=0, le=1)
    near: int = Field(default=50, ge=0)  # words
    index: Ref | None = None  # an NgramIndex of the corpus: documents that it refuses are not read

    @field_validator("items", mode="before")
    @classmethod
    def _one_is_several(cls, items: object) -> object:
        return (items,) if isinstance(items, str | Ref) else items

    _is_inside = field_validator("part")(inside)


class Decontaminate(Contamination):
    """A corpus without the documents that hold evaluation items, and a report of what was found."""


class NgramIndex(Step):
    """Where the n-grams of a finished corpus are, kept for evaluation items that appear later.

    A Contamination of the corpus that is given it as `index` reads only documents that may hold an
    item. It knows of items with at least `shortest` words in a row that a document must have: for a
    single one below that, all text is read. The fewer, the larger the index.
    """

    corpus: Ref
    part: str | None = None  # a corpus of a Dedup; None: the folder itself
    shortest: int = Field(default=3, ge=1, le=64)  # words

    _is_inside = field_validator("part")(inside)


class Remove(Step):
    """A corpus without the documents that lists name, and without licences that are not wanted.

    A list is a text file of document ids and URLs, one a line. It is read when the step is made: what
    is listed later goes at the next build, after `ramify forget`. With `licenses`, a document stays
    only where its column `license` is one of them, in any case (`a AND b`: both are, `a OR b`: one
    is); one without a licence goes.
    """

    corpus: Ref
    part: str | None = None
    lists: tuple[str, ...] = ()
    licenses: tuple[str, ...] | None = None  # None: any

    _is_inside = field_validator("part")(inside)

    @model_validator(mode="after")
    def _removes_something(self) -> Self:
        if not self.lists and self.licenses is None:
            raise BadInput(f"{self.name} removes nothing", hint="give lists or licenses")
        return self


class Apportion(Step):
    """Several corpora sampled down so that their texts for training have given shares of all bytes.

    The corpus that is scarcest for its share is kept whole, the others by a keyed hash of the id; one
    without a share, or of share 0, goes. Held-out documents all stay, so that evaluations are the
    same. Nothing is repeated: to weigh corpora without a loss, give a training run a mixture.
    """

    corpora: dict[str, Ref] = Field(min_length=1)
    parts: dict[str, str] = Field(
        default_factory=dict
    )  # which corpus of a Dedup, by the same names
    shares: dict[str, float]  # in any unit: they are divided by their sum
    seed: int = 0

    @field_validator("corpora")
    @classmethod
    def _can_be_folders(cls, corpora: dict[str, Ref]) -> dict[str, Ref]:
        for name in corpora:
            if not LABEL.fullmatch(name) or name in TAKEN:
                raise BadInput(
                    f"{name!r} cannot name a corpus", hint="use letters, digits, '_' and '-'"
                )
        return corpora

    @model_validator(mode="after")
    def _shares_are_of_corpora(self) -> Self:
        if unknown := sorted({*self.shares, *self.parts} - {*self.corpora}):
            raise BadInput(
                f"{self.name} gives a share of {unknown[0]!r}, which is no corpus of it",
                hint=f"there are: {', '.join(self.corpora)}",
            )
        good = [0 <= share < math.inf for share in self.shares.values()]
        if not all(good) or not sum(self.shares.values()):
            raise BadInput(
                f"shares of {self.shares}", hint="give numbers from 0 on, not all of them 0"
            )
        return self


class DomainRecall(Step):
    """Say from which domains more pages are worth fetching, by the scores of pages that are there.

    A domain is what can be registered: the public suffix and one label more, private suffixes
    (`github.io`) being suffixes too. By the rule "pages" it is recalled with at least `least_pages`
    pages of `least_score` (SmolLM2 paper, appendix C); by "share" where they are at least
    `least_share` of its pages (FineMath's README). Domains with at least `seed_urls` URLs in one of
    the lists of `seeds`, by name, are recalled too.
    """

    corpus: Ref
    part: str | None = None
    score: str = "score"  # the column
    least_score: float = 2.0
    rule: Literal["pages", "share"] = "pages"
    least_pages: int = Field(default=10, ge=1)
    least_share: float = Field(default=0.1, gt=0, le=1)
    seeds: dict[str, str] = Field(default_factory=dict)  # name -> file of URLs: lines, or parquet
    seed_urls: int = Field(default=10, ge=1)

    _is_inside = field_validator("part")(inside)


class Fetch(Step):
    """Fetch pages out of web archives through an index that knows where each URL lies.

    The index is of CDX lines (`key timestamp {JSON}`, as Common Crawl's) or of parquet files with url
    and warc_filename, warc_record_offset, warc_record_length (its columnar index): paths, folders or
    URLs of any file system of fsspec. Pages are those of the domains recalled, or of the URLs listed,
    answered with 200; each is one range read of the archive under `base`, tried `tries` times. What
    is fetched lies in `warc/*.warc.gz`, each record as it was; what could not be is counted with its
    reason.
    """

    model_config = ConfigDict(hide_input_in_errors=True)
    conduct: ClassVar[frozenset[str]] = frozenset({"tries", "at_once", "timeout_seconds"})

    index: tuple[str, ...] = Field(min_length=1)
    domains: Ref | None = None
    urls: str | None = None  # a file of URLs, as a seed list is
    base: str = "https://data.commoncrawl.org/"
    media: tuple[str, ...] = ("text/html", "application/xhtml+xml")  # as the index tells; () is any
    most_record_bytes: Bytes = 16 << 20
    tries: int = Field(default=4, ge=1)
    at_once: int = Field(default=8, ge=1)
    timeout_seconds: float = Field(default=60.0, gt=0)

    @field_validator("index", "base")
    @classmethod
    def _has_no_secret(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if any(map(holds_a_secret, (given,) if isinstance(given, str) else given)):
            raise BadInput(
                "the address of an archive or its index holds a secret",
                hint="leave it out: what fsspec signs with comes from the environment",
            )
        return given

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if (self.domains is None) == (self.urls is None):
            raise BadInput(f"{self.name} fetches what?", hint="give either domains or urls")
        return self
