"""Groups, the optimizer and the clip on small real networks, and against the formula of AdamW."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from ramify.optim.config import AdamW, Windows
from ramify.optim.groups import clip, groups, make_optimizer, set_rate


class Small(nn.Module):
    """An embedding, a norm, matrices with and without bias, and a head that may be tied."""

    def __init__(self, tied: bool = True, biases: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4, bias=biases) for _ in range(2))
        self.norm = nn.RMSNorm(4)
        self.head = nn.Linear(4, 11, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        for layer in self.layers:
            x = x + layer(x)
        logits: torch.Tensor = self.head(self.norm(x))
        return logits


def loss(model: nn.Module, seed: int = 0) -> torch.Tensor:
    """Return a loss that reaches every parameter."""
    drawn = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 11, (64,), generator=drawn)
    return nn.functional.cross_entropy(model(tokens[:-1]), tokens[1:])


def decay_of(model: nn.Module, config: AdamW) -> dict[str, float]:
    """Return the decay of every parameter by name."""
    by_id = {id(p): g["weight_decay"] for g in groups(model, config) for p in g["params"]}
    return {name: by_id[id(p)] for name, p in model.named_parameters()}


@given(
    tied=st.booleans(),
    biases=st.booleans(),
    embeddings=st.booleans(),
    norms=st.booleans(),
)
@settings(max_examples=16, deadline=None)
def test_every_parameter_is_in_exactly_one_group(
    tied: bool, biases: bool, embeddings: bool, norms: bool
) -> None:
    model = Small(tied, biases)
    config = AdamW(decay_embeddings=embeddings, decay_norms=norms)
    grouped = [id(p) for group in groups(model, config) for p in group["params"]]
    assert sorted(grouped) == sorted({id(p) for p in model.parameters()})


def test_matrices_are_decayed_and_norms_biases_and_the_tied_embedding_are_not() -> None:
    assert decay_of(Small(biases=True), AdamW()) == {
        "embed.weight": 0.0,
        "layers.0.weight": 0.1,
        "layers.0.bias": 0.0,
        "layers.1.weight": 0.1,
        "layers.1.bias": 0.0,
        "norm.weight": 0.0,
    }


def test_an_untied_head_is_a_matrix_like_any_other() -> None:
    assert decay_of(Small(tied=False), AdamW())["head.weight"] == 0.1


def test_smollm2_decays_everything_by_a_hundredth() -> None:
    smollm2 = AdamW(weight_decay=0.01, decay_embeddings=True, decay_norms=True)
    assert set(decay_of(Small(), smollm2).values()) == {0.01}


def test_a_step_is_the_step_of_the_adamw_paper() -> None:
    model, config, rate = Small(), AdamW(weight_decay=0.3), 0.01
    before = {name: p.detach().double().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, config)
    set_rate(optimizer, rate)
    torch.autograd.backward(loss(model))
    optimizer.step()
    decay = decay_of(model, config)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        grad = parameter.grad.double()
        # of the first step both bias corrections leave the gradient and its square
        moved = before[name] * (1 - rate * decay[name]) - rate * grad / (grad.abs() + config.eps)
        torch.testing.assert_close(parameter.double(), moved, rtol=1e-4, atol=1e-6)


def test_the_optimizer_is_fused_on_cpu_and_moves_nothing_at_rate_zero() -> None:
    model = Small()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = make_optimizer(model, AdamW())
    assert all(group["fused"] for group in optimizer.param_groups)
    torch.autograd.backward(loss(model))
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@settings(max_examples=25, deadline=None)
@given(limit=st.floats(1e-4, 1e4))
def test_clipping_leaves_a_norm_of_at_most_the_limit_and_returns_the_one_before(
    limit: float,
) -> None:
    model = Small()
    torch.autograd.backward(loss(model))
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    before = torch.cat([g.flatten() for g in grads]).norm()
    assert clip(model.parameters(), limit).item() == pytest.approx(before.item(), rel=1e-5)
    after = torch.cat([g.flatten() for g in grads]).norm().item()
    assert after == pytest.approx(min(limit, before.item()), rel=1e-4)


def test_without_a_limit_gradients_are_measured_and_left() -> None:
    model = Small()
    torch.autograd.backward(loss(model))
    before = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    norm = clip(model.parameters(), None)
    assert norm.item() == pytest.approx(torch.cat([g.flatten() for g in before]).norm().item())
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_gradient_that_is_not_finite_shows_in_the_norm() -> None:
    model = Small()
    torch.autograd.backward(loss(model))
    assert model.norm.weight.grad is not None
    model.norm.weight.grad[0] = float("inf")
    assert not clip(model.parameters(), 1.0).isfinite()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"beta1": 1.0}, "beta1=1.0"),
        ({"beta2": -0.1}, "beta2=-0.1"),
        ({"eps": 0.0}, "eps=0.0"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"clip": 0.0}, "clip=0.0"),
        ({"clip": float("nan")}, "clip=nan"),
    ],
)
def test_an_optimizer_that_cannot_be_is_refused(fields: dict[str, float], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        AdamW.model_validate(fields)


@pytest.mark.parametrize("fields", [{"steps": 10, "every": 3}, {"every": 0}, {"steps": 0}])
def test_a_window_that_its_interval_does_not_divide_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="let every divide steps"):
        Windows.model_validate(fields)
