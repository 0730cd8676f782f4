"""A small real line: two sources of structured tokens, a trunk over two stages, and its branches."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ramify.ground.step import Input, Ref
from ramify.model.config import ModelConfig
from ramify.optim.config import Windows
from ramify.optim.schedule import Constant
from ramify.tokens.mixture import Stage
from ramify.train.distributed import World
from ramify.train.keeper import Wanted
from ramify.train.make import run_train
from ramify.train.steps import Numerics, Root, Run, Trunk

VOCAB, SEQ_LEN, ROWS = 64, 16, 4
STEP = SEQ_LEN * ROWS
ALONE = World(0, 1, "none", torch.device("cpu"))


def write_source(folder: Path, seed: int, tokens: int = 6_000) -> Path:
    """Write a tokenized source of noisy counting: something that can be learned."""
    (folder / "shards").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    ids = (np.arange(tokens) * (seed + 1) % (VOCAB - 2) + 2).astype("<u2")
    noisy = rng.random(tokens) < 0.1
    ids[noisy] = rng.integers(2, VOCAB, noisy.sum())
    ids[::97] = 0
    ids.tofile(folder / "shards" / "00000.bin")
    facts = {"format": 1, "tokens": tokens, "dtype": "uint16", "segment": 64, "documents": 62,
             "vocab": VOCAB, "end_of_text": 0, "tokenizer": "0" * 64, "order": "as made",
             "bytes": tokens, "shards": [{"file": "shards/00000.bin", "tokens": tokens, "documents": 62}]}  # fmt: skip
    (folder / "source.json").write_text(json.dumps(facts))
    held = {"id": [f"{i:032x}" for i in range(4)], "origin": ["x"] * 4, "text": ["y" * 40] * 4,
            "bytes": [40] * 4, "tokens": [list(range(2, 42))] * 4}  # fmt: skip
    table = pa.table({**held, "tokens": pa.array(held["tokens"], pa.list_(pa.uint32()))})
    pq.write_table(table, folder / "held_out.parquet")
    return folder


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("sources")
    return {name: write_source(home / name, seed) for seed, name in enumerate(("code", "prose"))}


def trunk(**fields: Any) -> Trunk:
    """Return a tiny trunk of 20 steps, whose mixture changes after 8."""
    given: dict[str, Any] = {
        "name": "trunk",
        "model": ModelConfig(layers=2, width=16, heads=2, kv_heads=1, ffw=32, vocab=VOCAB),
        "sources": {"code": Ref(name="code"), "prose": Ref(name="prose")},
        "stages": (
            Stage(mixture={"prose": 0.75, "code": 0.25}),
            Stage(at=8 * STEP, mixture={"prose": 0.4, "code": 0.6}),
        ),
        "seq_len": SEQ_LEN,
        "rows": ROWS,
        "schedule": Constant(peak=3e-3, warmup=4 * STEP),
        "tokens": 20 * STEP,
        "numerics": Numerics(
            threads=1, compile=False, dtype="float32", micro_rows=2, loss_chunk=16
        ),
        "windows": Windows(steps=4, every=2),
        **fields,
    }
    return Trunk(**given)


def inputs(
    run: Run, root: Root, sources: dict[str, Path], parent: Path | None = None
) -> dict[str, Input]:
    """Return what the lab would resolve for a run."""
    found = {f"sources.{n}": Input(sources[n], {}, f"print of {n}") for n in root.sources}
    return {**found, "parent": Input(parent, {}, "parent's")} if parent else found


Grow = Callable[..., Path]


@pytest.fixture
def grow(tmp_path: Path, sources: dict[str, Path]) -> Grow:
    """Return a function that trains a run to points and returns its folder."""

    def grown(
        lineage: Sequence[Run],
        points: Sequence[int],
        *,
        parent: Path | None = None,
        home: Path = tmp_path,
        stop_after: int | None = None,
        notes: list[str] | None = None,
        keep: Sequence[int] = (),
    ) -> Path:
        run, root = lineage[-1], lineage[0]
        assert isinstance(root, Root)
        seen = 0

        def stopping() -> bool:
            nonlocal seen
            seen += 1
            return stop_after is not None and seen >= stop_after

        wanted = Wanted(
            run=run, lineage=lineage, inputs=inputs(run, root, sources, parent),
            folder=home / run.name, points=points, keep=keep,
            tell=lambda *_, **__: None, stopping=stopping, notes=[] if notes is None else notes,
        )  # fmt: skip
        run_train(wanted, ALONE)
        return home / run.name

    return grown
