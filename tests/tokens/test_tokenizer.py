"""A tokenizer gives every text back, and no text can write a control token."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import BadInput, Corrupt, NotFound
from ramify.tokens import tokenizer
from ramify.tokens.steps import CONTROL, END_OF_TEXT

TEXTS = [
    f"def f{n}(x):\n    return x + {n}  # adds {n} to what it is given, naïvely — 你好\n"
    for n in range(200)
]
CODEC = tokenizer.train(TEXTS, 300, CONTROL)
any_text = st.text(max_size=200)


@given(any_text)
@settings(max_examples=200, deadline=None)
def test_every_text_comes_back_as_it_went_in(text: str) -> None:
    assert CODEC.decode(CODEC.encode(text)) == text


@given(st.lists(st.one_of(st.sampled_from(CONTROL), any_text), max_size=6))
@settings(max_examples=100, deadline=None)
def test_no_text_can_write_a_control_token(pieces: list[str]) -> None:
    text = "".join(pieces)
    ids = CODEC.encode(text)
    assert not set(CODEC.control.values()) & set(ids)
    assert CODEC.decode(ids) == text


def test_control_tokens_come_first_and_the_end_of_text_is_zero() -> None:
    assert dict(CODEC.control) == {name: id for id, name in enumerate(CONTROL)}
    assert CODEC.end_of_text == 0
    assert CODEC.vocab == 300
    assert CODEC.decode([0]) == END_OF_TEXT


def test_every_digit_is_a_token_of_its_own() -> None:
    ids = CODEC.encode("1234567890" * 3)
    assert [CODEC.decode([id]) for id in ids] == list("1234567890" * 3)


def test_the_order_of_documents_changes_nothing() -> None:
    assert tokenizer.train(TEXTS[::-1], 300, CONTROL).sha256 == CODEC.sha256


def test_another_process_with_other_threads_learns_the_same() -> None:
    program = (
        "from ramify.tokens import tokenizer; from ramify.tokens.steps import CONTROL; import json, sys;"
        "print(tokenizer.train(json.load(sys.stdin), 300, CONTROL).sha256)"
    )
    environment = {**os.environ, "RAYON_NUM_THREADS": "3", "PYTHONHASHSEED": "7"}
    said = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert said.stdout.strip() == CODEC.sha256


def test_little_text_gives_fewer_tokens_than_asked() -> None:
    codec = tokenizer.train(["to be or not to be"], 4096, CONTROL)
    assert 256 + len(CONTROL) < codec.vocab < 300


def test_a_saved_tokenizer_opens_as_the_same_and_its_file_has_its_hash(tmp_path: Path) -> None:
    CODEC.save(tmp_path)
    again = tokenizer.Codec.open(tmp_path)
    assert (again.sha256, again.end_of_text, again.vocab) == (CODEC.sha256, 0, 300)
    file = (tmp_path / "tokenizer.json").read_bytes()
    assert hashlib.sha256(file).hexdigest() == CODEC.sha256


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no tokenizer\.json"):
        tokenizer.Codec.open(tmp_path)


@pytest.mark.parametrize("damage", ['{"model": 3}', "{", ""])
def test_a_damaged_tokenizer_is_corrupt(tmp_path: Path, damage: str) -> None:
    CODEC.save(tmp_path)
    (tmp_path / "tokenizer.json").write_text(damage)
    with pytest.raises(Corrupt, match="no sound tokenizer"):
        tokenizer.Codec.open(tmp_path)


def written(folder: Path, **changes: Any) -> Path:
    """Write the test's tokenizer as someone else would, with some keys changed."""
    path = folder / "brought.json"
    path.write_text(json.dumps({**json.loads(CODEC.json), **changes}, indent=2))
    return path


def test_a_brought_tokenizer_is_named_by_its_content_and_not_by_its_spaces(tmp_path: Path) -> None:
    path = written(tmp_path)
    raw = hashlib.sha256(path.read_bytes()).hexdigest()
    assert tokenizer.bring(path, raw, END_OF_TEXT).sha256 == CODEC.sha256
    assert tokenizer.bring(path, CODEC.sha256, END_OF_TEXT).sha256 == CODEC.sha256
    assert tokenizer.bring(path, None, END_OF_TEXT).loses() is None


def test_a_brought_tokenizer_of_another_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="asked was 0000"):
        tokenizer.bring(written(tmp_path), "0" * 64, END_OF_TEXT)


def test_truncation_and_padding_are_taken_out(tmp_path: Path) -> None:
    cut = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    codec = tokenizer.bring(written(tmp_path, truncation=cut), None, END_OF_TEXT)
    assert len(codec.encode("one two three four five six")) > 3


def test_a_beginning_that_the_tokenizer_would_add_is_left_out(tmp_path: Path) -> None:
    processor = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": END_OF_TEXT, "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [],
        "special_tokens": {END_OF_TEXT: {"id": END_OF_TEXT, "ids": [0], "tokens": [END_OF_TEXT]}},
    }
    codec = tokenizer.bring(written(tmp_path, post_processor=processor), None, END_OF_TEXT)
    assert codec.encode("one") == CODEC.encode("one")
    assert codec.encode_many(["one"]) == [CODEC.encode("one")]


def test_a_tokenizer_without_the_end_of_text_lists_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no control token '</s>'.*<\|im_end\|>"):
        tokenizer.bring(written(tmp_path), None, "</s>")


def test_a_tokenizer_whose_ids_have_a_gap_is_refused(tmp_path: Path) -> None:
    model = json.loads(CODEC.json)["model"]
    model["vocab"]["far"] = 500
    with pytest.raises(BadInput, match="no token for id 300"):
        tokenizer.bring(written(tmp_path, model=model), None, END_OF_TEXT)


def test_a_tokenizer_that_drops_merges_at_random_is_refused(tmp_path: Path) -> None:
    model = {**json.loads(CODEC.json)["model"], "dropout": 0.1}
    with pytest.raises(BadInput, match="dropout"):
        tokenizer.bring(written(tmp_path, model=model), None, END_OF_TEXT)


def test_a_tokenizer_that_loses_text_says_which(tmp_path: Path) -> None:
    lower = {"type": "Lowercase"}
    codec = tokenizer.bring(written(tmp_path, normalizer=lower), None, END_OF_TEXT)
    assert codec.loses() == tokenizer.PROBES[0]


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"model": {"type": "Nope"}}'])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(BadInput):
        tokenizer.bring(path, None, END_OF_TEXT)


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="absent"):
        tokenizer.bring(tmp_path / "absent", None, END_OF_TEXT)
