"""A sample of a corpus is decided by its documents, not by its files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import BadInput, NotFound
from ramify.ground.step import Input, Ref
from ramify.tokens import corpus, make, tokenizer
from ramify.tokens.steps import BroughtTokenizer, Corpus, Tokenizer


def quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def put(folder: Path, texts: dict[str, str], per_file: int = 4) -> Path:
    (folder / "documents").mkdir(parents=True)
    ids = list(texts)
    for at in range(0, len(ids), per_file):
        some = ids[at : at + per_file]
        table = pa.table(
            {"id": some, "text": [texts[i] for i in some], "origin": some, "part": [0] * len(some)}
        )
        pq.write_table(table, folder / "documents" / f"{at:05d}.parquet", row_group_size=2)
    return folder


@given(st.lists(st.text(max_size=20), min_size=1, max_size=20), st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_a_sample_is_the_first_documents_by_key_that_reach_its_size(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cap: int
) -> None:
    by_id = {f"d{n}": text for n, text in enumerate(texts)}
    shuffled = sorted(by_id, key=lambda i: i[::-1])
    one = put(tmp_path_factory.mktemp("one"), by_id)
    other = put(tmp_path_factory.mktemp("other"), {i: by_id[i] for i in shuffled}, 3)
    got = corpus.sample(one, cap, 0)
    assert got == corpus.sample(other, cap, 0)
    order = sorted(by_id, key=lambda i: corpus.order_key(i, 0))
    assert got == [by_id[i] for i in order[: len(got)]]
    sizes = [len(text.encode()) for text in got]
    assert sum(sizes) >= cap or len(got) == len(texts)
    assert len(got) == 1 or sum(sizes[:-1]) < cap


def test_keys_sort_as_their_bytes_do() -> None:
    ids = [f"{n:032x}" for n in range(100)]
    keys = corpus.order_keys(ids, 7)
    assert [high << 64 | low for high, low in keys.tolist()] == [
        int.from_bytes(corpus.order_key(i, 7)) for i in ids
    ]


def test_text_is_read_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "BATCH_BYTES", 50)
    texts = {f"d{n}": "é" * (n % 40) for n in range(100)}
    put(tmp_path, texts, 100)
    batches = [d for group in corpus.train_row_groups(tmp_path) for d in corpus.read(group)]
    assert [text for batch in batches for text in batch.texts] == list(texts.values())
    for batch in batches:
        assert batch.bytes.tolist() == [len(text.encode()) for text in batch.texts]
        assert int(batch.bytes.sum()) < 50 + 2 * 40


def test_a_tokenizer_learns_from_every_corpus_and_says_from_how_much(tmp_path: Path) -> None:
    put(tmp_path / "both" / "code", {f"c{n}": f"def f{n}(): return {n}\n" for n in range(50)})
    put(tmp_path / "both" / "prose", {f"p{n}": f"Once upon a time, {n} times." for n in range(50)})
    ref = Ref(name="both")
    step = Tokenizer(
        name="words",
        corpora={"code": Corpus(ref=ref, part="code"), "prose": Corpus(ref=ref, part="prose")},
        vocab=300,
        sample_bytes=400,
    )
    given_both = Input(tmp_path / "both", {}, "x")
    inputs = dict.fromkeys(step.refs(), given_both)
    out = tmp_path / "words"
    out.mkdir()
    facts = make.run_tokenizer(step, inputs, out, quiet)
    codec = tokenizer.Codec.open(out)
    assert facts["sha256"] == codec.sha256
    assert facts["vocab"] == codec.vocab
    assert facts["end_of_text"] == 0
    assert all(400 <= sampled["bytes"] < 430 for sampled in facts["sampled"].values())
    assert len(codec.encode("def Once")) < 8


def test_a_tokenizer_needs_documents(tmp_path: Path) -> None:
    step = Tokenizer(name="words", corpora={"text": Corpus(ref=Ref(name="text"))})
    with pytest.raises(NotFound, match="no corpus"):
        make.run_tokenizer(step, {"corpora.text.ref": Input(tmp_path, {}, "x")}, tmp_path, quiet)
    (tmp_path / "documents").mkdir()
    with pytest.raises(BadInput, match="no documents"):
        make.run_tokenizer(step, {"corpora.text.ref": Input(tmp_path, {}, "x")}, tmp_path, quiet)


def test_a_brought_tokenizer_is_the_one_that_was_brought(tmp_path: Path) -> None:
    codec = tokenizer.train(["some text, and some more text"], 300, ("<end>",))
    (tmp_path / "tokenizer.json").write_text(codec.json)
    step = BroughtTokenizer(
        name="words", path=tmp_path / "tokenizer.json", sha256=codec.sha256, end_of_text="<end>"
    )
    out = tmp_path / "words"
    out.mkdir()
    facts = make.run_brought(step, {}, out, quiet)
    assert facts["lossless"]
    assert facts["sha256"] == codec.sha256 == tokenizer.Codec.open(out).sha256
