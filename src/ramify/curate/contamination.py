"""Which documents hold which evaluation items, by which rule, and how much of each.

    documents ─► hashed words ─┬─► n-grams that a long item has ─► longest common subsequence ─┬─► found
    items ─► hashed words ─────┴─► a short item's whole text ───► its answer within 50 words ──┘

Long items are those of at least `ngram` words (13). Such an item is found where the document has one
of its n-grams and the longest common subsequence of the item and of the stretch of the document
around that n-gram has at least `overlap` (0.6) of the item's words. The stretch is where the item
would lie if it were there whole, with as many words again on either side as make it twice as long:
a subsequence of a whole document would find the common words of any long text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from ramify.curate.items import Items, words_at
from ramify.curate.words import Hashed, contains, growing, hashed, normal, whole
from ramify.ground.extras import need

Rule = Literal["ngram_lcs", "question_answer"]
EXCERPT_WORDS = 60  # of the document, in a report


@dataclass(frozen=True)
class Finding:
    """One item in one document of a batch: `overlap` is the share of the item's words found in order.

    `first` and `last` bound the words of the document in which it was found.
    """

    document: int
    item: int
    rule: Rule
    overlap: float
    first: int
    last: int


def find(texts: pa.Array, items: Items, *, overlap: float, near: int) -> list[Finding]:
    """Return what items a batch of texts holds, ordered by document and item, each pair once."""
    documents = hashed(texts)
    best: dict[tuple[int, int], Finding] = {}
    for n, hits in _hits(documents, items):
        for document, item, places in hits:
            words = words_at(documents, document)
            found = (
                _long(words, items, document, item, places, overlap)
                if n == items.ngram
                else _short(words, items, document, item, places, near)
            )
            if found is not None:
                best[document, item] = found
    return [best[key] for key in sorted(best)]


Places = list[tuple[int, int]]


def _hits(
    documents: Hashed, items: Items
) -> Iterator[tuple[int, Iterator[tuple[int, int, Places]]]]:
    """Yield, by length of n-gram, (document, item, where it begins in both) for all that match."""
    most = max(items.grams, default=0)
    for n, grams in growing(documents.words, most):
        wanted = items.grams.get(n)
        if wanted is None:
            continue
        places = wanted.among(grams)
        places = places[whole(documents.starts, places, n)]
        by_pair: dict[tuple[int, int], Places] = {}
        for place, document in zip(places, documents.texts_at(places).tolist(), strict=True):
            at = int(place - documents.starts[document])
            for item, within in zip(
                *(x.tolist() for x in wanted.holders(grams[place])), strict=True
            ):
                by_pair.setdefault((document, item), []).append((at, within))
        yield n, ((document, item, where) for (document, item), where in by_pair.items())


def _long(
    words: list[int], items: Items, document: int, item: int, places: Places, overlap: float
) -> Finding | None:
    """Return the stretch that has most of a long item, if it has enough."""
    lcs = need("rapidfuzz.distance", extra="curate").LCSseq
    wanted = words_at(items.texts, item)
    best: Finding | None = None
    for first, last in _stretches(places, len(wanted), len(words)):
        share = lcs.similarity(wanted, words[first:last]) / len(wanted)
        if share >= overlap and (best is None or share > best.overlap):
            best = Finding(document, item, "ngram_lcs", share, first, last)
    return best


def _stretches(places: Places, size: int, words: int) -> Iterator[tuple[int, int]]:
    """Yield where the item may lie: twice its length around where it would begin, none twice."""
    slack, covered = size // 2, -size - 1
    for begins in sorted(at - within for at, within in places):
        if begins > covered:  # n-grams of one place name nearly the same stretch
            covered = begins + slack // 2
            yield max(0, begins - slack), min(words, begins + size + slack)


def _short(
    words: list[int], items: Items, document: int, item: int, places: Places, near: int
) -> Finding | None:
    """Return where a short item's text and its answer stand near each other, apart."""
    size, answer = int(items.sizes[item]), words_at(items.answers, item)
    for at, _ in places:
        before = max(0, at - near - len(answer))
        after = at + size
        sides = ((before, words[before:at]), (after, words[after : after + near + len(answer)]))
        for begins, side in sides:
            for place in contains(side, answer):
                answered = begins + place
                first, last = min(at, answered), max(after, answered + len(answer))
                return Finding(document, item, "question_answer", 1.0, first, last)
    return None


def excerpt(text: str, finding: Finding) -> str:
    """Return the document's words in which an item was found, cut in the middle where they are many."""
    words = normal(pa.array([text]))[0].as_py().split()[finding.first : finding.last]
    if len(words) <= EXCERPT_WORDS:
        return " ".join(words)
    half = EXCERPT_WORDS // 2
    return " ".join([*words[:half], "…", *words[-half:]])
