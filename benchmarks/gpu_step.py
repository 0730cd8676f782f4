"""A training step on one GPU in bf16, beside Hugging Face transformers: tokens/s, MFU, memory.

SmolLM2's three sizes at a sequence length of 2048 and the micro batches of their published
configs. Ramify: compiled blocks, chunked loss. Transformers: `LlamaForCausalLM` with SDPA in a plain
loop, as it comes and compiled. Equal first weights, tokens and AdamW (fp32 weights, products in
bf16 under autocast); one after another, each in a process of its own, so that memory is its own.

Run from the project root: `python benchmarks/gpu_step.py`. The table goes to standard error, the
last line is JSON. Without a GPU it says so and exits 2; `--device cpu --tiny` only exercises it.
It needs torch, transformers, pydantic, safetensors and numpy; no Daft.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ramify.model.config import ModelConfig, preset
from ramify.model.hf_layout import to_hf
from ramify.model.loss import linear_cross_entropy
from ramify.model.network import Transformer
from ramify.optim.config import AdamW
from ramify.optim.groups import clip, make_optimizer, set_rate
from ramify.scaling.flops import flops_per_sequence

WARMUP, STEPS = 4, 20
RATE = 3e-4
CHUNK = 8192  # rows of logits at once, as on a run's card on CUDA
EVERYTHING = AdamW(weight_decay=0.01, decay_embeddings=True, decay_norms=True)  # as torch's default
CONTESTANTS = ("ramify", "hf", "hf_compiled")
# dense bf16 by NVIDIA's data sheets, in TFLOP/s; the first name that the device's begins with
PEAKS = {"NVIDIA H200": 989, "NVIDIA H100 PCIe": 756, "NVIDIA H100": 989, "NVIDIA A100": 312,
         "NVIDIA B200": 2250, "NVIDIA L40S": 362, "NVIDIA GeForce RTX 4090": 165}  # fmt: skip
NO_GPU = 2  # the exit code that says that nothing was measured


@dataclass(frozen=True)
class Size:
    """What is trained: dimensions, rows of a step, and their length in tokens."""

    config: ModelConfig
    rows: int
    seq_len: int


SIZES = {
    "135M": Size(preset("135M"), 8, 2048),
    "360M": Size(preset("360M"), 6, 2048),
    "1.7B": Size(preset("1.7B"), 4, 2048),
}
TINY = {"tiny": Size(preset("nano", vocab=512), 2, 64)}
Step = Callable[[Tensor], Tensor]


def ramify(size: Size, device: torch.device) -> Step:
    """Return our step: compiled blocks, chunked loss, fused AdamW."""
    model = Transformer(size.config)
    model.init_weights(0)
    model.to(device)
    model.compile_blocks()
    optimizer = make_optimizer(model, EVERYTHING)
    set_rate(optimizer, RATE)

    def step(tokens: Tensor) -> Tensor:
        targets = tokens[:, 1:].reshape(-1)
        with torch.autocast(device.type, torch.bfloat16):
            hidden = model(tokens[:, :-1]).flatten(0, 1)
            loss = linear_cross_entropy(hidden, model.head_weight, targets, chunk=CHUNK)
        loss = loss / targets.numel()
        torch.autograd.backward(loss)
        clip(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def hf(size: Size, device: torch.device, *, compiled: bool) -> Step:
    """Return a plain loop's step over `LlamaForCausalLM` with SDPA and our first weights."""
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415  # not in our processes

    c = size.config
    config = LlamaConfig(
        vocab_size=c.vocab, hidden_size=c.width, intermediate_size=c.ffw,
        num_hidden_layers=c.layers, num_attention_heads=c.heads, num_key_value_heads=c.kv_heads,
        max_position_embeddings=size.seq_len, rms_norm_eps=c.norm_eps, rope_theta=c.rope_theta,
        tie_word_embeddings=c.tied, use_cache=False, attn_implementation="sdpa",
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    ours = Transformer(c)
    ours.init_weights(0)
    model.load_state_dict(to_hf(ours.state_dict(), c), strict=not c.tied)
    del ours
    model.to(device)
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.01, fused=True
    )

    def step(tokens: Tensor) -> Tensor:
        targets = tokens[:, 1:].contiguous()
        with torch.autocast(device.type, torch.bfloat16):
            loss: Tensor = run(input_ids=tokens[:, :-1], labels=targets, shift_labels=targets).loss
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def work(name: str, size: Size, device: torch.device) -> dict[str, float]:
    """Be a contestant: take the steps, and return what they took."""
    step = ramify(size, device) if name == "ramify" else hf(size, device, compiled=name != "hf")
    generator = torch.Generator().manual_seed(0)
    shape = size.rows, size.seq_len + 1
    took, losses = [], []
    for _ in range(WARMUP + STEPS):
        tokens = torch.randint(size.config.vocab, shape, generator=generator).to(device)
        synchronize(device)
        began = time.perf_counter()
        losses.append(step(tokens))
        synchronize(device)
        took.append(time.perf_counter() - began)
    seconds = sorted(took[WARMUP:])
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return {
        "step_seconds": statistics.median(seconds),
        "step_seconds_low": seconds[0],
        "step_seconds_high": seconds[-1],
        "tokens_per_second": size.rows * size.seq_len / statistics.median(seconds),
        "peak_memory_gib": memory / 2**30,
        "first_loss": losses[0].item(),
        "last_loss": losses[-1].item(),
    }


def step_flops(size: Size) -> float:
    """Return the FLOPs of a step's products, causal attention counted whole, no embedding."""
    parts = flops_per_sequence(size.config, size.seq_len)
    products = ("qkv", "scores", "values", "output", "swiglu", "logits")
    return 3 * size.rows * sum(parts[name] for name in products)


def measured_peak(device: torch.device, width: int) -> float:
    """Return the FLOP/s of a large square product in bf16 here, the best of ten."""
    a = torch.randn(width, width, device=device, dtype=torch.bfloat16)
    took = []
    for _ in range(13):
        synchronize(device)
        began = time.perf_counter()
        a @ a
        synchronize(device)
        took.append(time.perf_counter() - began)
    return 2 * width**3 / min(took[3:])


def contest(name: str, size: str, asked: argparse.Namespace) -> dict[str, float] | None:
    """Return a contestant's figures from a process of its own, or None if it died."""
    command = [sys.executable, __file__, "--work", name, size, "--device", asked.device]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(
        command + ["--tiny"] * asked.tiny,
        env=environment, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(f"{name} at {size} ended with code {done.returncode}", file=sys.stderr)
        return None
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def row(size: str, name: str, told: dict[str, float] | None) -> str:
    if told is None:
        return f"{size:>6} {name:<12} died"
    return (
        f"{size:>6} {name:<12} {told['tokens_per_second']:>12,.0f} {told['mfu']:>7.1%} "
        f"{told['peak_memory_gib']:>9.1f} {told['last_loss']:>9.4f}"
    )


def measure(asked: argparse.Namespace, device: torch.device) -> dict[str, object]:
    """Return the figures of every size and contestant; print the table as it grows."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    measured = measured_peak(device, 512 if asked.tiny else 8192)
    known = next((tera * 1e12 for start, tera in PEAKS.items() if name.startswith(start)), measured)
    figures: dict[str, object] = {"peak_flops": known, "measured_peak_flops": measured}
    print(f"{'size':>6} {'':<12} {'tokens/s':>12} {'MFU':>7} {'peak GiB':>9} {'loss':>9}", file=sys.stderr)  # fmt: skip
    for size, shape in (TINY if asked.tiny else SIZES).items():
        for who in CONTESTANTS:
            told = contest(who, size, asked)
            if told is not None:
                told["mfu"] = step_flops(shape) / told["step_seconds"] / known
            figures[f"{size} {who}"] = told
            print(row(size, who, told), file=sys.stderr, flush=True)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to exercise the code")
    parser.add_argument("--tiny", action="store_true", help="a size that measures nothing")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    device = torch.device(asked.device)
    about = {"name": "gpu_step", "n": STEPS}
    if device.type == "cuda" and not torch.cuda.is_available():
        why = "no CUDA device: nothing was measured; run this where a GPU is"
        print(why, file=sys.stderr)
        print(json.dumps(about | {"hardware": "no GPU", "figures": {}, "bars": [], "why": why}))
        return NO_GPU
    if asked.work:
        name, size = asked.work
        print(json.dumps(work(name, (TINY if asked.tiny else SIZES)[size], device)))
        return 0
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    hardware = f"{where}, torch {torch.__version__}, Python {platform.python_version()}"
    told = about | {"hardware": hardware, "figures": measure(asked, device), "bars": []}
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
