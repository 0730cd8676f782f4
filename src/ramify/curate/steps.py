"""What can be asked of curation: to read a corpus, and to remove near-duplicates across corpora.

PythonInstallation | Files ─► Read ─┐
                              Read ─┼─► Dedup ─► label/documents, label/held_out, dropped
                              Read ─┘
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from ramify.curate.filters import CODE, PROSE, TEXT, Filter
from ramify.ground.errors import BadInput
from ramify.ground.far import checked
from ramify.ground.step import Ref, Step
from ramify.ground.units import parse_count

Bytes = Annotated[int, BeforeValidator(parse_count)]
"""A number of bytes; fields of this type also take `12M` (powers of 1000)."""

Where = Annotated[str, AfterValidator(checked)]
"""A path of this machine, `hf://datasets/OWNER/NAME[@REVISION]/folder` or `s3://BUCKET/folder`."""

TAKEN = ("dropped", "index", "signatures")  # folders beside those of the corpora
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]*")


class PythonInstallation(BaseModel):
    """Text that every Python installation holds: three corpora, none of which needs a download.

    `code` is the source of the standard library without its tests, `prose` the docstrings and the
    documentation of the installed packages (SymPy and Ramify left out), `math` SymPy's source with
    its docstrings in place, without its tests.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["python"] = "python"
    part: Literal["code", "prose", "math"]


class Files(BaseModel):
    """A file or a folder of the user's: rows of jsonl and parquet, and text files, each a document.

    `.gz` and `.zst` of these are read too. Hidden files and folders are left out. A text file of more
    than `cut_characters` becomes several documents of one origin, cut between paragraphs where it
    can be. Where a row has no `origin_column`, it is its own origin: rows are held out one by one.

    `path` may also be `hf://datasets/OWNER/NAME[@REVISION]/folder` or `s3://BUCKET/folder`: each file
    is copied when its turn comes, and removed again. A revision is resolved once, to a commit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    kind: Literal["files"] = "files"
    path: Where
    text_column: str = "text"
    id_column: str | None = None
    origin_column: str | None = None
    url_column: str | None = None  # of rows: carried along with each document
    license_column: str | None = None
    source_column: str | None = None
    cut_characters: int | None = Field(default=50_000, ge=100)


class Extraction(BaseModel):
    """How the text of a web page is got from its markup.

    `formulas` rewrites the page's mathematics to LaTeX between dollars first, `code` fences its code
    blocks. `main_content` leaves out navigation, comments, captions and the like.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    by: Literal["resiliparse", "trafilatura"] = "resiliparse"
    main_content: bool = True
    formulas: bool = True
    code: bool = True


class Pages(BaseModel):
    """Web pages of the user's: WARC and ARC archives, rows that hold markup, and HTML files.

    Archives may be `.gz`, `.lz4` or `.zst`; of each, what was answered well is a page, and anything
    else is a dropped document with its reason. Rows are those of jsonl and parquet, with the markup in
    `html_column`. The text of a page is got as `extraction` says. `path` is as that of Files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    kind: Literal["pages"] = "pages"
    path: Where
    html_column: str = "html"
    id_column: str | None = None
    url_column: str | None = "url"
    license_column: str | None = None
    source_column: str | None = None
    extraction: Extraction = Extraction()


class Fetched(BaseModel):
    """Web pages that a Fetch step brought, their text got as `extraction` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["fetched"] = "fetched"
    ref: Ref
    extraction: Extraction = Extraction()

    def pages(self, folder: Path) -> Pages:
        """Return them as pages of the folder that the step made."""
        return Pages(path=str(folder / "warc"), extraction=self.extraction)


Source = Annotated[PythonInstallation | Files | Pages | Fetched, Field(discriminator="kind")]


class Sample(BaseModel):
    """A share of a source: whole files in the order of a hash, thinned where few of them are many bytes.

    Files are taken until they have `share` of all bytes, at least `least_bytes` and at least
    `least_files` of them, or all. Where that is more than was asked for, each document of theirs stays
    by a keyed hash of its place, so that as many are read as `share` and `least_bytes` say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    share: float = Field(gt=0, le=1)
    least_files: int = Field(default=30, ge=1)
    least_bytes: Bytes = 4_000_000
    seed: int = 0


class Read(Step):
    """One corpus: every document of a source kept or dropped with its reason, exact duplicates too.

    With `sample`, only that share of the source is read, and what was left unread is counted. Of the
    columns in `require`, what is read first must have some value: a later step has no use for less.
    """

    conduct: ClassVar[frozenset[str]] = frozenset({"require"})

    source: Source
    filters: tuple[Filter, ...] | None = None  # None: those that suit the source
    limit_bytes: Bytes | None = None  # of kept text; files are taken in the order of a hash
    sample: Sample | None = None  # None: all of it
    require: tuple[Literal["url", "license", "source"], ...] = ()

    @property
    def sieve(self) -> tuple[Filter, ...]:
        """Return the filters asked for, or those that suit the source."""
        if self.filters is not None:
            return self.filters
        match self.source:
            case PythonInstallation(part="prose"):
                return PROSE
            case PythonInstallation():
                return CODE
            case _:
                return TEXT


class Sift(Step):
    """A corpus passed through filters again, in the order given, and through extraction before, if asked.

    For what is only known later: markup that was fetched, a language or rules after a classifier. What
    was held out is sifted too and stays held out; all columns are carried.
    """

    corpus: Ref
    part: str | None = None  # which corpus of a Dedup; None: the step has only one
    extraction: Extraction | None = None  # None: the texts are texts already
    filters: tuple[Filter, ...] = ()

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if not self.filters and self.extraction is None:
            raise BadInput("nothing to sift by", hint="give filters, or an extraction, or both")
        return self


class Dedup(Step):
    """Several corpora without near-duplicates, in and across them, each with documents held out.

    Of documents whose sets of word n-grams have a Jaccard similarity of at least `jaccard`, joined
    transitively, one is kept: of the first corpus in `priority`, then the lowest id. Candidates come
    from MinHash with `bands` x `rows` hashes: 14 x 8, or 1 x 10 as FineMath has it (SmolLM2 paper,
    section 3.3.2). With `within`, documents are near-duplicates only where they share a column's
    value (`source`), or their corpus ("corpus"). Those of the steps `against`, which kept an index,
    go first and are not written again. A document kept has `cluster_size`, the documents it stands for.

    Then the share `held_out` of the origin files, chosen by a keyed hash, goes to evaluation: at
    least `held_out_least` documents of each corpus. What a corpus has held out already goes first, so
    that no copy of it is kept, and is held out again, with all of its origin file.
    """

    corpora: dict[str, Ref]
    priority: tuple[str, ...] = ()
    bands: int = Field(default=14, ge=1, le=256)
    rows: int = Field(default=8, ge=2, le=64)  # one row a band joins almost anything
    words: int = Field(default=5, ge=1, le=50)
    jaccard: float = Field(default=0.7, gt=0, le=1)
    within: str | None = None  # None: documents are compared across everything
    largest: int | None = Field(default=None, ge=2)  # a larger cluster is not taken for one
    against: tuple[Ref, ...] = ()
    keep_index: bool = False  # so that a later step can go `against` this one
    held_out: float = Field(default=0.02, ge=0, lt=0.5)
    held_out_least: int = Field(default=8, ge=1)
    held_out_by: Literal["origin", "document"] = "origin"
    seed: int = 0

    @field_validator("corpora")
    @classmethod
    def _labels_can_be_folders(cls, corpora: dict[str, Ref]) -> dict[str, Ref]:
        wrong = [x for x in corpora if not LABEL.fullmatch(x) or x in TAKEN]
        if wrong or not corpora:
            raise BadInput(
                f"{wrong[0]!r} cannot name a corpus" if wrong else "no corpora to deduplicate",
                hint=f"use letters, digits, '_' and '-' ({', '.join(TAKEN)} are taken)",
            )
        return corpora

    @model_validator(mode="before")
    @classmethod
    def _order_is_priority(cls, given: Any) -> Any:
        # A fingerprint sorts keys, so the order that decides what is kept stands in a field of its own.
        if isinstance(given, Mapping) and not given.get("priority"):
            return {**given, "priority": tuple(given.get("corpora") or ())}
        return given

    @model_validator(mode="after")
    def _priority_names_every_corpus(self) -> Self:
        if sorted(self.priority) != sorted(self.corpora):
            raise BadInput(
                f"priority {self.priority} is not an order of the corpora {tuple(self.corpora)}",
                hint="name each corpus once, or leave priority out",
            )
        return self
