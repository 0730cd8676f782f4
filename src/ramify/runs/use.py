"""A lab in use: score, complete with and export the models that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ramify.release.make import completed, export_checked
from ramify.runs.find import find, sources_of, tokenizer_of
from ramify.runs.lab import Lab
from ramify.tokens.shards import Source
from ramify.tokens.tokenizer import Codec
from ramify.train.checkpoint import load_model
from ramify.train.score import HeldOut, score


def evaluate(lab: Lab, target: str, limit_tokens: int | None) -> dict[str, Any]:
    """Return bits per byte of a model on the held-out documents of its sources, by domain."""
    model = find(lab, target)
    network = load_model(model.folder)
    scores = {}
    for name, folder in sources_of(lab, model.line).items():
        got = score(
            network,
            HeldOut.load(folder),
            end_of_text=Source.open(folder).end_of_text,
            seq_len=model.line.root.seq_len,
            rows=8,
            loss_chunk=256,
            limit_tokens=limit_tokens,
        )
        scores[name] = {**vars(got), "loss": got.loss}
    return {"target": model.name, "state": model.state, "tokens": model.tokens, "scores": scores}


def scores(told: dict[str, Any]) -> Iterator[str]:
    """Yield what `evaluate` returned, a line a domain."""
    yield f"{told['target']}: {told['state']}"
    for domain, got in told["scores"].items():
        error = got["standard_error"]
        bits = f"{got['bits_per_byte']:.3f}{'' if error is None else f' ± {error:.3f}'}"
        yield f"  {domain:12} {bits} bits per byte ({got['documents']} documents)"


def complete(
    lab: Lab, target: str, prompt: str, *, tokens: int, temperature: float, top_p: float, seed: int
) -> str:
    """Return `prompt` and what a model of the lab goes on with."""
    model = find(lab, target)
    codec = Codec.open(tokenizer_of(lab, model.line))
    network = load_model(model.folder)
    return completed(
        network,
        codec,
        prompt,
        max_new_tokens=tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )


def export(lab: Lab, target: str, out: Path, dtype: str) -> list[str]:
    """Write a model as a Hugging Face folder and say what was checked."""
    model = find(lab, target)
    facts = export_checked(model.folder, tokenizer_of(lab, model.line), out, dtype)
    return [
        f"{model.name} ({model.state}) is in {out}",
        f"transformers computes the same logits: largest difference {facts['logit_difference']:.1e}"
        f" of the largest logit, {facts['tolerance']:.0e} allowed",
    ]
