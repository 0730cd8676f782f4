"""The order of a source: permutations that are permutations, epochs that are whole."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.tokens.order import Order, group_segments, locate, permute, words

keys = st.integers(0, 2**64 - 1)


@st.composite
def orders(draw: st.DrawFn) -> tuple[Order, int]:
    """An order of some tens of segments, and a sequence length that divides them."""
    seq_len = draw(st.sampled_from([1, 2, 3, 8]))
    segment = seq_len * draw(st.integers(1, 6))
    segments = draw(st.integers(1, 60))
    group = draw(st.integers(1, segments))
    return Order(segments, segment, group, draw(keys)), seq_len


def read(order: Order, seq_len: int, first: int, count: int) -> list[int]:
    """Starts of `count` sequences from cursor `first` on, all at once."""
    cursors = first + np.arange(count, dtype=np.int64) * seq_len
    sizes = (np.full(count, size) for size in (order.segments, order.segment, order.group))
    segments, segment, group = sizes
    key = np.repeat(words(order.key), count)
    return [int(start) for start in locate(cursors, seq_len, segments, segment, group, key)]


@given(st.integers(1, 600), keys)
@settings(max_examples=150, deadline=None)
def test_a_permutation_sends_every_index_somewhere_else(size: int, key: int) -> None:
    assert sorted(permute(np.arange(size), size, key).tolist()) == list(range(size))


@given(st.integers(2, 2**53), keys, st.data())
@settings(max_examples=60, deadline=None)
def test_large_permutations_stay_inside_and_collide_nowhere(
    size: int, key: int, data: st.DataObject
) -> None:
    drawn = data.draw(st.sets(st.integers(0, size - 1), min_size=2, max_size=50))
    images = permute(sorted(drawn), size, key).tolist()
    assert len(set(images)) == len(drawn)
    assert all(0 <= image < size for image in images)


@given(st.lists(st.tuples(st.integers(1, 9), keys), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_elements_with_sizes_and_keys_of_their_own_do_not_touch_each_other(
    pairs: list[tuple[int, int]],
) -> None:
    sizes, drawn = (list(column) for column in zip(*pairs, strict=True))
    indices = [size - 1 for size in sizes]
    together = permute(indices, sizes, drawn).tolist()
    alone = [int(permute(i, n, k)[0]) for i, n, k in zip(indices, sizes, drawn, strict=True)]
    assert together == alone


@pytest.mark.parametrize("size", [2, 3, 5, 16])
def test_over_many_keys_an_index_goes_everywhere_about_equally_often(size: int) -> None:
    trials = 8_000
    for index in range(size):
        counts = Counter(permute(np.full(trials, index), size, np.arange(trials)).tolist())
        expected = trials / size
        chi_square = sum((counts[i] - expected) ** 2 / expected for i in range(size))
        assert chi_square < 3.5 * size + 10


def test_neighbours_are_torn_apart() -> None:
    images = permute(np.arange(4_000), 4_000, 7)
    assert abs(np.corrcoef(np.arange(4_000), images)[0, 1]) < 0.05
    assert np.mean(np.abs(np.diff(images)) == 1) < 0.005


def test_the_permutation_is_the_same_for_ever() -> None:
    assert permute(np.arange(8), 8, 1).tolist() == [6, 5, 0, 3, 4, 1, 2, 7]
    assert Order(100, 4096, 6, 42).locate(1_000 * 256, 256) == 40_448


@given(orders(), st.integers(0, 10**7))
@settings(max_examples=100, deadline=None)
def test_an_epoch_reads_every_sequence_once(drawn: tuple[Order, int], epoch: int) -> None:
    order, seq_len = drawn
    tokens = order.segments * order.segment
    starts = read(order, seq_len, epoch * tokens, tokens // seq_len)
    assert sorted(starts) == list(range(0, tokens, seq_len))


@given(orders())
@settings(max_examples=50, deadline=None)
def test_a_group_is_read_from_its_own_segments_whatever_the_context(
    drawn: tuple[Order, int],
) -> None:
    order, seq_len = drawn
    tokens = order.group * order.segment

    def segments_of_groups(length: int) -> list[set[int]]:
        starts = read(order, length, 0, order.segments * order.segment // length)
        per_group = tokens // length
        groups = [starts[i : i + per_group] for i in range(0, len(starts), per_group)]
        return [{start // order.segment for start in group} for group in groups]

    assert segments_of_groups(seq_len) == segments_of_groups(order.segment)


def test_epochs_differ_in_their_order_and_sequences_in_a_group_are_mixed() -> None:
    order = Order(segments=64, segment=64, group=8, key=3)
    first, second = read(order, 8, 0, 512), read(order, 8, 64 * 64, 512)
    assert first != second
    assert sorted(first) == sorted(second)
    of_a_group = [start // 64 for start in first[:64]]
    assert of_a_group != sorted(of_a_group)
    assert len(set(of_a_group)) == 8
    assert len(set(of_a_group[:16])) > 4


def test_single_positions_agree_with_arrays_of_them() -> None:
    order = Order(segments=37, segment=24, group=5, key=9)
    starts = read(order, 8, 0, 300)
    assert [order.locate(i * 8, 8) for i in range(300)] == starts


def test_the_next_group_begins_at_a_group_or_at_the_end_of_the_epoch() -> None:
    order = Order(segments=10, segment=8, group=4, key=0)  # groups of 32, 32 and 16 tokens
    wanted = {0: 0, 1: 32, 32: 32, 33: 64, 64: 64, 65: 80, 79: 80, 80: 80, 81: 112, 159: 160}
    assert {cursor: order.next_group(cursor) for cursor in wanted} == wanted


def test_groups_are_of_64_segments_or_of_a_sixteenth_of_a_small_source() -> None:
    sizes = {1: 1, 15: 1, 16: 1, 32: 2, 100: 6, 1_024: 64, 10**7: 64}
    assert {segments: group_segments(segments) for segments in sizes} == sizes


def test_a_cursor_at_eleven_trillion_tokens_is_located_like_any_other() -> None:
    order = Order(segments=10_500_000, segment=2**20, group=64, key=5)
    start = order.locate(11 * 10**12 // 2048 * 2048, 2048)
    assert 0 <= start < order.segments * order.segment
    assert start % 2048 == 0


@given(
    segments=st.integers(1, 300),
    per_segment=st.integers(1, 8),
    epoch=st.integers(0, 3),
    key=st.integers(0, 2**64 - 1),
    data=st.data(),
)
@settings(deadline=None)
def test_the_cursor_of_a_sequence_is_where_the_order_comes_to_it(
    segments: int, per_segment: int, epoch: int, key: int, data: st.DataObject
) -> None:
    order = Order(segments, per_segment * 4, group_segments(segments), key)
    start = 4 * data.draw(st.integers(0, segments * per_segment - 1))
    cursor = order.cursor(start, 4, epoch)
    assert order.locate(cursor, 4) == start
    assert cursor // (segments * order.segment) == epoch
