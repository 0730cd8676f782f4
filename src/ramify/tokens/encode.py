"""Bulk encoding: fastokens where it agrees with the reference on this corpus, else the reference."""

from __future__ import annotations

import copy
import itertools
import json
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ramify.ground.errors import BadInput, MissingExtra
from ramify.ground.extras import need
from ramify.tokens.tokenizer import PROBES, Codec

Ids = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]  # [texts + 1]
SAMPLE_BYTES = 1 << 18  # compared with the reference before fastokens is used

# What fastokens takes its fast path for is the second form; SmolLM's own takes the slow one. Measured
# on 20 MB of Python source, MB per CPU-second: 7 as written, 42 as one pattern, 120-165 with digits
# as added tokens, which part a text before anything else does, just as Digits(individual) does.
SMOLLM = (
    {"type": "Digits", "individual_digits": True},
    {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
)
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
ONE_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"
DIGITS = "0123456789"
ASCII = bytes(range(128))


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
        return _join([np.array(ids, np.uint32) for ids in self.codec.encode_many(texts)])


class Fast:
    """fastokens, given SmolLM's pre-tokenization in forms that it is quick at and that mean the same."""

    name = "fastokens"

    def __init__(self, codec: Codec) -> None:
        """Load the tokenizer; raises MissingExtra, and ValueError for what fastokens cannot do."""
        load = need("fastokens", extra="fast").Tokenizer.from_json_str
        tokenizer = json.loads(codec.json)
        self._ascii = None  # right for texts whose only numerals are 0-9
        if _is_smollm(tokenizer):
            self._ascii = load(json.dumps(_digits_as_added_tokens(tokenizer)))
            tokenizer = {**tokenizer, "pre_tokenizer": _one_pattern()}
        self._any = load(json.dumps(tokenizer))

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """Return all ids end to end, and where each text's begin, with the total last."""
        if self._ascii is None:
            return _flat(self._any, texts)
        odd = [at for at, text in enumerate(texts) if has_other_numerals(text)]
        if not odd:
            return _flat(self._ascii, texts)
        encoded = _pieces(*_flat(self._ascii, texts))
        slowly = _pieces(*_flat(self._any, [texts[at] for at in odd]))
        for at, ids in zip(odd, slowly, strict=True):
            encoded[at] = ids
        return _join(encoded)


def _flat(tokenizer: Any, texts: Sequence[str]) -> tuple[Ids, Offsets]:
    ids, offsets = tokenizer.encode_batch_flat(
        list(texts), add_special_tokens=False, split_special_tokens=True
    )
    return np.frombuffer(ids, "<u4"), np.frombuffer(offsets, "<u8").astype(np.int64)


def _pieces(ids: Ids, offsets: Offsets) -> list[Ids]:
    bounds = offsets.tolist()
    return [ids[start:end] for start, end in itertools.pairwise(bounds)]


def _join(pieces: Sequence[Ids]) -> tuple[Ids, Offsets]:
    offsets = np.cumsum([0, *(piece.size for piece in pieces)], dtype=np.int64)
    return np.concatenate([np.empty(0, np.uint32), *pieces]), offsets


@cache
def _other_numeral(character: str) -> bool:
    # An unassigned code point may be a numeral in a newer Unicode than Python's.
    return unicodedata.category(character) in ("Nd", "Nl", "No", "Cn")


def has_other_numerals(text: str) -> bool:
    """Return whether a text has a numeral besides 0-9, as ², Ⅻ or ٣: those are parted by pattern only."""
    if text.isascii():
        return False
    rest = text.encode().translate(None, ASCII).decode()
    return any(_other_numeral(character) for character in set(rest))


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


def _digits_as_added_tokens(tokenizer: dict[str, Any]) -> dict[str, Any]:
    form = copy.copy(tokenizer)
    vocab = tokenizer["model"]["vocab"]
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    digits = [{"id": vocab[digit], "content": digit, **plain} for digit in DIGITS]
    form["added_tokens"] = sorted(
        [*tokenizer["added_tokens"], *digits], key=lambda token: token["id"]
    )
    form["pre_tokenizer"] = GPT2
    return form


def _one_pattern() -> dict[str, Any]:
    split = {
        "type": "Split",
        "pattern": {"Regex": ONE_PATTERN},
        "behavior": "Isolated",
        "invert": False,
    }
    return {"type": "Sequence", "pretokenizers": [split, {**GPT2, "use_regex": False}]}


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
