"""Steps of the tokens room say what is wrong before anything is made."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from ramify.ground.step import Ref
from ramify.tokens.steps import Corpus, Tokenize, Tokenizer

TEXT = Corpus(ref=Ref(name="text"))


def tokenize(**fields: Any) -> Tokenize:
    return Tokenize(name="packed", corpus=TEXT, tokenizer=Ref(name="words"), **fields)


def test_steps_are_read_without_anything_heavy() -> None:
    program = (
        "import sys, ramify.tokens.steps;"
        "print(*{'torch', 'numpy', 'daft', 'pyarrow', 'tokenizers'} & set(sys.modules))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == []


def test_how_fast_and_in_which_files_is_conduct() -> None:
    plain = tokenize().asked()
    assert tokenize(encoder="tokenizers", shard_tokens="1M", dtype="uint32").asked() == plain
    for identity in ({"seed": 1}, {"segment": 4096}, {"max_context": 512}):
        assert tokenize(**identity).asked() != plain


def test_inputs_are_found_by_the_path_of_their_field() -> None:
    assert set(tokenize().refs()) == {"corpus.ref", "tokenizer"}
    assert set(Tokenizer(name="words", corpora={"code": TEXT}).refs()) == {"corpora.code.ref"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"segment": 3000}, "no multiple of max_context=2048.*try 2048"),
        ({"segment": 0}, "no multiple"),
        ({"max_context": 0}, "leaves no sequence"),
        ({"dtype": "uint8"}, "uint16"),
    ],
)
def test_a_packing_that_cannot_be_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        tokenize(**fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"vocab": 200}, "less than 256"),
        ({"control": ()}, "distinct"),
        ({"control": ("a", "a")}, "distinct"),
        ({"control": ("",)}, "distinct"),
        ({"sample_bytes": 0}, "nothing to learn"),
        ({"corpora": {}}, "at least 1"),
    ],
)
def test_a_tokenizer_that_cannot_be_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Tokenizer(**{"name": "words", "corpora": {"text": TEXT}, **fields})


@pytest.mark.parametrize("part", ["", "/etc", "../other", "a/../../b"])
def test_a_part_of_a_corpus_stays_inside_it(part: str) -> None:
    with pytest.raises(ValidationError, match="sub-folder"):
        Corpus(ref=Ref(name="text"), part=part)
