"""Points of a run on disk: `at/TOKENS/`, each a finished folder, read only after every hash was found.

at/000000000819200/
    tensors/model.safetensors       or shard-K-... by K ranks; any world reads either
    tensors/optimizer.safetensors
    tensors/window.safetensors      the sum of the window under way
    tensors/ema.safetensors         the moving average under way
    model.json  state.json  record.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ramify.ground import artifact, files
from ramify.ground.artifact import Record
from ramify.ground.errors import Corrupt, NotFound
from ramify.model.config import ModelConfig
from ramify.model.network import Transformer
from ramify.optim.average import Accumulator
from ramify.train.distributed import World, load_tensors, save_tensors, wait
from ramify.train.state import State

ALONE = World(0, 1, "none", torch.device("cpu"))


def save(state: State, folder: Path, record: Record, world: World) -> None:
    """Write a point of a run: all ranks their tensors, the first one the rest and the record last."""
    work = artifact.partial(folder)
    if world.leads:
        if work.exists():
            files.remove(work)
        work = artifact.begin(folder, record.asked)
        files.write_json(work / "state.json", state.scalars())
        write_config(work, state.model.config)
        (work / "tensors").mkdir()
    wait(world)
    parts = _parts(state)
    if world.size == 1:
        for part, tensors in parts.items():
            _write_tensors(work / "tensors" / f"{part}.safetensors", _named(part, tensors))
    else:
        everything = {
            n: t for part, tensors in parts.items() for n, t in _named(part, tensors).items()
        }
        files.failpoint("before shards")
        save_tensors(everything, work / "tensors")
        files.failpoint("after shards")
    wait(world)
    if world.leads:
        artifact.seal(work, folder, record)
    wait(world)


def _parts(state: State) -> dict[str, Mapping[str, Tensor]]:
    parts: dict[str, Mapping[str, Tensor]] = {
        "model": state.weights(),
        "optimizer": state.moved.held(),
    }
    if state.window.count:
        parts["window"] = state.window.sums
    if state.ema is not None and state.ema.count:
        parts["ema"] = state.ema.means
    return parts


def _named(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": value.contiguous() for name, value in tensors.items()}


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    with files.replacing(path) as temporary:
        try:
            save_file({name: value.cpu() for name, value in tensors.items()}, temporary)
        except SafetensorError as error:  # what it says of a full disk is all that it can say
            raise OSError(f"{path} cannot be written: {error}") from error


def write_config(folder: Path, config: ModelConfig) -> None:
    """Write the dimensions of the network beside its weights."""
    files.write_text(folder / "model.json", config.model_dump_json(indent=1) + "\n")


def write_weights(folder: Path, config: ModelConfig, weights: Mapping[str, Tensor]) -> None:
    """Write weights alone, as an average is kept: `load_model` reads them like any point."""
    (folder / "tensors").mkdir(exist_ok=True)
    write_config(folder, config)
    _write_tensors(folder / "tensors" / "model.safetensors", _named("model", weights))


def restore(state: State, folder: Path, world: World, *, averages: bool) -> None:
    """Fill a state from a point, in any world; with `averages`, those under way too.

    A moving average that the state carries goes on if the point holds the very same one.
    """
    scalars = _read_json(folder / "state.json")
    weights, held = state.moved.filled()
    into = {**_named("model", weights), **_named("optimizer", held)}
    sums: dict[str, Tensor] = {}
    if averages and scalars["window_count"]:
        sums = _like(state)
        into.update(_named("window", sums))
    if averages and state.ema is not None:
        before = scalars.get("ema") or {}
        state.ema.count = before["count"] if state.ema.told() == {**before, "count": 0} else 0
        state.ema.means = _like(state) if state.ema.count else {}
        into.update(_named("ema", state.ema.means))
    load_tensors(into, folder / "tensors", world)
    state.set_scalars(scalars)
    state.window = Accumulator(sums, scalars["window_count"] if sums else 0)


def take_weights(state: State, folder: Path, record: Record, world: World) -> None:
    """Fill the weights of a fresh state from a point or an average, and stand where that stood.

    Moments, counts and averages stay as they are: fresh. Raises Corrupt where the record does not
    tell the hash chain, as those of the first version's averages did not.
    """
    load_tensors(_named("model", state.weights()), folder / "tensors", world)
    chain = record.facts.get("chain")
    if chain is None:
        raise Corrupt(
            f"{record.name} does not tell which batches it has seen",
            hint=f"type: ramify forget {record.name}, then run again",
        )
    state.tokens, state.chain = int(record.facts["tokens"]), str(chain)


def _like(state: State) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(value, dtype=torch.float32)
        for name, value in state.weights().items()
    }


def read_config(folder: Path) -> ModelConfig:
    """Return the dimensions of the network whose weights a folder holds."""
    path = folder / "model.json"
    try:
        return ModelConfig.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(
            f"{folder} holds no model", hint="name a point of a run or an average"
        ) from error
    except ValidationError as error:
        raise Corrupt(
            f"{path} is not the dimensions of a model", hint="type: ramify verify"
        ) from error


def load_model(folder: Path, *, check: bool = True, part: str = "model") -> Transformer:
    """Return the network of a point or an average, on the CPU in float32, its files checked first.

    `part` names which of the weights that it holds: its own, or a point's moving average, "ema".
    """
    if check:
        artifact.require_sound(folder)
    model = Transformer(read_config(folder))
    weights = {name: value.detach() for name, value in model.named_parameters()}
    load_tensors(_named(part, weights), folder / "tensors", ALONE)
    return model.eval()


def load_weights(folder: Path, *, part: str = "model") -> dict[str, Tensor]:
    """Return the weights of a point, an average or a window, by parameter name."""
    model = load_model(folder, part=part)
    return {name: value.detach() for name, value in model.named_parameters()}


def wrong(folder: Path) -> list[str]:
    """Return what is wrong with a point: no record, or files that are not those of its record."""
    try:
        record = artifact.read_record(folder)
    except Corrupt as error:
        return [error.message]
    return artifact.unsound(folder, record) if record else [f"{folder} has no record"]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise Corrupt(f"{path} cannot be read", hint="type: ramify verify") from error
    return value
