"""An evaluation item is found where a document has it, and nowhere else."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.curate.contamination import Finding, excerpt, find
from ramify.curate.items import Items

from .corpora import prose

Item = tuple[str, str]


def items(*each: Item, ngram: int = 13) -> Items:
    rows = [
        {"id": str(n), "task": "t", "text": text, "answer": answer}
        for n, (text, answer) in enumerate(each)
    ]
    return Items(pa.Table.from_pylist(rows).combine_chunks(), ngram)


def found(texts: list[str], wanted: Items, overlap: float = 0.6, near: int = 50) -> list[Finding]:
    return find(pa.array(texts), wanted, overlap=overlap, near=near)


def pairs(findings: list[Finding]) -> list[tuple[int, int]]:
    return [(each.document, each.item) for each in findings]


@given(st.integers(13, 60), st.integers(0, 500), st.integers(0, 9))
@settings(deadline=None)
def test_a_long_item_that_is_there_whole_is_found_with_overlap_one(
    words: int, before: int, seed: int
) -> None:
    item = prose(("item", seed), words)
    text = f"{prose('before', before)} {item.upper()}! {prose('after')}"
    (finding,) = found([prose("other", 300), text], items((item, "")))
    assert (finding.document, finding.item, finding.rule) == (1, 0, "ngram_lcs")
    assert finding.overlap == 1


@pytest.mark.parametrize(("kept", "is_found"), [(12, False), (13, False), (17, False), (18, True)])
def test_a_long_item_needs_an_ngram_and_its_share_of_words(kept: int, is_found: bool) -> None:
    """Of 30 words: 18 are 0.6; 13 in a row are an n-gram."""
    words = prose("item", 30).split()
    text = f"{prose('a')} {' '.join(words[:kept])} {prose('b')}"
    assert bool(found([text], items((" ".join(words), "")))) == is_found
    broken = [word if n % 12 else "hole" for n, word in enumerate(words)]
    assert not found([" ".join(broken)], items((" ".join(words), "")))  # no 13 in a row


def test_words_put_between_or_left_out_lower_the_overlap_by_their_share() -> None:
    words = prose("item", 40).split()
    changed = [*words[:20], "and", "then", *words[20:30], *words[34:]]
    (finding,) = found([" ".join(changed)], items((" ".join(words), "")))
    assert finding.overlap == 36 / 40


def test_the_common_words_of_a_long_document_do_not_add_up_to_an_item() -> None:
    """One n-gram at the start, and all other words somewhere later, in order, far apart."""
    words = prose("item", 40).split()
    rest = [x for n, word in enumerate(words[13:]) for x in (word, prose(n, 50))]
    assert not found([" ".join([*words[:13], *rest])], items((" ".join(words), "")))


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("{q} {gap50} {a}", True),
        ("{q} {gap51} {a}", False),
        ("{a} {gap50} {q}", True),
        ("{a} {gap51} {q}", False),
        ("{q}", False),
        ("{a}", False),
        ("{q} {gap51} {a} {gap51} {q} {a}", True),
    ],
)
def test_a_short_item_needs_its_answer_near_it(text: str, is_found: bool) -> None:
    parts = {"q": "how do you boil an egg", "a": "in hot water"}
    said = text.format(**parts, gap50=prose("g", 50), gap51=prose("g", 51))
    assert bool(found([said], items((parts["q"], parts["a"])))) == is_found


def test_an_answer_within_the_question_is_no_answer() -> None:
    wanted = items(("is an egg red or green", "red"))
    assert not found(["is an egg red or green"], wanted)
    assert found(["is an egg red or green? Red."], wanted)


def test_an_item_is_not_found_across_two_documents() -> None:
    words = prose("item", 26).split()
    cut = [" ".join(words[:12]), " ".join(words[12:24])]
    assert not found(cut, items((" ".join(words), "")))
    assert not found(["how do you boil an egg", "in hot water"], items(("boil an egg", "in hot")))


@given(st.randoms(use_true_random=False))
@settings(deadline=None)
def test_every_planted_item_is_found_and_none_that_was_not(chance: random.Random) -> None:
    sizes = [chance.randrange(3, 40) for _ in range(12)]
    each = [(prose(("i", n), size), prose(("a", n), 2)) for n, size in enumerate(sizes)]
    texts, expected = [], []
    for document in range(8):
        planted = sorted(chance.sample(range(12), chance.randrange(4)))
        said = [f"{each[n][0]} {each[n][1]} {prose((document, n))}" for n in planted]
        texts.append(" ".join([prose(document), *said]))
        expected += [(document, n) for n in planted]
    assert pairs(found(texts, items(*each))) == expected


def test_items_that_cannot_be_looked_for_are_counted() -> None:
    wanted = items(("short without answer", ""), ("", "an answer"), ("?", "x"), ("short", "answer"))
    assert wanted.unchecked == 3
    assert pairs(found(["a short answer"], wanted)) == [(0, 3)]


def test_an_excerpt_shows_what_was_found() -> None:
    item = prose("item", 20)
    text = f"{prose('a')} {item} {prose('b')}"
    (finding,) = found([text], items((item, "")))
    assert item in excerpt(text, finding)
    long = Finding(0, 0, "ngram_lcs", 1.0, 0, 500)
    assert len(excerpt(prose("c", 500), long).split()) == 61
