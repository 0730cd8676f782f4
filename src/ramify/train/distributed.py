"""The only file that names torch.distributed: one process, or many that behave as one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from ramify.ground.errors import BadInput, Corrupt

Parallel = Literal["none", "ddp", "fsdp"]


@dataclass(frozen=True)
class World:
    """This process among those of a run: alone, or one rank of a group."""

    rank: int
    size: int
    parallel: Parallel
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this rank writes the journal and the records."""
        return self.rank == 0


@contextmanager
def world(parallel: Parallel = "ddp") -> Iterator[World]:
    """Yield this process's World, from the environment that torchrun sets; alone without one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = torch.cuda.is_available()
    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if cuda
        else torch.device("cpu")
    )
    if cuda:
        torch.cuda.set_device(device)
    if size == 1:
        yield World(0, 1, "none", device)
        return
    if parallel == "none":
        raise BadInput(f"{size} processes and parallel='none'", hint="give ddp or fsdp")
    dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
    try:
        yield World(dist.get_rank(), size, parallel, device)
    finally:
        dist.destroy_process_group()


def shard(model: nn.Module, blocks: nn.ModuleList, world: World) -> None:
    """Under FSDP2, shard a model in place, block by block; before an optimizer is made of it."""
    if world.parallel == "fsdp":
        for block in blocks:
            fully_shard(block)
        # what the root holds itself stays whole after its forward: the loss reads the head's weight
        fully_shard(model, reshard_after_forward=False)


def spread(objective: nn.Module, world: World, loss: Callable[[nn.Module], Tensor]) -> nn.Module:
    """Return the objective as its world runs it: wrapped by DDP, or itself.

    DDP lays out its buckets anew after its first backward, and the layout decides in which order
    three ranks or more are added up. So `loss`, of nothing, is sent back before the run: one that
    goes on then adds as one that never stopped, to the bit.
    """
    if world.parallel != "ddp":
        return objective
    wrapped = DistributedDataParallel(objective)
    torch.autograd.backward(loss(wrapped))
    wrapped.zero_grad(set_to_none=True)
    return wrapped


@contextmanager
def looking(model: nn.Module) -> Iterator[None]:
    """Let a model be run without a backward after it, and be sharded again at the end."""
    yield
    if isinstance(model, FSDPModule):
        model.reshard()


@contextmanager
def last_only(module: nn.Module, model: nn.Module, *, last: bool) -> Iterator[None]:
    """Let gradients be reduced only in the last of a step's micro-batches."""
    if isinstance(module, DistributedDataParallel):
        if last:
            yield
        else:
            with module.no_sync():
                yield
        return
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
    yield


def total(values: Tensor, world: World) -> Tensor:
    """Return the sum of `values` over all ranks (integers wrap at 64 bits, as the chain wants)."""
    if world.size > 1:
        dist.all_reduce(values, op=dist.ReduceOp.SUM)
    return values


def whole(value: Tensor) -> Tensor:
    """Return a tensor that may be sharded as a whole one."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def agreed(value: bool, world: World) -> bool:
    """Return whether any rank says so: all leave a loop at the same step, or none does."""
    if world.size == 1:
        return value
    flag = torch.tensor([int(value)], device=world.device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


def wait(world: World) -> None:
    """Wait until every rank is here."""
    if world.size > 1:
        dist.barrier()


def save_tensors(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write tensors, of which each rank may hold a part, as safetensors under `folder`.

    Only tensors: DCP would write any other leaf as a torch archive with a pickle inside.
    """
    assert all(isinstance(value, Tensor) for value in tensors.values())
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    dcp.save(dict(tensors), storage_writer=writer)


def load_tensors(into: Mapping[str, Tensor], folder: Path, world: World) -> None:
    """Fill tensors in place from the safetensors of `folder`, whichever world wrote them.

    Targets are filled with NaN before and looked at after, because DCP says nothing where a part of
    a tensor is in no file. Raises Corrupt for a tensor that is missing, misshapen or incomplete.
    """
    for value in into.values():
        value.fill_(float("nan"))
    reader = HuggingFaceStorageReader(str(folder))
    try:
        with warnings.catch_warnings():
            # one process is what was meant: torch warns of it
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            dcp.load(dict(into), storage_reader=reader, no_dist=world.size == 1)
    except (RuntimeError, ValueError, KeyError, dcp.api.CheckpointException) as error:
        raise Corrupt(
            f"{folder} does not hold the tensors of this run: {_reason(error)}",
            hint="type: ramify verify",
        ) from error
    holes = [name for name, value in into.items() if local(value).isnan().any()]
    if agreed(bool(holes), world):
        raise Corrupt(
            f"{folder} holds only a part of {holes[:1] or 'a tensor'}", hint="type: ramify verify"
        )


def _reason(error: BaseException) -> str:
    """Return the first line of what went wrong, on the first rank where it did."""
    if isinstance(error, dcp.api.CheckpointException):
        error = next(iter(error.failures.values()))[0]
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)


def local(value: Tensor) -> Tensor:
    """Return this rank's own part of a tensor."""
    return value.to_local() if isinstance(value, DTensor) else value
