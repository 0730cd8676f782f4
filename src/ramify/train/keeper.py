"""What is wanted of a run in this life, and the keeper of its points and windows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ramify.ground import artifact, files
from ramify.ground.artifact import Record
from ramify.ground.errors import Corrupt, Mismatch
from ramify.ground.journal import Journal
from ramify.ground.journal import read as read_journal
from ramify.ground.step import Input, Tell, identity
from ramify.train import checkpoint
from ramify.train.distributed import World, agreed, wait, whole
from ramify.train.line import Line
from ramify.train.places import JOURNAL, point_folder, tidy, window_folder
from ramify.train.state import State
from ramify.train.steps import Run, Trunk

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
        due = {} if run.ema is None else {"ema_due": run.ema.taken(*self._steps(state.tokens))}
        facts = {
            **state.scalars(),
            **due,
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

    def _steps(self, tokens: int) -> tuple[int, int]:
        """Return after how many steps of its line the run begins, and how many lie before a token."""
        step = self.line.step_tokens
        return self.line.begins_at // step, tokens // step

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
