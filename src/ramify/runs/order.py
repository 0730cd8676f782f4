"""In which order the steps of a plan are started, and how long they take side by side; torch-free.

The step with the longest path of work still behind it goes first (critical path; Graham, 1969), so
that no long trunk is begun last while other workers have nothing left.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ramify.runs.plan import Item, Plan
from ramify.train.steps import Run

NOTHING = (
    1e6  # FLOPs: so that of steps that cost nothing known, the one that more waits for is first
)


@dataclass(frozen=True)
class _Need:
    """That a step waits for another, and after how many FLOPs of that one its input is there."""

    of: str
    after: float


def paths(plan: Plan) -> dict[str, float]:
    """Return, for each step to do, the FLOPs of the longest path from its start to the plan's end."""
    behind: dict[str, float] = {}
    waiting: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for item in plan.to_do:
        for need in _needs(plan, item):
            waiting[need.of].append((need.after, item.name))
    for item in reversed(plan.to_do):  # what takes a step in comes after it
        ends = [after + behind[name] for after, name in waiting[item.name]]
        behind[item.name] = max([item.flops, *ends], default=0.0) + NOTHING
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
        for item in plan.to_do:
            needs = list(_needs(plan, item))
            self.left[item.name] = len(needs)
            for need in needs:
                self.waiting[need.of].append((need.after, item.name))
            if not needs:
                heapq.heappush(self.ready, (-self.first[item.name], item.name))

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


def _needs(plan: Plan, item: Item) -> Iterator[_Need]:
    """Yield what a step to do waits for of other steps to do, once for each of them."""
    found: dict[str, float] = {}
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
