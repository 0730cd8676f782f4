"""Scores of held-out documents against a naive reading of them, token by token."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import BadInput, Corrupt, NotFound
from ramify.model.config import ModelConfig
from ramify.model.network import Transformer
from ramify.train.documents import ratio, summary
from ramify.train.score import FILE, HeldOut, score, score_documents

VOCAB, END = 64, 0
LISTS = st.lists(st.lists(st.integers(1, VOCAB - 1), max_size=40), min_size=1, max_size=8)


def micro() -> Transformer:
    """Return a network small enough to be read token by token."""
    config = ModelConfig(layers=2, width=16, heads=2, kv_heads=1, ffw=32, vocab=VOCAB, init_std=0.3)
    model = Transformer(config)
    model.init_weights(7)
    return model


MODEL = micro()


def held(texts: list[list[int]]) -> HeldOut:
    """Return documents of given tokens, three bytes to a token."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    return HeldOut(
        ids=tuple(f"d{index}" for index in range(len(texts))),
        bytes=3 * lengths,
        starts=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        tokens=np.array([token for text in texts for token in text], dtype=np.uint32),
    )


@torch.no_grad()
def naive_nats(text: list[int], seq_len: int) -> float:
    """Read each window of a document alone, with a plain softmax over whole logits."""
    stream, total = [END, *text], 0.0
    for start in range(0, len(text), seq_len):
        read = torch.tensor([stream[start : start + seq_len]])[:, : len(text) - start]
        wanted = torch.tensor(text[start : start + seq_len])
        logits = MODEL(read)[0] @ MODEL.head_weight.T
        total += torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").item()
    return total


@settings(max_examples=25, deadline=None)
@given(texts=LISTS, seq_len=st.integers(1, 24), rows=st.integers(1, 5), chunk=st.integers(1, 50))
def test_every_token_of_every_document_is_scored_once_however_it_is_batched(
    texts: list[list[int]], seq_len: int, rows: int, chunk: int
) -> None:
    costs = score_documents(
        MODEL, held(texts), end_of_text=END, seq_len=seq_len, rows=rows, loss_chunk=chunk
    )
    expected = [naive_nats(text, seq_len) for text in texts]
    assert costs.nats == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert costs.tokens.tolist() == [len(text) for text in texts]


def test_a_score_is_the_nats_of_all_documents_over_their_bytes() -> None:
    texts = [[1, 2, 3], [4] * 30, [5, 6]]
    got = score(MODEL, held(texts), end_of_text=END, seq_len=8, rows=2, loss_chunk=16)
    nats = sum(naive_nats(text, 8) for text in texts)
    assert got.nats == pytest.approx(nats, rel=1e-5)
    assert got.bits_per_byte == pytest.approx(nats / math.log(2) / 105, rel=1e-5)
    assert (got.documents, got.bytes, got.tokens) == (3, 105, 35)
    assert got.loss == pytest.approx(nats / 35, rel=1e-5)


def test_a_single_document_has_no_standard_error() -> None:
    got = score(MODEL, held([[1, 2, 3]]), end_of_text=END, seq_len=8, rows=2, loss_chunk=16)
    assert got.standard_error is None


def test_the_standard_error_is_the_spread_over_many_draws_of_documents() -> None:
    draw = np.random.default_rng(0)
    sizes = draw.integers(50, 2000, size=(2000, 200))
    amounts = sizes * (1.1 + 0.3 * draw.standard_normal(sizes.shape))
    drawn = [ratio(x, y) for x, y in zip(amounts, sizes, strict=True)]
    spread = np.std([mean for mean, _ in drawn])
    stated = np.mean([error for _, error in drawn if error is not None])
    assert stated == pytest.approx(spread, rel=0.05)


@settings(max_examples=50, deadline=None)
@given(texts=LISTS, limit=st.integers(0, 200), more=st.integers(0, 100))
def test_a_limit_takes_enough_documents_and_a_larger_one_only_adds_some(
    texts: list[list[int]], limit: int, more: int
) -> None:
    whole = held(texts)
    few, many = whole.limited(limit), whole.limited(limit + more)
    assert set(few.ids) <= set(many.ids) <= set(whole.ids)
    assert len(few.tokens) >= min(limit, len(whole.tokens))
    for index, name in enumerate(few.ids):
        assert few.of(index).tolist() == texts[int(name[1:])]
        assert few.bytes[index] == 3 * len(texts[int(name[1:])])


def test_the_choice_of_documents_does_not_depend_on_their_order() -> None:
    texts = [[index + 1] * 10 for index in range(20)]
    forward = held(texts)
    backward = HeldOut(forward.ids[::-1], forward.bytes, forward.starts, forward.tokens[::-1])
    assert set(forward.limited(50).ids) == set(backward.limited(50).ids)


def test_scoring_leaves_the_model_able_to_learn() -> None:
    model = micro()
    score(model, held([[1, 2, 3]]), end_of_text=END, seq_len=8, rows=2, loss_chunk=16)
    torch.autograd.backward(model(torch.tensor([[1, 2, 3]])).sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def write(folder: Path, texts: list[list[int]]) -> None:
    """Write documents in the format that tokenized sources hold them in."""
    table = pa.table(
        {
            "id": [f"d{index}" for index in range(len(texts))],
            "origin": ["somewhere"] * len(texts),
            "text": ["abc" * len(text) for text in texts],
            "bytes": [3 * len(text) for text in texts],
            "tokens": pa.array(texts, pa.list_(pa.uint32())),
        }
    )
    pq.write_table(table, folder / FILE)


@settings(max_examples=20, deadline=None)
@given(texts=LISTS)
def test_held_out_documents_are_read_as_they_were_written(
    texts: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("source")
    write(folder, texts)
    read = HeldOut.load(folder)
    assert [read.of(index).tolist() for index in range(len(read))] == texts
    assert read.bytes.tolist() == [3 * len(text) for text in texts]


def test_a_source_without_held_out_documents_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"held_out\.parquet"):
        HeldOut.load(tmp_path)


def test_a_truncated_file_is_called_corrupt(tmp_path: Path) -> None:
    write(tmp_path, [[1, 2], [3]])
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Corrupt, match=r"held_out\.parquet cannot be read"):
        HeldOut.load(tmp_path)


def test_a_file_without_tokens_is_called_corrupt(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "bytes": [3]}), tmp_path / FILE)
    with pytest.raises(Corrupt, match="tokens"):
        HeldOut.load(tmp_path)


def test_a_token_beyond_the_vocabulary_is_refused_before_anything_is_computed() -> None:
    with pytest.raises(BadInput, match="up to 64, the model's vocabulary to 63"):
        score(MODEL, held([[1, 64]]), end_of_text=END, seq_len=8, rows=2, loss_chunk=16)


def test_documents_of_no_bytes_cannot_be_scored() -> None:
    with pytest.raises(BadInput, match="0 bytes"):
        score(MODEL, held([[], []]), end_of_text=END, seq_len=8, rows=2, loss_chunk=16)


def test_a_summary_of_the_parts_is_the_score_of_the_whole() -> None:
    texts = held([[1, 2, 3], [4] * 30, [5, 6]])
    parts = score_documents(MODEL, texts, end_of_text=END, seq_len=8, rows=2, loss_chunk=16)
    whole = score(MODEL, texts, end_of_text=END, seq_len=8, rows=2, loss_chunk=16)
    assert summary(parts) == whole
