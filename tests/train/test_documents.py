"""Differences between two models, paired by document."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import Mismatch
from ramify.train.documents import Documents, paired_difference, summary

COSTS = st.lists(
    st.tuples(st.integers(1, 5000), st.floats(0, 3), st.floats(0, 3)), min_size=2, max_size=20
)


def pair(costs: list[tuple[int, float, float]]) -> tuple[Documents, Documents]:
    """Return what two models need for documents of (bytes, nats per byte of one, of the other)."""
    sizes = np.array([size for size, _, _ in costs], dtype=np.int64)
    ids = tuple(f"d{index}" for index in range(len(costs)))
    one = np.array([size * nats for size, nats, _ in costs])
    other = np.array([size * nats for size, _, nats in costs])
    return Documents(ids, one, sizes, sizes // 3), Documents(ids, other, sizes, sizes // 4)


@settings(deadline=None)
@given(costs=COSTS)
def test_a_paired_difference_is_the_difference_of_the_scores(
    costs: list[tuple[int, float, float]],
) -> None:
    a, b = pair(costs)
    expected = summary(a).bits_per_byte - summary(b).bits_per_byte
    found = paired_difference(a, b)
    assert found.bits_per_byte == pytest.approx(expected, abs=1e-9)
    assert paired_difference(b, a).bits_per_byte == pytest.approx(-expected, abs=1e-9)
    assert found.documents == len(costs)


@settings(deadline=None)
@given(costs=COSTS, seed=st.integers(0, 1000))
def test_the_order_of_documents_changes_no_difference(
    costs: list[tuple[int, float, float]], seed: int
) -> None:
    a, b = pair(costs)
    order = np.random.default_rng(seed).permutation(len(costs))
    shuffled = Documents(
        tuple(b.ids[i] for i in order), b.nats[order], b.bytes[order], b.tokens[order]
    )
    assert paired_difference(a, shuffled) == paired_difference(a, b)


def test_pairing_takes_away_what_is_hard_for_both() -> None:
    hard = np.random.default_rng(0).uniform(0.2, 3.0, 200)
    a, b = pair([(1000, nats + 0.01, nats) for nats in hard])
    found, alone = paired_difference(a, b), summary(a)
    assert found.bits_per_byte == pytest.approx(0.01 / math.log(2), rel=1e-6)
    assert found.standard_error is not None
    assert alone.standard_error is not None
    assert found.standard_error < alone.standard_error / 1000


def test_models_scored_on_other_documents_are_not_compared() -> None:
    a, b = pair([(10, 1.0, 1.0), (20, 1.0, 1.0)])
    fewer = Documents(b.ids[:1], b.nats[:1], b.bytes[:1], b.tokens[:1])
    with pytest.raises(Mismatch, match="1 documents were scored for one model only"):
        paired_difference(a, fewer)
    other = Documents(b.ids, b.nats, b.bytes + 1, b.tokens)
    with pytest.raises(Mismatch, match="differ in bytes"):
        paired_difference(a, other)
