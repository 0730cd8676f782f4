"""Daft's batches can be left at any time, and be freed by any thread."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ramify.curate import engine
from ramify.curate.engine import batches, read_parquet


def written(folder: Path) -> Path:
    path = folder / "a [b].parquet"
    pq.write_table(pa.table({"n": range(100)}), path, row_group_size=10)
    return path


def numbers(path: Path) -> list[int]:
    return [n for batch in batches(read_parquet(path)) for n in batch["n"].to_pylist()]


def test_batches_are_the_rows_in_order(tmp_path: Path) -> None:
    assert numbers(written(tmp_path)) == [*range(100)]


def test_what_is_left_and_freed_in_an_event_loop_holds_up_neither_it_nor_who_reads_next(
    tmp_path: Path,
) -> None:
    path = written(tmp_path)
    left = batches(read_parquet(path))
    next(left)
    cycle: list[object] = [left]
    cycle.append(cycle)
    daft_loop = engine.daft.event_loop.get_or_init_event_loop().loop

    async def free() -> None:
        gc.collect()

    gc.disable()
    try:
        del left, cycle
        asyncio.run_coroutine_threadsafe(free(), daft_loop).result(timeout=20)
    finally:
        gc.enable()
    read: list[int] = []
    reader = threading.Thread(target=lambda: read.extend(numbers(path)), daemon=True)
    reader.start()
    reader.join(timeout=20)
    assert read == [*range(100)]
