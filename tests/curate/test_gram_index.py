"""A benchmark that appears later is looked up in an index, and the answer is that of a search of the text."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.killing import Killed, Killing

from ramify.curate import gram_index
from ramify.curate.decontaminate import run_contamination, run_decontaminate
from ramify.curate.gram_index import marks, run_index
from ramify.curate.selection_steps import Contamination, Decontaminate, NgramIndex
from ramify.curate.words import hashed
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.step import Input, Ref

from .corpora import Row, contents, prose, quiet, row, write_corpus

C = Ref(name="c")
WORDS = ("the", "of", "and", "to", "in", "is", "egg", "shell", "river", "three", "seven", "plus")


def index(given: Input, folder: Path, **fields: Any) -> Input:
    folder.mkdir(exist_ok=True)
    run_index(NgramIndex(name="i", corpus=C, **fields), {"corpus": given}, folder, quiet)
    return Input(folder, {}, "index")


def looked_up(
    given: Input, items: list[Row], base: Path, by: Input | None, **fields: Any
) -> tuple[Row, list[Row]]:
    out = base / ("looked" if by else "searched")
    out.mkdir()
    path = base / "items.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    kind, run = fields.pop("kind", (Contamination, run_contamination))
    step = kind(
        name="t", corpus=C, items=(str(path),), index=Ref(name="i") if by else None, **fields
    )
    inputs = {"corpus": given} | ({"index": by} if by else {})
    facts = run(step, inputs, out, quiet)
    return facts, pq.read_table(out / "report.parquet").to_pylist()


def few_words(chance: random.Random, most: int, least: int = 1) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(least, most)))


def confusable(chance: random.Random) -> tuple[list[Row], list[Row]]:
    """Return documents and items of the same dozen words, some of them planted whole or broken."""
    items = [
        {"id": str(n), "task": "t", "text": few_words(chance, 24), "answer": few_words(chance, 5)}
        for n in range(8)
    ]
    documents = []
    for n in range(20):
        text = few_words(chance, 200, 0 if n else 1)
        if chance.random() < 0.5:
            item = chance.choice(items)
            text += (
                f" {item['text']} {few_words(chance, 40)} {item['answer']} {few_words(chance, 9)}"
            )
        documents.append(row(text or "x", f"d/{n}"))
    return documents, items


@given(st.randoms(use_true_random=False), st.integers(1, 14), st.sampled_from([2, 5, 13]))
@settings(deadline=None, max_examples=60)
def test_what_is_looked_up_is_what_a_search_finds(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random, shortest: int, ngram: int
) -> None:
    base = tmp_path_factory.mktemp("index")
    documents, items = confusable(chance)
    given_ = write_corpus(
        base / "in",
        {"documents/00000": documents[:11], "documents/00001": documents[11:], "held_out/00000": documents[:3]},
    )  # fmt: skip
    by = index(given_, base / "i", shortest=shortest)
    searched, report = looked_up(given_, items, base, None, ngram=ngram, near=20)
    facts, found = looked_up(given_, items, base, by, ngram=ngram, near=20)
    assert found == report
    assert {k: v for k, v in facts.items() if k in searched} == searched


@given(st.randoms(use_true_random=False), st.integers(1, 20))
@settings(deadline=None)
def test_texts_that_share_enough_words_in_a_row_share_a_mark(
    chance: random.Random, shortest: int
) -> None:
    shared = few_words(chance, 20, shortest)
    texts = [f"{few_words(chance, 9)} {shared} {few_words(chance, 9)}" for _ in range(2)]
    grams, places = marks(hashed(pa.array(["egg", *texts])), shortest)
    of = hashed(pa.array(["egg", *texts])).texts_at(places)
    alone, _ = marks(hashed(pa.array([shared])), shortest)
    for text in (1, 2):
        assert set(alone.tolist()) <= set(grams[of == text].tolist())


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Input, list[Row], list[Row]]:
    """Return a corpus of which one document in a hundred holds an item, and the items."""
    items = [
        {"id": str(n), "task": "t", "text": prose(("item", n), 8 + 9 * (n % 2)), "answer": prose(("a", n), 4)}
        for n in range(12)
    ]  # fmt: skip
    texts = [prose(("clean", n), 120) for n in range(600)]
    for n in range(6):
        texts[n * 100] += f" {items[n]['text']} {items[n]['answer']}"
    rows = [row(text, f"d/{n}") for n, text in enumerate(texts)]
    return write_corpus(tmp_path / "in", {"documents/00000": rows}), rows, items


def test_only_documents_that_may_hold_an_item_are_searched(
    corpus: tuple[Input, list[Row], list[Row]], tmp_path: Path
) -> None:
    given_, _, items = corpus
    facts, report = looked_up(given_, items, tmp_path, index(given_, tmp_path / "i"))
    assert len(report) == 6
    assert 6 <= facts["searched"] < 12
    assert (facts["seen"], facts["too_short_for_index"]) == (600, 0)


def test_a_corpus_is_freed_of_a_later_benchmark_by_its_index(
    corpus: tuple[Input, list[Row], list[Row]], tmp_path: Path
) -> None:
    given_, _, items = corpus
    by = index(given_, tmp_path / "i")
    kind = (Decontaminate, run_decontaminate)
    facts, _ = looked_up(given_, items, tmp_path, by, kind=kind)
    looked_up(given_, items, tmp_path, None, kind=kind)
    assert (facts["kept"], facts["dropped"]) == (594, {"contaminated": 6})
    assert facts["searched"] < 12
    for name in ("documents/00000.parquet", "dropped/00000.parquet", "report.parquet"):
        assert (tmp_path / "looked" / name).read_bytes() == (
            tmp_path / "searched" / name
        ).read_bytes()


def test_a_document_that_the_index_refuses_is_not_read_and_one_with_too_short_an_item_is(
    corpus: tuple[Input, list[Row], list[Row]], tmp_path: Path
) -> None:
    given_, rows, items = corpus
    by = index(given_, tmp_path / "i")
    words = rows[77]["text"].split()
    items.append({"id": "short", "task": "t", "text": " ".join(words[:2]), "answer": words[2]})
    facts, report = looked_up(given_, items, tmp_path, by)
    assert facts["too_short_for_index"] == 1
    assert facts["searched"] == 600
    assert (len(report), report[-1]["origin"]) == (7, "d/77")


def test_memory_is_bounded_by_parts_and_the_answer_does_not_depend_on_them(
    corpus: tuple[Input, list[Row], list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_, _, items = corpus
    whole = index(given_, tmp_path / "i")
    monkeypatch.setattr("ramify.curate.passing.BATCH_BYTES", 10_000)
    monkeypatch.setattr(gram_index, "PART_BYTES", 20_000)
    monkeypatch.setattr(gram_index, "PAIRS", 2)
    parts = index(given_, tmp_path / "p")
    assert pq.read_metadata(parts.path / "ngrams/00000.parquet").num_row_groups > 10
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert looked_up(given_, items, tmp_path / "a", parts) == looked_up(
        given_, items, tmp_path / "b", whole
    )


def test_an_index_of_another_corpus_is_refused(
    corpus: tuple[Input, list[Row], list[Row]], tmp_path: Path
) -> None:
    given_, _, items = corpus
    by = index(given_, tmp_path / "i")
    other = Input(given_.path, {}, "another")
    with pytest.raises(BadInput, match="the index i is not of the corpus in"):
        looked_up(other, items, tmp_path, by)


def test_killed_between_any_two_file_operations_it_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = {
        f"documents/0000{n}": [row(prose((n, k)), f"{n}/{k}") for k in range(5)] for n in range(3)
    }
    given_ = write_corpus(tmp_path / "in", shards)
    expected = contents(index(given_, tmp_path / "whole").path)
    for kills in itertools.count(1):
        killing = Killing(kills)
        monkeypatch.setattr(files, "failpoint", killing)
        try:
            index(given_, tmp_path / str(kills))
        except Killed:
            index(given_, tmp_path / str(kills))
        assert contents(tmp_path / str(kills)) == expected
        if killing.left > 0:  # there was no such operation any more
            break
    assert kills > 8
    assert np.all(
        np.diff(pq.read_table(tmp_path / "whole/ngrams")["gram"].to_numpy()[:5].astype(int)) >= 0
    )
