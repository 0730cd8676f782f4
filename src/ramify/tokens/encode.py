"""Bulk encoding: fastokens where it agrees with the reference on this corpus, else the reference."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

from ramify.ground.errors import BadInput, MissingExtra
from ramify.ground.extras import need
from ramify.tokens.tokenizer import PROBES, Codec

Ids = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]  # [texts + 1]
SAMPLE_BYTES = 1 << 18  # compared with the reference before fastokens is used

# SmolLM's pre-tokenization takes fastokens' slow path (7 MB per CPU-second on 20 MB of Python source),
# GPT-2's alone the fast one (160). The two differ in that the first parts every numeral from the rest
# before anything else is done, and so do added tokens: with 0 to 9 as such, it is 120-165. Numerals
# besides those are more bytes than one, so they cannot be added tokens: texts are cut at them.
SMOLLM = (
    {"type": "Digits", "individual_digits": True},
    {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
)
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = "0123456789"
ASCII = bytes(range(128))
NUMERALS = pre_tokenizers.Digits(individual_digits=True)


class Encoder(Protocol):
    """Many texts to ids at once."""

    name: str

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """Return all ids end to end, and where each text's begin, with the total last: [texts + 1]."""
        ...


class Reference:
    """HF tokenizers: what every id is measured by."""

    name = "tokenizers"

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """Return all ids end to end, and where each text's begin, with the total last."""
        each = [np.array(ids, np.uint32) for ids in self.codec.encode_many(texts)]
        offsets = np.cumsum([0, *(ids.size for ids in each)], dtype=np.int64)
        return np.concatenate([np.empty(0, np.uint32), *each]), offsets


class Fast:
    """fastokens, given SmolLM's pre-tokenization in a form that it is quick at and that means the same."""

    name = "fastokens"

    def __init__(self, codec: Codec) -> None:
        """Load the tokenizer; raises MissingExtra, and ValueError for what fastokens cannot do."""
        load = need("fastokens", extra="fast").Tokenizer.from_json_str
        tokenizer = json.loads(codec.json)
        self.cuts = _is_smollm(tokenizer)
        self._tokenizer = load(_digits_as_added_tokens(tokenizer) if self.cuts else codec.json)

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """Return all ids end to end, and where each text's begin, with the total last."""
        if not self.cuts or all(text.isascii() for text in texts):
            return self._flat(texts)
        pieces = [cut_at_numerals(text) for text in texts]
        ids, offsets = self._flat([piece for each in pieces for piece in each])
        firsts = np.cumsum([0, *(len(each) for each in pieces)])
        return ids, offsets[firsts]

    def _flat(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        ids, offsets = self._tokenizer.encode_batch_flat(
            list(texts), add_special_tokens=False, split_special_tokens=True
        )
        return np.frombuffer(ids, "<u4"), np.frombuffer(offsets, "<u8").astype(np.int64)


def _pieces(ids: Ids, offsets: Offsets) -> list[Ids]:
    bounds = offsets.tolist()
    return [ids[start:end] for start, end in itertools.pairwise(bounds)]


@cache
def _is_numeral(character: str) -> bool:
    """Return whether the reference parts a character from its neighbours, by its Unicode, not Python's."""
    return len(NUMERALS.pre_tokenize_str(f"a{character}a")) > 1


def cut_at_numerals(text: str) -> list[str]:
    """Return a text cut before and after every numeral besides 0-9, as ², Ⅻ or ٣."""
    if text.isascii():
        return [text]
    others = set(text.encode().translate(None, ASCII).decode())
    numerals = "".join(sorted(filter(_is_numeral, others)))
    return re.split(f"([{re.escape(numerals)}])", text) if numerals else [text]


def _is_smollm(tokenizer: dict[str, Any]) -> bool:
    steps = (tokenizer.get("pre_tokenizer") or {}).get("pretokenizers") or ()
    vocab = tokenizer["model"].get("vocab")
    return (
        len(steps) == len(SMOLLM)
        and all(wanted.items() <= step.items() for wanted, step in zip(SMOLLM, steps, strict=True))
        and tokenizer.get("normalizer") is None
        and tokenizer["model"]["type"] == "BPE"
        and all(token["special"] for token in tokenizer["added_tokens"])
        and all(digit in vocab for digit in DIGITS)
    )


def _digits_as_added_tokens(tokenizer: dict[str, Any]) -> str:
    vocab = tokenizer["model"]["vocab"]
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    digits = [{"id": vocab[digit], "content": digit, **plain} for digit in DIGITS]
    added = sorted([*tokenizer["added_tokens"], *digits], key=lambda token: token["id"])
    return json.dumps({**tokenizer, "added_tokens": added, "pre_tokenizer": GPT2})


def injections(codec: Codec) -> list[str]:
    """Return texts that try to smuggle in control tokens: alone, glued, in a row, cut short."""
    names = list(codec.control)
    return [
        *names,
        *(f"1{name}2 {name}\n{name[:-1]}" for name in names),
        " ".join(names),
        "".join(names * 2),
    ]


def differs(encoder: Encoder, codec: Codec, texts: Sequence[str]) -> str | None:
    """Return the first text that an encoder gives other ids than the reference does, or None."""
    ids, offsets = encoder.encode(texts)
    wanted = codec.encode_many(texts)
    pairs = zip(texts, wanted, _pieces(ids, offsets), strict=True)
    return next((text for text, want, got in pairs if want != got.tolist()), None)


def choose(codec: Codec, sample: Sequence[str], prefer: str) -> tuple[Encoder, str]:
    """Return the encoder to use and why: fastokens only if it equals the reference on every text.

    `sample` is text of the corpus; unusual Unicode and control tokens spelled out are added to it.
    """
    reference = Reference(codec)
    if prefer == reference.name:
        return reference, "asked for"
    try:
        fast = Fast(codec)
    except MissingExtra as error:
        return reference, str(error)
    except ValueError as error:
        return reference, f"fastokens cannot load this tokenizer: {error}"
    texts = [*sample, *PROBES, *injections(codec)]
    wrong = differs(fast, codec, texts)
    if wrong is not None:
        return reference, f"fastokens differs from tokenizers on {wrong[:40]!r}"
    return fast, f"equal to tokenizers on {len(texts)} texts of this corpus and of hard cases"


def narrowest(vocab: int, asked: str | None) -> np.dtype[Any]:
    """Return the shard type for a vocabulary; BadInput if the one asked for cannot hold it."""
    name = asked or ("uint16" if vocab <= 2**16 else "uint32")
    dtype = np.dtype(name).newbyteorder("<")
    if vocab - 1 > np.iinfo(dtype).max:
        raise BadInput(
            f"a vocabulary of {vocab} does not fit dtype={name}, which holds ids up to "
            f"{np.iinfo(dtype).max}",
            hint="leave dtype out, or write dtype='uint32'",
        )
    return dtype
