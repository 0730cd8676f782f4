"""Digests that add up over any split into ranks, and a chain that any difference breaks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ramify.tokens.chain import (
    START,
    Chain,
    add_digests,
    from_signed,
    row_digest,
    to_signed,
)

digests = st.integers(0, 2**64 - 1)


@given(st.lists(digests, min_size=1), st.data())
def test_ranks_add_up_to_the_batch_in_any_split_and_order(
    drawn: list[int], data: st.DataObject
) -> None:
    mixed = data.draw(st.permutations(drawn))
    cut = data.draw(st.integers(0, len(drawn)))
    parts = add_digests(*mixed[:cut]), add_digests(*mixed[cut:])
    assert add_digests(*parts) == add_digests(*drawn)


@given(st.lists(digests, min_size=1))
def test_signed_digests_wrap_in_int64_as_an_all_reduce_does(drawn: list[int]) -> None:
    signed = np.array([to_signed(digest) for digest in drawn], dtype=np.int64)
    assert from_signed(int(signed.sum())) == add_digests(*drawn)
    assert [from_signed(int(x)) for x in signed] == drawn


def test_a_row_digest_is_of_its_place_and_its_tokens_and_not_of_their_type() -> None:
    tokens = [1, 2, 65_535]
    digest = row_digest(3, tokens)
    for dtype in ("uint16", "uint32", "int64"):
        assert row_digest(3, np.array(tokens, dtype=dtype)) == digest
    others = [row_digest(4, tokens), row_digest(3, tokens[::-1]), row_digest(3, tokens[:2])]
    assert len({digest, *others}) == 4


def test_equal_rows_in_two_places_do_not_cancel_out() -> None:
    assert add_digests(row_digest(0, [7]), row_digest(1, [7])) != 2 * row_digest(0, [7]) % 2**64


def test_every_part_of_the_past_is_in_a_link() -> None:
    links = {
        Chain.next(START, 16, 5),
        Chain.next(START, 32, 5),
        Chain.next(START, 16, 6),
        Chain.next(Chain.next(START, 16, 5), 16, 5),
        Chain.next(START, 1, 65),
        Chain.next(START, 16_5, 0),
    }
    assert len(links) == 6
    assert {len(link) for link in links} == {32}


def test_the_chain_is_the_same_for_ever() -> None:
    assert row_digest(0, [0, 1, 2]) == 10084975191032442019
    assert Chain.next(START, 4096, 1) == "ce0a43e184d84be1d8aac882a667b0f7"
