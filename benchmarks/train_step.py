"""A training step on CPU, beside Hugging Face transformers and beside its matrix products alone.

Contestants are processes that take one step when told, in turns, so that a busy machine slows all
of them: Ramify's step; `LlamaForCausalLM` in a plain loop as it comes, with the same environment
as ours, and compiled; and the limit: our matrix products and attention, forward and backward, with
nothing between them. Equal dimensions, weights, tokens and AdamW, all in fp32.

Run from the project root: `python benchmarks/train_step.py`. The last line is JSON. `--size micro`
measures one size only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ramify.model import kernels
from ramify.model.config import ModelConfig, preset
from ramify.model.hf_layout import to_hf
from ramify.model.loss import linear_cross_entropy
from ramify.model.network import Transformer
from ramify.optim.config import AdamW
from ramify.optim.groups import clip, make_optimizer, set_rate
from ramify.runs.engine import ENVIRONMENT
from ramify.scaling.flops import train_flops
from ramify.train.card import LOSS_CHUNK

WARMUP = 3  # steps that compile, and fill the allocator
RATE = 1e-3
EVERYTHING = AdamW(weight_decay=0.01, decay_embeddings=True, decay_norms=True)  # as torch's default
CHUNK = LOSS_CHUNK["cpu"]


@dataclass(frozen=True)
class Size:
    """What is trained, and how often it is measured."""

    config: ModelConfig
    rows: int
    seq_len: int
    rounds: int
    bar: float  # against transformers as it comes
    heats: tuple[tuple[str, ...], ...]  # who runs side by side; more than fit memory, one by one


SIZES = {
    "micro": Size(
        preset("micro"), 16, 256, 20, 1.40, (("ramify", "hf", "hf_same_env", "hf_compiled", "limit"),)
    ),
    "135M": Size(
        preset("135M"), 4, 512, 10, 1.35,
        (("ramify", "hf", "limit"), ("ramify", "hf_same_env", "hf_compiled")),
    ),
}  # fmt: skip
RIVALS = {
    "hf": "as it comes",
    "hf_same_env": "with the same malloc and thread settings",
    "hf_compiled": "compiled, with the same settings",
}
Step = Callable[[Tensor], float]


def ramify(size: Size) -> Step:
    """Return our step: compiled blocks, chunked loss, fused AdamW."""
    model = Transformer(size.config)
    model.init_weights(0)
    model.compile_blocks()
    optimizer = make_optimizer(model, EVERYTHING)
    set_rate(optimizer, RATE)

    def step(tokens: Tensor) -> float:
        hidden = model(tokens[:, :-1]).flatten(0, 1)
        targets = tokens[:, 1:].reshape(-1)
        loss = linear_cross_entropy(hidden, model.head_weight, targets, chunk=CHUNK)
        loss = loss / targets.numel()
        torch.autograd.backward(loss)
        clip(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def hf(size: Size, *, compiled: bool) -> Step:
    """Return a plain loop's step over `LlamaForCausalLM` with our first weights."""
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415  # not in our processes

    c = size.config
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=c.vocab, hidden_size=c.width, intermediate_size=c.ffw,
            num_hidden_layers=c.layers, num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads, max_position_embeddings=size.seq_len,
            rms_norm_eps=c.norm_eps, rope_theta=c.rope_theta, tie_word_embeddings=c.tied,
            use_cache=False,
        )
    )  # fmt: skip
    ours = Transformer(c)
    ours.init_weights(0)
    model.load_state_dict(to_hf(ours.state_dict(), c), strict=not c.tied)
    del ours
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.01)

    def step(tokens: Tensor) -> float:
        targets = tokens[:, 1:].contiguous()
        loss = run(input_ids=tokens[:, :-1], labels=targets, shift_labels=targets).loss
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.item())

    return step


def limit(size: Size) -> Step:
    """Return the products and the attention of a step of ours, and nothing else."""
    c, B, T = size.config, size.rows, size.seq_len
    N, E = B * T, c.head_dim
    matrices = ((c.heads + 2 * c.kv_heads) * E, c.width), (c.width, c.width), (2 * c.ffw, c.width), (c.width, c.ffw)  # fmt: skip
    layer = [products(N, rows, columns) for rows, columns in matrices]
    head = products(CHUNK, c.vocab, c.width)
    attention = attend_and_back(B, T, c)

    def step(tokens: Tensor) -> float:
        for _ in range(c.layers):
            for multiply in layer:
                multiply()
            attention()
        for _ in range(N // CHUNK):
            head()
        return 0.0

    return step


def products(rows: int, width_out: int, width_in: int) -> Callable[[], None]:
    """Return a matrix's three products, for `rows` rows: forward, by its input, by its weight."""
    x, weight = torch.randn(rows, width_in), torch.randn(width_out, width_in)
    d_y = torch.randn(rows, width_out)
    d_weight = torch.empty_like(weight)

    def multiply() -> None:
        kernels.linear(x, weight)
        kernels.linear(d_y, weight.t())
        torch.mm(d_y.t(), x, out=d_weight)

    return multiply


def attend_and_back(B: int, T: int, c: ModelConfig) -> Callable[[], None]:
    """Return one layer's attention, forward and backward, in the layout of the network."""
    shapes = (c.heads, c.kv_heads, c.kv_heads)
    q, k, v = (torch.randn(B, T, h, c.head_dim).transpose(1, 2).requires_grad_() for h in shapes)
    d_out = torch.randn(B, T, c.heads, c.head_dim).transpose(1, 2)

    attend = torch.compile(kernels.attention, dynamic=False)

    def attention() -> None:
        mixed = attend(q, k, v)
        torch.autograd.grad(mixed, (q, k, v), d_out)

    return attention


def work(name: str, size: Size) -> None:
    """Be a contestant: take a step for each line of standard input, tell what it took."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    made = {"ramify": ramify, "limit": limit}.get(name) or (
        lambda size: hf(size, compiled=name == "hf_compiled")
    )
    step = made(size)
    generator = torch.Generator().manual_seed(0)
    for _ in sys.stdin:
        shape = size.rows, size.seq_len + 1
        tokens = torch.randint(size.config.vocab, shape, generator=generator)
        wall, cpu = time.perf_counter(), time.process_time()
        loss = step(tokens)
        took = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps(took | {"loss": loss}), flush=True)


@contextmanager
def contestant(name: str, size: str) -> Iterator[Callable[[], dict[str, float]]]:
    """Yield what makes a contestant take a step."""
    environment = {k: v for k, v in os.environ.items() if k not in ENVIRONMENT}
    if name != "hf":
        environment |= ENVIRONMENT
    environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = [sys.executable, __file__, "--size", size, "--work", name]
    process = subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    orders, answers = process.stdin, process.stdout

    def step() -> dict[str, float]:
        orders.write("step\n")
        orders.flush()
        answer: dict[str, float] = json.loads(answers.readline())
        return answer

    try:
        yield step
    finally:
        orders.close()
        process.wait()


def heat(names: Sequence[str], size: str) -> dict[str, list[dict[str, float]]]:
    """Return every step of every contestant, taken in turns; each round begins with another."""
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with ExitStack() as stack:
        take = {name: stack.enter_context(contestant(name, size)) for name in names}
        for number in range(WARMUP + SIZES[size].rounds):
            first = number % len(names)
            for name in (*names[first:], *names[:first]):
                steps[name].append(take[name]())
            told = ", ".join(f"{name} {steps[name][-1]['seconds']:.3f}" for name in names)
            print(f"{size} {number - WARMUP + 1:3d}  {told}", file=sys.stderr, flush=True)
    return steps


def seconds(steps: list[dict[str, float]], key: str = "seconds") -> list[float]:
    return [step[key] for step in steps[WARMUP:]]


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Return the median ratio of two contestants' times, round by round, with its 95% interval."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    return {"median": statistics.median(ratios), "low": medians[50], "high": medians[1949]}


def measure(name: str) -> dict[str, dict[str, float]]:
    """Return the figures of one size: per contestant, per ratio, and the share of the limit."""
    size = SIZES[name]
    tokens = size.rows * size.seq_len
    flops = train_flops(size.config, size.seq_len, tokens) - 6 * tokens * size.config.vocab * size.config.width  # fmt: skip
    figures: dict[str, dict[str, float]] = {}
    figures[f"{name} load average of the machine"] = {"before": os.getloadavg()[0]}
    for names in size.heats:
        steps = heat(names, name)
        ours = seconds(steps["ramify"])
        for who in names:
            median = statistics.median(seconds(steps[who]))
            figures.setdefault(f"{name} {who}", {
                "step_seconds": median,
                "least_step_seconds": min(seconds(steps[who])),
                "tokens_per_second": tokens / median,
                "cpu_seconds": statistics.median(seconds(steps[who], "cpu_seconds")),
                "gflops": flops / median / 1e9,
                "first_loss": steps[who][0]["loss"],
                "last_loss": steps[who][-1]["loss"],
            })  # fmt: skip
            if who in RIVALS:
                figures[f"{name} {who} to ramify"] = ratio(seconds(steps[who]), ours)
            if who == "limit":
                figures[f"{name} share of the limit"] = ratio(seconds(steps[who]), ours)
    return figures


def bars(name: str, figures: dict[str, dict[str, float]]) -> Iterator[dict[str, object]]:
    """Yield what must hold: faster than each rival, and the same loss from the same weights."""
    for rival, how in RIVALS.items():
        value = figures[f"{name} {rival} to ramify"]["median"]
        bar = SIZES[name].bar if rival == "hf" else 1.0
        what = f"{name}: times as fast as transformers {how}"
        yield {"what": what, "value": value, "op": ">=", "bar": bar, "holds": value >= bar}
    ours = figures[f"{name} ramify"]["first_loss"]
    off = abs(ours - figures[f"{name} hf"]["first_loss"])
    what = f"{name}: difference of the first loss from that of transformers"
    yield {"what": what, "value": off, "op": "<", "bar": 1e-4, "holds": off < 1e-4}


def hardware() -> str:
    cpus = Path("/proc/cpuinfo").read_text()
    model = next((x.split(":")[1].strip() for x in cpus.splitlines() if "model name" in x), "CPU")
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {model}, torch {torch.__version__}, Python {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, help="only this one")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work(asked.work, SIZES[asked.size])
        return 0
    names = [asked.size] if asked.size else list(SIZES)
    figures: dict[str, dict[str, float]] = {}
    for name in names:
        figures |= measure(name)
    judged = [bar for name in names for bar in bars(name, figures)]
    n = {name: SIZES[name].rounds for name in names}
    told = {"name": "train_step", "n": n, "hardware": hardware(), "figures": figures}
    print(json.dumps(told | {"bars": judged}))
    return 0 if all(bar["holds"] for bar in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
