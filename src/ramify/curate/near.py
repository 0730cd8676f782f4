"""Near-duplicates: MinHash signatures, buckets of candidates, and clusters that were verified.

    text ─► bands x rows hashes ─► one hash a band ─► documents that share one: a bucket
         ─► exact n-grams of those alone ─► Jaccard ─► clusters, of which one document stays

No text takes part in a shuffle: buckets are made of (hash, rank) only, a rank being a document's
place in the order of who is kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ramify.curate.engine import daft, read_parquet

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
MOST_COMPARED = 32  # documents of a bucket, its first, with which each of the others is compared
ODD = np.uint64(0x9E3779B97F4A7C15)


def signatures(
    path: Path, bands: int, rows: int, words: int, seed: int
) -> Iterator[tuple[pa.Array, U64]]:
    """Yield (ids, band hashes of shape (documents, bands)) of a table of documents, by Daft."""
    clean = daft.functions.regexp_replace(daft.col("text").lower(), r"\s+", " ")
    signed = daft.functions.minhash(
        daft.functions.regexp_replace(clean, r"^ | $", ""),
        num_hashes=bands * rows,
        ngram_size=words,
        seed=1 + seed % 2**31,
    )
    frame = read_parquet(path).select(daft.col("id"), signed.alias("signature"))
    for batch in frame.to_arrow_iter():
        flat = batch["signature"].flatten().to_numpy(zero_copy_only=False)
        yield batch["id"], band_hashes(flat.reshape(-1, bands, rows))


def band_hashes(hashes: npt.NDArray[np.uint32]) -> U64:
    """Fold (documents, bands, rows) MinHash values into one 64-bit hash a band."""
    folded = np.zeros(hashes.shape[:2], np.uint64)
    for row in range(hashes.shape[2]):
        folded = (folded ^ hashes[:, :, row]) * ODD
        folded ^= folded >> np.uint64(29)
    return folded


def buckets(paths: list[Path], band: int) -> pa.ChunkedArray:
    """Return lists of ranks: the documents that share their hash in a band, two or more, by Daft."""
    name = f"band_{band:03}"
    grouped = read_parquet(*paths).groupby(name).agg(daft.col("rank").list_agg().alias("ranks"))
    found = grouped.where("list_count(ranks) > 1").select("ranks").to_arrow()
    return found["ranks"].cast(pa.large_list(pa.int64()))


def shingles(text: str, words: int) -> U64:
    """Return the sorted set of 64-bit hashes of a text's word n-grams, in lower case.

    A text of fewer words is one n-gram of all of them, as it is for Daft's `minhash`.
    """
    hashed = [zlib.crc32(word.encode()) for word in text.lower().split()]
    length = max(1, min(words, len(hashed)))
    grams = np.zeros(max(1, len(hashed) - length + 1), np.uint64)
    array = np.array(hashed or [0], np.uint64)
    for place in range(length):
        grams = (grams ^ array[place : place + len(grams)]) * ODD
        grams ^= grams >> np.uint64(31)
    return np.unique(grams)


def jaccard(left: U64, right: U64) -> float:
    """Return |A and B| / |A or B| of two sorted sets."""
    both = np.intersect1d(left, right, assume_unique=True).size
    return both / (left.size + right.size - both)


class Clusters:
    """Documents joined where a candidate pair was verified; the lowest rank of each cluster leads it.

    A union-find with path halving rather than connected components at the end: a pair that is joined
    already need not be compared, so a bucket of n copies costs n comparisons.
    """

    def __init__(self, sets: Mapping[int, U64], threshold: float) -> None:
        self._sets = sets
        self._threshold = threshold
        self._parent = {rank: rank for rank in sets}
        self._refused: set[tuple[int, int]] = set()

    def leader(self, rank: int) -> int:
        """Return the lowest rank of the cluster that `rank` is in."""
        parent = self._parent
        while parent[rank] != rank:
            parent[rank] = parent[parent[rank]]
            rank = parent[rank]
        return rank

    def add(self, bucket: I64) -> None:
        """Compare each of a bucket's documents with the first 32 of it, and join what is alike.

        Which pairs are compared depends on the bucket alone, so the order of buckets changes nothing.
        """
        ranks: list[int] = np.sort(bucket).tolist()
        first = ranks[:MOST_COMPARED]
        leaders = {self.leader(rank) for rank in first}
        for right in ranks:
            if leaders == {self.leader(right)}:  # as in a bucket of copies, all but at once
                continue
            for left in first:
                if left < right and self._meet(left, right):
                    leaders = {self.leader(rank) for rank in first}
                    if len(leaders) == 1:
                        break

    def _meet(self, left: int, right: int) -> bool:
        """Compare two documents unless that is settled; return whether they were joined by it."""
        one, two = self.leader(left), self.leader(right)
        if one == two or (left, right) in self._refused:
            return False
        if jaccard(self._sets[left], self._sets[right]) < self._threshold:
            self._refused.add((left, right))
            return False
        self._parent[max(one, two)] = min(one, two)
        return True

    def dropped(self) -> dict[int, tuple[int, float]]:
        """Return, for every document that leads no cluster, its leader and their Jaccard similarity."""
        found = {}
        for rank in sorted(self._parent):
            leader = self.leader(rank)
            if leader != rank:
                found[rank] = leader, jaccard(self._sets[leader], self._sets[rank])
        return found
