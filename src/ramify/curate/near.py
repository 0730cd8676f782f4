"""Near-duplicates: MinHash signatures, buckets of candidates, and clusters that were verified.

    text ─► bands x rows hashes ─► one hash a band ─► documents that share one: a bucket
         ─► exact n-grams of those alone ─► Jaccard ─► clusters, of which one document stays

No text takes part in a shuffle: buckets are made of (hash, rank) only, a rank being a document's
place in the order of who is kept. One band is in memory at a time, and n-grams are on the disk.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate.engine import batches, daft, read_parquet
from ramify.curate.words import ODD, word_hashes
from ramify.ground.step import Tell

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
MOST_COMPARED = 32  # documents of a bucket, its first, with which each of the others is compared
MOST_REFUSED = 4 << 20  # pairs remembered as compared in vain; forgetting them costs time alone
MOST_STARS = 64  # that a cluster too large is broken into
WAITING_BYTES = 64 << 20  # of n-grams, between writes


def signatures(
    path: Path, bands: int, rows: int, words: int, seed: int
) -> Iterator[tuple[pa.Array, U64]]:
    """Yield (ids, band hashes of shape (documents, bands)) of a table of documents, by Daft."""
    # white space becomes single spaces; those that are, nearly all, match neither and cost no copy
    clean = daft.functions.regexp_replace(daft.col("text").lower(), r"\s{2,}|[^\S ]", " ")
    signed = daft.functions.minhash(
        daft.functions.strip(clean),
        num_hashes=bands * rows,
        ngram_size=words,
        seed=1 + seed % 2**31,
    )
    frame = read_parquet(path).select(daft.col("id"), signed.alias("signature"))
    for batch in batches(frame):
        flat = batch["signature"].flatten().to_numpy(zero_copy_only=False)
        yield batch["id"], band_hashes(flat.reshape(-1, bands, rows))


def band_hashes(hashes: npt.NDArray[np.uint32]) -> U64:
    """Fold (documents, bands, rows) MinHash values into one 64-bit hash a band."""
    folded = np.zeros(hashes.shape[:2], np.uint64)
    for row in range(hashes.shape[2]):
        folded = (folded ^ hashes[:, :, row]) * ODD
        folded ^= folded >> np.uint64(29)
    return folded


RANKS = pa.schema([("ranks", pa.large_list(pa.int64()))])


def write_buckets(paths: list[Path], bands: int, path: Path, tell: Tell) -> None:
    """Write lists of ranks: the documents that share their hash in a band, two or more."""
    with pa.ipc.new_file(path, RANKS) as file:
        for band in range(bands):
            names = [f"band_{band:03}", "rank"]
            table = pa.concat_tables(pq.read_table(signed, columns=names) for signed in paths)
            hashes, ranks = (table[name].to_numpy() for name in names)
            order = np.argsort(hashes)
            hashes = hashes[order]
            as_before = np.concatenate([[False], hashes[1:] == hashes[:-1], [False]])
            shared = as_before[:-1] | as_before[1:]
            starts = np.append(np.flatnonzero(~as_before[:-1][shared]), np.count_nonzero(shared))
            found = pa.LargeListArray.from_arrays(starts, ranks[order[shared]])
            file.write_table(pa.table([found], schema=RANKS))
            tell(band + 1, bands, "bands", "buckets")


def buckets(path: Path) -> Iterator[tuple[I64, I64]]:
    """Yield (ranks of many buckets end to end, where each ends) from what `write_buckets` wrote."""
    with pa.memory_map(str(path)) as mapped:
        for chunk in pa.ipc.open_file(mapped).read_all()["ranks"].chunks:
            if len(chunk):
                sizes = pc.list_value_length(chunk).to_numpy(zero_copy_only=False)
                yield chunk.flatten().to_numpy(), np.cumsum(sizes).astype(np.int64)


def shingles(text: str, words: int) -> U64:
    """Return the sorted set of 64-bit hashes of a text's word n-grams, in lower case.

    A text of fewer words is one n-gram of all of them, as it is for Daft's `minhash`.
    """
    return next(shingle_sets(pa.array([text]), words))


def shingle_sets(texts: pa.Array, words: int) -> Iterator[U64]:
    """Yield `shingles` of each of many texts."""
    # trimmed, since Arrow now and then leaves the white space that ends what `utf8_lower` returned
    lowered = pc.utf8_trim_whitespace(pc.utf8_lower(texts.cast(pa.large_string())))
    split = pc.utf8_split_whitespace(lowered)
    encoded = split.flatten().dictionary_encode()
    which = encoded.indices.to_numpy(zero_copy_only=False)
    hashed = word_hashes(encoded.dictionary)[which]
    grams = _grams(hashed, words)
    for first, last in pairwise(split.offsets.to_pylist()):  # an empty text is one empty word
        if last - first >= words:
            yield distinct(grams[first : last - words + 1])
        else:
            yield _grams(hashed[first:last], last - first)


def _grams(hashed: U64, length: int) -> U64:
    """Return the hash of the n-gram that begins at each word, texts taken end to end."""
    grams = np.zeros(max(0, len(hashed) - length + 1), np.uint64)
    for place in range(length):
        grams ^= hashed[place : place + len(grams)]
        grams *= ODD
        grams ^= grams >> np.uint64(31)
    return grams


def distinct(values: U64) -> U64:
    """Return the sorted set of values; several times as fast as `np.unique` on some hundreds."""
    ordered = np.sort(values)
    first = np.empty(len(ordered), np.bool_)
    first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def jaccard(left: U64, right: U64) -> float:
    """Return |A and B| / |A or B| of two sorted sets."""
    every = np.concatenate([left, right])
    every.sort(kind="stable")  # which merges two runs in order
    both = int(np.count_nonzero(every[1:] == every[:-1]))
    return both / (len(every) - both)


class Grams(Protocol):
    """Documents' n-grams by rank."""

    def __getitem__(self, rank: int, /) -> U64: ...


class Sets:
    """The n-grams of some documents, by rank, written to a file and read through a memory map."""

    def __init__(self, path: Path, documents: int) -> None:
        self._path = path
        self._places: I64 = np.full(documents, -1, np.int64)  # of the document's n-grams, in order
        self._ends = array("q", [0])
        self._waiting: list[U64] = []
        self._waiting_bytes = 0
        self._data: U64 = np.empty(0, np.uint64)
        path.write_bytes(b"")

    def add(self, rank: int, grams: U64) -> None:
        """Add one document's."""
        self._places[rank] = len(self._ends) - 1
        self._ends.append(self._ends[-1] + len(grams))
        self._waiting.append(grams)
        self._waiting_bytes += grams.nbytes
        if self._waiting_bytes > WAITING_BYTES:
            self._flush()

    def _flush(self) -> None:
        with self._path.open("ab") as file:
            for grams in self._waiting:
                file.write(grams.tobytes())
        self._waiting, self._waiting_bytes = [], 0

    def close(self) -> Sets:
        """Write what waits, and be read from now on."""
        self._flush()
        if self._ends[-1]:
            self._data = np.asarray(np.memmap(self._path, np.uint64, "r"))
        return self

    def __getitem__(self, rank: int) -> U64:
        place = int(self._places[rank])
        return self._data[self._ends[place] : self._ends[place + 1]]

    @property
    def ranks(self) -> I64:
        """Whose n-grams these are, in order."""
        return np.flatnonzero(self._places >= 0)


@dataclass(frozen=True)
class Fates:
    """By rank: the document that leads it, itself if it is kept, and how alike the two are."""

    leader: I64
    similarity: npt.NDArray[np.float32]
    clusters: int
    largest: list[tuple[int, int]]  # (leader, documents) of the ten largest, before any was broken
    broken: int

    @property
    def dropped(self) -> npt.NDArray[np.bool_]:
        """Who is led by another."""
        led: npt.NDArray[np.bool_] = self.leader != np.arange(len(self.leader))
        return led


class Clusters:
    """Documents joined where a candidate pair was verified; the lowest rank of each cluster leads it.

    A union-find with path halving rather than connected components at the end: a pair that is joined
    already need not be compared, so a bucket of n copies costs n comparisons.
    """

    def __init__(self, sets: Grams, ranks: I64, documents: int, threshold: float) -> None:
        """Begin with every one of `documents` alone; only those of `ranks` have sets and may meet."""
        self._sets = sets
        self._ranks = ranks
        self._threshold = threshold
        self._parent = array("q", range(documents))
        self._refused: set[int] = set()

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
        ranks: list[int] = sorted(bucket.tolist())
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
        pair = left * len(self._parent) + right
        if one == two or pair in self._refused:
            return False
        if jaccard(self._sets[left], self._sets[right]) < self._threshold:
            if len(self._refused) >= MOST_REFUSED:
                self._refused.clear()
            self._refused.add(pair)
            return False
        self._parent[max(one, two)] = min(one, two)
        return True

    def fates(self, largest: int | None = None) -> Fates:
        """Return what becomes of every document; a cluster of more than `largest` is broken up.

        Breaking up: its lowest rank leads those that are alike to it themselves, the lowest of the
        rest leads likewise, and so on 64 times; what is left then is kept.
        """
        count = len(self._parent)
        ranks = self._ranks
        leaders = np.array([self.leader(rank) for rank in ranks.tolist()], np.int64)
        order = np.argsort(leaders, kind="stable")
        starts = np.flatnonzero(np.diff(leaders[order], prepend=-1))
        members = [x for x in np.split(ranks[order], starts[1:]) if len(x) > 1]
        leader, similarity = np.arange(count), np.ones(count, np.float32)
        broken = 0
        for cluster in members:
            if largest is not None and len(cluster) > largest:
                self._break(cluster, leader, similarity)
                broken += 1
            else:
                leader[cluster] = cluster[0]
                similarity[cluster[1:]] = self._alike(int(cluster[0]), cluster[1:])
        most = sorted(members, key=lambda x: (-len(x), int(x[0])))[:10]
        told = [(int(x[0]), len(x)) for x in most]
        return Fates(leader, similarity, len(members), told, broken)

    def _alike(self, rank: int, others: I64) -> npt.NDArray[np.float32]:
        own = self._sets[rank]
        found = (jaccard(own, self._sets[other]) for other in others.tolist())
        return np.fromiter(found, np.float32, len(others))

    def _break(self, cluster: I64, leader: I64, similarity: npt.NDArray[np.float32]) -> None:
        left = cluster
        for _ in range(MOST_STARS):
            if len(left) < 2:
                return
            head, others = int(left[0]), left[1:]
            alike = self._alike(head, others)
            near = alike >= np.float32(self._threshold)
            leader[others[near]] = head
            similarity[others[near]] = alike[near]
            left = others[~near]
