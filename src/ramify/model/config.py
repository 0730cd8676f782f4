"""The dimensions of a network, counted to the last parameter; torch-free.

Letters: D width, H query heads, K key-value heads, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from ramify.ground.errors import BadInput


class ModelConfig(BaseModel):
    """One Llama-type decoder: grouped-query attention, SwiGLU, RMSNorm, RoPE, no biases.

    Weights are always kept half-split for RoPE (as Hugging Face does); interleaved ones are
    permuted when they are imported. Raises BadInput for dimensions that do not go together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: int
    width: int
    heads: int
    kv_heads: int
    ffw: int
    vocab: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = True
    init_std: float | None = None  # None: 1/sqrt(width)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("layers", "width", "heads", "kv_heads", "ffw", "vocab"):
            if (value := getattr(self, name)) < 1:
                raise BadInput(f"{name}={value} of a model", hint="it must be at least 1")
        for name in ("rope_theta", "norm_eps", "init_std"):
            if (real := getattr(self, name)) is not None and not 0 < real < float("inf"):
                raise BadInput(f"{name}={real} of a model", hint="it must be positive")
        if self.width % self.heads:
            raise BadInput(
                f"width={self.width} is no multiple of heads={self.heads}",
                hint=f"try width={-(-self.width // self.heads) * self.heads}",
            )
        if self.heads % self.kv_heads:
            raise BadInput(
                f"heads={self.heads} is no multiple of kv_heads={self.kv_heads}",
                hint="each key-value head serves a whole number of query heads",
            )
        if self.head_dim % 2:
            raise BadInput(
                f"width={self.width} over heads={self.heads} gives an odd head_dim={self.head_dim}",
                hint="RoPE turns pairs of numbers: head_dim must be even",
            )
        return self

    @property
    def head_dim(self) -> int:
        """Numbers per attention head."""
        return self.width // self.heads

    @property
    def std(self) -> float:
        """The standard deviation that weights are drawn with: init_std, or 1/sqrt(width)."""
        return 1 / math.sqrt(self.width) if self.init_std is None else self.init_std

    @property
    def non_embedding_parameters(self) -> int:
        """Parameters without the token embedding and without an untied head."""
        attention = self.width * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        per_layer = attention + 3 * self.width * self.ffw + 2 * self.width
        return self.layers * per_layer + self.width

    @property
    def parameters(self) -> int:
        """All parameters; a tied embedding counts once."""
        tables = 1 if self.tied else 2
        return self.non_embedding_parameters + tables * self.vocab * self.width

    def with_vocab(self, vocab: int) -> ModelConfig:
        """Return the same network for another vocabulary."""
        return self.changed(vocab=vocab)

    def changed(self, **fields: object) -> ModelConfig:
        """Return a copy with other values in `fields`, validated again."""
        return type(self).model_validate(self.model_dump() | fields)


def _smollm2(
    layers: int, width: int, ffw: int, heads: int, kv: int, std: float | None
) -> ModelConfig:
    return ModelConfig(
        layers=layers, width=width, ffw=ffw, heads=heads, kv_heads=kv, vocab=49_152, init_std=std
    )


def _haegele(width: int, layers: int) -> ModelConfig:
    """Return a size of Hägele et al., Table 2: head_dim 64, ffw 8/3 width in steps of 256."""
    heads = width // 64
    ffw = -(-(8 * width // 3) // 256) * 256
    return ModelConfig(
        layers=layers, width=width, ffw=ffw, heads=heads, kv_heads=heads, vocab=50_304
    )


def _micro(width: int, layers: int, heads: int, kv: int) -> ModelConfig:
    """Return a size for one CPU: ffw 8/3 width in steps of 32, vocabulary 4096."""
    ffw = -(-(8 * width // 3) // 32) * 32
    return ModelConfig(layers=layers, width=width, ffw=ffw, heads=heads, kv_heads=kv, vocab=4096)


PRESETS = MappingProxyType(
    {
        # SmolLM2, arXiv 2502.02737, Table 6 and the published configs, with their init std
        "135M": _smollm2(30, 576, 1536, 9, 3, None),
        "360M": _smollm2(32, 960, 2560, 15, 5, None),
        "1.7B": _smollm2(24, 2048, 8192, 32, 32, 0.02),
        # Hägele et al., arXiv 2405.18392, Table 2; the names with an h are theirs
        "h33M": _haegele(384, 8),
        "h53M": _haegele(512, 8),
        "h60M": _haegele(512, 10),
        "h93M": _haegele(640, 12),
        "h124M": _haegele(768, 12),
        "h151M": _haegele(768, 16),
        "h210M": _haegele(768, 24),
        "h360M": _haegele(1024, 24),
        # ours: for one CPU and for tests; give them the vocabulary of your tokenizer
        "nano": _micro(64, 2, 2, 1),
        "micro": _micro(128, 4, 2, 1),
        "mini": _micro(256, 6, 4, 2),
    }
)
"""The sizes that have names: of SmolLM2, of Hägele et al. (h...), and small ones of our own."""


def preset(name: str, *, vocab: int | None = None) -> ModelConfig:
    """Return a named size, for another vocabulary if one is given.

    Raises BadInput for a name that is not in PRESETS.
    """
    if name not in PRESETS:
        raise BadInput(f"no model size is called {name!r}", hint=f"use one of {', '.join(PRESETS)}")
    return PRESETS[name] if vocab is None else PRESETS[name].with_vocab(vocab)
