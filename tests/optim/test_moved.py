"""What an optimizer keeps: whole from the start, taken up again to the bit, and the library's own x."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from schedulefree import AdamWScheduleFree
from torch import nn

from ramify.ground.errors import MissingExtra
from ramify.optim import groups as optim_groups
from ramify.optim.config import AdamW, Optimizer, ScheduleFree
from ramify.optim.groups import clip, groups, set_rate
from ramify.optim.moved import Moved, moved

from .test_groups import Small, loss

CONFIGS = [AdamW(), ScheduleFree(), ScheduleFree(beta1=0.9, beta2=0.95)]


def small(seed: int = 0) -> Small:
    torch.manual_seed(seed)
    return Small()


def steps(of: Moved, first: int, last: int) -> None:
    """Take steps first to last (exclusive), each at a rate and on a batch of its own."""
    for step in range(first, last):
        set_rate(of.optimizer, 1e-2 * min(1.0, (step + 1) / 3))
        torch.autograd.backward(loss(of.model, seed=step))
        clip(of.model.parameters(), 1.0)
        of.optimizer.step()
        of.optimizer.zero_grad()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@settings(max_examples=8, deadline=None)
@given(stopped=st.integers(0, 6))
def test_what_is_taken_up_again_goes_on_as_if_it_never_stopped(
    config: Optimizer, stopped: int
) -> None:
    never, before, after = (moved(small(seed), config) for seed in (0, 0, 1))
    steps(never, 0, 6)
    steps(before, 0, stopped)
    for part, into in zip(
        ({n: v.clone() for n, v in each.items()} for each in before.filled()),
        after.filled(),
        strict=True,
    ):
        assert part.keys() == into.keys()
        for name, value in into.items():
            value.copy_(part[name])
    after.set_steps(stopped)
    after.set_scalars(before.scalars())
    steps(after, stopped, 6)
    assert after.scalars() == never.scalars()
    for a, b in ((after.read(), never.read()), (after.held(), never.held())):
        assert a.keys() == b.keys()
        assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_a_model_of_adamw_is_read_as_it_trains() -> None:
    of = moved(small(), AdamW())
    steps(of, 0, 2)
    for name, value in of.read().items():
        assert value.data_ptr() == of.parameters()[name].data_ptr()
    assert of.reads_itself


def test_a_schedule_free_model_is_read_as_its_library_reads_it() -> None:
    config = ScheduleFree()
    of, model = moved(small(), config), small()
    library = AdamWScheduleFree(groups(model, config), betas=(0.95, 0.99), eps=1e-8)
    library.train()
    for step in range(5):
        steps(of, step, step + 1)
        set_rate(library, 1e-2 * min(1.0, (step + 1) / 3))
        torch.autograd.backward(loss(model, seed=step))
        clip(model.parameters(), 1.0)
        library.step()
        library.zero_grad()
    theirs = dict(model.named_parameters())
    assert all(torch.equal(value, theirs[name]) for name, value in of.parameters().items())
    library.eval()
    read = of.read()
    for name, value in theirs.items():
        torch.testing.assert_close(read[name], value.detach(), rtol=0, atol=0)
        assert not torch.equal(read[name], of.parameters()[name])


def test_x_is_the_mean_of_the_line_weighed_by_the_square_of_the_largest_rate() -> None:
    of = moved(small(), ScheduleFree(weight_decay=0.0))
    line, weights = [], []
    for step in range(6):
        steps(of, step, step + 1)
        line.append({n.removeprefix("z."): v.clone() for n, v in of.held().items() if n[0] == "z"})
        weights.append((1e-2 * min(1.0, (step + 1) / 3)) ** 2)
    for name, x in of.read().items():
        # step k weighs in z as it was before it: z_k enters the mean with the weight of step k + 1
        z = torch.stack([small().get_parameter(name).detach(), *(each[name] for each in line)])
        shares = torch.tensor(weights).double() / sum(weights)
        mean = (z[1:].double() * shares.reshape(-1, *(1 for _ in x.shape))).sum(0)
        torch.testing.assert_close(x.double(), mean, rtol=1e-4, atol=1e-5)


def test_without_its_library_schedule_free_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(module: str, *, extra: str) -> None:
        raise MissingExtra(
            f"{module} is not installed", hint=f"type: pip install 'ramify[{extra}]'"
        )

    monkeypatch.setattr(optim_groups, "need", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'ramify\[schedulefree\]'"):
        moved(nn.Linear(2, 2), ScheduleFree())
    assert isinstance(moved(nn.Linear(2, 2), AdamW()).optimizer, torch.optim.AdamW)


def test_a_schedule_free_optimizer_that_makes_no_sense_is_refused() -> None:
    for fields, says in (
        ({"beta1": 0.0}, "beta1=0.0 of ScheduleFree takes gradients off its mean"),
        ({"beta2": 1.0}, "beta2=1.0 of ScheduleFree"),
        ({"clip": 0.0}, "clip=0.0 of ScheduleFree"),
        ({"warmup_steps": 3}, "warmup_steps"),
    ):
        with pytest.raises(ValidationError, match=says):
            ScheduleFree.model_validate(fields)
