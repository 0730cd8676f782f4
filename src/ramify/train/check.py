"""Before money is spent: does this network learn from this data, on this machine?"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ramify.ground.units import show_bytes
from ramify.model.network import Transformer
from ramify.optim.groups import clip, make_optimizer, set_rate
from ramify.tokens.loader import Loader, documents
from ramify.tokens.path import SourceSize
from ramify.tokens.shards import Source
from ramify.train.card import choose
from ramify.train.line import Line
from ramify.train.objective import NextToken

FIRST_LOSS_OFF = 0.15  # of ln V: a fresh network is nearly as good as a uniform guess
OVERFIT_STEPS = 60
OVERFIT_TO = 0.6  # of the first loss
OVERFIT_TOKENS = 512  # of one row: enough to see that a batch can be learned by heart
ACTIVATIONS = 34  # fp32 numbers a layer keeps per slot and width, about (Korthikanti et al. 2022)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is well, and what was seen."""

    ok: bool
    what: str


def check_run(line: Line, folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Yield what a root run would meet: first loss, gradients, one batch overfitted, memory."""
    sources = {name: Source.open(folder) for name, folder in folders.items()}
    sizes = {name: SourceSize(s.segments, s.segment) for name, s in sources.items()}
    name = line.run.name
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    card = choose(line.run.numerics, line, device)
    torch.set_num_threads(card.threads)
    yield from _memory(line, card.micro_rows, device)
    model = Transformer(line.root.model)
    model.init_weights(line.root.seed)
    model.to(device)
    objective = NextToken(model, card.loss_chunk)
    batch = Loader(line.path(sizes), sources, prefetch=0).batch(0)
    end = next(iter(sources.values())).end_of_text
    tokens = torch.from_numpy(batch.tokens_RT1[: card.micro_rows]).to(device)
    inside = None
    if line.root.mask_documents:
        inside = torch.from_numpy(documents(batch.tokens_RT1[: card.micro_rows], end)).to(device)
    loss = _loss(objective, tokens, inside)
    expected = math.log(line.root.model.vocab)
    near = abs(loss.item() - expected) < FIRST_LOSS_OFF * expected
    yield Finding(
        near, f"{name}: first loss {loss.item():.3f}, a uniform guess has ln V = {expected:.3f}"
    )
    torch.autograd.backward(loss)
    without = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    count = sum(1 for _ in model.parameters())
    yield Finding(
        not without,
        f"{name}: {count - len(without)} of {count} parameters got a gradient"
        + (f"; none for {without[0]}" if without else ""),
    )
    row = tokens[:1, : OVERFIT_TOKENS + 1]
    last = _overfit(objective, model, line, row)
    yield Finding(
        last < OVERFIT_TO * loss.item(),
        f"{name}: one row learned by heart from {loss.item():.3f} to {last:.3f} in {OVERFIT_STEPS} steps",
    )


def _loss(objective: NextToken, tokens_BT1: Tensor, documents_BT: Tensor | None) -> Tensor:
    B, T = tokens_BT1.shape[0], tokens_BT1.shape[1] - 1
    ones = torch.ones(B, device=tokens_BT1.device)
    total: Tensor = objective(tokens_BT1, ones, documents_BT, torch.zeros_like(ones))
    return total / (B * T)


def _overfit(objective: NextToken, model: Transformer, line: Line, row: Tensor) -> float:
    optimizer = make_optimizer(model, line.root.optimizer)
    set_rate(optimizer, line.root.schedule.peak)  # type: ignore[attr-defined]  # both roots have one
    last = math.inf
    for _ in range(OVERFIT_STEPS):
        optimizer.zero_grad()
        loss = _loss(objective, row, None)
        torch.autograd.backward(loss)
        clip(model.parameters(), 1.0)
        optimizer.step()
        last = loss.item()
    return last


def _memory(line: Line, micro_rows: int, device: torch.device) -> Iterator[Finding]:
    model = line.root.model
    state = model.parameters * 4 * 4  # weights, gradients and two moments, in fp32
    slots = micro_rows * line.root.seq_len
    need = state + slots * model.width * model.layers * ACTIVATIONS * 4
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield Finding(
        need < free,
        f"{line.run.name}: needs about {show_bytes(need)} of memory, {show_bytes(free)} are free",
    )
