"""A mixture says which share of the rows each source gives; a stage says from which token on.

Driver-side: nothing heavier than pydantic is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from ramify.ground.errors import BadInput
from ramify.ground.units import Tokens

SUM_TOLERANCE = 1e-6  # decimals that people type, like 0.333333 three times, still count as 1


def check_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Return the shares sorted by source, so that the order they were typed in decides nothing.

    Raises BadInput if there are none, if one is not a positive number, or if they do not sum to 1
    within `SUM_TOLERANCE`.
    """
    if not shares:
        raise BadInput("the mixture is empty", hint='name a source, like {"prose": 1.0}')
    for source, share in shares.items():
        if not (math.isfinite(share) and share > 0):
            raise BadInput(
                f"the share of {source!r} is {share}",
                hint="a share is above 0; leave the source out to give it no rows",
            )
    total = math.fsum(shares.values())
    if round(abs(total - 1), 12) > SUM_TOLERANCE:  # rounded: 0.999999 is as far as it looks
        scaled = ", ".join(f'"{name}": {share / total:.9g}' for name, share in shares.items())
        raise BadInput(f"the mixture sums to {total:.6g}, not 1", hint=f"scaled: {{{scaled}}}")
    return dict(sorted(shares.items()))


Mixture = Annotated[dict[str, float], AfterValidator(check_shares)]
"""Source -> share of the rows: `{"prose": 0.7, "code": 0.3}`; positive, and their sum is 1."""


class Stage(BaseModel):
    """A mixture, in force from token `at` on until the next stage begins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: Tokens = 0
    mixture: Mixture


def check_stages(stages: Sequence[Stage], sources: Collection[str]) -> None:
    """Raise BadInput unless the first stage begins at 0, each next one later, on known sources."""
    if not stages:
        raise BadInput("there is no stage", hint='write Stage(mixture={"prose": 1.0})')
    if stages[0].at != 0:
        raise BadInput(f"the first stage begins at {stages[0].at}", hint="let it begin at 0")
    for before, after in pairwise(stages):
        if after.at <= before.at:
            raise BadInput(
                f"a stage at {after.at} follows one at {before.at}",
                hint="write stages in order, each at a token of its own",
            )
    for stage in stages:
        if unknown := sorted(set(stage.mixture) - set(sources)):
            raise BadInput(
                f"the mixture at {stage.at} names {', '.join(unknown)}, which is no source",
                hint=f"the sources are: {', '.join(sorted(sources))}",
            )
