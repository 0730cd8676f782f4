"""The loader: its share of a training step, and its cost at 11T tokens in 22,000 shards.

Three questions, each with a bar: does a batch cost under 1% of a step of the micro model; does a
mixture of 12 sources, 4 stages and 11T tokens open, at sample 5·10⁹, in under 50 ms and 100 MB; and
does the last batch of such a run take as long as its first. The shards are sparse files.

Run from the project root: `python benchmarks/loader.py`. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path as Folder

import numpy as np

from ramify.tokens.loader import Loader
from ramify.tokens.mixture import Stage
from ramify.tokens.path import Path, SourceSize
from ramify.tokens.shards import Source

SEGMENT = 2**20
SHARD_SEGMENTS = 477  # 500 M tokens, 1 GB of uint16
SHARDS = 22_000
DOCUMENTS = 10**10
SOURCES = tuple(f"source{i:02d}" for i in range(12))
ROWS, SEQ_LEN = 1024, 2048
SAMPLE = 5 * 10**9
WORLD = 8  # ranks: the one that holds the sample reads its eighth of the batch
OPENINGS = 20  # fresh processes
PAIRS = 200  # early and late batches, in turns
STEPS = 20


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def write_source(folder: Folder, shards: int, shard_segments: int, segment: int, vocab: int) -> int:
    """Write a source of sparse shards; return its tokens."""
    (folder / "shards").mkdir(parents=True)
    tokens = shard_segments * segment
    facts = []
    for i in range(shards):
        name = f"shards/{i:05d}.bin"
        with (folder / name).open("wb") as file:
            file.truncate(tokens * 2)
        facts.append({"file": name, "tokens": tokens, "documents": DOCUMENTS // SHARDS})
    about = {
        "format": 1, "tokens": tokens * shards, "dtype": "uint16", "segment": segment,
        "documents": shards * (DOCUMENTS // SHARDS), "vocab": vocab, "end_of_text": 0,
        "tokenizer": "0" * 64, "order": "none: all tokens are 0", "bytes": 0, "shards": facts,
    }  # fmt: skip
    (folder / "source.json").write_text(json.dumps(about))
    return tokens * shards


def write_eleven_trillion(folder: Folder) -> int:
    """Write 12 sources, the largest 12 times the smallest, of 22,000 shards together."""
    weights = range(1, len(SOURCES) + 1)
    counts = [SHARDS * weight // sum(weights) for weight in weights]
    counts[-1] += SHARDS - sum(counts)
    return sum(
        write_source(folder / name, count, SHARD_SEGMENTS, SEGMENT, 49_152)
        for name, count in zip(SOURCES, counts, strict=True)
    )


def four_stages(tokens: int) -> list[Stage]:
    """Return four mixtures of 12 sources, one of them with a source of 0.02%."""
    weights = np.arange(1, len(SOURCES) + 1)
    stages = []
    for i in range(4):
        shares = np.roll(weights, i) / weights.sum()
        shares[0], shares[1] = 0.0002, shares[1] + shares[0] - 0.0002
        at = tokens * i // 4 // (ROWS * SEQ_LEN) * (ROWS * SEQ_LEN)
        stages.append(Stage(at=at, mixture=dict(zip(SOURCES, shares.tolist(), strict=True))))
    return stages


def open_loader(folder: Folder, tokens: int, rank: int = 0, world: int = 1) -> Loader:
    sources = {name: Source.open(folder / name) for name in SOURCES}
    sizes = {name: SourceSize(source.segments, source.segment) for name, source in sources.items()}
    path = Path.of(1, four_stages(tokens), sizes, rows=ROWS, seq_len=SEQ_LEN)
    return Loader(path, sources, rank=rank, world=world)


def resident_bytes(field: str) -> int:
    status = Folder("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if field in line)


def open_once(folder: Folder, tokens: int) -> None:
    """In a process of its own: open, read the rank's batch with sample 5·10⁹, print what it took."""
    before = resident_bytes("VmRSS")
    loaders: list[Loader] = []
    rank = SAMPLE % ROWS // (ROWS // WORLD)
    cpu = time.process_time()
    opening = milliseconds(lambda: loaders.append(open_loader(folder, tokens, rank, WORLD)))
    position = SAMPLE // ROWS * ROWS * SEQ_LEN
    batch = milliseconds(lambda: loaders[0].batch(position))
    cpu_ms = (time.process_time() - cpu) * 1e3
    grown = resident_bytes("VmHWM") - before
    whole = milliseconds(lambda: Loader(loaders[0].path, loaders[0].sources).batch(position))
    print(
        json.dumps(
            {
                "open_ms": opening,
                "batch_ms": batch,
                "cpu_ms": cpu_ms,
                "grown_bytes": grown,
                "whole_batch_ms": whole,
                "grown_whole_batch_bytes": resident_bytes("VmHWM") - before,
            }
        )
    )


def openings(folder: Folder, tokens: int) -> Iterator[dict[str, float]]:
    for _ in range(OPENINGS):
        command = [sys.executable, __file__, "--open", str(folder), str(tokens)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        yield json.loads(done.stdout)


def first_and_last(loader: Loader, tokens: int) -> tuple[float, float]:
    """Return the median milliseconds of the first batches of a run and of its last, in turns."""
    step = ROWS * SEQ_LEN
    last = tokens // step * step
    early, late = [], []
    for i in range(PAIRS):
        early.append(milliseconds(partial(loader.batch, i * step)))
        late.append(milliseconds(partial(loader.batch, last - (i + 1) * step)))
    return statistics.median(early), statistics.median(late)


def micro_step() -> Callable[[], None]:
    """Return one optimizer step of the micro model: 16 rows of 256 tokens, forward to AdamW."""
    # only here, since the openings above are measured in processes without torch
    import torch  # noqa: PLC0415

    from ramify.model.config import preset  # noqa: PLC0415
    from ramify.model.loss import linear_cross_entropy  # noqa: PLC0415
    from ramify.model.network import Transformer  # noqa: PLC0415

    model = Transformer(preset("micro"))
    model.init_weights(0)
    model.compile_blocks()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokens = torch.randint(0, 4096, (16, 257))

    def step() -> None:
        hidden = model(tokens[:, :-1]).flatten(0, 1)
        targets = tokens[:, 1:].flatten()
        loss = linear_cross_entropy(hidden, model.head_weight, targets, chunk=512) / targets.numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(5):
        step()
    return step


def micro_share(folder: Folder) -> tuple[float, float]:
    """Return the median milliseconds of a step and of its batch, not read ahead, in turns."""
    names = ("prose", "code", "math")
    for name in names:
        write_source(folder / name, 4, 64, 4096, 4096)
    sources = {name: Source.open(folder / name) for name in names}
    sizes = {name: SourceSize(source.segments, source.segment) for name, source in sources.items()}
    stages = [Stage(mixture={"prose": 0.5, "code": 0.3, "math": 0.2})]
    loader = Loader(Path.of(1, stages, sizes, rows=16, seq_len=256), sources, micro_rows=16)
    step = micro_step()
    steps, batches = [], []
    for i in range(STEPS):
        steps.append(milliseconds(step))
        batches.append(milliseconds(partial(loader.batch, i * 4096)))
    return statistics.median(steps), statistics.median(batches)


@contextmanager
def quiet_folder() -> Iterator[Folder]:
    with tempfile.TemporaryDirectory(prefix="ramify-loader-") as name:
        yield Folder(name)


def hardware() -> str:
    cpus = Folder("/proc/cpuinfo").read_text()
    model = next((x.split(":")[1].strip() for x in cpus.splitlines() if "model name" in x), "CPU")
    return f"{len(os.sched_getaffinity(0))} cores, {model}, Python {platform.python_version()}"


def measure() -> dict[str, float]:
    figures: dict[str, float] = {}
    with quiet_folder() as folder:
        say(f"writing {SHARDS:,} sparse shards")
        tokens = write_eleven_trillion(folder)
        figures["tokens"] = tokens
        say(f"{tokens:,} tokens; opening them in {OPENINGS} processes, one after another")
        opened = list(openings(folder, tokens))
        for key in ("open_ms", "batch_ms", "cpu_ms", "whole_batch_ms"):
            figures[key] = statistics.median(each[key] for each in opened)
        together = [each["open_ms"] + each["batch_ms"] for each in opened]
        figures["opened_at_sample_ms"] = statistics.median(together)
        figures["opened_at_sample_worst_ms"] = max(together)
        figures["grown_whole_batch_mb"] = max(e["grown_whole_batch_bytes"] for e in opened) / 1e6
        figures["grown_mb"] = max(each["grown_bytes"] for each in opened) / 1e6
        say(f"{PAIRS} first and last batches of {ROWS} x {SEQ_LEN} tokens")
        early, late = first_and_last(open_loader(folder, tokens), tokens)
        figures |= {
            "first_batches_ms": early,
            "last_batches_ms": late,
            "last_to_first": late / early,
        }
    with quiet_folder() as folder:
        say("steps of the micro model and their batches")
        step, batch = micro_share(folder)
        figures |= {"micro_step_ms": step, "micro_batch_ms": batch, "share_of_step": batch / step}
    return figures


BARS = (
    ("share_of_step", 0.01, "a batch's share of a step of the micro model"),
    ("opened_at_sample_ms", 50, "11T tokens opened and sample 5e9 read, milliseconds"),
    ("grown_mb", 100, "memory that this took, the most of all processes, MB"),
    ("last_to_first", 1.2, "time of the last batches to that of the first"),
)


def main() -> int:
    if sys.argv[1:2] == ["--open"]:
        open_once(Folder(sys.argv[2]), int(sys.argv[3]))
        return 0
    figures = measure()
    bars = [
        {"what": what, "value": figures[key], "op": "<", "bar": bar, "holds": figures[key] < bar}
        for key, bar, what in BARS
    ]
    n = {"openings": OPENINGS, "batches": PAIRS, "steps": STEPS}
    print(
        json.dumps(
            {"name": "loader", "n": n, "hardware": hardware(), "figures": figures, "bars": bars}
        )
    )
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
