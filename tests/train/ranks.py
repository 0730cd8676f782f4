"""What every rank of a launched group does: the jobs of a file, in order; what came of them, into another.

Started by torchrun, as `ranks.py JOBS.json`; rank r leaves `r.json` beside it: a list, by job, of
{"done": bool}, or {"error": class, "message": text}. Nothing here asserts: the tests do.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ramify.ground.errors import RamifyError
from ramify.ground.step import Input
from ramify.model.network import Transformer
from ramify.train import checkpoint
from ramify.train.distributed import World, shard, world
from ramify.train.keeper import Wanted
from ramify.train.make import run_train
from ramify.train.state import State
from ramify.train.steps import Trunk


def main(jobs: Path) -> None:
    torch.set_num_threads(1)
    with world("ddp") as group:
        told = [come_of(job, replace(group, parallel=job["parallel"])) for job in read(jobs)]
    jobs.with_name(f"{group.rank}.json").write_text(json.dumps(told))


def read(jobs: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(jobs.read_text())
    return listed


def come_of(job: dict[str, Any], world: World) -> dict[str, Any]:
    try:
        return {"done": (restore if "restore" in job else grow)(job, world)}
    except RamifyError as error:
        return {"error": type(error).__name__, "message": str(error)}


def grow(job: dict[str, Any], world: World) -> bool:
    """Train a trunk; `stop` is (rank, steps): that rank alone is told to stop after so many."""
    run = Trunk.model_validate(job["trunk"])
    given = {name: Input(Path(at), {}, f"print of {name}") for name, at in job["sources"].items()}
    seen = 0

    def stopping() -> bool:
        nonlocal seen
        seen += 1
        rank, steps = job.get("stop") or (None, 0)
        return rank == world.rank and seen >= steps

    wanted = Wanted(
        run=run, lineage=[run], inputs={f"sources.{name}": source for name, source in given.items()},
        folder=Path(job["folder"]), points=job["points"], keep=(),
        tell=lambda *_, **__: None, stopping=stopping,
    )  # fmt: skip
    return run_train(wanted, world)


def restore(job: dict[str, Any], world: World) -> bool:
    """Fill a state from a point, its record unread."""
    folder = Path(job["restore"])
    model = Transformer(checkpoint.read_config(folder))
    shard(model, model.blocks, world)
    run = Trunk.model_validate(job["trunk"])
    checkpoint.restore(State.fresh(model, run.optimizer), folder, world, averages=True)
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # as the worker leaves: a thread of gloo may still let go of a tensor, and Python on its way out
    # kills a thread that asks for it, which aborts the process (1 launch in 15, seen in a core)
    os._exit(0)
