"""A step is a value: what identifies it, what it takes in, and what may be its name."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from ramify.ground.errors import BadInput
from ramify.ground.step import Ref, Step, canonical, check_name, identity
from ramify.ground.units import Tokens


class Inner(BaseModel):
    kind: str = "inner"
    ref: Ref | None = None
    size: int = 3


class Made(Step):
    conduct: ClassVar[frozenset[str]] = frozenset({"told_every"})
    source: Ref
    more: dict[str, Ref] = Field(default_factory=dict)
    parts: tuple[Inner, ...] = ()
    seed: int = 0
    told_every: int = 10


def made(**fields: Any) -> Made:
    return Made(**{"name": "made", "source": Ref(name="a"), **fields})


def test_what_is_asked_leaves_out_names_conduct_and_defaults() -> None:
    assert made(told_every=3, seed=0).asked() == {
        "kind": "made",
        "version": 1,
        "source": {"ref": "a", "at": None},
    }
    assert made(name="other", seed=4).asked()["seed"] == 4


def test_an_inner_part_keeps_its_kind_though_it_is_the_default() -> None:
    assert made(parts=(Inner(),)).asked()["parts"] == [{"kind": "inner"}]


def test_a_step_names_all_that_it_takes_in_by_the_path_of_its_field() -> None:
    step = made(more={"b": Ref(name="b", at=8)}, parts=(Inner(), Inner(ref=Ref(name="c"))))
    assert {where: str(ref) for where, ref in step.refs().items()} == {
        "source": "a",
        "more.b": "b@8",
        "parts.1.ref": "c",
    }
    step.refs().clear()
    assert step.refs()


def test_a_copy_is_validated_as_if_it_were_written_out() -> None:
    assert made().but(seed=5).seed == 5
    with pytest.raises(ValidationError, match="seed"):
        made().but(seed="five")
    with pytest.raises(ValidationError, match="sed"):
        made().but(sed=5)
    with pytest.raises(ValidationError, match="frozen"):
        made().seed = 5


def test_an_identity_has_fingerprints_where_the_step_has_names() -> None:
    step = made(more={"ref": Ref(name="b"), "at": Ref(name="c", at=64)})
    told = identity(step, lambda ref: f"print of {ref}")
    assert told["source"] == {"fingerprint": "print of a", "at": None}
    # a mapping is no ref, whatever its keys are called
    assert told["more"] == {
        "ref": {"fingerprint": "print of b", "at": None},
        "at": {"fingerprint": "print of c@64", "at": 64},
    }
    assert identity(step.but(name="x"), lambda ref: f"print of {ref}") == told
    json.dumps(told)


@pytest.mark.parametrize("name", ["a", "trunk", "grid/33M/s1", "cool-1M", "v1.0_x", "7"])
def test_a_name_can_be_a_folder(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a//b", "../a", "a/..", ".a", "a b", "at", "a/windows", "a.partial",
     "a.partial/b", "a@4", "é", "lab.json", "a/record.json", "a\n"],
)  # fmt: skip
def test_a_name_that_could_not_be_told_from_another_thing_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="cannot name a step"):
        check_name(name)
    with pytest.raises(ValidationError, match="cannot name a step"):
        made(name=name)


def test_a_ref_takes_tokens_as_people_write_them_and_prints_as_they_type_it() -> None:
    assert str(Ref.model_validate({"name": "trunk", "at": "2M"})) == "trunk@2000000"
    assert str(Ref(name="trunk")) == "trunk"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_plain_values_are_their_own_canonical_form(value: object) -> None:
    assert canonical(value) == value


def test_sets_are_sorted_and_what_json_cannot_say_is_refused() -> None:
    assert canonical({"x": frozenset({"b", "a"})}) == {"x": ["a", "b"]}
    with pytest.raises(BadInput, match="a complex cannot be part of a step"):
        canonical((1j,))


def test_tokens_of_a_step_are_counted_before_they_identify_it() -> None:
    class Sized(Step):
        tokens: Tokens

    given = {"name": "x", "tokens": "2K"}
    assert Sized.model_validate(given).asked()["tokens"] == 2000
