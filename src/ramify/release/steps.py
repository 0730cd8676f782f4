"""What is asked of a release: a model exported, and lines completed with it; torch-free."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step


class Export(Step):
    """A model as a Hugging Face folder; of several, the one with the fewest bits per byte.

    `scores` names the Evaluate of each model, on the same corpora; it may be left out for one.
    """

    models: dict[str, Ref] = Field(min_length=1)
    scores: dict[str, Ref] = Field(default_factory=dict)
    tokenizer: Ref
    dtype: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _can_choose(self) -> Self:
        if len(self.models) > 1 and self.models.keys() != self.scores.keys():
            odd = sorted(self.models.keys() ^ self.scores.keys())
            raise BadInput(
                f"{self.name} cannot choose: {odd[0]} has a model or a score, not both",
                hint="give scores= an Evaluate for each model",
            )
        return self


class Complete(Step):
    """Lines completed by an exported model, so that people read what they trained."""

    model: Ref
    prompts: tuple[str, ...] = Field(min_length=1)
    max_new_tokens: int = Field(default=48, ge=1)
    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    seed: int = 0
