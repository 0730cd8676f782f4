"""What a tree costs beside its controls, and beside the same answers trained one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ramify.ground.errors import BadInput
from ramify.runs.recipe import Recipe
from ramify.scaling.flops import six_nd, train_flops
from ramify.train.steps import Cooldown, Cosine, Root, Run

Measure = Callable[[Root, int], float]
"""What training a root's network on so many tokens costs."""


@dataclass(frozen=True)
class Cost:
    """An amount for the tree, for its controls, and for the same answers trained one by one."""

    tree: float
    controls: float
    one_by_one: float

    def json(self) -> dict[str, float]:
        """Return the three amounts by name."""
        return {"tree": self.tree, "controls": self.controls, "one_by_one": self.one_by_one}


def cost(recipe: Recipe, trained: Iterable[tuple[Run, int, int]], of: Measure) -> Cost:
    """Return what runs cost, each given with the tokens at which it begins and ends.

    One by one is a cosine run from fresh weights for each answer: branches that differ only in how
    they cool down (fraction, shape) and end on the same budget are one answer, since one cosine
    run is all that anybody would train for it.
    """
    tree = controls = 0.0
    answers: dict[object, float] = {}
    for run, begins, ends in trained:
        line = recipe.line(run)
        if isinstance(run, Cosine):
            controls += of(line.root, ends - begins)
        else:
            tree += of(line.root, ends - begins)
        if isinstance(run, Cooldown):
            answers[line.answer] = of(line.root, run.tokens)
    return Cost(tree, controls, sum(answers.values()))


def by_tokens(root: Root, tokens: int) -> float:
    """Return the tokens themselves."""
    return tokens


def by_product(root: Root, tokens: int) -> float:
    """Return the FLOPs, counted per matrix product (Hägele et al., appendix A.3)."""
    return train_flops(root.model, root.seq_len, tokens)


def by_six_nd(root: Root, tokens: int) -> float:
    """Return 6·N·D with all parameters, embeddings too: the rule of thumb."""
    return six_nd(root.model.parameters, tokens)


def token_prices(text: str | None) -> tuple[float, float] | None:
    """Return the dollars for a million tokens in and out that `0.5` or `0.5,1.5` stands for, or None.

    One number is the price of both. Raises BadInput for what is no amount.
    """
    if text is None:
        return None
    try:
        found = [float(each.strip().lstrip("$")) for each in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in (1, 2) or not all(0 <= each < math.inf for each in found):
        raise BadInput(
            f"--token-price {text} is no amount",
            hint="write dollars for a million tokens in and out, like 0.50,1.50",
        )
    return found[0], found[-1]
