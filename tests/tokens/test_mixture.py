"""Mixtures and stages: what is refused, and in which words."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from ramify.ground.errors import BadInput
from ramify.tokens.mixture import Stage, check_shares, check_stages


def test_a_stage_reads_as_people_write_it() -> None:
    stage = Stage.model_validate({"at": "1M", "mixture": {"prose": 0.7, "code": 0.3}})
    assert stage.at == 1_000_000
    assert list(stage.mixture.items()) == [("code", 0.3), ("prose", 0.7)]
    assert Stage.model_validate_json(stage.model_dump_json()) == stage


def test_thirds_typed_with_six_digits_sum_to_one() -> None:
    assert len(check_shares({"a": 0.333333, "b": 0.333333, "c": 0.333333})) == 3


def test_a_mixture_that_does_not_sum_to_one_is_refused_with_its_sum_and_what_to_type() -> None:
    with pytest.raises(BadInput, match=r"sums to 1\.1, not 1; .*\"a\": 0\.545454545"):
        check_shares({"a": 0.6, "b": 0.5})


@pytest.mark.parametrize("share", [0.0, -0.1, float("nan"), float("inf")])
def test_a_share_that_gives_nothing_is_refused(share: float) -> None:
    with pytest.raises(BadInput, match="the share of 'b'"):
        check_shares({"a": 1.0, "b": share})


def test_an_empty_mixture_is_refused() -> None:
    with pytest.raises(ValidationError, match="the mixture is empty"):
        Stage(mixture={})


def test_a_stage_takes_no_field_that_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="mixtur"):
        Stage.model_validate({"mixtur": {"a": 1.0}})


def test_stages_begin_at_zero_and_follow_each_other() -> None:
    one, two = Stage(at=0, mixture={"a": 1.0}), Stage(at=64, mixture={"b": 1.0})
    check_stages([one, two], ["a", "b"])
    with pytest.raises(BadInput, match="first stage begins at 64"):
        check_stages([two], ["a", "b"])
    with pytest.raises(BadInput, match="a stage at 64 follows one at 64"):
        check_stages([one, two, two], ["a", "b"])
    with pytest.raises(BadInput, match="there is no stage"):
        check_stages([], ["a"])


def test_an_unknown_source_is_named_beside_those_that_are_known() -> None:
    with pytest.raises(BadInput, match="names b, which is no source; the sources are: a, c"):
        check_stages([Stage(mixture={"a": 0.5, "b": 0.5})], ["c", "a"])


def test_mixtures_can_be_planned_without_numpy() -> None:
    code = (
        "import sys, ramify.tokens.mixture\n"
        "heavy = {'numpy', 'torch', 'daft', 'scipy', 'tokenizers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
