"""Every parameter in exactly one group, the optimizer that moves them, and the clip before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ramify.ground.extras import need
from ramify.optim.config import AdamW, Optimizer, ScheduleFree

FUSED_DEVICES = frozenset({"cpu", "cuda", "xpu", "mps"})  # where torch fuses AdamW


def groups(model: nn.Module, config: Optimizer) -> list[dict[str, Any]]:
    """Return torch's parameter groups: what is decayed, then what is not, each in model order.

    Not decayed are token embeddings, also where they are tied to the head, and norms and biases
    (fewer than two axes), unless `config` says otherwise. A tied parameter is in one group, once.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}

    def is_decayed(parameter: nn.Parameter) -> bool:
        if id(parameter) in embeddings:
            return config.decay_embeddings
        return parameter.ndim >= 2 or config.decay_norms

    decay = [p for p in model.parameters() if is_decayed(p)]
    rest = [p for p in model.parameters() if not is_decayed(p)]
    assert {*map(id, decay + rest)} == {*map(id, model.parameters())}
    assert len(decay) + len(rest) == len({*map(id, decay + rest)})
    both = [(decay, config.weight_decay), (rest, 0.0)]
    return [{"params": params, "weight_decay": amount} for params, amount in both if params]


def make_optimizer(model: nn.Module, config: Optimizer) -> torch.optim.Optimizer:
    """Return the optimizer over every parameter, at rate 0 until `set_rate`.

    AdamW is fused where torch can. Raises MissingExtra for schedule-free without its library.
    """
    if not isinstance(config, AdamW):
        return _make_schedule_free(model, config)
    fused = all(p.device.type in FUSED_DEVICES for p in model.parameters())
    return torch.optim.AdamW(
        groups(model, config),
        lr=0.0,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True if fused else None,
    )


def _make_schedule_free(model: nn.Module, config: ScheduleFree) -> torch.optim.Optimizer:
    """Return schedule-free AdamW in its training mode: the warm-up is in the rates that it is given."""
    library = need("schedulefree", extra="schedulefree")
    optimizer = library.AdamWScheduleFree(
        groups(model, config), lr=0.0, betas=(config.beta1, config.beta2), eps=config.eps
    )
    optimizer.train()
    made: torch.optim.Optimizer = optimizer
    return made


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step in every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip(parameters: Iterable[nn.Parameter], max_norm: float | None) -> Tensor:
    """Scale all gradients so that their global norm is at most `max_norm`; return the norm before.

    None only measures. A norm that is not finite leaves gradients that are not finite: look at it
    before the step. Gradients that are DTensors give a DTensor, whole after `.full_tensor()`.
    """
    moved = list(parameters)
    if max_norm is None:
        return nn.utils.get_total_norm([p.grad for p in moved if p.grad is not None])
    return nn.utils.clip_grad_norm_(moved, max_norm)
