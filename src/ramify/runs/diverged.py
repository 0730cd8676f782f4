"""What a run that blew up takes with it: kept out of the plan and said, so that the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ramify.ground.step import Ref
from ramify.ground.units import show_count
from ramify.runs.lab import Lab
from ramify.runs.recipe import Prints, Recipe
from ramify.train import places
from ramify.train.steps import Run

if TYPE_CHECKING:
    from ramify.runs.plan import Item

NOTHING: dict[str, Any] = {"todo_tokens": 0, "replay_tokens": 0, "flops": 0.0, "disk_bytes": 0}


def keep_out(recipe: Recipe, prints: Prints, lab: Lab, items: Sequence[Item]) -> tuple[Item, ...]:
    """Return the items with what cannot be made marked: runs that diverged, and what needs them.

    A run that blew up does so again as long as it is asked for alike, so it is not tried again;
    what it reached before stays of use. Items come each after what it takes in.
    """
    lost: dict[str, int] = {}  # run -> the token at which it blew up
    held: dict[str, str] = {}  # step -> the run that it waits for in vain
    told = [_marked(recipe, prints, lab, item, lost, held) for item in items]
    return tuple(
        replace(item, warnings=(*item.warnings, _said(lab, item.name, lost, held)))
        if item.name in lost
        else item
        for item in told
    )


def _marked(
    recipe: Recipe, prints: Prints, lab: Lab, item: Item, lost: dict[str, int], held: dict[str, str]
) -> Item:
    if item.state == "done" or not (lost or held or item.state == "partial"):
        return item
    for ref in item.step.refs().values():
        if (culprit := _culprit(recipe, lab, ref, lost, held)) is not None:
            held[item.name] = culprit
            return replace(item, state="held", **NOTHING)
    blown = _blown_up(prints, lab, item)
    if blown is None or max(item.missing) < blown:
        return item
    lost[item.name] = blown
    reached = tuple(point for point in item.missing if point < blown)
    return _up_to(item, reached) if reached else replace(item, state="diverged", **NOTHING)


def _culprit(
    recipe: Recipe, lab: Lab, ref: Ref, lost: dict[str, int], held: dict[str, str]
) -> str | None:
    """Return the run that blew up before what a ref names was there."""
    if ref.name in held:
        return held[ref.name]
    at = recipe.end(ref)
    beyond = ref.name in lost and at is not None and at >= lost[ref.name]
    return ref.name if beyond and at not in lab.points_of(ref.name) else None


def _blown_up(prints: Prints, lab: Lab, item: Item) -> int | None:
    """Return the token at which a run, as it is asked for now, was seen to blow up."""
    if not isinstance(item.step, Run) or item.state != "partial":
        return None  # most of a large plan, and nothing of it was begun
    told = places.read_diverged(lab.at(item.name))
    if told is None or told["skip_limit"] < item.step.skip_limit:
        return None
    asked = json.loads(json.dumps(prints.asked(item.name, told["tokens"])))
    return int(told["tokens"]) if told["asked"] == asked else None


def _up_to(item: Item, reached: tuple[int, ...]) -> Item:
    """Return the item of a run without the points that it cannot reach."""
    last = max(item.points)
    done_to = last - (item.todo_tokens - item.replay_tokens)
    todo = item.todo_tokens - (last - max(*reached, done_to))
    share = todo / item.todo_tokens
    return replace(
        item,
        points=tuple(p for p in item.points if p in reached or p not in item.missing),
        missing=reached,
        todo_tokens=todo,
        flops=item.flops * share,
        disk_bytes=item.disk_bytes * len(reached) // len(item.missing),
    )


def _said(lab: Lab, name: str, lost: dict[str, int], held: dict[str, str]) -> str:
    need = sum(culprit == name for culprit in held.values())
    steps = "step that needs" if need == 1 else "steps that need"
    with_it = f", and with it {need} {steps} it" if need else ""
    why = (places.read_diverged(lab.at(name)) or {}).get("why", "")
    return (
        f"{name} diverged at {show_count(lost[name])} tokens and is kept out{with_it} "
        f"(ramify forget {name} tries again): {why}"
    )
