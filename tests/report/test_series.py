"""Journals as columns: the same lines hold as for any other reader, and thinning loses no extreme."""

from __future__ import annotations

import json
import math
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ramify.ground.errors import Corrupt
from ramify.ground.journal import Journal
from ramify.ground.journal import read as read_journal
from ramify.report import series
from ramify.report.series import Series, grid, thin

# lives of a run: how many steps back each begins, and how many it takes
LIVES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12)), min_size=1, max_size=6)


def write_lives(path: Path, lives: list[tuple[int, int]]) -> None:
    """Write a journal of several lives, each of which began a few steps before the last one died."""
    path.unlink(missing_ok=True)
    stands = 0
    for number, (back, steps) in enumerate(lives):
        stands = max(stands - 10 * back, 0)
        journal = Journal(path, stands)
        for _ in range(steps):
            stands += 10
            loss = None if stands % 70 == 0 else float(number * 1000 + stands)
            journal.write("step", stands, loss=loss, rate=0.1, seconds=0.5, by_source={})
            if stands % 30 == 0:
                journal.write("probe", stands, bits_per_byte={"a": 1.0}, standard_error={"a": None})
        journal.close()


@given(LIVES)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_same_lines_hold_as_for_the_ground(
    tmp_path: Path, lives: list[tuple[int, int]]
) -> None:
    path = tmp_path / "journal.jsonl"
    write_lives(path, lives)
    found, steps = series.read(path), read_journal(path, "step")
    assert list(found.tokens) == [line["tokens"] for line in steps]
    told = [math.nan if line["loss"] is None else line["loss"] for line in steps]
    assert [str(x) for x in found.loss] == [str(x) for x in told]
    assert list(found.life) == [line["incarnation"] for line in steps]
    assert found.probes == read_journal(path, "probe")


def test_a_torn_line_is_passed_over_and_a_wrong_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write_lives(path, [(0, 3)])
    whole = path.read_text()
    path.write_text(whole + '{"incarnation": 1, "tok')
    assert list(series.read(path).tokens) == [10, 20, 30]
    path.write_text(whole + json.dumps([1, 2]) + "\n")
    with pytest.raises(Corrupt, match="not a journal line"):
        series.read(path)
    assert series.read(tmp_path / "none.jsonl").end is None


def made(losses: list[float], step: int = 10) -> Series:
    tokens = array("q", [step * (i + 1) for i in range(len(losses))])
    count = len(losses)
    return Series(tokens, array("d", losses), array("d", [0.1] * count), array("d", [1.0] * count))


@given(st.lists(st.floats(0, 20) | st.just(math.nan), min_size=1, max_size=400), st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_thinning_keeps_every_extreme_and_no_more_points_than_asked(
    losses: list[float], most: int
) -> None:
    run = made(losses)
    edges = grid([run.tokens], most)
    assert len(edges) <= max(most + 1, 2)
    assert edges == sorted(set(edges))
    assert edges[-1] == run.tokens[-1]
    thinned = thin(run, edges)
    finite = [x for x in losses if math.isfinite(x)]
    lows = [x for x in thinned.low if math.isfinite(x)]
    highs = [x for x in thinned.high if math.isfinite(x)]
    assert min(finite, default=None) == min(lows, default=None)
    assert max(finite, default=None) == max(highs, default=None)
    buckets = zip(thinned.low, thinned.loss, thinned.high, strict=True)
    assert all(low - 1e-9 <= mean <= high + 1e-9 for low, mean, high in buckets if mean == mean)


def test_few_steps_are_drawn_as_they_are() -> None:
    run = made([3.0, 2.0, math.nan, 1.0])
    edges = grid([run.tokens], 100)
    assert edges == [10, 20, 30, 40]
    assert str(thin(run, edges).loss) == "[3.0, 2.0, nan, 1.0]"


def test_a_branch_begins_at_its_place_on_the_grid() -> None:
    trunk, branch = made([5.0, 4.0, 3.0, 2.0]), made([9.0, 9.0, 2.5, 2.0])
    for column in (branch.tokens, branch.loss, branch.rate, branch.seconds):
        del column[:2]
    edges = grid([trunk.tokens, branch.tokens], 100)
    assert thin(branch, edges).first == 2
    assert thin(branch, edges).loss == [2.5, 2.0]


def test_five_million_steps_become_a_small_curve() -> None:
    steps = 5_000_000
    tokens = array("q", range(2_000_000, 2_000_000 * (steps + 1), 2_000_000))
    flat = array("d", [2.0]) * steps
    run = Series(tokens, flat, flat, flat)
    edges = grid([run.tokens], 1500)
    assert len(thin(run, edges).loss) == len(edges) <= 1501
