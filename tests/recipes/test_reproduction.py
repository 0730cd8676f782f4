"""The recipe of the study: its parts share what they can, and what it does not know is refused."""

from __future__ import annotations

import pytest

from ramify.ground.errors import BadInput
from ramify.recipes.reproduction import PARTS, recipe
from ramify.train.steps import Cooldown, Cosine, Trunk


def test_parts_together_are_the_steps_of_each_and_no_trunk_is_made_twice() -> None:
    whole = {step.name for step in recipe(seeds=(0,)).steps}
    for part in PARTS:
        assert {step.name for step in recipe((part,), seeds=(0,)).steps} <= whole
    trunks = [step for step in recipe(seeds=(0,)).steps if isinstance(step, Trunk)]
    grown = next(step for step in trunks if step.name == "core/0.4M/s0/trunk")
    assert grown.tokens == 4_001_792  # as far as the averages ask


def test_every_budget_has_a_cooldown_beside_a_cosine_run_of_its_tokens() -> None:
    core = recipe(("core",), seeds=(0, 1)).steps
    cools = sorted(step.tokens for step in core if isinstance(step, Cooldown))
    assert cools == sorted(step.tokens for step in core if isinstance(step, Cosine))
    assert len(cools) == 3 * 3 * 2


def test_a_size_that_is_none_of_it_is_named() -> None:
    with pytest.raises(BadInput, match=r"no size is called '9M'; use one of 0\.4M, 1M, 2\.4M"):
        recipe(sizes=("9M",))
