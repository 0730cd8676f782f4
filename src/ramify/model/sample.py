"""Text goes on: one token at a time, each drawn from what the model says comes next."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from ramify.ground.errors import BadInput
from ramify.ground.seeds import derive
from ramify.model.network import Cache, Transformer


@torch.no_grad()
def complete(
    model: Transformer,
    prompt_ids: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop_ids: Collection[int] = (),
) -> list[int]:
    """Return the ids that follow `prompt_ids`, up to `max_new_tokens` or before the first stop id.

    Temperature 0 takes the likeliest. `top_k` keeps the k likeliest, `top_p` the fewest whose
    probabilities reach p (Holtzman et al., 2020). Equal seeds give equal ids. Keys and values are
    kept, so each new id costs one position. Raises BadInput for ids or options out of range.
    """
    _check(model, prompt_ids, max_new_tokens, temperature, top_k, top_p)
    device = model.head_weight.device
    generator = torch.Generator().manual_seed(derive(seed, "complete"))
    cache = Cache.empty(model, 1, len(prompt_ids) + max_new_tokens)
    fed, made = list(prompt_ids), list[int]()
    while len(made) < max_new_tokens:
        hidden = model(torch.tensor([fed], device=device), cache=cache)[0, -1]
        logits = (hidden.to(model.head_weight.dtype) @ model.head_weight.t()).float().cpu()
        chosen = choose(logits, temperature, top_k, top_p, generator)
        if chosen in stop_ids:
            break
        made.append(chosen)
        fed = [chosen]
    return made


def choose(
    logits_V: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator,
) -> int:
    """Return one id, drawn on the CPU in fp64 so that the device does not change the draw."""
    if temperature == 0:
        return int(logits_V.argmax())
    ordered, ids = torch.sort(logits_V.double() / temperature, descending=True, stable=True)
    probs = torch.softmax(ordered[:top_k], dim=0)
    if top_p is not None:
        before = probs.cumsum(0) - probs
        probs = torch.where(before < top_p, probs, 0.0)  # the first is always kept
    return int(ids[torch.multinomial(probs, 1, generator=generator)])


def _check(
    model: Transformer,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> None:
    vocab = model.config.vocab
    if not prompt_ids:
        raise BadInput("an empty prompt", hint="begin with the end-of-text token for a new text")
    wrong = [id for id in prompt_ids if not 0 <= id < vocab]
    if wrong:
        raise BadInput(f"token {wrong[0]} of the prompt is not in the vocabulary of {vocab}")
    if max_new_tokens < 1:
        raise BadInput(f"max_new_tokens={max_new_tokens}", hint="it must be at least 1")
    if not 0 <= temperature < float("inf"):
        raise BadInput(f"temperature={temperature}", hint="0 takes the likeliest, 1 draws as it is")
    if top_k is not None and top_k < 1:
        raise BadInput(f"top_k={top_k}", hint="it must be at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise BadInput(f"top_p={top_p}", hint="it must be above 0 and at most 1")
