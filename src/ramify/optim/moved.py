"""What an optimizer keeps of every weight: what a point holds, and which weights a model is read with.

AdamW           weights                 and their moments
schedule-free   y, where gradients are taken; z, the line; both held, and x beside them
                x = y + (1 - 1/beta1)·(z - y) is what a model is evaluated and exported as
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ramify.optim.config import AdamW, Optimizer, ScheduleFree
from ramify.optim.groups import make_optimizer


class Moved(ABC):
    """A model's weights with the optimizer that moves them; its state is there from the start."""

    kept: ClassVar[tuple[str, ...]]  # what the optimizer holds of each parameter
    reads_itself: ClassVar[bool]  # whether the model is read with the weights that it trains

    def __init__(self, model: nn.Module, config: Optimizer) -> None:
        self.model = model
        self.optimizer = make_optimizer(model, config)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters by name."""
        return dict(self.model.named_parameters())

    def held(self) -> dict[str, Tensor]:
        """Return the optimizer's tensors as `exp_avg.NAME`: those themselves, not copies."""
        return {
            f"{what}.{name}": self.optimizer.state[value][what]
            for name, value in self.parameters().items()
            for what in self.kept
        }

    @abstractmethod
    def read(self) -> dict[str, Tensor]:
        """Return the weights that a model is read with, by name."""

    @abstractmethod
    def filled(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the tensors to fill from a point: its weights, and what the optimizer holds."""

    @abstractmethod
    def set_steps(self, steps: int) -> None:
        """Set the count of optimizer steps, for bias correction."""

    @abstractmethod
    def scalars(self) -> dict[str, float]:
        """Return what the optimizer holds that is no tensor and no count of steps."""

    @abstractmethod
    def set_scalars(self, told: Mapping[str, Any]) -> None:
        """Take up what `scalars` returned."""


@final
class WithMoments(Moved):
    """AdamW: the weights are what they are, and their moments begin at zero."""

    kept = ("exp_avg", "exp_avg_sq")
    reads_itself = True

    def __init__(self, model: nn.Module, config: AdamW) -> None:
        super().__init__(model, config)
        self.set_steps(0)
        for parameter in model.parameters():
            zeros = {what: torch.zeros_like(parameter) for what in self.kept}
            self.optimizer.state[parameter].update(zeros)

    def read(self) -> dict[str, Tensor]:
        """Return the weights themselves."""
        return {name: value.detach() for name, value in self.parameters().items()}

    def filled(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the weights and their moments."""
        return self.read(), self.held()

    def set_steps(self, steps: int) -> None:
        """Set the count of steps, which AdamW keeps for each parameter."""
        for parameter in self.model.parameters():
            count = torch.tensor(float(steps), device=parameter.device)
            self.optimizer.state[parameter]["step"] = count

    def scalars(self) -> dict[str, float]:
        """Return nothing: the rate is a function of the position."""
        return {}

    def set_scalars(self, told: Mapping[str, Any]) -> None:
        """Take up nothing."""


@final
class WithIterates(Moved):
    """Schedule-free AdamW: the model holds y while it trains, and x is computed when it is read.

    The library would turn y into x and back in place, which rounds: a run would then depend on when
    it was looked at. So it is left in its training mode for ever, and x is made beside y.
    """

    kept = ("z", "exp_avg_sq")
    reads_itself = False

    def __init__(self, model: nn.Module, config: ScheduleFree) -> None:
        super().__init__(model, config)
        self.beta1 = config.beta1
        for parameter in model.parameters():
            begun = {"z": parameter.detach().clone(), "exp_avg_sq": torch.zeros_like(parameter)}
            self.optimizer.state[parameter].update(begun)

    @torch.no_grad()
    def read(self) -> dict[str, Tensor]:
        """Return x, the mean of the line that z has gone, as new tensors."""
        return {
            name: torch.lerp(y.detach(), self.optimizer.state[y]["z"], 1 - 1 / self.beta1)
            for name, y in self.parameters().items()
        }

    def held(self) -> dict[str, Tensor]:
        """Return y, z and the second moment: x cannot give y back to the bit."""
        ys = {f"y.{name}": value.detach() for name, value in self.parameters().items()}
        return {**ys, **super().held()}

    def filled(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return what the optimizer holds alone: x follows from it."""
        return {}, self.held()

    def set_steps(self, steps: int) -> None:
        """Set the count of steps of every group."""
        for group in self.optimizer.param_groups:
            group["k"] = steps

    def scalars(self) -> dict[str, float]:
        """Return the sum of the weights of the mean, and the largest rate so far, which sets them."""
        group = self.optimizer.param_groups[0]  # they see the same rates, so they agree
        return {"weight_sum": group["weight_sum"], "lr_max": group["lr_max"]}

    def set_scalars(self, told: Mapping[str, Any]) -> None:
        """Take up the sum of weights and the largest rate in every group."""
        for group in self.optimizer.param_groups:
            group.update({name: float(told[name]) for name in ("weight_sum", "lr_max")})


def moved(model: nn.Module, config: Optimizer) -> Moved:
    """Return a model with the optimizer that its configuration asks for, as at token 0."""
    match config:
        case AdamW():
            return WithMoments(model, config)
        case ScheduleFree():
            return WithIterates(model, config)
