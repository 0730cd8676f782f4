"""Weights in and out: folders that `transformers` loads as LlamaForCausalLM, and nothing pickled.

network ─ export ─▶ config.json, model.safetensors, tokenizer.json ... ─ check_logits ─▶ kept
folder  ─ load ─▶ ModelConfig, state dict
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt, Mismatch, NotFound
from ramify.ground.extras import need
from ramify.model.config import ModelConfig
from ramify.model.hf_config import read_config, read_json, write_configs
from ramify.model.hf_layout import from_hf, to_hf
from ramify.model.network import Transformer

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES: Mapping[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TOLERANCE = 1e-5  # of the largest absolute logit, in fp32
PROBE_SHAPE = (2, 64)


def export(
    model: Transformer,
    tokenizer_file: Path,
    out: Path,
    *,
    end_of_text: str,
    context: int,
    dtype: str = "float32",
) -> float:
    """Write `model` into the folder `out` as LlamaForCausalLM, kept only if its logits agree.

    `context` is the sequence length it was trained on, in tokens. Returns the largest difference
    of `check_logits`. Raises what `check_logits` raises, with the weights removed again, and
    BadInput for a tokenizer that is broken or larger than the vocabulary.
    """
    if dtype not in DTYPES:
        raise BadInput(f"dtype {dtype!r} of an export", hint=f"use one of {', '.join(DTYPES)}")
    out.mkdir(parents=True, exist_ok=True)
    write_configs(model.config, tokenizer_file, out, end_of_text, context, dtype)
    state = {
        name: tensor.detach().to("cpu", DTYPES[dtype])
        for name, tensor in model.state_dict().items()
    }
    with files.replacing(out / WEIGHTS) as temporary:
        save_file(to_hf(state, model.config), temporary, metadata={"format": "pt"})
    try:
        return check_logits(model.config, state, out)
    except Mismatch:
        files.remove(out / WEIGHTS)
        raise


@torch.no_grad()
def check_logits(config: ModelConfig, state: Mapping[str, Tensor], folder: Path) -> float:
    """Return the largest difference of logits between `state` here and `folder` in transformers.

    Both in fp32 on the CPU, over random tokens; as a share of the largest absolute logit. Raises
    Mismatch above 1e-5, and MissingExtra without transformers.
    """
    transformers = need("transformers", extra="hf")
    transformers.utils.logging.disable_progress_bar()
    theirs = transformers.LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
    ).eval()
    with torch.device("meta"):
        ours = Transformer(config)
    ours.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(config.vocab, PROBE_SHAPE, generator=generator)
    logits = ours(tokens) @ ours.head_weight.t()
    off = (logits - theirs(tokens).logits).abs().max() / logits.abs().max()
    if not off <= TOLERANCE:  # also refuses NaN
        raise Mismatch(
            f"{folder} computes other logits in transformers: off by {off:.2g} of the largest, "
            f"more than {TOLERANCE:.0e}",
            hint="the weights were not exported",
        )
    return float(off)


def load(folder: Path, *, interleaved: bool | None = None) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return the dimensions and the fp32 weights of a LlamaForCausalLM folder, sharded or not.

    `interleaved` says whether RoPE pairs neighbours, as some trainers keep it; None: what
    config.json says (`rope_interleaved`), else half-split. Only safetensors are read. Raises
    NotFound for missing files, Corrupt for broken ones, BadInput for what the network cannot do,
    and Mismatch for missing tensors or wrong dimensions.
    """
    config, says = read_config(folder)
    tensors: dict[str, Tensor] = {}
    for name, names in _weight_files(folder).items():
        tensors |= _read(folder / name, names)
    tied = tensors.pop("lm_head.weight", None) if config.tied else None
    if tied is not None and not torch.equal(tied, tensors["model.embed_tokens.weight"]):
        raise Mismatch(
            f"{folder} says its head is tied to its embedding, but holds another head",
            hint="set tie_word_embeddings to false in its config.json",
        )
    return config, from_hf(
        tensors, config, interleaved=says if interleaved is None else interleaved
    )


def _weight_files(folder: Path) -> dict[str, list[str] | None]:
    """Return each file of weights and the tensors to read from it; None: all."""
    if (folder / WEIGHTS).is_file():
        return {WEIGHTS: None}
    if not (folder / INDEX).is_file():
        raise NotFound(
            f"no {WEIGHTS} and no {INDEX} in {folder}",
            hint="only safetensors are read: pickled weights could run code",
        )
    places = read_json(folder / INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise Corrupt(f"{folder / INDEX} has no weight_map of tensor names to files")
    shards: dict[str, list[str] | None] = {}
    for shard in sorted(set(places.values())):
        if Path(shard).name != shard:
            raise Corrupt(f"{folder / INDEX} names {shard!r}, which is not a file of its folder")
        if not (folder / shard).is_file():
            raise NotFound(f"no {shard} in {folder}, though {INDEX} names it")
        shards[shard] = [name for name, place in places.items() if place == shard]
    return shards


def _read(path: Path, names: list[str] | None) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).float() for name in names or file.keys()}
    except SafetensorError as error:
        raise Corrupt(
            f"{path} is not a whole safetensors file, or lacks a tensor ({error})"
        ) from error
