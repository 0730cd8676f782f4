"""Near-duplicates: candidates by MinHash, verified by their n-grams."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.curate.near import (
    U64,
    Clusters,
    Sets,
    band_hashes,
    distinct,
    jaccard,
    shingle_sets,
    shingles,
    signatures,
)

DATA = Path(__file__).parents[3] / "shared" / "data" / "dedup"
TEXT = st.lists(st.sampled_from(["a", "b", "c", "d", "É", "é"]), max_size=30).map(" ".join)


def grams(text: str, words: int) -> set[tuple[str, ...]]:
    found = text.lower().split()
    length = max(1, min(words, len(found)))
    return {tuple(found[i : i + length]) for i in range(max(1, len(found) - length + 1))}


@given(left=TEXT, right=TEXT, words=st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_jaccard_is_that_of_the_sets_of_word_ngrams(left: str, right: str, words: int) -> None:
    one, two = grams(left, words), grams(right, words)
    found = jaccard(shingles(left, words), shingles(right, words))
    assert found == pytest.approx(len(one & two) / len(one | two))


SETS = st.lists(
    st.sets(st.integers(0, 8), min_size=1).map(lambda s: np.array(sorted(s), np.uint64)),
    min_size=2,
    max_size=10,
)


@given(sets=SETS, threshold=st.floats(0.1, 1), chance=st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_clusters_are_the_components_of_all_pairs_alike_in_any_order_of_buckets(
    sets: list[U64], threshold: float, chance: random.Random
) -> None:
    component = {rank: {rank} for rank in range(len(sets))}
    for left, right in itertools.combinations(range(len(sets)), 2):
        if jaccard(sets[left], sets[right]) >= threshold:
            joined = component[left] | component[right]
            component.update(dict.fromkeys(joined, joined))
    buckets = [np.array(pair) for pair in itertools.combinations(range(len(sets)), 2)]
    buckets.append(np.array([*range(len(sets))])[::-1])
    chance.shuffle(buckets)
    clusters = Clusters(sets, np.arange(len(sets)), len(sets), threshold)
    for bucket in buckets[: chance.randrange(len(buckets))]:
        clusters.add(bucket)
    clusters.add(np.arange(len(sets)))
    assert {rank: clusters.leader(rank) for rank in component} == {
        rank: min(members) for rank, members in component.items()
    }
    assert set(clusters.fates().dropped.nonzero()[0].tolist()) == {
        r for r, members in component.items() if r != min(members)
    }


def test_documents_of_one_band_in_common_share_its_hash_and_no_other() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**32, (2, 14, 8), np.uint32)
    hashes[1, 3] = hashes[0, 3]
    same = band_hashes(hashes)[0] == band_hashes(hashes)[1]
    assert same.nonzero()[0].tolist() == [3]


def signed(texts: list[str], path: Path, bands: int = 14, rows: int = 8) -> U64:
    names = [f"{n:032x}" for n in range(len(texts))]
    pq.write_table(pa.table({"id": names, "text": texts}), path, row_group_size=50)
    batches = [*signatures(path, bands, rows, 5, 0)]
    assert [x.as_py() for ids, _ in batches for x in ids] == names
    return np.concatenate([hashes for _, hashes in batches])


def test_candidates_are_found_as_often_as_theory_says(tmp_path: Path) -> None:
    chance = random.Random(1)
    pairs = 400
    texts, similar = [], []
    for _ in range(pairs):
        words = [f"w{chance.randrange(5000)}" for _ in range(200)]
        other = list(words)
        for place in chance.sample(range(200), 6):
            other[place] = "changed"
        texts += [" ".join(words), " ".join(other)]
        similar.append(jaccard(shingles(texts[-2], 5), shingles(texts[-1], 5)))
    hashes = signed(texts, tmp_path / "t.parquet")
    found = (hashes[0::2] == hashes[1::2]).any(axis=1)
    chances = 1 - (1 - np.array(similar) ** 8) ** 14
    spread = np.sqrt((chances * (1 - chances)).sum())
    assert abs(found.sum() - chances.sum()) < 4 * spread
    assert 0.5 < chances.mean() < 0.999


def test_white_space_and_case_make_no_difference(tmp_path: Path) -> None:
    words = [f"Word{n}" for n in range(40)]
    hashes = signed([" ".join(words), "\n\t ".join(words).lower() + "\n"], tmp_path / "t.parquet")
    assert (hashes[0] == hashes[1]).all()


def test_any_run_of_white_space_signs_as_one_space_does_and_at_an_end_as_none(
    tmp_path: Path,
) -> None:
    words = [f"word{n}" for n in range(40)]
    runs = [" ", "  ", " \n", "\n ", "\t", "\r\n\r\n"]
    runs += ["\x85", "\xa0", "\u2003", "\u2028 ", "\u3000"]
    texts = [end + run.join(words) + end for run in runs for end in ("", run)]
    hashes = signed(texts, tmp_path / "t.parquet")
    assert (hashes == hashes[0]).all()


@pytest.mark.shared
def test_planted_pairs_among_a_thousand_news_articles_are_all_found_and_nothing_else(
    tmp_path: Path,
) -> None:
    if not DATA.exists():
        pytest.skip("the shared data is not beside this project")
    with pa.input_stream(str(DATA / "minhash_articles_1000.jsonl.zst")) as stream:
        articles = [json.loads(line) for line in stream.read().splitlines()]
    truth = {
        frozenset(line.split())
        for line in (DATA / "minhash_articles_1000.truth").read_text().splitlines()
    }
    hashes = signed([article["text"] for article in articles], tmp_path / "t.parquet")
    sets = [shingles(article["text"], 5) for article in articles]
    clusters = Clusters(sets, np.arange(1000), 1000, 0.7)
    for band in hashes.T:
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            clusters.add(bucket)
    fates = clusters.fates()
    found = {
        frozenset((articles[one]["id"], articles[int(fates.leader[one])]["id"]))
        for one in fates.dropped.nonzero()[0]
    }
    assert found == truth


@given(
    texts=st.lists(TEXT | st.sampled_from(["", " a", "a\u3000b "]), max_size=8),
    words=st.integers(1, 6),
)
@settings(max_examples=100, deadline=None)
def test_the_sets_of_many_texts_are_those_of_each(texts: list[str], words: int) -> None:
    together = [x.tolist() for x in shingle_sets(pa.array(texts, pa.string()), words)]
    assert together == [shingles(text, words).tolist() for text in texts]
    assert [len(x) for x in together] == [len(grams(text, words)) for text in texts]


def test_white_space_that_ends_a_text_is_never_of_its_last_word() -> None:
    """Arrow's split reads beyond a buffer's end, so that what lies there by chance decided."""
    expected = shingles("one 二", 1).tolist()
    for number in range(4000):
        bytearray(b"\xa0" * (number % 200 + 1))  # what lies there is another thing each time
        assert shingles(f"one 二{chr(0x3000) if number % 2 else chr(10)}", 1).tolist() == expected


@given(st.lists(st.integers(0, 9)))
def test_distinct_values_are_a_sorted_set(values: list[int]) -> None:
    assert distinct(np.array(values, np.uint64)).tolist() == sorted(set(values))


def test_sets_come_back_from_the_disk_as_they_were_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramify.curate.near.WAITING_BYTES", 64)
    chance = np.random.default_rng(0)
    kept = {rank: np.sort(chance.integers(0, 99, rank, np.uint64)) for rank in (7, 2, 0, 9)}
    sets = Sets(tmp_path / "sets", 12)
    for rank, values in kept.items():
        sets.add(rank, values)
    sets.close()
    assert sets.ranks.tolist() == [0, 2, 7, 9]
    assert all(sets[rank].tolist() == values.tolist() for rank, values in kept.items())
