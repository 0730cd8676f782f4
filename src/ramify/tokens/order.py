"""In which order a source is read: segments permuted per epoch, sequences permuted within a group.

    cursor --> epoch, group, sequence --(keyed Feistel)--> segment, offset --> start in the source

Nothing is stored and nothing replayed: any cursor is located in constant time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

GROUP_SEGMENTS = 64  # 8-64 M tokens with segments of 2^17-2^20: shuffled across 64 places
GROUPS_PER_EPOCH = 16  # for small sources: a change of context skips less than 1/16 of an epoch

LOOKED_THROUGH = 1 << 20  # places of a permutation at a time

ROUNDS = 6
_ROUND_KEYS = tuple(
    np.uint64(odd)
    for odd in (
        0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
        0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB,
    )
)  # fmt: skip
_SPREAD = np.uint64(0xFF51AFD7ED558CCD)
_SPREAD_AGAIN = np.uint64(0xC4CEB9FE1A85EC53)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_S29, _S32, _S33 = np.uint64(29), np.uint64(32), np.uint64(33)


def blend(key: Words, value: Words) -> Words:
    """Return one 64-bit key per pair of key and value (the finalizer of MurmurHash3)."""
    mixed = key + (value + np.uint64(1)) * _STEP
    mixed ^= mixed >> _S33
    mixed *= _SPREAD
    mixed ^= mixed >> _S33
    mixed *= _SPREAD_AGAIN
    mixed ^= mixed >> _S33
    return mixed


def words(values: npt.ArrayLike) -> Words:
    """Return values as an array of unsigned 64-bit words, one-dimensional at least."""
    return np.atleast_1d(np.asarray(values, dtype=np.uint64))


def _scramble(index: Words, low_bits: Words, low: Words, high: Words, key: Words) -> Words:
    """One keyed bijection of [0, 2^bits): a Feistel network of two parts that differ by one bit."""
    right, left = index & low, index >> low_bits
    for turn, odd in enumerate(_ROUND_KEYS):
        mixed = ((left if turn % 2 else right) ^ (key + odd)) * _SPREAD
        mixed ^= mixed >> _S29
        mixed *= _SPREAD_AGAIN
        mixed >>= _S32
        if turn % 2:
            right = right ^ (mixed & low)
        else:
            left = left ^ (mixed & high)
    return (left << low_bits) | right


def permute(index: npt.ArrayLike, size: npt.ArrayLike, key: npt.ArrayLike) -> Ints:
    """Return where the permutation of [0, size) under `key` sends each index, element by element.

    A keyed Feistel network on the next power of two, walked on until it is inside (fewer than two
    rounds of it on average). The three broadcast; sizes are from 1 to 2^53.
    """
    index_N, size_N, key_N = np.broadcast_arrays(words(index), words(size), words(key))
    bits_N = np.frexp((size_N - np.uint64(1)).astype(np.float64))[1]
    low_bits_N = ((bits_N + 1) // 2).astype(np.uint64)
    one = np.uint64(1)
    low_N = (one << low_bits_N) - one
    high_N = (one << (bits_N // 2).astype(np.uint64)) - one
    out_N = _scramble(index_N, low_bits_N, low_N, high_N, key_N)
    outside = np.flatnonzero(out_N >= size_N)
    while outside.size:
        again = _scramble(
            out_N[outside], low_bits_N[outside], low_N[outside], high_N[outside], key_N[outside]
        )
        out_N[outside] = again
        outside = outside[again >= size_N[outside]]
    return out_N.astype(np.int64)


def group_segments(segments: int) -> int:
    """Return how many segments are shuffled together in a source of `segments` segments."""
    return max(1, min(GROUP_SEGMENTS, segments // GROUPS_PER_EPOCH))


def locate(
    cursor_N: Ints, seq_len: int, segments_N: Ints, segment_N: Ints, group_N: Ints, key_N: Words
) -> Ints:
    """Return the first token, within its source, of the sequence at each cursor.

    `segments` usable segments of `segment` tokens, shuffled in groups of `group` segments.
    """
    epoch_N, within_N = np.divmod(cursor_N, segments_N * segment_N)
    block_N, rest_N = np.divmod(within_N, group_N * segment_N)
    first_N = block_N * group_N
    per_segment_N = segment_N // seq_len
    sequences_N = np.minimum(group_N, segments_N - first_N) * per_segment_N  # the last is shorter
    epoch_key_N = blend(key_N, words(epoch_N))
    block_key_N = blend(epoch_key_N, words(block_N))
    slot_N, part_N = np.divmod(permute(rest_N // seq_len, sequences_N, block_key_N), per_segment_N)
    starts_N: Ints = (
        permute(first_N + slot_N, segments_N, epoch_key_N) * segment_N + part_N * seq_len
    )
    return starts_N


def _source_of(target: int, size: int, key: Words) -> int:
    """Return what the permutation of [0, size) under `key` sends to `target`."""
    for first in range(0, size, LOOKED_THROUGH):
        sent = permute(np.arange(first, min(first + LOOKED_THROUGH, size)), size, key)
        found = np.flatnonzero(sent == target)
        if found.size:
            return first + int(found[0])
    raise AssertionError("a permutation sends something to every place")


@dataclass(frozen=True)
class Order:
    """The order of one source: its usable segments, tokens per segment, segments per group, key."""

    segments: int
    segment: int
    group: int
    key: int

    def locate(self, cursor: int, seq_len: int) -> int:
        """Return the first token of the sequence of `seq_len` tokens that the cursor stands before.

        `seq_len` divides the segment and the cursor is a multiple of it.
        """
        segments, segment, group = np.array([[self.segments], [self.segment], [self.group]])
        where = locate(np.array([cursor]), seq_len, segments, segment, group, words(self.key))
        return int(where[0])

    def cursor(self, start: int, seq_len: int, epoch: int) -> int:
        """Return the cursor before the sequence that begins at token `start`, in one epoch.

        The inverse of `locate`, by looking through the permutations: an epoch's segments, then the
        sequences of a group. `start` is a multiple of `seq_len` within the usable segments.
        """
        epoch_key = blend(words(self.key), words(epoch))
        segment, part = start // self.segment, start % self.segment // seq_len
        place = _source_of(segment, self.segments, epoch_key)
        block, slot = divmod(place, self.group)
        per_segment = self.segment // seq_len
        sequences = min(self.group, self.segments - block * self.group) * per_segment
        block_key = blend(epoch_key, words(block))
        rest = _source_of(slot * per_segment + part, sequences, block_key)
        return (epoch * self.segments + block * self.group) * self.segment + rest * seq_len

    def next_group(self, cursor: int) -> int:
        """Return the first cursor, from this one on, at which a group or an epoch begins."""
        epoch, within = divmod(cursor, self.segments * self.segment)
        tokens = self.group * self.segment
        end = min(-(-within // tokens) * tokens, self.segments * self.segment)
        return epoch * self.segments * self.segment + end
