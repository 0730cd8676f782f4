"""The numerics card of a run: what decides bits, chosen once, at its birth."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict

from ramify.model import kernels
from ramify.scaling.flops import train_flops
from ramify.train.line import Line
from ramify.train.steps import Numerics

MICRO_TOKENS = {"cpu": 4096, "cuda": 32768}  # slots computed at once, by kind of device
LOSS_CHUNK = {"cpu": 512, "cuda": 8192}  # rows of logits that exist at once
ASSUMED_FLOPS = {
    "cpu": 5e10,
    "cuda": 2e14,
}  # a second, of a thread or of a GPU, to tell long from short
PAYS_AFTER_SECONDS = 600  # compiling costs most of a minute and saves a tenth to a fifth


class Card(BaseModel):
    """What decides bits: equal cards and equal worlds compute equal weights."""

    model_config = ConfigDict(frozen=True)
    threads: int
    compile: bool
    compile_why: str
    dtype: Literal["float32", "bfloat16"]
    micro_rows: int
    loss_chunk: int
    attention: str = "sdpa"  # or "blocks": model/kernels.py
    products: str = "torch"  # or "onednn": likewise
    torch: str
    device: str

    def differences(self, now: Card) -> list[str]:
        """Return what differs between the card of a run's birth and this machine, in words."""
        mine, theirs = self.model_dump(), now.model_dump()
        return [
            f"{key}: {mine[key]} at birth, {theirs[key]} here"
            for key in ("torch", "device", "products")
            if mine[key] != theirs[key]
        ]


def autocast(card: Card, device: torch.device) -> torch.autocast:
    """Return the context in which the network runs: its products in bfloat16, if so born."""
    return torch.autocast(device.type, torch.bfloat16, enabled=card.dtype == "bfloat16")


def choose(numerics: Numerics, line: Line, device: torch.device) -> Card:
    """Return the card of a run born now on this device, from what its recipe leaves open."""
    threads = numerics.threads or len(os.sched_getaffinity(0))
    pays, why = _compile(numerics, line, device, threads)
    rows = line.root.rows
    micro = numerics.micro_rows or _divisor(rows, MICRO_TOKENS[device.type] // line.root.seq_len)
    dtype = numerics.dtype or ("bfloat16" if has_fast_bf16(device) else "float32")
    own = device.type == "cpu" and dtype == "float32"
    return Card(
        threads=threads,
        compile=pays,
        compile_why=why,
        dtype=dtype,
        micro_rows=min(micro, rows),
        loss_chunk=numerics.loss_chunk or LOSS_CHUNK[device.type],
        attention="blocks" if own and pays else "sdpa",
        products=kernels.PRODUCTS if own else "torch",
        torch=torch.__version__,
        device=device_name(device),
    )


def _compile(
    numerics: Numerics, line: Line, device: torch.device, threads: int
) -> tuple[bool, str]:
    if numerics.compile is False:
        return False, "the recipe says no"
    if device.type == "cpu" and not has_compiler():
        return False, "no C++ compiler on this machine"
    if numerics.compile:
        return True, "the recipe says yes"
    tokens = line.run.tokens - line.begins_at
    flops = train_flops(line.root.model, line.root.seq_len, tokens)
    seconds = flops / (ASSUMED_FLOPS[device.type] * (threads if device.type == "cpu" else 1))
    pays = seconds > PAYS_AFTER_SECONDS
    return pays, f"about {seconds:.0f} s of work, compiling pays after {PAYS_AFTER_SECONDS}"


def has_compiler(which: Callable[[str], str | None] = shutil.which) -> bool:
    """Say whether torch.compile will find a C++ compiler for its CPU kernels."""
    own = os.environ.get("CXX")
    return any(which(name) for name in ([own] if own else ["g++", "clang++"]))


def has_fast_bf16(device: torch.device) -> bool:
    """Say whether bfloat16 is faster than float32 here: on GPUs, and on CPUs with amx_bf16."""
    if device.type == "cuda":
        return True
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and "amx_bf16" in cpu.read_text()


def device_name(device: torch.device) -> str:
    """Return the kind of device: the GPU's name, or the instruction set of the CPU's kernels."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"


def _divisor(rows: int, most: int) -> int:
    return max(d for d in range(1, rows + 1) if rows % d == 0 and d <= max(most, 1))
