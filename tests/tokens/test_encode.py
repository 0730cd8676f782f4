"""The fast encoder is used only where it equals the reference, and what is used is said."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import BadInput
from ramify.tokens import encode, tokenizer
from ramify.tokens.steps import CONTROL

TEXTS = [f"for i in range({n}):\n    print('  {n * n}   ²  ٣٤', i)\n\n" for n in range(300)]
CODEC = tokenizer.train(TEXTS, 420, CONTROL)
FAST = encode.Fast(CODEC)
hard_pieces = st.sampled_from(
    [
        *CONTROL,
        "  ",
        "\n\n",
        "\t ",
        "12",
        "³",
        "٣",
        "Ⅻ",
        " 7",
        "'s",
        "'",
        "\u00a0",
        "\u2003",
        "é",
        "e\u0301",
    ]
)
hard_text = st.lists(st.one_of(hard_pieces, st.text(max_size=12)), max_size=12).map("".join)


@given(st.lists(hard_text, max_size=5))
@settings(max_examples=200, deadline=None)
def test_the_fast_encoder_equals_the_reference_on_hard_texts(texts: list[str]) -> None:
    assert encode.differs(FAST, CODEC, texts) is None


@given(hard_text)
@settings(max_examples=100, deadline=None)
def test_a_text_is_cut_just_where_the_reference_parts_numerals(text: str) -> None:
    pieces = encode.cut_at_numerals(text)
    assert "".join(pieces) == text
    parted = encode.NUMERALS.pre_tokenize_str(text)
    wanted = [piece for piece, _ in parted if not piece.isascii() and len(piece) == 1]
    numerals = [piece for piece in wanted if encode.NUMERALS.pre_tokenize_str(f"a{piece}a")[1:]]
    assert pieces[1::2] == numerals


@given(st.lists(st.text(alphabet="ab 1²", max_size=8), max_size=6))
@settings(max_examples=50, deadline=None)
def test_encoders_say_where_each_text_begins(texts: list[str]) -> None:
    for encoder in (FAST, encode.Reference(CODEC)):
        ids, offsets = encoder.encode(texts)
        assert offsets[0] == 0
        assert offsets[-1] == ids.size
        assert np.diff(offsets).tolist() == [len(CODEC.encode(text)) for text in texts]


def test_fastokens_is_chosen_after_it_agreed_and_why_is_said() -> None:
    encoder, why = encode.choose(CODEC, TEXTS[:20], "fastokens")
    assert encoder.name == "fastokens"
    assert "equal to tokenizers on" in why


def test_the_reference_is_used_when_asked_for() -> None:
    assert encode.choose(CODEC, TEXTS[:2], "tokenizers")[0].name == "tokenizers"


def test_without_fastokens_the_reference_is_used_and_what_to_install_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fastokens", None)
    encoder, why = encode.choose(CODEC, TEXTS[:2], "fastokens")
    assert encoder.name == "tokenizers"
    assert "ramify[fast]" in why


def test_a_fast_encoder_that_differs_once_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(encode.Fast):
        def encode(self, texts: Sequence[str]) -> tuple[encode.Ids, encode.Offsets]:
            ids, offsets = super().encode(texts)
            return np.where(np.arange(ids.size) == ids.size // 2, 5, ids), offsets

    monkeypatch.setattr(encode, "Fast", Wrong)
    encoder, why = encode.choose(CODEC, TEXTS[:20], "fastokens")
    assert encoder.name == "tokenizers"
    assert "fastokens differs" in why


def test_a_tokenizer_that_fastokens_cannot_load_falls_back() -> None:
    whole = json.loads(CODEC.json)
    whole["pre_tokenizer"] = {"type": "Whitespace"}
    codec = tokenizer.Codec(tokenizer.canonical(whole), CONTROL[0])
    encoder, why = encode.choose(codec, TEXTS[:2], "fastokens")
    assert encoder.name == "tokenizers"
    assert "cannot load" in why


def test_a_tokenizer_that_is_not_smollms_is_given_to_fastokens_as_it_is() -> None:
    whole = json.loads(CODEC.json)
    whole["pre_tokenizer"] = encode.GPT2
    codec = tokenizer.Codec(tokenizer.canonical(whole), CONTROL[0])
    assert encode.choose(codec, TEXTS, "fastokens")[0].name == "fastokens"
    assert not encode.Fast(codec).cuts
    assert FAST.cuts


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("10", ["10"]),
        ("née — “ok” 你好", ["née — “ok” 你好"]),
        ("x²y", ["x", "²", "y"]),
        ("½", ["", "½", ""]),
        ("1٣٣", ["1", "٣", "", "٣", ""]),
        ("Ⅻ]^-", ["", "Ⅻ", "]^-"]),
    ],
)
def test_texts_are_cut_at_numerals_besides_the_ten_digits(text: str, pieces: list[str]) -> None:
    assert encode.cut_at_numerals(text) == pieces


@pytest.mark.parametrize(
    ("vocab", "asked", "name"),
    [(65536, None, "uint16"), (65537, None, "uint32"), (300, "uint32", "uint32")],
)
def test_the_shard_type_is_the_smaller_that_holds_the_vocabulary(
    vocab: int, asked: str | None, name: str
) -> None:
    assert encode.narrowest(vocab, asked).name == name


def test_a_vocabulary_too_large_for_the_shard_type_is_refused() -> None:
    with pytest.raises(BadInput, match="65537 does not fit dtype=uint16"):
        encode.narrowest(65537, "uint16")


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["prose/openstax.jsonl.zst", "web/ccmath_pages.jsonl.zst", "math/gsm8k_train.jsonl.zst"]
)
def test_the_fast_encoder_equals_the_reference_on_real_text(name: str) -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / name
    if not path.is_file():
        pytest.skip(f"no {name} in ../shared/data")
    with pa.input_stream(str(path), compression="zstd") as file:
        text = file.read(1_000_000).decode(errors="ignore")
    real = tokenizer.train(text.splitlines(), 2000, CONTROL)
    assert encode.differs(encode.Fast(real), real, text.splitlines()) is None
