"""Write a model for the world, refused unless it computes the same there; and let it be heard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramify.ground import artifact, files
from ramify.ground.artifact import Record
from ramify.ground.errors import BadInput, Corrupt
from ramify.ground.step import Input, Tell
from ramify.model import hf
from ramify.model.network import Transformer
from ramify.model.sample import complete
from ramify.release.steps import Complete, Export
from ramify.tokens.tokenizer import TOKENIZER, Codec
from ramify.train.checkpoint import load_model


def run_export(step: Export, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Export the model, or of several the one with the fewest bits per byte; return which and why."""
    scores = {label: _mean_bits(inputs[f"scores.{label}"]) for label in step.scores}
    label = min(step.models, key=lambda each: scores.get(each, 0.0))
    tell(0, 1, "models", label)
    point = inputs[f"models.{label}"]
    facts = _export(point, inputs["tokenizer"].path, out, step.dtype)
    tell(1, 1, "models", label)
    return {"model": label, "mean_bits_per_byte": scores, **facts}


def _mean_bits(given: Input) -> float:
    """Return the mean over domains of an evaluation's bits per byte: each domain counts alike."""
    bits = [score["bits_per_byte"] for score in given.record["facts"]["scores"].values()]
    return float(sum(bits) / len(bits))


def _export(point: Input, tokenizer: Path, out: Path, dtype: str) -> dict[str, Any]:
    codec = Codec.open(tokenizer)
    end = next(name for name, number in codec.control.items() if number == codec.end_of_text)
    facts = point.record["facts"]
    model = load_model(point.path)
    off = hf.export(
        model, tokenizer / TOKENIZER, out, end_of_text=end, context=facts["seq_len"], dtype=dtype
    )
    return {
        "tokens": facts["tokens"],
        "decayed": facts["decayed"],
        "logit_difference": off,
        "tolerance": hf.TOLERANCE,
        "dtype": dtype,
        "parameters": model.config.parameters,
    }


def export_checked(point: Path, tokenizer: Path, out: Path, dtype: str) -> dict[str, Any]:
    """Export a point or an average to a new folder, which is there whole or not at all.

    Raises BadInput if the folder is there, and what the check of the logits raises.
    """
    if out.exists():
        raise BadInput(f"{out} is there already", hint="give --to another folder")
    record = artifact.require_sound(point)
    given = Input(point, record.model_dump(mode="json"), record.fingerprint)
    work = artifact.begin(out, record.asked)
    facts = _export(given, tokenizer, work, dtype)
    parents = {
        "model": {"name": record.name, "at": facts["tokens"], "fingerprint": record.fingerprint}
    }
    made = Record(
        name=out.name,
        kind="export",
        fingerprint=record.fingerprint,
        asked=record.asked,
        step=record.step,
        parents=parents,
        facts=facts,
    )
    artifact.seal(work, out, made)
    return facts


def run_complete(
    step: Complete, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Complete each prompt with an exported model; write completions.json."""
    folder = inputs["model"].path
    config, state = hf.load(folder)
    network = Transformer(config)
    network.load_state_dict(state)
    codec = Codec((folder / TOKENIZER).read_text("utf-8"), _end_of_text(folder))
    heard = []
    for number, prompt in enumerate(step.prompts):
        text = completed(
            network.eval(),
            codec,
            prompt,
            max_new_tokens=step.max_new_tokens,
            temperature=step.temperature,
            top_p=step.top_p,
            seed=step.seed,
        )
        heard.append({"prompt": prompt, "completion": text.removeprefix(prompt)})
        tell(number + 1, len(step.prompts), "prompts")
    files.write_json(out / "completions.json", heard)
    return {"completions": heard}


def _end_of_text(folder: Path) -> str:
    path = folder / "tokenizer_config.json"
    try:
        return str(json.loads(path.read_text("utf-8"))["eos_token"])
    except (FileNotFoundError, KeyError, json.JSONDecodeError) as error:
        raise Corrupt(
            f"{path} does not name an eos_token", hint="export the model again"
        ) from error


def completed(
    network: Transformer,
    codec: Codec,
    prompt: str,
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> str:
    """Return `prompt` and what the network goes on with, up to the end of a text."""
    # a document begins after an end of text, as it did in training
    ids = [codec.end_of_text, *codec.encode(prompt)]
    made = complete(
        network,
        ids,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop_ids=(codec.end_of_text,),
    )
    return codec.decode([*ids[1:], *made])
