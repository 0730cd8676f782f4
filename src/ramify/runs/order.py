"""In which order the steps of a plan are started, and how long they take side by side; torch-free.

The step with the longest path of work still behind it goes first (critical path; Graham, 1969), so
that no long trunk is begun last while other workers have nothing left.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from ramify.evals.steps import Evaluate, Forecast
from ramify.ground.errors import BadInput
from ramify.runs.plan import Item, Plan
from ramify.train.steps import Cooldown, Run

# FLOPs of a step beside those known: of steps that cost nothing, the one that more waits for is first
NOTHING = 1e6


@dataclass(frozen=True)
class _Need:
    """That a step waits for another, and after how many FLOPs of that one its input is there."""

    of: str
    after: float


def paths(plan: Plan) -> dict[str, float]:
    """Return, for each step to do, the FLOPs of the longest path from its start to the plan's end."""
    behind: dict[str, float] = {}
    waiting: dict[str, list[tuple[float, str]]] = defaultdict(list)
    needs = all_needs(plan)
    for name, each in needs.items():
        for need in each:
            waiting[need.of].append((need.after, name))
    above = {name: [need.of for need in each] for name, each in needs.items()}
    try:
        order = list(TopologicalSorter(above).static_order())
    except CycleError as error:
        raise BadInput(
            f"forecasts learn from each other's branches: {' and '.join(error.args[1][1:])}",
            hint="let one of them learn from fewer",
        ) from error
    for name in reversed(order):
        ends = [after + behind[other] for after, other in waiting[name]]
        behind[name] = max([plan.missing[name].flops, *ends], default=0.0) + NOTHING
    return behind


def makespan(plan: Plan, workers: int) -> float:
    """Return the FLOPs that the busiest of so many equal workers does or waits for, start to end.

    Over the speed of a worker that is the time until everything is made, if every step takes one
    worker and its FLOPs are its work: what the engine would do, without doing it.
    """
    work = _Work(plan, workers)
    while work.goes_on():
        work.step()
    return work.now


class _Work:
    """The same choice as the engine's, on a clock of FLOPs."""

    def __init__(self, plan: Plan, workers: int) -> None:
        self.free, self.now = workers, 0.0
        self.items = {item.name: item for item in plan.to_do}
        self.first = paths(plan)
        self.left: dict[str, int] = {}
        self.waiting: dict[str, list[tuple[float, str]]] = defaultdict(list)
        self.ready: list[tuple[float, str]] = []
        self.events: list[tuple[float, str, bool]] = []  # (when, whose, whether a worker is free)
        for name, needs in all_needs(plan).items():
            self.left[name] = len(needs)
            for need in needs:
                self.waiting[need.of].append((need.after, name))
            if not needs:
                heapq.heappush(self.ready, (-self.first[name], name))

    def goes_on(self) -> bool:
        return bool(self.ready or self.events)

    def step(self) -> None:
        while self.ready and self.free:
            self.free -= 1
            self._start(heapq.heappop(self.ready)[1])
        when, name, ended = heapq.heappop(self.events)
        self.now = max(self.now, when)
        if ended:
            self.free += 1
            return
        self.left[name] -= 1
        if not self.left[name]:
            heapq.heappush(self.ready, (-self.first[name], name))

    def _start(self, name: str) -> None:
        heapq.heappush(self.events, (self.now + self.items[name].flops, name, True))
        for after, waits in self.waiting[name]:
            heapq.heappush(self.events, (self.now + after, waits, False))


def foretold(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return, for each branch to do, the forecasts to do that foretell it: they are made before it.

    A forecast takes nothing in of its branch, so nothing but this order makes it one. Raises
    BadInput for one that learns from the very branch that it foretells.
    """
    found: dict[str, tuple[str, ...]] = {}
    told = [item.step for item in plan.to_do if isinstance(item.step, Forecast)]
    if not told:
        return found
    for item in plan.to_do:
        if isinstance(branch := item.step, Cooldown):
            names = [step.name for step in told if _foretells(step, branch)]
            for step in told:
                if step.name in names and _learns_from(plan, step, branch):
                    raise BadInput(
                        f"{step.name} learns from {branch.name}, which it foretells",
                        hint="leave that one out of learned",
                    )
            if names:
                found[item.name] = tuple(names)
    return found


def _foretells(step: Forecast, branch: Cooldown) -> bool:
    same = (step.trunk, step.ends_at, step.shape)
    return same == (branch.parent, branch.tokens, branch.descent.shape)


def _learns_from(plan: Plan, step: Forecast, branch: Cooldown) -> bool:
    ends = [plan.recipe.by_name[cooled.ended.name] for cooled in step.learned]
    return any(isinstance(end, Evaluate) and end.model.name == branch.name for end in ends)


def all_needs(plan: Plan) -> dict[str, list[_Need]]:
    """Return, for each step to do, the steps to do that it waits for."""
    before = foretold(plan)
    return {item.name: list(_needs(plan, item, before)) for item in plan.to_do}


def _needs(plan: Plan, item: Item, before: Mapping[str, tuple[str, ...]]) -> Iterator[_Need]:
    """Yield what a step to do waits for of other steps to do, once for each of them."""
    found = dict.fromkeys(before.get(item.name, ()), 0.0)
    by_name: Mapping[str, Item] = plan.missing
    for ref in item.step.refs().values():
        if (other := by_name.get(ref.name)) is None or other.name == item.name:
            continue
        at = plan.recipe.end(ref)
        if isinstance(other.step, Run) and at not in other.missing:
            continue  # that point is there
        found[ref.name] = max(found.get(ref.name, 0.0), _until(other, at))
    for name, after in found.items():
        yield _Need(name, after)


def _until(item: Item, at: int | None) -> float:
    """Return the FLOPs that a step needs until its point `at`, or its end, is there."""
    if at is None or not item.todo_tokens:
        return item.flops
    before = max(item.points) - item.todo_tokens + item.replay_tokens
    return item.flops * min(max((at - before) / item.todo_tokens, 0.0), 1.0)
