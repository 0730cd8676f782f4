"""One run, from where it stands to the tokens that are wanted of it; and the average of its windows."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ramify.ground import artifact, files
from ramify.ground.artifact import Record
from ramify.ground.errors import BadInput, Corrupt, Diverged, Mismatch, NotFound
from ramify.ground.journal import Journal
from ramify.ground.journal import read as read_journal
from ramify.ground.step import Input, Tell, identity
from ramify.model.network import Transformer
from ramify.optim.average import compose
from ramify.scaling.flops import train_flops
from ramify.tokens.loader import Loader
from ramify.tokens.path import SourceSize
from ramify.tokens.shards import Source
from ramify.train import checkpoint
from ramify.train.card import Card, autocast, choose
from ramify.train.distributed import World, agreed, looking, shard, spread, wait, whole
from ramify.train.line import Line
from ramify.train.loop import Probe, Setup, train
from ramify.train.objective import NextToken
from ramify.train.places import (
    DIVERGED,
    JOURNAL,
    RUN,
    point_folder,
    points,
    read_run,
    tidy,
    window_folder,
    write_diverged,
)
from ramify.train.places import windows as windows_of
from ramify.train.score import HeldOut, score
from ramify.train.state import State
from ramify.train.steps import Average, Run, Trunk

LADDER_STEPS = 64  # the first rung of a trunk's ladder of points; each next one is twice as far
SAVE_SECONDS = 30.0  # between points that are kept only until the next one
SAVE_SHARE = 0.02  # of the time that saving them may take


@dataclass
class Wanted:
    """What is wanted of a run in this life: which points, which of them for good, who stops it."""

    run: Run
    lineage: Sequence[Run]  # root first, the run itself last
    inputs: Mapping[str, Input]  # "sources.NAME" of the whole line, and "parent" of a branch
    folder: Path
    points: Sequence[int]
    keep: Collection[int]
    tell: Tell
    stopping: Callable[[], bool]
    notes: list[str] = field(default_factory=list)  # what a person should be told

    def identity_at(self, tokens: int) -> dict[str, Any]:
        """Return what the run is asked for up to a token."""
        prints = {
            ref: self.inputs[where].fingerprint
            for where, ref in self.run.refs().items()
            if where in self.inputs
        }
        return identity(self.run, prints.__getitem__, tokens)


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
        checkpoint.restore(state, folder, world, window=wanted.run.windows is not None)
        return
    if "parent" in wanted.inputs:
        folder = wanted.inputs["parent"].path
        artifact.require_sound(folder)
        checkpoint.restore(state, folder, world, window=False)
        state.bad_in_a_row = state.skipped = 0
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
            with looking(state.model), autocast(card, world.device):
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


@dataclass
class Keeper:
    """Decides which points are saved, saves them, and removes those that only served to go on."""

    wanted: Wanted
    line: Line
    world: World
    journal: Journal | None
    target: int
    replay: bool
    last_cost: float = 0.0
    born: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)

    def due(self, tokens: int, seconds: float) -> bool:
        """Say whether a point is due: the plan asks for it, it is a rung, or time has passed."""
        if self.replay:
            return tokens == self.target
        # as before: only the leading rank's clock counts, the others agree with it
        late = self.world.leads and seconds > max(SAVE_SECONDS, self.last_cost / SAVE_SHARE)
        return self.for_good(tokens) or late

    @property
    def _asked(self) -> set[int]:
        return {self.target, *self.wanted.points, *self.wanted.keep, *self.wanted.run.points}

    def for_good(self, tokens: int) -> bool:
        """Say whether a point at these tokens stays: asked for, or a rung of a trunk's ladder."""
        steps = tokens // self.line.step_tokens
        rung = steps >= LADDER_STEPS and steps & (steps - 1) == 0
        return tokens in self._asked or (isinstance(self.wanted.run, Trunk) and rung)

    def save(self, state: State) -> None:
        """Write the point at the state's tokens; then remove what only served to go on."""
        began = time.monotonic()
        folder = point_folder(self.wanted.folder, state.tokens)
        if self.replay:
            self._agree(state)
        if self.journal is not None:
            self.journal.sync()
        if not (folder / artifact.RECORD).exists():
            checkpoint.save(state, folder, self._record(state), self.world)
        self.last_cost = time.monotonic() - began
        if self.world.leads:
            tidy(self.wanted.folder, self._asked, newest=state.tokens)
        wait(self.world)

    def _record(self, state: State) -> Record:
        run, asked = self.wanted.run, self.wanted.identity_at(state.tokens)
        facts = {
            **state.scalars(),
            "rate": self.line.rate(state.tokens),
            "seq_len": self.line.root.seq_len,
            "decayed": self.line.decayed(state.tokens),
            "passing": not self.for_good(state.tokens),
            "world": self.world.size,
            "parallel": self.world.parallel,
        }
        cost = {
            "seconds": time.monotonic() - self.born,
            "cpu_seconds": time.process_time() - self.cpu,
        }
        refs = run.refs()
        return Record(
            name=run.name,
            kind="point",
            fingerprint=artifact.digest(asked),
            asked=json.loads(json.dumps(asked)),
            step={"kind": run.kind(), **run.model_dump(mode="json")},
            parents={
                where: {
                    "name": refs[where].name,
                    "at": refs[where].at,
                    "fingerprint": given.fingerprint,
                }
                for where, given in self.wanted.inputs.items()
                if where in refs
            },
            facts=facts,
            cost={key: round(value, 3) for key, value in cost.items()},
        )

    def _agree(self, state: State) -> None:
        """Refuse a replay whose batches were not those that the journal told of."""
        told = [
            x
            for x in read_journal(self.wanted.folder / JOURNAL, "step")
            if x["tokens"] == state.tokens
        ]
        if told and told[-1]["chain"] != state.chain:
            raise Mismatch(
                f"the replay of {self.wanted.run.name} to {state.tokens} tokens saw other batches than its journal tells",
                hint="its sources have changed: type: ramify verify",
            )

    def _is_there(self, folder: Path, record: Record) -> bool:
        """Say whether a window is there, of this very run: one that asked otherwise may have died."""
        try:
            there = artifact.read_record(folder)
        except Corrupt:
            return False
        return there is not None and there.asked == record.asked

    def close_window(self, state: State) -> None:
        """Write the mean of the window that ends here, unless an earlier life did."""
        windows = self.wanted.run.windows
        folder = window_folder(self.wanted.folder, state.tokens)
        if windows is None:
            return
        record = self._record(state)
        # asked of all ranks, since one could look after the leading rank has written it
        if agreed(self._is_there(folder, record), self.world):
            return
        mean = {name: whole(value) for name, value in state.window.mean().items()}
        if self.world.leads:
            files.remove(artifact.partial(folder))
            artifact.discard(folder)
            work = artifact.begin(folder, record.asked)
            checkpoint.write_weights(work, state.model.config, mean)
            facts = {
                "tokens": state.tokens,
                "windows": windows.model_dump(),
                "count": state.window.count,
            }
            artifact.seal(
                work, folder, record.model_copy(update={"kind": "window", "facts": facts})
            )
        wait(self.world)


def run_average(
    step: Average, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Write the mean of the run's last windows up to a point; return which windows they were."""
    point = inputs["run"]
    at = int(point.record["facts"]["tokens"])
    saved = windows_of(point.path.parent.parent)
    ended = [folder for ends, folder in saved.items() if ends <= at]
    chosen = ended[: -step.last - 1 : -1]
    if len(chosen) < step.last:
        raise NotFound(
            f"{step.name} wants {step.last} windows up to {at} tokens, {step.run.name} has {len(chosen)}",
            hint=f"let {step.run.name} save windows=Windows(steps={step.windows.steps}, every={step.windows.every})",
        )
    parts = []
    for number, folder in enumerate(chosen):
        record = artifact.require_sound(folder)
        if record.facts["windows"] != step.windows.model_dump():
            raise Mismatch(
                f"{folder} is a window of {record.facts['windows']}, {step.name} asks for {step.windows.model_dump()}",
                hint=f"ask for what was saved, or type: ramify forget {step.run.name}",
            )
        parts.append((checkpoint.load_weights(folder), int(record.facts["count"])))
        tell(number + 1, len(chosen), "windows")
    checkpoint.write_weights(out, checkpoint.read_config(point.path), compose(parts))
    return {
        "tokens": at,
        "seq_len": point.record["facts"]["seq_len"],
        "ends": [int(folder.name) for folder in chosen],
        "decayed": False,
    }
