"""Texts as hashed words, many at a time: the unit that overlap with an evaluation is counted in.

    text ─► NFKC, lower case ─► runs of letters, marks and digits ─► a 64-bit hash a word ─► n-grams

Every Chinese or Japanese character is a word by itself, since no space parts them. Whatever is no
letter, mark or digit parts words and is left out, so "x = 2" and "x=2" are the same two words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
ODD = np.uint64(0x9E3779B97F4A7C15)
BASE = 0x100000001B3
ALONE = r"([\p{Han}\p{Hiragana}\p{Katakana}])"
BETWEEN = r"[^\pL\pM\pN\x00-\x7F]+"
TO_WORDS = bytes(  # of ASCII: letters to lower case, all that is no letter or digit to a space
    ord(chr(x).lower()) if x >= 128 or chr(x).isalnum() else 32 for x in range(128)
) + bytes(range(128, 256))


@dataclass(frozen=True)
class Hashed:
    """The words of several texts end to end: text i has words[starts[i] : starts[i + 1]]."""

    words: U64
    starts: I64

    def of(self, text: int) -> U64:
        """Return the words of one text."""
        return self.words[self.starts[text] : self.starts[text + 1]]

    def texts_at(self, places: I64) -> I64:
        """Return which text each word is of."""
        return np.searchsorted(self.starts, places, side="right") - 1


def words_of(text: str) -> list[str]:
    """Return the words of one text, as they are hashed."""
    found: list[str] = normal(pa.array([text]))[0].as_py().split()
    return found


def normal(texts: pa.Array) -> pa.Array:
    """Return texts with one or more spaces between words, and nothing else besides the words."""
    texts = texts.cast(pa.large_string())
    if not pc.all(pc.string_is_ascii(texts)).as_py():
        # not by pyarrow 25, whose utf8_normalize decomposes when it is asked for NFKC
        each = [unicodedata.normalize("NFKC", text) for text in texts.to_pylist()]
        texts = pc.utf8_lower(pa.array(each, pa.large_string()))
        texts = pc.replace_substring_regex(texts, ALONE, r" \1 ")
        texts = pc.replace_substring_regex(texts, BETWEEN, " ")
    _, offsets, data = texts.buffers()
    spaced = pa.py_buffer(data.to_pybytes().translate(TO_WORDS) if data else b"")
    return pa.Array.from_buffers(
        pa.large_string(), len(texts), [None, offsets, spaced], offset=texts.offset
    )


def hashed(texts: pa.Array) -> Hashed:
    """Return the hashed words of texts; an array of strings without nulls."""
    split = pc.split_pattern(normal(texts), " ")
    encoded = split.flatten().dictionary_encode()
    which = encoded.indices.to_numpy(zero_copy_only=False)
    kept = pc.not_equal(encoded.dictionary, "").to_numpy(zero_copy_only=False)[which]
    ends = np.cumsum(np.concatenate([[0], kept]))
    sizes = pc.list_value_length(split).to_numpy(zero_copy_only=False)
    starts = ends[np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)]
    return Hashed(word_hashes(encoded.dictionary)[which[kept]], starts)


def word_hashes(words: pa.Array) -> U64:
    """Return the hash of each word: a polynomial in its bytes, mixed; 1 stands for an empty one."""
    _, offsets, data = words.buffers()
    ends = np.frombuffer(offsets, np.int64)[words.offset :][: len(words) + 1]
    sizes = np.maximum(np.diff(ends), 1)  # an empty word has a place of its own, of value 0
    places = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    values = np.ones(len(places), np.uint64)
    raw = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data else np.empty(0, np.uint8)
    values[np.repeat(np.diff(ends) > 0, sizes)] = raw.astype(np.uint64) + np.uint64(1)
    values *= powers(int(sizes.max(initial=1)))[places]
    return mixed(np.add.reduceat(values, np.cumsum(sizes) - sizes)) if len(words) else values


def powers(count: int) -> U64:
    """Return the first `count` powers of the base, modulo 2^64."""
    each = np.full(count, BASE, np.uint64)
    each[:1] = 1
    return np.multiply.accumulate(each)


def mixed(values: U64) -> U64:
    """Return values with their high bits brought down; equal ones stay equal."""
    out = (values ^ (values >> np.uint64(32))) * ODD
    out ^= out >> np.uint64(29)
    return out


def growing(words: U64, most: int) -> Iterator[tuple[int, U64]]:
    """Yield (n, hash of the n-gram that begins at each word) for n from 1 to `most`.

    The arrays are as long as there are such n-grams, texts taken end to end: see `whole`.
    """
    grams = np.zeros(len(words), np.uint64)
    for n in range(1, most + 1):
        grams = grams[: max(0, len(words) - n + 1)]
        grams = (grams ^ words[n - 1 : n - 1 + len(grams)]) * ODD
        grams ^= grams >> np.uint64(31)
        yield n, grams


def whole(starts: I64, places: I64, n: int) -> npt.NDArray[np.bool_]:
    """Say which n-grams, by the places where they begin, lie within one text."""
    ends = starts[np.searchsorted(starts, places, side="right")]
    return places + n <= ends


def ngrams(words: U64, n: int) -> U64:
    """Return the hash of each n-gram of one text."""
    *_, (_, grams) = growing(words, n)
    return grams


def contains(words: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Return where a run of words stands in others, as the places where it begins."""
    size = len(wanted)
    return [
        at for at in range(len(words) - size + 1) if list(words[at : at + size]) == list(wanted)
    ]
