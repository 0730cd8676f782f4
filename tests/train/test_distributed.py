"""Many processes behave as one: same batches, same losses, and any number goes on with any's checkpoint.

Real gloo groups are started by torchrun, once per size; every test looks at what they left.

    one ──▶ two (DDP, FSDP2: whole, stopped and gone on with, from one's point)
              ├──▶ three (gone on with, from whole and from damaged points)
              └──▶ one
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from ramify.ground.errors import Corrupt
from ramify.ground.journal import read
from ramify.optim.config import Ema, ScheduleFree
from ramify.train import checkpoint
from ramify.train.distributed import load_tensors
from ramify.train.places import point_folder, points, window_folder, windows
from ramify.train.steps import Numerics, Probe, Trunk

from . import ranks
from .conftest import ALONE, STEP, trunk

pytestmark = pytest.mark.xdist_group("launched")  # the groups are started once, not per worker

# Ranks add up the same numbers in another order, so each sum may differ by the rounding of fp32,
# 6e-8; seen over these 12 steps: 6e-8 in losses and 3e-7 in gradient norms. A mean of means, or a
# gradient not divided by all tokens, is off by 1e-3 and more in the norm (AdamW hides it from the
# losses).
TOLERANCE = 1e-6
PARALLEL = ("ddp", "fsdp")
DAMAGES = ("removed", "truncated")
SHARDS = (1, 2)
SIX, TWELVE = 6 * STEP, 12 * STEP

EMA = Ema(decay=0.5, every=2)
# micro_rows=1: two ranks then add gradients up over two micro-batches each
RUN = trunk(
    tokens=TWELVE,
    probe=Probe(every=SIX),
    ema=EMA,
    numerics=Numerics(threads=1, compile=False, dtype="float32", micro_rows=1, loss_chunk=16),
)
FREE = RUN.but(optimizer=ScheduleFree())
SIX_ROWS = RUN.but(rows=6, stages=RUN.stages[:1])  # work for each of three, in eight steps
Job = dict[str, Any]


def job(folder: Path, parallel: str, sources: dict[str, Path], run: Trunk = RUN) -> Job:
    return {
        "trunk": run.model_dump(mode="json"),
        "sources": {name: str(path) for name, path in sources.items()},
        "folder": str(folder),
        "parallel": parallel,
        "points": [SIX, TWELVE],
    }


def launch(size: int, jobs: list[Job], home: Path) -> list[Job]:
    """Let `size` processes do the jobs; return what came of each, as every one of them told."""
    (home / "jobs.json").write_text(json.dumps(jobs))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ended = subprocess.run(
        [*torchrun, f"--nproc-per-node={size}", ranks.__file__, str(home / "jobs.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr[-5000:]
    told: list[list[Job]] = [json.loads((home / f"{r}.json").read_text()) for r in range(size)]
    assert len(told[0]) == len(jobs)
    for others in told[1:]:
        assert [come.keys() for come in others] == [come.keys() for come in told[0]]
        assert [come.get("done") for come in others] == [come.get("done") for come in told[0]]
    return told[0]


def cut(run: Path, to: Path) -> Path:
    """Return a copy of a run without the points and windows that it made after six steps."""
    shutil.copytree(run, to)
    for folder in (*points(to).values(), *windows(to).values()):
        if int(folder.name) > SIX:
            shutil.rmtree(folder)
    return to


def damage(point: Path, to: Path, shard: int, how: str) -> Path:
    """Return a copy of a point that has lost one of its shards, or the second half of it."""
    shutil.copytree(point, to)
    [file] = (to / "tensors").glob(f"shard-{shard:05d}-*.safetensors")
    data = file.read_bytes()
    file.unlink()
    if how == "truncated":
        file.write_bytes(data[: len(data) // 2])
    return to


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("launched")


@pytest.fixture(scope="session")
def one(home: Path, sources: dict[str, Path]) -> Path:
    """Return the run as one process trains it."""
    assert ranks.grow(job(home / "one", "none", sources), ALONE)
    return home / "one"


@pytest.fixture(scope="session")
def free(home: Path, sources: dict[str, Path]) -> Path:
    """Return the schedule-free run as one process trains it."""
    assert ranks.grow(job(home / "free", "none", sources, FREE), ALONE)
    return home / "free"


@pytest.fixture(scope="session")
def two(home: Path, one: Path, free: Path, sources: dict[str, Path]) -> Path:
    """Return the home of what two ranks train."""
    (home / "two").mkdir()
    jobs = []
    for name in PARALLEL:
        stopped = job(home / "two" / f"{name}-stopped", name, sources)
        jobs += [
            job(home / "two" / name, name, sources),
            {**stopped, "stop": [1, 5]},
            job(cut(one, home / "two" / f"{name}-from-one"), name, sources),
            job(home / "two" / f"{name}-free", name, sources, FREE),
            job(cut(free, home / "two" / f"{name}-free-from-one"), name, sources, FREE),
        ]
    come = launch(2, jobs, home / "two")
    assert [c["done"] for c in come] == [True, False, True, True, True] * 2
    return home / "two"


@pytest.fixture(scope="session")
def damaged(home: Path, two: Path) -> dict[tuple[str, int, str], Path]:
    """Return damaged copies of the two-rank points, by (parallel, shard, how)."""
    (home / "damaged").mkdir()
    return {
        (name, shard, how): damage(
            point_folder(two / name, SIX), home / "damaged" / f"{name}-{shard}-{how}", shard, how
        )
        for name, shard, how in product(PARALLEL, SHARDS, DAMAGES)
    }


@pytest.fixture(scope="session")
def three(
    home: Path, two: Path, sources: dict[str, Path], damaged: dict[tuple[str, int, str], Path]
) -> tuple[Path, list[Job]]:
    """Return the home of what three ranks train, and what came of filling a state from damage."""
    (home / "three").mkdir()
    jobs = []
    for name in PARALLEL:
        stopped = job(home / "three" / f"{name}-six-stopped", name, sources, SIX_ROWS)
        again = {**job(home / "three" / f"{name}-free", name, sources, FREE), "stop": [1, 5]}
        jobs += [
            job(cut(two / name, home / "three" / name), name, sources),
            again,
            {**again, "stop": None},
            job(home / "three" / f"{name}-free-whole", name, sources, FREE),
            job(home / "three" / f"{name}-six", name, sources, SIX_ROWS),
            {**stopped, "stop": [1, 5]},
            stopped,
        ]
    shutil.copytree(two / "fsdp", home / "three" / "mended")
    point = point_folder(home / "three" / "mended", TWELVE)
    shutil.rmtree(point)
    damage(point_folder(two / "fsdp", TWELVE), point, 2, "removed")
    jobs.append(job(home / "three" / "mended", "fsdp", sources))
    refused = [
        {**job(home, name, sources), "restore": str(point)}
        for (name, _, _), point in damaged.items()
    ]
    come = launch(3, [*jobs, *refused], home / "three")
    assert [c["done"] for c in come[: len(jobs)]] == [
        True,
        False,
        True,
        True,
        True,
        False,
        True,
    ] * 2 + [True]
    return home / "three", come[len(jobs) :]


def steps(run: Path) -> list[Job]:
    return read(run / "journal.jsonl", "step")


def assert_agrees(run: Path, with_: Path) -> None:
    """Assert the same chain of batches, and losses, gradient norms and weights to rounding."""
    mine, theirs = steps(run), steps(with_)
    assert [x["chain"] for x in mine] == [x["chain"] for x in theirs]
    assert len(mine) == 12
    for what in ("loss", "norm"):
        expected = [x[what] for x in theirs]
        assert [x[what] for x in mine] == pytest.approx(expected, rel=TOLERANCE, abs=0)
    assert windows(run).keys() == windows(with_).keys() == {4 * STEP, 8 * STEP, TWELVE}
    assert_close(point_folder(run, TWELVE), point_folder(with_, TWELVE))
    for tokens, folder in windows(run).items():  # the one that ends at 8 was under way at 6
        assert_close(folder, window_folder(with_, tokens))


def assert_close(one: Path, other: Path) -> None:
    a, b = checkpoint.load_weights(one), checkpoint.load_weights(other)
    for name, value in a.items():
        # weights of size 1 and less, moved by 3e-3 a step: 1.2e-7 seen
        torch.testing.assert_close(value, b[name], rtol=0, atol=TOLERANCE)


def tensors(point: Path) -> dict[str, torch.Tensor]:
    found = {}
    for file in sorted((point / "tensors").glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            found.update({f"{file.name} {name}": opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118
    return found


def assert_same_bits(run: Path, other: Path) -> None:
    """Assert that two runs of one world ended in the same state, each rank's part of it."""
    a, b = (tensors(point_folder(folder, folder_end(folder))) for folder in (run, other))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    told = [[(x["chain"], x["loss"]) for x in steps(folder)] for folder in (run, other)]
    assert told[0] == told[1]


def folder_end(run: Path) -> int:
    return max(points(run))


@pytest.mark.parametrize("name", PARALLEL)
def test_two_ranks_see_the_batches_and_losses_of_one(one: Path, two: Path, name: str) -> None:
    assert_agrees(two / name, one)


@pytest.mark.parametrize("name", PARALLEL)
def test_two_ranks_go_on_with_what_one_wrote(one: Path, two: Path, name: str) -> None:
    assert_agrees(two / f"{name}-from-one", one)


@pytest.mark.parametrize("name", PARALLEL)
def test_one_goes_on_with_what_two_ranks_wrote(
    one: Path, two: Path, sources: dict[str, Path], tmp_path: Path, name: str
) -> None:
    assert ranks.grow(job(cut(two / name, tmp_path / "alone"), "none", sources), ALONE)
    assert_agrees(tmp_path / "alone", one)


@pytest.mark.parametrize("name", PARALLEL)
def test_three_ranks_go_on_with_what_two_wrote_though_four_rows_leave_one_idle(
    one: Path, three: tuple[Path, list[Job]], name: str
) -> None:
    assert_agrees(three[0] / name, one)


@pytest.mark.parametrize("name", PARALLEL)
def test_a_schedule_free_run_of_two_ranks_is_that_of_one(free: Path, two: Path, name: str) -> None:
    assert_agrees(two / f"{name}-free", free)
    assert_agrees(two / f"{name}-free-from-one", free)


@pytest.mark.parametrize("name", PARALLEL)
def test_three_ranks_that_stopped_a_schedule_free_run_go_on_as_if_they_never_had(
    three: tuple[Path, list[Job]], name: str
) -> None:
    assert_same_bits(three[0] / f"{name}-free", three[0] / f"{name}-free-whole")


@pytest.mark.parametrize("name", PARALLEL)
def test_a_moving_average_of_two_ranks_is_that_of_one(one: Path, two: Path, name: str) -> None:
    mine, theirs = (
        checkpoint.load_weights(point_folder(run, TWELVE), part="ema") for run in (two / name, one)
    )
    for what, value in mine.items():
        torch.testing.assert_close(value, theirs[what], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", PARALLEL)
def test_all_ranks_stop_together_when_one_of_them_is_told_to(two: Path, name: str) -> None:
    assert points(two / f"{name}-stopped").keys() == {5 * STEP}
    assert [x["tokens"] for x in steps(two / f"{name}-stopped")][-1] == 5 * STEP


@pytest.mark.parametrize("name", PARALLEL)
def test_three_ranks_that_stopped_go_on_as_if_they_never_had(
    three: tuple[Path, list[Job]], name: str
) -> None:
    assert_same_bits(three[0] / f"{name}-six", three[0] / f"{name}-six-stopped")


@pytest.mark.parametrize("name", PARALLEL)
def test_probes_of_two_ranks_read_the_same_documents_at_the_same_cost(
    one: Path, two: Path, name: str
) -> None:
    mine, theirs = (read(run / "journal.jsonl", "probe") for run in (two / name, one))
    assert [x["tokens"] for x in mine] == [SIX, TWELVE]
    for a, b in zip(mine, theirs, strict=True):
        assert a["bits_per_byte"] == pytest.approx(b["bits_per_byte"], rel=TOLERANCE, abs=0)


@pytest.mark.parametrize("name", PARALLEL)
def test_a_window_of_two_ranks_holds_whole_tensors(one: Path, two: Path, name: str) -> None:
    assert windows(two / name).keys() == {4 * STEP, 8 * STEP, TWELVE}
    for tokens, folder in windows(two / name).items():
        assert [file.name for file in (folder / "tensors").iterdir()] == ["model.safetensors"]
        assert_close(folder, window_folder(one, tokens))


def test_nothing_that_ranks_keep_is_pickled(
    one: Path, two: Path, three: tuple[Path, list[Job]]
) -> None:
    runs = [one, *(f for home in (two, three[0]) for f in home.iterdir() if f.is_dir())]
    kept = [folder for run in runs for folder in (*points(run).values(), *windows(run).values())]
    files = [file for folder in kept for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 100
    for file in files:
        if file.suffix == ".json":
            json.loads(file.read_text())
        else:
            assert file.suffix == ".safetensors"
            with safe_open(file, "pt") as opened:
                assert opened.keys()


@pytest.mark.parametrize(("name", "shard", "how"), list(product(PARALLEL, SHARDS, DAMAGES)))
def test_a_damaged_shard_is_refused_with_its_record_and_without(
    damaged: dict[tuple[str, int, str], Path], name: str, shard: int, how: str
) -> None:
    point = damaged[name, shard, how]
    with pytest.raises(Corrupt, match=rf"shard-0000{shard}.*(is missing|bytes, its record says)"):
        checkpoint.load_model(point)
    with pytest.raises(Corrupt, match=r"does not hold the tensors|holds only a part"):
        checkpoint.load_model(point, check=False)
    with pytest.raises(Corrupt, match=r"does not hold the tensors|holds only a part"):
        ranks.restore({"restore": str(point), "trunk": RUN.model_dump(mode="json")}, ALONE)


def test_without_its_first_shard_a_tensor_has_the_right_shape_and_is_still_refused(
    damaged: dict[tuple[str, int, str], Path],
) -> None:
    point = damaged["fsdp", 1, "removed"]
    into = {"model.norm.weight": torch.zeros(RUN.model.width)}
    with pytest.raises(Corrupt, match=r"holds only a part of \['model.norm.weight'\]"):
        load_tensors(into, point / "tensors", ALONE)
    half = RUN.model.width // 2
    assert into["model.norm.weight"][:half].isnan().all()  # what torch would have left as it was
    assert not into["model.norm.weight"][half:].isnan().any()


def test_all_of_three_ranks_refuse_a_damaged_point(three: tuple[Path, list[Job]]) -> None:
    assert [come.get("error") for come in three[1]] == ["Corrupt"] * 8


def test_three_ranks_make_a_damaged_point_again(one: Path, three: tuple[Path, list[Job]]) -> None:
    run = three[0] / "mended"
    assert checkpoint.wrong(point_folder(run, TWELVE)) == []
    assert_close(point_folder(run, TWELVE), point_folder(one, TWELVE))
