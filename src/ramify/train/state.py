"""The state of a run: one object, saved whole, from which the next step follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ramify.model.network import Transformer
from ramify.optim.average import Accumulator, Moving
from ramify.optim.config import AdamW
from ramify.optim.groups import make_optimizer
from ramify.tokens.chain import START

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class State:
    """Weights, moments, position, hash chain, counts, and the averages of weights under way."""

    model: Transformer
    optimizer: torch.optim.Optimizer
    tokens: int = 0
    steps: int = 0  # that the optimizer took: its bias correction; skipped ones do not count
    chain: str = START
    skipped: int = 0  # steps not taken because something was not finite
    bad_in_a_row: int = 0
    window: Accumulator = field(default_factory=Accumulator)
    ema: Moving | None = None

    @classmethod
    def fresh(cls, model: Transformer, config: AdamW) -> State:
        """Return the state at token 0: moments are there from the start, and zero."""
        state = cls(model, make_optimizer(model, config))
        state.set_steps(0)
        for parameter in model.parameters():
            moments = state.optimizer.state[parameter]
            moments.update({name: torch.zeros_like(parameter) for name in MOMENTS})
        return state

    def set_steps(self, steps: int) -> None:
        """Set the count of optimizer steps, for bias correction too."""
        self.steps = steps
        for parameter in self.model.parameters():
            count = torch.tensor(float(steps), device=parameter.device)
            self.optimizer.state[parameter]["step"] = count

    def scalars(self) -> dict[str, Any]:
        """Return all that is no tensor, for state.json."""
        told = {} if self.ema is None else {"ema": self.ema.told()}
        return {
            **told,
            "tokens": self.tokens,
            "steps": self.steps,
            "chain": self.chain,
            "skipped": self.skipped,
            "bad_in_a_row": self.bad_in_a_row,
            "window_count": self.window.count,
        }

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters by name."""
        return dict(self.model.named_parameters())

    def weights(self) -> dict[str, Tensor]:
        """Return the weights as tensors by name."""
        return {name: value.detach() for name, value in self.parameters().items()}

    def moments(self) -> dict[str, Tensor]:
        """Return the optimizer's moments as `exp_avg.NAME`."""
        return {
            f"{moment}.{name}": self.optimizer.state[value][moment]
            for name, value in self.parameters().items()
            for moment in MOMENTS
        }
