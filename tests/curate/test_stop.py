"""Told to stop, a step leaves between two documents of a shard, and goes on as had it never been."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.curate.corpora import contents, prose, quiet, row, write_corpus

from ramify.curate.decontaminate import run_decontaminate
from ramify.curate.dedup import run_dedup
from ramify.curate.filters import TooShort
from ramify.curate.read import run_read
from ramify.curate.remove import run_remove
from ramify.curate.selection_steps import Decontaminate, Remove
from ramify.curate.sift import run_sift
from ramify.curate.steps import Dedup, Files, Read, Sift
from ramify.ground import stop
from ramify.ground.errors import Stopped
from ramify.ground.step import Input, Ref

CORPUS = Ref(name="corpus")


class Patience:
    """Says stop when it was asked so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@contextmanager
def stopped_after(times: int) -> Iterator[Patience]:
    patience = Patience(times)
    with stop.heeding(patience), pytest.raises(Stopped):
        yield patience


def read(home: Path) -> tuple[Any, ...]:
    (home / "texts").mkdir()
    for n in range(12):
        (home / "texts" / f"{n}.txt").write_text(prose(n))
    return run_read, Read(name="read", source=Files(path=str(home / "texts"))), {}


def corpus(home: Path) -> dict[str, Input]:
    shards = {
        f"documents/{s:05}": [row(prose((s, n)), f"{s}/{n}") for n in range(12)] for s in range(3)
    }
    return {"corpus": write_corpus(home / "corpus", shards)}


def sifted(home: Path) -> tuple[Any, ...]:
    return run_sift, Sift(name="out", corpus=CORPUS, filters=(TooShort(),)), corpus(home)


def removed(home: Path) -> tuple[Any, ...]:
    (home / "list").write_text("https://a.org/\n")
    return run_remove, Remove(name="out", corpus=CORPUS, lists=(str(home / "list"),)), corpus(home)


def decontaminated(home: Path) -> tuple[Any, ...]:
    (home / "items.jsonl").write_text(
        '{"id": "a", "task": "t", "text": "is it so", "answer": "no"}'
    )
    step = Decontaminate(name="out", corpus=CORPUS, items=(str(home / "items.jsonl"),))
    return run_decontaminate, step, corpus(home)


def deduplicated(home: Path) -> tuple[Any, ...]:
    step = Dedup(name="out", corpora={"a": CORPUS}, held_out_least=2)
    return run_dedup, step, {"corpora.a": corpus(home)["corpus"]}


@pytest.mark.parametrize("asked", [read, sifted, removed, decontaminated, deduplicated])
def test_a_step_told_to_stop_within_a_shard_goes_on_as_had_it_never_been(
    asked: Callable[[Path], tuple[Any, ...]], tmp_path: Path
) -> None:
    run, step, inputs = asked(tmp_path)
    for name in ("once", "stopped"):
        (tmp_path / name).mkdir()
    told = run(step, inputs, tmp_path / "once", quiet)
    for times in range(2):
        with stopped_after(times):
            run(step, inputs, tmp_path / "stopped", quiet)
        assert not [*(tmp_path / "stopped").rglob("*.tmp")]
    assert run(step, inputs, tmp_path / "stopped", quiet) == told
    assert contents(tmp_path / "stopped") == contents(tmp_path / "once")
