"""What held-out documents cost a model, added up to a score and compared in pairs; torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ramify.ground.errors import BadInput, Mismatch


@dataclass(frozen=True)
class Documents:
    """What each document cost, which is all that a score and a difference of scores need."""

    ids: tuple[str, ...]
    nats: NDArray[np.float64]
    bytes: NDArray[np.int64]
    tokens: NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """Bits per byte over all documents together, and its standard error by document."""

    bits_per_byte: float
    standard_error: float | None  # None: of a single document
    documents: int
    bytes: int
    tokens: int
    nats: float

    @property
    def loss(self) -> float:
        """Nats per token, the loss that training sees."""
        return self.nats / self.tokens


def summary(costs: Documents) -> Score:
    """Return the score of documents that were scored one by one."""
    bits, error = ratio(costs.nats / math.log(2), costs.bytes)
    return Score(
        bits_per_byte=bits,
        standard_error=error,
        documents=len(costs.ids),
        bytes=int(costs.bytes.sum()),
        tokens=int(costs.tokens.sum()),
        nats=float(costs.nats.sum()),
    )


def ratio(amounts: NDArray[np.float64], bytes_: NDArray[np.int64]) -> tuple[float, float | None]:
    """Return R = Σx / Σy over documents and its standard error.

    The error is that of the linearised ratio, documents being drawn independently (Cochran,
    Sampling Techniques, 1977, section 6.4): se² = n / (n - 1) · Σ(x - R·y)² / (Σy)².
    It is None for a single document. Raises BadInput where there are no bytes at all.
    """
    total = float(bytes_.sum())
    if total <= 0:
        raise BadInput(
            f"{len(bytes_)} held-out documents of {total:.0f} bytes cannot be scored",
            hint="hold out more of this corpus",
        )
    mean = float(amounts.sum()) / total
    n = len(bytes_)
    if n < 2:
        return mean, None
    squares = float(np.square(amounts - mean * bytes_).sum())
    return mean, math.sqrt(n / (n - 1) * squares) / total


@dataclass(frozen=True)
class Difference:
    """How many bits per byte a model needs above another on the same documents."""

    bits_per_byte: float
    standard_error: float | None  # None: of a single document
    documents: int


def paired_difference(a: Documents, b: Documents) -> Difference:
    """Return the bits per byte of `a` above those of `b`, paired by document.

    What is hard for one model is hard for the other, so the error of the difference, which is that
    of a ratio of (nats of a - nats of b) to bytes, is far below that of either score. Raises
    Mismatch unless both scored the same documents: like is compared with like.
    """
    place = {name: index for index, name in enumerate(b.ids)}
    alone = sorted(place.keys() ^ set(a.ids))
    if alone or len(a.ids) != len(b.ids):
        raise Mismatch(
            f"{len(alone)} documents were scored for one model only, as {alone[:1]}",
            hint="evaluate both on the same corpora with the same limit_tokens",
        )
    order = np.array([place[name] for name in a.ids], dtype=np.int64)
    if not np.array_equal(a.bytes, b.bytes[order]):
        raise Mismatch(
            "documents of the same id differ in bytes", hint="evaluate both on the same corpora"
        )
    bits, error = ratio((a.nats - b.nats[order]) / math.log(2), a.bytes)
    return Difference(bits, error, len(a.ids))
