"""Windows of weights against the direct mean, whole, resumed, composed and sharded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from ramify.ground.errors import BadInput
from ramify.optim.average import Accumulator, Moving, between, compose
from ramify.optim.config import Ema, Windows

SEEDS = st.integers(0, 2**32 - 1)


def walk(seed: int, steps: int, dtype: torch.dtype = torch.float32) -> list[dict[str, Tensor]]:
    """Return the weights of a run after each of its steps."""
    drawn = torch.Generator().manual_seed(seed)
    matrices = torch.randn(steps, 3, 4, generator=drawn).cumsum(0).to(dtype)
    gains = (1 + 0.1 * torch.randn(steps, 5, generator=drawn)).to(dtype)
    return [{"w": w, "g": g} for w, g in zip(matrices, gains, strict=True)]


def direct(sets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean in fp64, all sets at once."""
    return {name: torch.stack([s[name].double() for s in sets]).mean(0) for name in sets[0]}


def saved(path: list[dict[str, Tensor]], windows: Windows) -> list[tuple[dict[str, Tensor], int]]:
    """Go along a run as the loop does, and return the windows that it saves."""
    under_way, kept = Accumulator(), []
    for step, weights in enumerate(path, start=1):
        if windows.takes(step):
            under_way.add(weights)
        if windows.closes(step):
            kept.append((under_way.mean(), under_way.count))
            under_way.clear()
    return kept


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, every=st.integers(1, 3), count=st.integers(1, 5), n=st.integers(1, 6))
def test_adjacent_windows_compose_to_the_mean_over_all_of_them(
    seed: int, every: int, count: int, n: int
) -> None:
    windows = Windows(steps=every * count, every=every)
    path = walk(seed, windows.steps * n)
    kept = saved(path, windows)
    assert [taken for _, taken in kept] == [windows.count] * n
    for first in range(n):
        expected = direct(path[first * windows.steps :][every - 1 :: every])
        for name, value in compose(kept[first:]).items():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_windows_of_unequal_counts_are_weighted_by_them(seed: int, sizes: list[int]) -> None:
    path, parts = walk(seed, sum(sizes)), []
    for index, size in enumerate(sizes):
        window = Accumulator()
        for weights in path[sum(sizes[:index]) :][:size]:
            window.add(weights)
        parts.append((window.mean(), window.count))
    for name, value in compose(parts).items():
        torch.testing.assert_close(value.double(), direct(path)[name], rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, steps=st.integers(1, 12), stopped=st.integers(0, 12))
def test_a_window_that_goes_on_from_a_checkpoint_is_the_one_that_never_stopped(
    seed: int, steps: int, stopped: int
) -> None:
    path, never, window = walk(seed, steps), Accumulator(), Accumulator()
    for step, weights in enumerate(path):
        if step == stopped:
            sums = {name: total.clone() for name, total in window.sums.items()}
            window = Accumulator(sums, window.count)
        never.add(weights)
        window.add(weights)
    assert window.count == never.count
    assert all(torch.equal(window.sums[name], total) for name, total in never.sums.items())


def test_sums_are_kept_in_fp32_where_weights_are_bf16() -> None:
    path = walk(0, 400, torch.bfloat16)
    window = Accumulator()
    for weights in path:
        window.add(weights)
    for name, value in window.mean().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), direct(path)[name], rtol=1e-5, atol=1e-4)


def test_a_window_holds_no_part_of_the_model() -> None:
    weights = {"w": torch.ones(3)}
    window = Accumulator()
    window.add(weights)
    weights["w"].zero_()
    assert window.mean()["w"].tolist() == [1, 1, 1]


def test_the_grid_of_windows_is_absolute_and_takes_the_last_weights_of_each() -> None:
    windows = Windows(steps=6, every=3)
    taken = [step for step in range(14) if windows.takes(step)]
    assert taken == [3, 6, 9, 12]
    assert [step for step in range(14) if windows.closes(step)] == [6, 12]
    assert [windows.ordinal(step) for step in taken] == [0, 0, 1, 1]


@pytest.fixture
def one_rank() -> Iterator[None]:
    """A process group of one, within this process."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
def test_sharded_weights_are_averaged_where_they_lie() -> None:
    mesh, path = init_device_mesh("cpu", (1,)), walk(3, 4)
    window = Accumulator()
    for weights in path:
        window.add({n: distribute_tensor(value, mesh, [Shard(0)]) for n, value in weights.items()})
    composed = compose([(window.mean(), window.count), (window.mean(), window.count)])
    for name, value in composed.items():
        whole = value.full_tensor()  # type: ignore[attr-defined]
        torch.testing.assert_close(whole.double(), direct(path)[name], rtol=1e-5, atol=1e-5)


DECAYS = st.floats(0, 0.999)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, steps=st.integers(1, 20), decay=DECAYS)
def test_a_moving_average_weighs_each_set_by_how_long_ago_it_was_taken(
    seed: int, steps: int, decay: float
) -> None:
    path, ema = walk(seed, steps), Moving(Ema(decay=decay))
    for weights in path:
        ema.add(weights)
    shares = [decay ** (steps - 1), *((1 - decay) * decay**n for n in reversed(range(steps - 1)))]
    assert sum(shares) == pytest.approx(1)
    for name, mean in ema.means.items():
        expected = sum(
            share * each[name].double() for share, each in zip(shares, path, strict=True)
        )
        torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, steps=st.integers(1, 12), stopped=st.integers(0, 12))
def test_a_moving_average_that_goes_on_from_a_checkpoint_is_the_one_that_never_stopped(
    seed: int, steps: int, stopped: int
) -> None:
    path, config = walk(seed, steps), Ema(decay=0.9)
    never, ema = Moving(config), Moving(config)
    for step, weights in enumerate(path):
        if step == stopped:
            ema = Moving(
                config, {name: mean.clone() for name, mean in ema.means.items()}, ema.count
            )
        never.add(weights)
        ema.add(weights)
    assert ema.told() == never.told()
    assert all(torch.equal(ema.means[name], mean) for name, mean in never.means.items())


def test_a_moving_average_lies_on_an_absolute_grid() -> None:
    ema = Ema(every=4)
    assert [step for step in range(13) if ema.takes(step)] == [4, 8, 12]
    assert [ema.taken(begins, 12) for begins in (0, 3, 4, 12)] == [3, 3, 2, 0]


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, share=st.floats(-1, 2))
def test_a_model_between_two_lies_on_the_line_and_at_its_ends_is_the_end(
    seed: int, share: float
) -> None:
    a, b = walk(seed, 2)
    for name, value in between(a, b, share).items():
        expected = (1 - share) * a[name].double() + share * b[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(between(a, b, 0.0)[name], a[name])
        assert torch.equal(between(a, b, 1.0)[name], b[name])


def test_averages_that_make_no_sense_are_refused() -> None:
    for fields, says in (
        ({"decay": 1.0}, "decay=1.0 of an average; give 0 <= decay < 1"),
        ({"decay": float("nan")}, "decay=nan"),
        ({"every": 0}, "every=0 steps; give 1 or more"),
    ):
        with pytest.raises(ValidationError, match=says):
            Ema.model_validate(fields)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(BadInput, match="'v' is in one of them only"):
        between({"w": torch.ones(2)}, {"w": torch.ones(2), "v": torch.ones(2)}, 0.5)
    ema = Moving(Ema())
    ema.add({"w": torch.ones(2)})
    with pytest.raises(BadInput, match="'v' is in one of them only"):
        ema.add({"v": torch.ones(2)})
    window = Accumulator()
    window.add({"w": torch.ones(2)})
    with pytest.raises(BadInput, match="'v' is in one of them only"):
        window.add({"w": torch.ones(2), "v": torch.ones(2)})
    with pytest.raises(BadInput, match="'w' is in one of them only"):
        compose([({"w": torch.ones(2)}, 1), ({}, 1)])


@pytest.mark.parametrize("parts", [[], [({"w": torch.ones(2)}, 0)]])
def test_no_weights_have_no_mean(parts: list[tuple[dict[str, Tensor], int]]) -> None:
    with pytest.raises(BadInput, match="have no mean"):
        compose(parts)


def test_an_empty_window_has_no_mean() -> None:
    with pytest.raises(BadInput, match="mean of no weights"):
        Accumulator().mean()
    with pytest.raises(BadInput, match="no window"):
        Accumulator({}, 3)
