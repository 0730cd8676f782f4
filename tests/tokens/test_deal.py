"""Rows dealt to sources: exact in every batch to a row, and over any prefix to half a row a level."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil, log2

from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.tokens.deal import Deal, nearest

ELEVEN_TRILLION = 5_300_000  # batches of 2M tokens
weights = st.one_of(
    st.integers(1, 10_000).map(float), st.floats(1e-9, 1.0), st.sampled_from([0.0002, 1 / 3, 0.1])
)
mixtures = st.lists(weights, min_size=1, max_size=24).map(
    lambda drawn: tuple(weight / sum(drawn) for weight in drawn)
)
rows = st.one_of(st.integers(1, 40), st.sampled_from([512, 1024, 4096]))
batches = st.one_of(st.integers(0, 50), st.integers(0, ELEVEN_TRILLION), st.integers(0, 10**12))


def exact(shares: tuple[float, ...]) -> list[Fraction]:
    parts = [Fraction(str(share)) for share in shares]
    return [part / sum(parts) for part in parts]


def levels(shares: tuple[float, ...]) -> int:
    return ceil(log2(len(shares)))


@given(mixtures, rows, batches)
@settings(max_examples=200, deadline=None)
def test_every_batch_gives_each_source_its_share_rounded_down_or_up(
    shares: tuple[float, ...], rows: int, batch: int
) -> None:
    counts = Deal(shares, rows).batch(batch)
    assert sum(counts) == rows
    for count, share in zip(counts, exact(shares), strict=True):
        assert abs(count - rows * share) < 1
        assert count >= 0


@given(mixtures, rows, batches)
@settings(max_examples=200, deadline=None)
def test_any_prefix_gives_each_source_its_share_to_within_half_a_row_a_level(
    shares: tuple[float, ...], rows: int, batch: int
) -> None:
    totals = Deal(shares, rows).before(batch)
    assert sum(totals) == rows * batch
    for total, share in zip(totals, exact(shares), strict=True):
        assert abs(total - rows * batch * share) <= Fraction(levels(shares), 2)


@given(st.lists(st.floats(1e-6, 1.0), min_size=200, max_size=256), rows, batches)
@settings(max_examples=8, deadline=None)
def test_256_sources_stay_within_four_rows_over_any_prefix(
    drawn: list[float], rows: int, batch: int
) -> None:
    shares = tuple(share / sum(drawn) for share in drawn)
    totals = Deal(shares, rows).before(batch)
    for total, share in zip(totals, exact(shares), strict=True):
        assert abs(total - rows * batch * share) <= 4


@given(mixtures, rows, st.integers(0, 10**9))
@settings(max_examples=30, deadline=None)
def test_the_closed_form_is_the_sum_of_its_batches(
    shares: tuple[float, ...], rows: int, first: int
) -> None:
    deal = Deal(shares, rows)
    totals = deal.before(first)
    for batch in range(first, first + 20):
        counts = deal.batch(batch)
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
    assert totals == deal.before(first + 20)


def test_the_first_batches_of_plain_mixtures_are_these() -> None:
    halves = Deal((0.5, 0.25, 0.25), 2)
    assert [halves.batch(b) for b in range(4)] == [[1, 0, 1], [1, 1, 0], [1, 0, 1], [1, 1, 0]]
    most = Deal((0.7, 0.3), 4)
    assert [most.batch(b) for b in range(5)] == [[3, 1], [3, 1], [2, 2], [3, 1], [3, 1]]
    assert most.before(5) == [14, 6]
    assert Deal((1.0,), 3).before(7) == [21]


def test_a_source_of_a_five_thousandth_is_neither_starved_nor_rounded_away() -> None:
    deal = Deal((0.0002, 0.6, 0.3998), 16)
    gave = [batch for batch in range(4_000) if deal.batch(batch)[0]]
    assert len(gave) == 13  # 12.8 is its share
    gaps = {late - early for early, late in pairwise(gave)}
    assert gave[0] < 313
    assert gaps <= {312, 313}
    assert abs(deal.before(ELEVEN_TRILLION)[0] - ELEVEN_TRILLION * 16 * 0.0002) <= 1


def test_a_tenth_is_a_tenth_however_it_is_stored() -> None:
    assert Deal((0.1, 0.2, 0.7), 10).before(10**12) == [10**12, 2 * 10**12, 7 * 10**12]


def test_nearest_rounds_halves_up_and_takes_nothing_of_nothing() -> None:
    assert [nearest(n, 1, 2) for n in range(5)] == [0, 1, 1, 2, 2]
    assert nearest(7, 0, 0) == 0
