"""The proof that two runs saw the same batches: digests that ranks add up, and a chain over batches.

row --> keyed 64-bit digest --(sum over rows, any split, mod 2^64)--> batch --> next link
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

WORD = 2**64
START = ""  # the link before a run's first batch


def row_digest(row: int, tokens_T1: npt.ArrayLike) -> int:
    """Return the 64-bit digest of a row at index `row` of its batch, whatever integers hold it."""
    hashed = blake2b(row.to_bytes(8, "little"), digest_size=8, key=b"ramify row")
    hashed.update(np.ascontiguousarray(tokens_T1, dtype="<u4").tobytes())
    return int.from_bytes(hashed.digest(), "little")


def add_digests(*digests: int) -> int:
    """Return the digest of the union of rows: the sum mod 2^64, in any order and grouping."""
    return sum(digests) % WORD


def to_signed(digest: int) -> int:
    """Return the digest as a signed 64-bit integer, which wraps when ranks add theirs up."""
    return digest - WORD if digest >= WORD // 2 else digest


def from_signed(signed: int) -> int:
    """Return the digest that a signed 64-bit integer stands for."""
    return signed % WORD


class Chain:
    """The chain over batches: each link names its batch's end, its digest and the link before."""

    @staticmethod
    def next(previous: str, tokens: int, digest: int) -> str:
        """Return the link (32 hex digits) after the batch that ended at `tokens`; first after START."""
        hashed = blake2b(previous.encode(), digest_size=16, key=b"ramify chain")
        hashed.update(b"|%d|%d" % (tokens, digest))
        return hashed.hexdigest()
