"""A named stream has the same seed for ever, and no two names share one by accident."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ramify.ground.seeds import WORD, derive

NAME = st.text(st.characters(codec="utf-8", exclude_characters="\x1f"), max_size=8) | st.integers()


def test_seeds_are_what_they_were_when_this_was_written() -> None:
    assert derive(0) == 8493733112532773764
    assert derive(0, "init") == 7374303093332426892
    assert derive(1, "order", "code", 3) == 5394324345014835191


@given(st.integers(0, 2**63), st.lists(NAME, max_size=3))
def test_a_seed_fits_a_word_and_depends_on_nothing_else(seed: int, names: list[str | int]) -> None:
    assert 0 <= derive(seed, *names) < WORD
    assert derive(seed, *names) == derive(seed, *names)


@given(st.lists(NAME, max_size=3), st.lists(NAME, max_size=3))
def test_other_names_have_other_seeds(one: list[str | int], other: list[str | int]) -> None:
    assert (derive(7, *one) == derive(7, *other)) == (one == other)


def test_a_number_and_its_digits_and_names_run_together_are_told_apart() -> None:
    assert (
        len({derive(1, 2), derive(1, "2"), derive(12), derive(1, "a", "b"), derive(1, "ab")}) == 5
    )
