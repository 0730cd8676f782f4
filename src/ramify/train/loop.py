"""The loop: batch, loss, step, journal, probe, save. It receives built things and makes none."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ramify.ground.errors import Diverged
from ramify.ground.journal import Journal
from ramify.ground.step import Tell
from ramify.optim.config import Windows
from ramify.optim.groups import clip, set_rate
from ramify.tokens.chain import Chain, from_signed, to_signed
from ramify.tokens.loader import Batch, Loader, documents
from ramify.train.card import Card, autocast
from ramify.train.distributed import World, agreed, last_only, total, whole
from ramify.train.line import Line
from ramify.train.state import State

HOPELESS = 4.0  # times ln V, the loss of a network that knows nothing: it has blown up


@dataclass(frozen=True)
class Probe:
    """Something to look at every so many tokens: a name, how often, and what to look at."""

    name: str
    every: int
    look: Callable[[State], dict[str, Any]]


@dataclass(frozen=True)
class Update:
    """What one step did: sums over all ranks."""

    loss: float
    norm: float
    rate: float
    loss_tokens: int
    by_source: dict[str, float]
    taken: bool


@dataclass(frozen=True)
class Setup:
    """All that a run is trained with: built before the loop, unchanged by it."""

    line: Line
    card: Card
    world: World
    loader: Loader
    objective: nn.Module  # NextToken, or what wraps it: rows in, the sum of their losses out
    end_of_text: int
    journal: Journal | None  # only the rank that leads writes one
    probes: Sequence[Probe]
    windows: Windows | None
    close_window: Callable[[State], None]
    save: Callable[[State], None]
    due: Callable[[int, float], bool]  # (tokens, seconds since the last save): is a save due?
    stopping: Callable[[], bool]
    tell: Tell
    peak_flops: float  # a second, of this device
    flops_per_token: float


def train(setup: Setup, state: State, until: int) -> bool:
    """Train from where the state stands until `until` tokens; return False if told to stop before.

    Raises Diverged once more steps in a row than the run's `skip_limit` could not be taken.
    """
    saved = time.monotonic()
    for batch in setup.loader.iterate(state.tokens, until):
        began = time.perf_counter()
        update = step(setup, state, batch)
        _average(setup, state)
        _write(setup, state, update, time.perf_counter() - began)
        _look(setup, state, until)
        setup.tell(state.tokens, until, "tokens", f"loss {update.loss:.3f}")
        _refuse_blown_up(setup, state, update)
        stop = agreed(setup.stopping(), setup.world)
        if stop or agreed(setup.due(state.tokens, time.monotonic() - saved), setup.world):
            setup.save(state)
            saved = time.monotonic()
        if stop:
            return state.tokens == until
    return True


def step(setup: Setup, state: State, batch: Batch) -> Update:
    """Take one optimizer step on a batch, unless its loss or gradient is not finite."""
    world, line = setup.world, setup.line
    slots = int(batch.weights_R.sum()) * line.root.seq_len
    seen = total(torch.tensor([to_signed(batch.digest), slots], device=world.device), world)
    digest, loss_tokens = seen.tolist()
    rate = line.rate(batch.start)
    set_rate(state.optimizer, rate)
    losses_R = _gradients(setup, state, batch, loss_tokens)
    norm = whole(clip(state.model.parameters(), line.root.optimizer.clip)).item()
    sums, counts = _by_source(setup, batch, losses_R)
    loss = sum(sums) / loss_tokens
    taken = math.isfinite(loss) and math.isfinite(norm)
    if taken:
        state.optimizer.step()
        state.steps += 1
    state.optimizer.zero_grad(set_to_none=True)
    state.skipped += not taken
    state.tokens = batch.end
    state.chain = Chain.next(state.chain, batch.end, from_signed(digest))
    named = zip(setup.loader.names, sums, counts, strict=True)
    return Update(loss, norm, rate, loss_tokens, {n: s / c for n, s, c in named if c}, taken)


def _gradients(setup: Setup, state: State, batch: Batch, loss_tokens: int) -> Tensor:
    """Add up the gradients of the global mean loss; return the loss of each of this rank's rows."""
    device, micro = setup.world.device, setup.card.micro_rows
    tokens = torch.from_numpy(batch.tokens_RT1).to(device)
    weights = torch.from_numpy(batch.weights_R).to(device)
    inside = None
    if setup.line.root.mask_documents:
        inside = torch.from_numpy(documents(batch.tokens_RT1, setup.end_of_text)).to(device)
    losses = torch.zeros(len(weights), device=device)
    for start in range(0, len(weights), micro):
        rows = slice(start, start + micro)
        with last_only(setup.objective, state.model, last=start + micro >= len(weights)):
            with autocast(setup.card, device):
                docs = None if inside is None else inside[rows]
                loss = setup.objective(tokens[rows], weights[rows], docs, losses[rows])
            # DDP and FSDP2 divide by the world; the sum is over all ranks' tokens already
            (loss * (setup.world.size / loss_tokens)).backward()
    return losses


def _by_source(setup: Setup, batch: Batch, losses_R: Tensor) -> tuple[list[float], list[int]]:
    """Return the loss summed and the slots counted per source, over all ranks."""
    n, device = len(setup.loader.names), setup.world.device
    which = torch.from_numpy(batch.sources_R).to(device)
    slots_R = torch.from_numpy(batch.weights_R).to(device).double() * setup.line.root.seq_len
    table = torch.zeros(2, n, dtype=torch.float64, device=device)
    table[0].index_add_(0, which, losses_R.double())
    table[1].index_add_(0, which, slots_R)
    sums, counts = total(table, setup.world).tolist()
    return sums, [round(count) for count in counts]


def _average(setup: Setup, state: State) -> None:
    """Take the weights into the averages under way; save the window where it ends."""
    number = state.tokens // setup.line.step_tokens
    if state.ema is not None and state.ema.config.takes(number):
        state.ema.add(state.weights())
    if setup.windows is None or not setup.windows.takes(number):
        return
    state.window.add(state.weights())
    if setup.windows.closes(number):
        if state.window.count == setup.windows.count:
            setup.close_window(state)
        state.window.clear()


def _write(setup: Setup, state: State, update: Update, seconds: float) -> None:
    number = state.tokens // setup.line.step_tokens
    if setup.journal is None or (number % setup.line.run.log_every and update.taken):
        return
    speed = update.loss_tokens / seconds
    setup.journal.write(
        "step" if update.taken else "skipped",
        state.tokens,
        loss=update.loss if math.isfinite(update.loss) else None,
        norm=update.norm if math.isfinite(update.norm) else None,
        rate=update.rate,
        loss_tokens=update.loss_tokens,
        by_source={
            name: round(loss, 6) for name, loss in update.by_source.items() if math.isfinite(loss)
        },
        seconds=round(seconds, 6),
        tokens_per_second=round(speed, 1),
        peak_share=round(speed * setup.flops_per_token / setup.peak_flops, 4),
        chain=state.chain,
    )


def _look(setup: Setup, state: State, until: int) -> None:
    """Look at what is due: every so many tokens, and at the end, however short the way was."""
    before = state.tokens - setup.line.step_tokens
    for probe in setup.probes:
        if state.tokens == until or state.tokens // probe.every > before // probe.every:
            seen = probe.look(state)
            if setup.journal is not None:
                setup.journal.write(probe.name, state.tokens, **seen)


def _refuse_blown_up(setup: Setup, state: State, update: Update) -> None:
    ceiling = HOPELESS * math.log(setup.line.root.model.vocab)
    bad = not update.taken or update.loss > ceiling
    state.bad_in_a_row = state.bad_in_a_row + 1 if bad else 0
    if state.bad_in_a_row > setup.line.run.skip_limit:
        raise Diverged(
            f"{setup.line.run.name} blew up: {state.bad_in_a_row} steps in a row up to "
            f"{state.tokens} tokens had a loss or gradient not finite, or a loss above "
            f"{ceiling:.1f} (the last: loss {update.loss:.4g}, gradient norm {update.norm:.4g})",
            hint=f"its learning rate there is {update.rate:.3g}: lower the peak, or warm up longer",
        )
