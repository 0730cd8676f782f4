"""What a sample says of the whole: intervals that hold it, and duplicates that grow no faster than told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.runs.resampling import Repeats, Units, interval, kept_interval

CLUSTERS = st.lists(st.integers(1, 12), min_size=20, max_size=60)


def units(sizes: list[float], whole: float) -> Units:
    return Units(np.array(sizes), whole, 1.0, len(sizes), "files")


def repeats(clusters: np.ndarray, chosen: np.ndarray) -> Repeats:
    """Return what deduplication finds in a sample; `clusters` says to which each document belongs."""
    counts = np.unique(clusters[chosen], return_counts=True)[1]
    return Repeats(int(counts.sum()), len(counts), int((counts > 1).sum()))


@settings(max_examples=25, deadline=None)
@given(CLUSTERS, st.integers(0, 1000))
def test_the_share_that_stays_of_the_whole_lies_within_what_samples_allow(
    sizes: list[int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    whole = len(sizes) / len(clusters)
    lows, highs = [], []
    for _ in range(200):
        chosen = random.random(len(clusters)) < 0.25
        found = repeats(clusters, chosen)
        if found.seen:
            low, high = found.bounds(4.0)
            kept = found.stayed / found.seen
            lows.append(kept * low)
            highs.append(kept * high)
    assert np.mean(lows) <= whole + 0.02
    assert np.mean(highs) >= whole - 0.02


def test_a_sample_that_is_the_whole_leaves_nothing_open() -> None:
    assert Repeats(seen=10, stayed=7, across=2).bounds(1.0) == (1.0, 1.0)


def test_no_fewer_documents_stay_than_the_sample_has_by_itself() -> None:
    low, high = Repeats(seen=100, stayed=50, across=50).bounds(100.0)
    assert low == pytest.approx(0.01)
    assert high == pytest.approx(0.01)  # all were met twice: nothing says that there are others


def test_intervals_hold_the_whole_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    sizes = random.lognormal(3, 1, 2000)
    documents = random.poisson(sizes / 3)
    kept = random.binomial(documents, np.clip(random.normal(0.6, 0.2, 2000), 0, 1))
    held = 0
    for trial in range(100):
        chosen = random.permutation(2000)[:100]
        columns = np.stack([documents[chosen], kept[chosen]], axis=1).astype(float)
        totals = units(list(sizes[chosen]), sizes.sum()).totals(columns, trial)
        found = interval(totals[:, 1])
        held += found.low <= kept.sum() <= found.high
    assert held >= 85


def test_a_whole_that_was_read_has_no_interval() -> None:
    read = Units(np.array([3.0, 4.0]), 7.0, 1.0, 0, "documents")
    found = interval(read.totals(np.array([[1.0], [2.0]]), 0)[:, 0])
    assert (found.low, found.value, found.high) == (3, 3, 3)


def test_what_a_sample_never_saw_may_still_be_there() -> None:
    all_kept = kept_interval(np.ones(1001), 100, 1.0, 1.0)
    assert (all_kept.low, all_kept.high) == (0.97, 1.0)
    none_kept = kept_interval(np.zeros(1001), 100, 1.0, 1.0)
    assert (none_kept.low, none_kept.high) == (0.0, 0.03)
