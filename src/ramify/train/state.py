"""The state of a run: one object, saved whole, from which the next step follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ramify.model.network import Transformer
from ramify.optim.average import Accumulator, Moving
from ramify.optim.config import Optimizer
from ramify.optim.moved import Moved, moved
from ramify.tokens.chain import START


@dataclass
class State:
    """Weights, moments, position, hash chain, counts, and the averages of weights under way."""

    model: Transformer
    moved: Moved
    tokens: int = 0
    steps: int = 0  # that the optimizer took: its bias correction; skipped ones do not count
    chain: str = START
    skipped: int = 0  # steps not taken because something was not finite
    bad_in_a_row: int = 0
    window: Accumulator = field(default_factory=Accumulator)
    ema: Moving | None = None

    @classmethod
    def fresh(cls, model: Transformer, config: Optimizer) -> State:
        """Return the state at token 0: what the optimizer keeps is there from the start."""
        return cls(model, moved(model, config))

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What moves the weights."""
        return self.moved.optimizer

    def scalars(self) -> dict[str, Any]:
        """Return all that is no tensor, for state.json."""
        told = {} if self.ema is None else {"ema": self.ema.told()}
        return {
            **told,
            **self.moved.scalars(),
            "tokens": self.tokens,
            "steps": self.steps,
            "chain": self.chain,
            "skipped": self.skipped,
            "bad_in_a_row": self.bad_in_a_row,
            "window_count": self.window.count,
        }

    def set_scalars(self, told: Mapping[str, Any]) -> None:
        """Take up what `scalars` returned, the averages under way excepted."""
        self.tokens, self.chain = told["tokens"], told["chain"]
        self.skipped, self.bad_in_a_row = told["skipped"], told["bad_in_a_row"]
        self.steps = told["steps"]
        self.moved.set_steps(self.steps)
        self.moved.set_scalars(told)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that the model is read with, by name: those of a point."""
        return self.moved.read()

    @contextmanager
    def read_as_a_point(self) -> Iterator[None]:
        """Let the model hold the weights of a point, and then, to the bit, those that it trains."""
        if self.moved.reads_itself:
            yield
            return
        trained = self.moved.parameters()
        weights = self.weights()
        kept = {name: value.detach().clone() for name, value in trained.items()}
        try:
            _copy(weights, trained)
            yield
        finally:
            _copy(kept, trained)


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    for name, value in into.items():
        value.copy_(values[name])
