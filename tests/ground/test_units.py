"""What is printed for people parses back to nearly what it was; what is no count is refused."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from ramify.ground.errors import BadInput
from ramify.ground.units import (
    Tokens,
    in_runs,
    parse_count,
    show_bytes,
    show_count,
    show_flops,
    show_money,
    show_seconds,
)

KIB = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}
SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("6T", 6 * 10**12),
        ("2M", 2_000_000),
        ("0.5B", 500_000_000),
        ("1.13e23", 113 * 10**21),
        ("4_096", 4096),
        ("4,096", 4096),
        (" 12k ", 12_000),
        ("1G", 10**9),
        (7, 7),
        (2.0, 2),
        (0, 0),
    ],
)
def test_a_count_is_what_people_mean(text: object, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "many", "-5", -5, 1.5, "1.5", "0.0001K", True, None, "nan", "inf", "1e999999999", "2 M M"],
)
def test_what_is_no_count_is_refused_with_its_value(text: object) -> None:
    with pytest.raises(BadInput, match=re.escape(repr(text)) + r" is not a count; write a whole"):
        parse_count(text)


@given(st.integers(0, 10**18))
def test_a_shown_count_parses_back_to_within_half_a_percent(count: int) -> None:
    assert parse_count(show_count(count)) == pytest.approx(count, rel=5e-3)


@given(st.integers(0, 999))
def test_a_small_count_is_shown_whole(count: int) -> None:
    assert show_count(count) == str(count)


@given(st.integers(0, 2**60))
def test_a_shown_size_is_within_a_twentieth_of_its_unit(size: int) -> None:
    number, unit = show_bytes(size).split()
    assert abs(float(number) * KIB[unit] - size) <= 0.0501 * KIB[unit]


@given(st.floats(0, 1e8))
def test_a_shown_duration_is_within_half_its_smaller_unit(seconds: float) -> None:
    parts = re.findall(r"([\d.]+)([dhms])", show_seconds(seconds))
    told = sum(float(number) * SECONDS[unit] for number, unit in parts)
    smaller = SECONDS[parts[-1][1]]
    # hours beside days, and minutes beside hours, are those that are over, seconds the nearest
    assert abs(told - seconds) <= (smaller if smaller > 1 else 0.5) + 0.5


@given(st.floats(1, 1e40))
def test_shown_flops_parse_back_to_three_digits(flops: float) -> None:
    assert float(show_flops(flops)) == pytest.approx(flops, rel=6e-3)


def test_an_unknown_duration_is_a_question_and_money_has_cents_where_they_matter() -> None:
    assert show_seconds(math.inf) == "?"
    assert (show_money(12.344), show_money(250_000)) == ("$12.34", "$250,000")


def test_a_model_takes_tokens_as_people_write_them() -> None:
    class Asked(BaseModel):
        tokens: Tokens

    assert Asked.model_validate({"tokens": "2M"}).tokens == 2_000_000
    with pytest.raises(ValueError, match="is not a count"):
        Asked.model_validate({"tokens": "2MM"})


@given(sizes=st.lists(st.integers(0, 30)), limit=st.integers(1, 40))
def test_runs_hold_every_item_in_order_and_no_more_than_their_limit(
    sizes: list[int], limit: int
) -> None:
    runs = in_runs(sizes, lambda size: size, limit)
    assert [size for run in runs for size in run] == sizes
    assert all(sum(run) <= limit or len(run) == 1 for run in runs)
    # none could have taken in the next one's first
    assert all(sum(run) + after[0] > limit for run, after in pairwise(runs))
