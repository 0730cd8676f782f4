"""A tokenizer: byte-level BPE, trained here or brought; control tokens that text cannot inject.

documents ── sample ── train ──┐
                               ├── tokenizer.json (canonical) ── Codec: text ⇄ ids
a tokenizer.json ── check ─────┘
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as HfTokenizer

from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt, NotFound

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
PROBES = (
    "It's  1,234.5 km — don't\tyou   see?\n\n    return x1 == 10**6\r\n",
    " leading, trailing  \n ",
    "naïve café Ωμέγα Привет שלום مرحبا नमस्ते 你好世界 こんにちは 안녕 ไทย",
    "e\u0301 vs \u00e9, \ufb01 ﬀ, \u212b, ½ ² Ⅻ ٣ ௧ 五 𝟘 𞥐",
    "👩‍👩‍👧‍👦 🇫🇷 \U0001f9d1\U0001f3fd \U000e0001",
    "\x00\x01\x7f\x85\xa0\u200b\u2028\u3000\ufeff\ufffd\uffff\U0010ffff",
    "x" * 300 + " " * 70 + "\n" * 40 + "=" * 130 + "7" * 50,
    "\\frac{a_1}{b^{2}} \\n <|nope|> <s> </s> [UNK] <unk>",
    "",
)


class Codec:
    """Text to ids and back, by one `tokenizer.json`; control tokens in a text are ordinary text."""

    def __init__(self, text: str, end_of_text: str) -> None:
        """Read a canonical `tokenizer.json`; raise BadInput if it is none or cannot end a text."""
        self.json = text
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        self.hf = _parse(text)
        self.hf.encode_special_tokens = True
        self.vocab: int = self.hf.get_vocab_size(with_added_tokens=True)
        added = self.hf.get_added_tokens_decoder()
        self.control: Mapping[str, int] = {
            token.content: id for id, token in sorted(added.items()) if token.special
        }
        if end_of_text not in self.control:
            known = ", ".join(self.control) or "none at all"
            raise BadInput(
                f"the tokenizer has no control token {end_of_text!r}",
                hint=f"give end_of_text=; its control tokens: {known}",
            )
        self.end_of_text = self.control[end_of_text]

    @classmethod
    def open(cls, folder: Path) -> Codec:
        """Return the codec of a folder that a tokenizer step made.

        Raises NotFound without its files and Corrupt where they cannot be read.
        """
        for name in (TOKENIZER, CONFIG):
            if not (folder / name).is_file():
                raise NotFound(f"no {name} in {folder}", hint="name a tokenizer's folder")
        try:
            text = (folder / TOKENIZER).read_text("utf-8")
            end_of_text = json.loads((folder / CONFIG).read_bytes())["eos_token"]
            return cls(text, end_of_text)
        except (BadInput, UnicodeDecodeError, json.JSONDecodeError, KeyError) as error:
            raise Corrupt(f"{folder} holds no sound tokenizer ({error})") from error

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, none of them a control token's."""
        ids: list[int] = self.hf.encode(text, add_special_tokens=False).ids
        return ids

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text: the reference that every faster encoder is held to."""
        encoded = self.hf.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids, control tokens written out; half a character is U+FFFD."""
        text: str = self.hf.decode(list(ids), skip_special_tokens=False)
        return text

    def loses(self) -> str | None:
        """Return a text that does not come back as it went in, or None if every probe does."""
        probes = (*PROBES, *(f"a{name}b" for name in self.control))
        return next((text for text in probes if self.decode(self.encode(text)) != text), None)

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and the tokenizer_config.json that `transformers` reads beside it."""
        end = next(name for name, id in self.control.items() if id == self.end_of_text)
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": end,
            "eos_token": end,
            "unk_token": end,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
        }
        files.write_json(folder / CONFIG, config)
        files.write_text(folder / TOKENIZER, self.json)


def _parse(text: str) -> HfTokenizer:
    try:
        return HfTokenizer.from_str(text)
    except Exception as error:  # tokenizers raises Exception itself, and no class below it
        raise BadInput(f"this is no tokenizer.json that can be used ({error})") from error


def canonical(tokenizer: Any) -> str:
    """Return a parsed `tokenizer.json` as the one text whose SHA-256 names the tokenizer.

    Truncation and padding are taken out: they would cut or lengthen documents in silence.
    """
    whole = {**tokenizer, "truncation": None, "padding": None}
    return json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n"


def train(texts: Iterable[str], vocab: int, control: Sequence[str]) -> Codec:
    """Learn a byte-level BPE; equal texts in, equal tokenizer out, in whatever order they come.

    Pre-tokenization is that of SmolLM's tokenizer (HuggingFaceTB/cosmo2-tokenizer): every digit
    apart, then GPT-2's pattern, no prefix space. Fewer than `vocab` tokens are learnt where no pair
    is left that occurs twice.
    """
    tokenizer = HfTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=2,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in control],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return Codec(canonical(json.loads(tokenizer.to_str())), control[0])


def bring(path: Path, sha256: str | None, end_of_text: str) -> Codec:
    """Return the codec of a `tokenizer.json` from elsewhere, after checking it.

    Raises NotFound without the file, BadInput for another hash than `sha256`, for what is no
    tokenizer, for ids with gaps, and for one that would encode a text differently each time.
    """
    if not path.is_file():
        raise NotFound(f"no tokenizer at {path}", hint="give the path of a tokenizer.json")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    try:
        tokenizer = json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not JSON ({error})") from error
    if not isinstance(tokenizer, dict):
        raise BadInput(f"{path} holds a {type(tokenizer).__name__}, not a tokenizer")
    text = canonical(tokenizer)
    if sha256 not in (None, found, hashlib.sha256(text.encode()).hexdigest()):
        raise BadInput(
            f"{path} has sha256 {found}, asked was {sha256}",
            hint="take the file that was meant, or give the hash of this one",
        )
    codec = Codec(text, end_of_text)
    _check_ids(codec, path)
    if tokenizer.get("model", {}).get("dropout"):
        raise BadInput(f"{path} drops merges at random (dropout): no text would encode twice alike")
    return codec


def _check_ids(codec: Codec, path: Path) -> None:
    ids = sorted(codec.hf.get_vocab(with_added_tokens=True).values())
    if ids != list(range(len(ids))):
        gap = next(at for at, id in enumerate(ids) if at != id)
        raise BadInput(
            f"{path} has no token for id {gap}: its {len(ids)} ids are not 0 to {len(ids) - 1}"
        )
