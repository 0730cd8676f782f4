"""One run, from where it stands to the tokens that are wanted of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ramify.ground import artifact, files
from ramify.ground.errors import BadInput, Corrupt, Diverged, Mismatch, NotFound
from ramify.ground.journal import Journal
from ramify.model.network import Transformer
from ramify.optim.average import Moving
from ramify.scaling.flops import train_flops
from ramify.tokens.loader import Loader
from ramify.tokens.path import SourceSize
from ramify.tokens.shards import Source
from ramify.train import checkpoint
from ramify.train.card import Card, autocast, choose
from ramify.train.distributed import World, agreed, looking, shard, spread, wait
from ramify.train.keeper import Keeper, Wanted
from ramify.train.line import Line
from ramify.train.loop import Probe, Setup, train
from ramify.train.objective import NextToken
from ramify.train.places import (
    DIVERGED,
    JOURNAL,
    RUN,
    points,
    read_run,
    tidy,
    write_diverged,
)
from ramify.train.score import HeldOut, score
from ramify.train.state import State
from ramify.train.steps import Cooldown


def run_train(wanted: Wanted, world: World) -> bool:
    """Make every wanted point that is not there; return False if stopped before all were.

    A point beyond what the run has reached is grown to; one that lies before is replayed from the
    nearest point below it, and the hash chain must agree with what the journal told.
    """
    line = Line(wanted.lineage)
    card = _born(wanted, line, world)
    torch.set_num_threads(card.threads)
    if world.leads:
        tidy(wanted.folder, {*wanted.points, *wanted.keep, *wanted.run.points})
    wait(world)
    missing = _missing(wanted, world)
    reached = max(points(wanted.folder), default=0)
    for target in missing:
        if target < reached and not _life(wanted, line, card, world, target, replay=True):
            return False
    return all(target < reached for target in missing) or _life(
        wanted, line, card, world, max(missing), replay=False
    )


def _born(wanted: Wanted, line: Line, world: World) -> Card:
    """Return the card of the run, from run.json, which is written now unless the run was born."""
    asked = json.loads(json.dumps(wanted.identity_at(line.begins_at)))
    # only the leading rank looks before it writes: another could look after, and go on alone
    if world.leads:
        told = read_run(wanted.folder)
        if told is None or (told["asked"] != asked and not points(wanted.folder)):
            _write_birth(wanted, line, choose(wanted.run.numerics, line, world.device), asked)
    wait(world)
    told = read_run(wanted.folder)
    if told is None:
        raise NotFound(
            f"rank {world.rank} finds no {RUN} in {wanted.folder}",
            hint="keep the lab where every rank can read and write it",
        )
    card = Card.model_validate(told["card"])
    here = choose(wanted.run.numerics, line, world.device)
    wanted.notes.extend(
        f"numerics changed, bits may too: {line}" for line in card.differences(here)
    )
    return card


def _write_birth(wanted: Wanted, line: Line, card: Card, asked: Any) -> None:
    wanted.folder.mkdir(parents=True, exist_ok=True)
    files.remove(wanted.folder / JOURNAL)
    files.remove(wanted.folder / DIVERGED)
    runs = [{"kind": run.kind(), **run.model_dump(mode="json")} for run in wanted.lineage]
    born = {"format": 1, "name": wanted.run.name, "kind": wanted.run.kind(), "asked": asked,
            "card": card.model_dump(), "parameters": line.root.model.parameters, "lineage": runs, "born": artifact.now()}  # fmt: skip
    files.write_json(wanted.folder / RUN, born)


def _missing(wanted: Wanted, world: World) -> list[int]:
    """Return the wanted points that are not there, sound; those that are not sound are removed."""
    there = points(wanted.folder)
    missing = []
    for tokens in sorted(set(wanted.points)):
        if tokens in there:
            wrong = _wrong(there[tokens], world)
            if wrong is None:
                continue
            wanted.notes.append(f"{wrong}: made again")
            if world.leads:
                artifact.discard(there[tokens])
            wait(world)
        missing.append(tokens)
    return missing


def _wrong(folder: Path, world: World) -> str | None:
    """Return what is wrong with a point, as the leading rank found: the others believe it."""
    wrong = checkpoint.wrong(folder) if world.leads else []
    if agreed(bool(wrong), world):
        return wrong[0] if wrong else f"{folder} is not sound"
    return None


def _life(
    wanted: Wanted, line: Line, card: Card, world: World, target: int, *, replay: bool
) -> bool:
    """Restore, build, train and save: one life of a run, from a point to a target."""
    model = Transformer(line.root.model)
    model.init_weights(line.root.seed)
    model.to(world.device)
    shard(model, model.blocks, world)
    state = State.fresh(model, line.root.optimizer)
    state.ema = None if wanted.run.ema is None else Moving(wanted.run.ema)
    _restore(wanted, line, state, world, target)
    if state.tokens == target:
        return True
    if card.compile:
        model.compile_blocks()
    journal = None
    if world.leads:
        name = f"replay-{target}.jsonl" if replay else JOURNAL
        journal = Journal(wanted.folder / name, state.tokens)
    setup = _setup(wanted, line, card, world, state, journal, target, replay=replay)
    try:
        return train(setup, state, target)
    except Diverged as error:
        if world.leads:
            asked, limit = wanted.identity_at(state.tokens), wanted.run.skip_limit
            write_diverged(wanted.folder, state.tokens, error, asked, limit)
        raise
    finally:
        if journal is not None:
            journal.close()


def _restore(wanted: Wanted, line: Line, state: State, world: World, target: int) -> None:
    """Fill the state from the newest sound point up to the target, or the parent's, or leave it fresh."""
    for tokens, folder in reversed(points(wanted.folder).items()):
        if tokens > target:
            continue
        wrong = _wrong(folder, world)
        if wrong is not None:
            wanted.notes.append(f"{wrong}: goes on from an older point")
            if world.leads:
                artifact.discard(folder)  # or the run would pass by and leave it as it is
            wait(world)
            continue
        _refuse_another(wanted, folder, tokens)
        checkpoint.restore(state, folder, world, averages=True)
        if wanted.run.windows is None:
            state.window.clear()  # it was asked for once, and is no more
        return
    if "parent" in wanted.inputs:
        folder = wanted.inputs["parent"].path
        record = artifact.require_sound(folder)
        assert isinstance(wanted.run, Cooldown)
        if wanted.run.carry == "all":
            checkpoint.restore(state, folder, world, averages=False)
            state.bad_in_a_row = state.skipped = 0
        else:
            checkpoint.take_weights(state, folder, record, world)
        if state.tokens != line.begins_at:
            raise Corrupt(f"{folder} stands at {state.tokens} tokens, not {line.begins_at}")


def _refuse_another(wanted: Wanted, folder: Path, tokens: int) -> None:
    record = artifact.read_record(folder)
    asked = json.loads(json.dumps(wanted.identity_at(tokens)))
    if record is not None and record.asked != asked:
        changed = "; ".join(artifact.differences(record.asked, asked)[:4])
        raise Mismatch(
            f"{wanted.run.name} was made otherwise: {changed}",
            hint=f"give it another name, or type: ramify forget {wanted.run.name}",
        )


def _setup(
    wanted: Wanted, line: Line, card: Card, world: World, state: State, journal: Journal | None, target: int, *, replay: bool,
) -> Setup:  # fmt: skip
    sources = {
        name: Source.open(wanted.inputs[f"sources.{name}"].path) for name in line.source_names
    }
    _check_vocabulary(line, sources)
    sizes = {name: SourceSize(s.segments, s.segment) for name, s in sources.items()}
    loader = Loader(
        line.path(sizes), sources, rank=world.rank, world=world.size, micro_rows=card.micro_rows
    )
    objective = NextToken(state.model, card.loss_chunk)
    keeper = Keeper(wanted, line, world, journal, target, replay)
    end = next(iter(sources.values())).end_of_text
    flops = train_flops(line.root.model, line.root.seq_len, line.root.seq_len) / line.root.seq_len
    return Setup(
        line=line,
        card=card,
        world=world,
        loader=loader,
        objective=spread(objective, world, lambda module: _of_nothing(module, line, card, world)),
        end_of_text=end,
        journal=journal,
        probes=[] if replay else _probes(wanted, line, card, world, sources, end),
        windows=wanted.run.windows,
        close_window=keeper.close_window,
        save=keeper.save,
        due=keeper.due,
        stopping=wanted.stopping,
        tell=wanted.tell,
        peak_flops=peak_flops(world.device),
        flops_per_token=flops,
    )


def _of_nothing(objective: nn.Module, line: Line, card: Card, world: World) -> Tensor:
    """Return the loss of a micro-batch whose rows all have weight zero."""
    rows, seq_len = card.micro_rows, line.root.seq_len
    tokens = torch.zeros(rows, seq_len + 1, dtype=torch.int64, device=world.device)
    weights = torch.zeros(rows, device=world.device)
    inside = tokens[:, :-1] if line.root.mask_documents else None
    with autocast(card, world.device):
        loss: Tensor = objective(tokens, weights, inside, torch.zeros_like(weights))
    return loss


def _check_vocabulary(line: Line, sources: Mapping[str, Source]) -> None:
    for name, source in sources.items():
        if source.vocab > line.root.model.vocab:
            raise BadInput(
                f"source {name} has a vocabulary of {source.vocab}, the model one of {line.root.model.vocab}",
                hint=f"give the model vocab={source.vocab}",
            )


def _probes(
    wanted: Wanted, line: Line, card: Card, world: World, sources: Mapping[str, Source], end: int
) -> list[Probe]:
    asked = wanted.run.probe
    if asked is None:
        return []
    limit = asked.limit_tokens
    domains = {name: HeldOut.load(s.folder).limited(limit) for name, s in sources.items()}

    def look(state: State) -> dict[str, Any]:
        seen: dict[str, Any] = {"bits_per_byte": {}, "standard_error": {}}
        for name, held_out in domains.items():
            with state.read_as_a_point(), looking(state.model), autocast(card, world.device):
                got = score(
                    state.model, held_out, end_of_text=end, seq_len=line.root.seq_len, rows=card.micro_rows,
                    loss_chunk=card.loss_chunk, device=world.device,
                )  # fmt: skip
            seen["bits_per_byte"][name] = got.bits_per_byte
            seen["standard_error"][name] = got.standard_error
        return seen

    return [Probe("probe", asked.every, look)]


def peak_flops(device: torch.device, size: int = 768) -> float:
    """Return the FLOPs a second that this device reaches on one square product of its fast type."""
    cuda = device.type == "cuda"
    a = torch.randn(
        size * (10 if cuda else 1),
        size * (10 if cuda else 1),
        device=device,
        dtype=torch.bfloat16 if cuda else None,
    )
    best = math.inf
    for _ in range(6):
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return float(2 * a.shape[0] ** 3 / best)
