"""The JSON of a LlamaForCausalLM folder: dimensions, generation, tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt, NotFound
from ramify.model.config import ModelConfig

FIELDS = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "ffw": "intermediate_size",
    "vocab": "vocab_size",
}
# what the network cannot do, and the values that mean that it is not asked for
UNSUPPORTED: Mapping[str, tuple[object, ...]] = {
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "hidden_act": ("silu", None),
    "partial_rotary_factor": (1, None),
    "quantization_config": (None,),
}
DEFAULT_THETA = 10_000.0  # of transformers, where config.json names none
DEFAULT_EPS = 1e-6  # likewise


def read_config(folder: Path) -> tuple[ModelConfig, bool]:
    """Return the dimensions in `folder`/config.json, and whether it says `rope_interleaved`.

    Raises NotFound or Corrupt for the file, BadInput for what the network cannot do.
    """
    path = folder / "config.json"
    says = read_json(path)
    if says.get("model_type") != "llama":
        raise BadInput(
            f"{path} is of model_type {says.get('model_type')!r}", hint="only llama can be read"
        )
    for name, allowed in UNSUPPORTED.items():
        if name in says and says[name] not in allowed:
            raise BadInput(f"{path} asks for {name}={says[name]!r}, which the network cannot do")
    if missing := [name for name in FIELDS.values() if name not in says]:
        raise Corrupt(f"{path} lacks {', '.join(missing)}")
    try:
        config = ModelConfig(
            **{ours: says[theirs] for ours, theirs in FIELDS.items()},
            kv_heads=says.get("num_key_value_heads") or says["num_attention_heads"],
            rope_theta=_theta(path, says),
            norm_eps=says.get("rms_norm_eps", DEFAULT_EPS),
            tied=says.get("tie_word_embeddings", False),
        )
    except ValidationError as error:
        first = error.errors()[0]
        why = " ".join((*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")))
        raise BadInput(f"{path} cannot be used: {why}") from error
    if says.get("head_dim") not in (None, config.head_dim):
        raise BadInput(
            f"{path} asks for head_dim={says['head_dim']}, which the network cannot do",
            hint=f"it is always hidden_size / num_attention_heads, here {config.head_dim}",
        )
    return config, bool(says.get("rope_interleaved", False))


def _theta(path: Path, says: Mapping[str, Any]) -> Any:
    """Return RoPE's theta, from the older key or from transformers 5's `rope_parameters`."""
    rope = says.get("rope_scaling") or says.get("rope_parameters") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default" or rope.get("partial_rotary_factor", 1) != 1:
        raise BadInput(
            f"{path} asks for RoPE of type {kind!r}: {rope}", hint="only plain RoPE is read"
        )
    return rope.get("rope_theta", says.get("rope_theta", DEFAULT_THETA))


def write_configs(
    config: ModelConfig,
    tokenizer_file: Path,
    out: Path,
    end_of_text: str,
    context: int,
    dtype: str,
) -> None:
    """Write every file of the folder but the weights.

    Raises BadInput if `end_of_text` is not in the tokenizer, or an id of it not in the vocabulary.
    """
    ids = _token_ids(tokenizer_file)
    if end_of_text not in ids:
        raise BadInput(f"{tokenizer_file} has no token {end_of_text!r}", hint="give end_of_text=")
    if max(ids.values()) >= config.vocab:
        raise BadInput(
            f"{tokenizer_file} has ids up to {max(ids.values())}, the model only {config.vocab} rows"
        )
    end = {"bos_token_id": ids[end_of_text], "eos_token_id": ids[end_of_text]}
    names = {"bos_token": end_of_text, "eos_token": end_of_text, "unk_token": end_of_text}
    files.write_json(out / "config.json", _config_json(config, context, dtype) | end)
    files.write_json(out / "generation_config.json", end | {"pad_token_id": ids[end_of_text]})
    files.write_json(
        out / "tokenizer_config.json",
        names
        | {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": context,
        },
    )
    files.write_json(out / "special_tokens_map.json", names)
    files.write_bytes(out / "tokenizer.json", tokenizer_file.read_bytes())


def _config_json(config: ModelConfig, context: int, dtype: str) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **{theirs: getattr(config, ours) for ours, theirs in FIELDS.items()},
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": context,
        "rms_norm_eps": config.norm_eps,
        # the keys of transformers 4, which 5 and the other readers of this layout understand too
        "rope_theta": config.rope_theta,
        "rope_scaling": None,
        "torch_dtype": dtype,
        "tie_word_embeddings": config.tied,
        "initializer_range": config.std,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "use_cache": True,
    }


def _token_ids(tokenizer_file: Path) -> dict[str, int]:
    says = read_json(tokenizer_file)
    try:
        ids = dict(says["model"]["vocab"])
        return ids | {token["content"]: token["id"] for token in says["added_tokens"]}
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(
            f"{tokenizer_file} is no tokenizer.json with a vocabulary ({error!r})"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; raises NotFound or Corrupt."""
    if not path.is_file():
        raise NotFound(f"no {path.name} in {path.parent}")
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise Corrupt(f"{path} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise Corrupt(f"{path} holds no JSON object")
    return value
