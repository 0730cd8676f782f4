"""What is asked of the tokens room: a tokenizer, trained or brought, and a corpus packed with it, or brought."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step
from ramify.ground.units import Tokens

END_OF_TEXT = "<|endoftext|>"
CONTROL = (END_OF_TEXT, "<|im_start|>", "<|im_end|>")  # ids 0, 1, 2, as in SmolLM's tokenizer


class Corpus(BaseModel):
    """A corpus folder: what a step made, or one sub-folder of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ref: Ref
    part: str | None = None  # None: the folder itself

    @field_validator("part")
    @classmethod
    def _stays_inside(cls, part: str | None) -> str | None:
        if part is not None and (
            not part or PurePosixPath(part).is_absolute() or ".." in PurePosixPath(part).parts
        ):
            raise BadInput(
                f"{part!r} is no sub-folder of a corpus", hint="write a name like 'code'"
            )
        return part


class Tokenizer(Step):
    """Train a byte-level BPE on a sample of every corpus; control tokens come first, so end is id 0."""

    corpora: dict[str, Corpus] = Field(min_length=1)
    vocab: Tokens = 4096
    sample_bytes: Tokens = 100_000_000  # of UTF-8, per corpus, chosen by a hash of the document id
    control: tuple[str, ...] = CONTROL  # the first ends a text
    seed: int = 0

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if not self.control or len({*self.control, ""}) != len(self.control) + 1:
            raise BadInput(f"control tokens {self.control!r} must be distinct and not empty")
        least = 256 + len(self.control)
        if self.vocab < least:
            raise BadInput(
                f"vocab={self.vocab} is less than 256 bytes and the control tokens: {least}"
            )
        if self.sample_bytes < 1:
            raise BadInput("sample_bytes=0 leaves nothing to learn from", hint="try 100M")
        return self


class BroughtTokenizer(Step):
    """Take a `tokenizer.json` from elsewhere, checked before anything is encoded with it."""

    path: Path
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")  # of the file as brought
    end_of_text: str = END_OF_TEXT


class Tokenize(Step):
    """Encode one corpus and pack it into shards of whole segments (concatenate and cut)."""

    conduct: ClassVar[frozenset[str]] = frozenset({"shard_tokens", "dtype", "encoder"})

    corpus: Corpus
    tokenizer: Ref
    segment: Tokens | None = None  # None: by the size of the source, see pack.choose_segment
    max_context: Tokens = 2048  # a segment holds a whole number of these
    seed: int = 0  # of the order of documents
    shard_tokens: Tokens = 2**26  # rounded down to whole segments, at least one
    dtype: Literal["uint16", "uint32"] | None = None  # None: the smaller that holds the vocabulary
    encoder: Literal["fastokens", "tokenizers"] = "fastokens"  # a preference: see encode.choose

    @model_validator(mode="after")
    def _segments_hold_contexts(self) -> Self:
        _check_segment(self.segment, self.max_context)
        return self


class BroughtTokens(Step):
    """Take tokens from elsewhere, and pack their documents as Tokenize does.

    `path` is a file or a folder of streams of ids: `.npy` of one dimension, and `.bin` or `.ds`, bare
    numbers (little-endian) after `header_bytes`. A document ends at the id `end_of_text`; a stretch
    that a file ends in without it is a document too, and counted. They must have been made with the
    tokenizer named here: what joins them later is held to its hash, ids beyond it are an error.

    The share `held_out` of the documents, chosen by a keyed hash, goes to evaluation. Near-duplicates
    are not looked for: of tokens no text is known.
    """

    conduct: ClassVar[frozenset[str]] = frozenset({"shard_tokens"})

    path: str
    tokenizer: Ref
    dtype: Literal["uint16", "uint32"] | None = None  # of .bin; None: as Tokenize would write them
    header_bytes: int = Field(default=0, ge=0)  # of each .bin, passed over
    end_of_text: int | None = Field(default=None, ge=0)  # in the files; None: the tokenizer's
    license: str | None = None  # of all of them, for the index of documents
    source: str | None = None
    held_out: float = Field(default=0.0, ge=0, lt=0.5)
    segment: Tokens | None = None  # as of Tokenize, and so are those below
    max_context: Tokens = 2048
    seed: int = 0
    shard_tokens: Tokens = 2**26

    @model_validator(mode="after")
    def _segments_hold_contexts(self) -> Self:
        _check_segment(self.segment, self.max_context)
        return self


def _check_segment(segment: int | None, max_context: int) -> None:
    """Raise BadInput unless a segment holds a whole number of contexts."""
    if max_context < 1:
        raise BadInput("max_context=0 leaves no sequence", hint="try 2048")
    if segment is not None and (segment < 1 or segment % max_context):
        raise BadInput(
            f"segment={segment} is no multiple of max_context={max_context}",
            hint=f"try {max(1, round(segment / max_context)) * max_context}",
        )
