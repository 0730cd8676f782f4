"""What can be asked of corpora that are there: no evaluation items in them, nor what must go."""

from __future__ import annotations

from pydantic import Field, field_validator

from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step


class Contamination(Step):
    """Say which documents of a corpus hold which evaluation items; the corpus stays as it is.

    Items have the columns id, task, text, answer: files or folders of parquet or JSON lines, or steps
    that made such. An item of at least `ngram` words is found where a document has one of its n-grams
    and, around it, a longest common subsequence of at least `overlap` of the item's words; a shorter
    one where its whole text and its answer stand within `near` words of each other (FineMath,
    section 3.3.2 of the SmolLM2 paper, for the long ones).
    """

    corpus: Ref
    part: str | None = None  # a corpus of a Dedup; None: the folder itself
    items: tuple[Ref | str, ...] = Field(min_length=1)
    ngram: int = Field(default=13, ge=2, le=64)  # words
    overlap: float = Field(default=0.6, gt=0, le=1)
    near: int = Field(default=50, ge=0)  # words

    @field_validator("items", mode="before")
    @classmethod
    def _one_is_several(cls, items: object) -> object:
        return (items,) if isinstance(items, str | Ref) else items

    @field_validator("part")
    @classmethod
    def _is_inside(cls, part: str | None) -> str | None:
        if part is not None and (
            not part or part.startswith((".", "/")) or ".." in part.split("/")
        ):
            raise BadInput(f"{part!r} is no part of a corpus", hint="write a name like 'code'")
        return part


class Decontaminate(Contamination):
    """A corpus without the documents that hold evaluation items, and a report of what was found."""
