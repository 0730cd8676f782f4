"""Words are hashed alike wherever they stand, and n-grams never reach from one text into the next."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.curate.words import growing, hashed, ngrams, whole, words_of

TEXTS = st.lists(st.text(alphabet="aB1 .é—漢字\n½ßΣ", max_size=30), max_size=8)


@given(TEXTS)
@settings(deadline=None)
def test_many_texts_are_hashed_as_each_is_alone(texts: list[str]) -> None:
    together = hashed(pa.array(texts, pa.string()))
    for number, text in enumerate(texts):
        alone = hashed(pa.array([text]))
        assert together.of(number).tolist() == alone.words.tolist()
        assert len(alone.words) == len(words_of(text))


@given(TEXTS)
@settings(deadline=None)
def test_two_words_have_one_hash_if_and_only_if_they_are_one_word(texts: list[str]) -> None:
    words = [word for text in texts for word in words_of(text)]
    hashes = hashed(pa.array(texts, pa.string())).words.tolist()
    assert len(set(zip(words, hashes, strict=True))) == len(set(words)) == len(set(hashes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Quick—brown fox's x=2.", ["the", "quick", "brown", "fox", "s", "x", "2"]),
        ("ﬁne ＡＢＣ ﾊﾟ", ["fine", "abc", "パ"]),
        ("日本 語", ["日", "本", "語"]),
        ("naïve Ä", ["naïve", "ä"]),
        (" \n…", []),
    ],
)
def test_words_are_runs_of_letters_marks_and_digits(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.lists(st.text(alphabet="ab ", max_size=12), max_size=6), st.integers(1, 4))
@settings(deadline=None)
def test_an_ngram_lies_within_one_text(texts: list[str], most: int) -> None:
    found = hashed(pa.array(texts, pa.string()))
    *_, (n, grams) = growing(found.words, most)
    places = np.arange(len(grams))
    inside = grams[whole(found.starts, places, n)] if len(grams) else grams
    each = [x for number in range(len(texts)) for x in ngrams(found.of(number), n).tolist()]
    assert inside.tolist() == each
