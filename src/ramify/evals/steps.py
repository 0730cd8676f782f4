"""What is asked of an evaluation; torch-free."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field, field_validator

from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step
from ramify.ground.units import Tokens

DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]*")


class Evaluate(Step):
    """Bits per byte of one model on the held-out documents of tokenized sources, by domain.

    `model` is a point of a run or an average. Every chosen document is scored whole, in windows of
    `seq_len`; how rows are batched changes nothing but rounding, and is conduct.
    """

    conduct: ClassVar[frozenset[str]] = frozenset({"rows", "loss_chunk"})

    model: Ref
    corpora: dict[str, Ref] = Field(min_length=1)
    seq_len: int = Field(ge=1)
    limit_tokens: Tokens | None = None  # of each domain; None: every document
    rows: int = Field(default=8, ge=1)  # a batch has at most rows × seq_len slots
    loss_chunk: int = Field(default=256, ge=1)  # rows of logits that exist at once

    @field_validator("corpora")
    @classmethod
    def _domains_can_be_files(cls, corpora: dict[str, Ref]) -> dict[str, Ref]:
        for domain in corpora:
            if not DOMAIN.fullmatch(domain):
                raise BadInput(
                    f"{domain!r} cannot name a domain", hint="use letters, digits, '_' and '-'"
                )
        return corpora
