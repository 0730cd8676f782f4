"""Batches for ranks: the same rows whatever the world, read ahead by one thread that always ends."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path as Folder
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import BadInput, Corrupt, Mismatch, NotFound
from ramify.tokens.chain import add_digests
from ramify.tokens.loader import Loader, documents
from ramify.tokens.mixture import Stage
from ramify.tokens.path import Path, SourceSize
from ramify.tokens.shards import Source

ROWS, SEQ_LEN = 6, 4
STEP = ROWS * SEQ_LEN
END = 40 * STEP


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, write_source: Any) -> dict[str, Folder]:
    """Three sources whose tokens tell the source and the place: 1000·source + place."""
    home = tmp_path_factory.mktemp("sources")
    return {
        name: write_source(home / name, 1_000 * i + np.arange(40 * 8 + 3))
        for i, name in enumerate("abc")
    }


def make(folders: dict[str, Folder], **options: Any) -> Loader:
    """A loader of two stages; the second, from half-way on, has a longer context."""
    sources = {name: Source.open(folder) for name, folder in folders.items()}
    sizes = {name: SourceSize(source.segments, source.segment) for name, source in sources.items()}
    path = Path.of(3, [Stage(mixture={"a": 0.7, "b": 0.3})], sizes, rows=ROWS, seq_len=SEQ_LEN)
    path = path.branch(END // 2, shares={"a": 0.2, "c": 0.8}, rows=3, seq_len=2 * SEQ_LEN)
    return Loader(path, sources, **options)


def loading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_a_row_holds_one_token_more_than_the_context_from_where_its_path_says(
    folders: dict[str, Folder],
) -> None:
    loader = make(folders)
    for tokens in (0, STEP, END // 2):
        batch = loader.batch(tokens)
        rows = loader.path.rows(tokens)
        seq_len = loader.path.span_at(tokens).seq_len
        for row_T1, which, row in zip(batch.tokens_RT1, batch.sources_R, rows, strict=True):
            assert loader.names[which] == row.source
            first = 1_000 * int(which) + row.start
            assert row_T1.tolist() == list(range(first, first + seq_len + 1))
        assert batch.tokens_RT1.dtype == np.int64
        assert (batch.start, batch.end) == (tokens, tokens + STEP)
        assert batch.weights_R.tolist() == [1.0] * len(rows)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 39))
@settings(max_examples=60, deadline=None)
def test_ranks_together_have_the_very_batch_of_one(
    folders: dict[str, Folder], world: int, micro_rows: int, step: int
) -> None:
    whole = make(folders).batch(step * STEP)
    ranks = [
        make(folders, rank=rank, world=world, micro_rows=micro_rows).batch(step * STEP)
        for rank in range(world)
    ]
    real = [batch.weights_R == 1 for batch in ranks]
    tokens = np.concatenate([b.tokens_RT1[rows] for b, rows in zip(ranks, real, strict=True)])
    sources = np.concatenate([b.sources_R[rows] for b, rows in zip(ranks, real, strict=True)])
    assert tokens.tolist() == whole.tokens_RT1.tolist()
    assert sources.tolist() == whole.sources_R.tolist()
    assert add_digests(*(batch.digest for batch in ranks)) == whole.digest
    assert len({batch.tokens_RT1.shape for batch in ranks}) == 1
    assert ranks[0].tokens_RT1.shape[0] % micro_rows == 0
    for batch, rows in zip(ranks, real, strict=True):
        assert (batch.weights_R[~rows] == 0).all()
        assert (batch.tokens_RT1[~rows] == 0).all()


def test_rows_are_dealt_to_ranks_in_blocks_and_the_last_ranks_have_fewer(
    folders: dict[str, Folder],
) -> None:
    weights = [make(folders, rank=r, world=4).batch(0).weights_R.tolist() for r in range(4)]
    assert weights == [[1, 1], [1, 1], [1, 1], [0, 0]]
    weights = [make(folders, rank=r, world=2, micro_rows=2).batch(0).weights_R for r in range(2)]
    assert [w.tolist() for w in weights] == [[1, 1, 1, 0]] * 2


@pytest.mark.parametrize("prefetch", [0, 1, 2, 100])
def test_reading_ahead_gives_what_reading_gives(folders: dict[str, Folder], prefetch: int) -> None:
    loader = make(folders, prefetch=prefetch)
    ahead = list(loader.iterate(3 * STEP, END))
    assert [batch.start for batch in ahead] == list(range(3 * STEP, END, STEP))
    for batch in ahead:
        again = make(folders).batch(batch.start)
        assert batch.tokens_RT1.tolist() == again.tokens_RT1.tolist()
        assert batch.digest == again.digest
    assert not loading_threads()


def test_an_iterator_left_half_way_leaves_no_thread(folders: dict[str, Folder]) -> None:
    batches = make(folders).iterate(0, END)
    next(batches)
    assert len(loading_threads()) == 1
    del batches
    gc.collect()
    assert not loading_threads()


def test_what_the_thread_raises_is_raised_in_its_place(tmp_path: Folder, write_source: Any) -> None:
    folder = write_source(tmp_path / "a", np.arange(8 * 64 + 1))
    source = Source.open(folder)
    sizes = {"a": SourceSize(source.segments, source.segment)}
    path = Path.of(3, [Stage(mixture={"a": 1.0})], sizes, rows=2, seq_len=8)
    needed = [{row.start // 32 for row in path.rows(tokens)} for tokens in range(0, 512, 16)]
    broken = max(needed[5] - set().union(*needed[:5]))  # a shard that batch 5 is the first to need
    (folder / f"shards/{broken:05d}.bin").write_bytes(b"")
    batches = Loader(path, {"a": source}).iterate(0, 512)
    assert [next(batches).start for _ in range(5)] == [0, 16, 32, 48, 64]
    with pytest.raises(Corrupt, match=f"{broken:05d}.bin has 0 bytes, not 64"):
        next(batches)
    assert not loading_threads()


def test_a_process_that_ends_in_mid_iteration_ends(folders: dict[str, Folder]) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path as Folder\n"
        "from ramify.tokens.loader import Loader\n"
        "from ramify.tokens.path import Path, SourceSize, Span\n"
        "from ramify.tokens.shards import Source\n"
        "source = Source.open(Folder(sys.argv[1]))\n"
        "size = SourceSize(source.segments, source.segment)\n"
        "path = Path(1, (Span(0, (('a', 1.0),), 4, 8),), {'a': size})\n"
        "batches = Loader(path, {'a': source}).iterate(0, 10**9)\n"
        "print(next(batches).end)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folders["a"])],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("32\n", "")


def test_a_stretch_that_ends_where_it_begins_has_no_batch(folders: dict[str, Folder]) -> None:
    assert list(make(folders).iterate(STEP, STEP)) == []


def test_a_position_within_a_batch_is_refused(folders: dict[str, Folder]) -> None:
    with pytest.raises(BadInput, match="no batch begins at token 5"):
        make(folders).batch(5)
    with pytest.raises(BadInput, match="no batch begins at token 5"):
        list(make(folders).iterate(5, END))


@pytest.mark.parametrize(
    "options", [{"rank": 1}, {"rank": -1, "world": 2}, {"micro_rows": 0}, {"prefetch": -1}]
)
def test_a_rank_outside_its_world_is_refused(
    folders: dict[str, Folder], options: dict[str, int]
) -> None:
    with pytest.raises(BadInput, match="ranks count from 0"):
        make(folders, **options)


def test_a_source_that_was_not_given_is_named(folders: dict[str, Folder]) -> None:
    loader = make(folders)
    some = {name: source for name, source in loader.sources.items() if name != "c"}
    with pytest.raises(NotFound, match="source c was not given; given: a, b"):
        Loader(loader.path, some)
    later = {name: source for name, source in loader.sources.items() if name != "b"}
    assert Loader(loader.path, later).batch(END // 2).digest == loader.batch(END // 2).digest
    with pytest.raises(NotFound, match="source b was not given"):
        Loader(loader.path, later).batch(0)


def test_sources_of_other_sizes_or_tokenizers_than_the_path_knows_are_refused(
    folders: dict[str, Folder], tmp_path: Folder, write_source: Any
) -> None:
    loader = make(folders)
    longer = Source.open(write_source(tmp_path / "longer", np.arange(700)))
    with pytest.raises(Mismatch, match=r"b in .* has .*segments=87.* the path has .*segments=40"):
        Loader(loader.path, {**loader.sources, "b": longer})
    foreign = Source.open(write_source(tmp_path / "f", np.arange(323), tokenizer="f" * 64))
    with pytest.raises(Mismatch, match="2 tokenizers"):
        Loader(loader.path, {**loader.sources, "b": foreign})


def test_an_end_of_text_ends_its_document() -> None:
    tokens = np.array([[5, 0, 6, 7, 0, 0, 8, 9], [0, 1, 1, 1, 1, 1, 1, 0], [1] * 8])
    assert documents(tokens, end_of_text=0).tolist() == [
        [0, 0, 1, 1, 1, 2, 3],
        [0, 1, 1, 1, 1, 1, 1],
        [0] * 7,
    ]
