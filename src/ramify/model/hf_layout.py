"""Which rows of which Hugging Face tensors make up each of our parameters, in both directions.

Letters: H query heads, K key-value heads, E head_dim.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ramify.ground.errors import BadInput, Mismatch
from ramify.model.config import ModelConfig

IGNORED_SUFFIX = "rotary_emb.inv_freq"  # old folders keep this table; it follows from rope_theta
SHOWN = 4  # names in an error

Shape = tuple[int, ...]


def layout(config: ModelConfig) -> dict[str, dict[str, Shape]]:
    """Return our parameters, each with the Hugging Face tensors stacked in it, and their shapes."""
    D, F, V, E = config.width, config.ffw, config.vocab, config.head_dim
    parts: dict[str, dict[str, Shape]] = {
        "embed.weight": {"model.embed_tokens.weight": (V, D)},
        "norm.weight": {"model.norm.weight": (D,)},
    }
    if not config.tied:
        parts["head.weight"] = {"lm_head.weight": (V, D)}
    for index in range(config.layers):
        ours, theirs = f"blocks.{index}", f"model.layers.{index}"
        attention, mlp = f"{theirs}.self_attn", f"{theirs}.mlp"
        parts |= {
            f"{ours}.attention_norm.weight": {f"{theirs}.input_layernorm.weight": (D,)},
            f"{ours}.attention.qkv.weight": {
                f"{attention}.q_proj.weight": (config.heads * E, D),
                f"{attention}.k_proj.weight": (config.kv_heads * E, D),
                f"{attention}.v_proj.weight": (config.kv_heads * E, D),
            },
            f"{ours}.attention.out.weight": {f"{attention}.o_proj.weight": (D, D)},
            f"{ours}.mlp_norm.weight": {f"{theirs}.post_attention_layernorm.weight": (D,)},
            f"{ours}.mlp.gate_up.weight": {
                f"{mlp}.gate_proj.weight": (F, D),
                f"{mlp}.up_proj.weight": (F, D),
            },
            f"{ours}.mlp.down.weight": {f"{mlp}.down_proj.weight": (D, F)},
        }
    return parts


def to_hf(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return our state dict as Hugging Face tensors, in the same dtype."""
    tensors: dict[str, Tensor] = {}
    for ours, parts in layout(config).items():
        sizes = [shape[0] for shape in parts.values()]
        rows = torch.split(state[ours], sizes)
        tensors |= {name: part.contiguous() for name, part in zip(parts, rows, strict=True)}
    return tensors


def from_hf(
    tensors: Mapping[str, Tensor], config: ModelConfig, *, interleaved: bool
) -> dict[str, Tensor]:
    """Return Hugging Face tensors as our state dict, RoPE half-split.

    Raises Mismatch for missing tensors or wrong dimensions, BadInput for tensors without a place.
    """
    parts = layout(config)
    shapes = {name: shape for inner in parts.values() for name, shape in inner.items()}
    _check(tensors, shapes)
    split = dict(tensors)
    if interleaved:
        for name in shapes:
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                split[name] = half_split(tensors[name], config.head_dim)
    return {ours: torch.cat([split[name] for name in inner]) for ours, inner in parts.items()}


def half_split(rows: Tensor, head_dim: int) -> Tensor:
    """Reorder the rows of each head from pairs (2i, 2i+1) to pairs (i, i + E/2)."""
    width = rows.shape[1]
    return rows.view(-1, head_dim // 2, 2, width).transpose(1, 2).reshape(-1, width)


def _check(tensors: Mapping[str, Tensor], shapes: Mapping[str, Shape]) -> None:
    if missing := sorted(shapes.keys() - tensors.keys()):
        raise Mismatch(
            f"{len(missing)} tensors are missing: {_some(missing)}",
            hint="is config.json of these weights, with every shard there?",
        )
    extra = {name for name in tensors.keys() - shapes.keys() if not name.endswith(IGNORED_SUFFIX)}
    if extra:
        raise BadInput(
            f"{len(extra)} tensors have no place in this network: {_some(sorted(extra))}",
            hint="it has no biases and no layers beyond those of config.json",
        )
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise Mismatch(
                f"{name} is {list(tensors[name].shape)}, but config.json asks for {list(shape)}"
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
