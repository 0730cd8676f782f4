"""The Llama-type decoder of SmolLM2: tokens in, hidden states out.

tokens_BT ─ embed ─▶ [ + attention(norm) ─▶ + mlp(norm) ] × layers ─ norm ─▶ hidden_BTD

Letters: B batch, T sequence, D width, H query heads, K key-value heads, E head_dim, F ffw, V vocab.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from ramify.ground.seeds import derive
from ramify.model import kernels
from ramify.model.config import ModelConfig

M = TypeVar("M", bound=nn.Module)

RESIDUAL_OUTPUTS = ("attention.out.weight", "mlp.down.weight")


@dataclass
class Cache:
    """Keys and values of the positions seen so far: per layer [2, B, K, capacity, E]."""

    layers: list[Tensor]
    length: int = 0

    @classmethod
    def empty(cls, model: Transformer, batch: int, capacity: int) -> Cache:
        """Return room for `capacity` positions of `batch` sequences, in the model's dtype."""
        c, like = model.config, model.embed.weight
        shape = (2, batch, c.kv_heads, capacity, c.head_dim)
        return cls([like.new_empty(shape, requires_grad=False) for _ in range(c.layers)])


class RMSNorm(nn.Module):
    """Root-mean-square normalization with a gain per number (Zhang and Sennrich, 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Matrix(nn.Linear):
    """A linear map without bias, whose products are those of `kernels.linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return kernels.linear(x, self.weight)


class Attention(nn.Module):
    """Causal grouped-query attention with RoPE; queries, keys and values from one matrix."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        rows = (config.heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = _matrix(config.width, rows)
        self.out = _matrix(config.width, config.width)

    def forward(
        self,
        x_BTD: Tensor,
        rope: tuple[Tensor, Tensor],
        mask: Tensor | BlockMask | None,
        past: tuple[Tensor, int] | None,
    ) -> Tensor:
        B, T, _ = x_BTD.shape
        qkv = self.qkv(x_BTD).view(B, T, self.heads + 2 * self.kv_heads, self.head_dim)
        # split, not slices: their gradient is one concatenation, not zeros filled and added
        q, k, v = torch.split(qkv, [self.heads, self.kv_heads, self.kv_heads], dim=2)
        q, k = rotate(q, *rope).transpose(1, 2), rotate(k, *rope).transpose(1, 2)
        v = v.transpose(1, 2)
        if past is not None:
            k, v = _remember(k, v, *past)
        mixed = attend(q, k, v, mask)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(B, T, self.heads * self.head_dim))
        return out


class MLP(nn.Module):
    """SwiGLU (Shazeer, 2020); gate and up from one matrix, gate first."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = _matrix(config.width, 2 * config.ffw)
        self.down = _matrix(config.ffw, config.width)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        down: Tensor = self.down(F.silu(gate) * up)
        return down


class Block(nn.Module):
    """One layer: attention and SwiGLU, each on a normalized copy and added to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.width, config.norm_eps)
        self.mlp = MLP(config)

    def forward(
        self,
        x_BTD: Tensor,
        rope: tuple[Tensor, Tensor],
        mask: Tensor | BlockMask | None = None,
        past: tuple[Tensor, int] | None = None,
    ) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), rope, mask, past)
        added: Tensor = self.mlp(self.mlp_norm(x_BTD))
        return x_BTD + added


class Transformer(nn.Module):
    """The decoder without its head: the losses take `head_weight` and never hold all logits.

    Parameters are made uninitialized where `torch.device` says; call `init_weights` or load some.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.compiled = False
        self.embed = _undrawn(nn.Embedding, config.vocab, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.head = None if config.tied else _matrix(config.width, config.vocab)

    @property
    def head_weight(self) -> Tensor:
        """The matrix [V, D] that turns hidden states into logits: the embedding if tied."""
        return self.embed.weight if self.head is None else self.head.weight

    def forward(
        self, tokens_BT: Tensor, *, documents_BT: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Return the hidden states [B, T, D] after the last norm.

        `documents_BT` numbers the document of each position: attention then stays within a
        document. Positions are not reset at its start, since RoPE only sees distances.
        With `cache`, tokens_BT goes on after the positions that the cache holds.
        """
        start = cache.length if cache else 0
        rope = rope_table(self.config, start, tokens_BT.shape[1], tokens_BT.device)
        x_BTD = self.embed(tokens_BT)
        if cache is not None:
            x_BTD = self._with_cache(x_BTD, rope, cache)
        else:
            mask = None if documents_BT is None else self._mask(documents_BT)
            for block in self.blocks:
                x_BTD = block(x_BTD, rope, mask)
        normed: Tensor = self.norm(x_BTD)
        return normed

    def _mask(self, documents_BT: Tensor) -> Tensor | BlockMask:
        # FlexAttention has no backward on CPU, and is only fused in a compiled block
        if self.compiled and documents_BT.is_cuda:
            return document_blocks(documents_BT)
        return document_mask(documents_BT)

    def _with_cache(self, x_BTD: Tensor, rope: tuple[Tensor, Tensor], cache: Cache) -> Tensor:
        T = x_BTD.shape[1]
        seen = torch.arange(cache.length + T, device=x_BTD.device)
        mask = seen <= seen[cache.length :, None]
        for block, kept in zip(self.blocks, cache.layers, strict=True):
            # .forward: a compiled block would be compiled anew for each length
            x_BTD = block.forward(x_BTD, rope, mask, (kept, cache.length))
        cache.length += T
        return x_BTD

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Fill every parameter with its `initial_weight`."""
        for name, parameter in self.named_parameters():
            parameter.copy_(initial_weight(self.config, name, parameter.shape, seed))

    def compile_blocks(self) -> None:
        """Compile each block in place; parameter names stay, and all blocks share one kernel.

        Shapes are static: a kernel that depended on the shapes seen before would change bits.
        """
        self.compiled = True
        for block in self.blocks:
            block.compile(dynamic=False)


def initial_weight(config: ModelConfig, name: str, shape: torch.Size, seed: int) -> Tensor:
    """Return the first value of the parameter called `name`, in fp32 on the CPU.

    Each comes from a stream of its own name, so neither order nor world size matters. Gains are 1,
    matrices normal with std `config.std`, or std / sqrt(2 layers) where they write to the
    residual stream: the scheme of nanotron, with which SmolLM2 was trained.
    """
    if len(shape) == 1:
        return torch.ones(shape, device="cpu")
    std = config.std
    if name.endswith(RESIDUAL_OUTPUTS):
        std /= math.sqrt(2 * config.layers)
    generator = torch.Generator().manual_seed(derive(seed, "init", name))
    return torch.empty(shape, device="cpu").normal_(0.0, std, generator=generator)


def rope_table(
    config: ModelConfig, start: int, length: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return cos and sin [length, 1, E/2] of rotary positions from `start` on (Su et al., 2021)."""
    half = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device)
    turns = 1.0 / config.rope_theta ** (half / config.head_dim)  # to the bit as transformers has it
    positions = torch.arange(start, start + length, dtype=torch.float32, device=device)
    angles = torch.outer(positions, turns).unsqueeze(1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn [B, T, heads, E] by its positions: number i is paired with number i + E/2."""
    first, second = x.view(*x.shape[:-1], 2, x.shape[-1] // 2).unbind(-2)
    turned = torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-2)
    return turned.flatten(-2).to(x.dtype)


def attend(
    q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor, mask: Tensor | BlockMask | None
) -> Tensor:
    """Return softmax(q k / sqrt(E)) v [B, H, T, E], causal where no mask is given."""
    grouped = q_BHTE.shape[1] != k_BKTE.shape[1]
    if isinstance(mask, BlockMask):
        mixed: Tensor = flex_attention(q_BHTE, k_BKTE, v_BKTE, block_mask=mask, enable_gqa=grouped)
        return mixed
    if mask is None:
        return kernels.attention(q_BHTE, k_BKTE, v_BKTE)
    return F.scaled_dot_product_attention(
        q_BHTE, k_BKTE, v_BKTE, attn_mask=mask, enable_gqa=grouped
    )


def document_mask(documents_BT: Tensor) -> Tensor:
    """Return [B, 1, T, T]: a position sees itself and what came before it in its own document."""
    same = documents_BT[:, :, None] == documents_BT[:, None, :]
    return same.tril().unsqueeze(1)


def document_blocks(documents_BT: Tensor) -> BlockMask:
    """Return `document_mask` as FlexAttention takes it, which skips what no position sees."""

    def visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q >= k) & (documents_BT[b, q] == documents_BT[b, k])

    B, T = documents_BT.shape
    return create_block_mask(visible, B, None, T, T, device=documents_BT.device.type)


def _undrawn(kind: type[M], *args: int, **options: bool) -> M:
    # torch's own draw would be thrown away, and takes longer than ours for 1.7B parameters
    device = torch.get_default_device()
    made: M = nn.utils.skip_init(kind, *args, device=device, **options)  # type: ignore[no-untyped-call]
    return made


def _matrix(width_in: int, width_out: int) -> Matrix:
    return _undrawn(Matrix, width_in, width_out, bias=False)


def _remember(k: Tensor, v: Tensor, kept: Tensor, length: int) -> tuple[Tensor, Tensor]:
    end = length + k.shape[2]
    kept[0, :, :, length:end] = k
    kept[1, :, :, length:end] = v
    return kept[0, :, :, :end], kept[1, :, :, :end]
