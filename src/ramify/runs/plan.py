"""The difference between what is wanted and what exists, in order and with its price. Pure but for reads."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from ramify.evals.steps import Ablation, Evaluate, Forecast
from ramify.ground import artifact
from ramify.ground.artifact import Record
from ramify.ground.errors import BadInput, Corrupt, Mismatch, NotFound
from ramify.ground.journal import read as read_journal
from ramify.ground.step import Step
from ramify.model.config import ModelConfig
from ramify.release.steps import Complete, Export
from ramify.runs.averages import check_average
from ramify.runs.diverged import keep_out
from ramify.runs.lab import Lab
from ramify.runs.price import Cost, Measure, by_product, by_six_nd, by_tokens, cost
from ramify.runs.recipe import Prints, Recipe, folders_above
from ramify.runs.wanted_labels import Prices, Wanted, wanted_labels
from ramify.scaling.flops import forward_flops, six_nd, train_flops
from ramify.train import places
from ramify.train.line import Line
from ramify.train.steps import Average, Cooldown, EmaAverage, Interpolate, Root, Run

StepState = Literal[
    "done", "partial", "wanted", "diverged", "held"
]  # held: needs one that diverged
COUNTED = (Run, Average, EmaAverage, Interpolate, Evaluate, Forecast, Ablation, Export, Complete)
NOT_TO_DO = ("done", "diverged", "held")
BYTES_OF_STATE = 12  # a parameter and its two moments, in fp32
BYTES_OF_SUM = 4  # of each average under way, and of the mean of a schedule-free optimizer
ASSUMED_FLOPS = 1e11  # a second of one CPU core, where nothing was measured yet
ROUNDED_TOLD = 3  # runs whose rounding is told one by one
EPOCHS_WARNED = 4.0  # SmolLM2, section 4: no source beyond 4 to 5 epochs


@dataclass(frozen=True)
class Item:
    """One step of a plan: what of it is there, what is to do, and what that costs."""

    step: Step
    state: StepState
    points: tuple[int, ...] = ()  # wanted of a run, in order
    missing: tuple[int, ...] = ()
    begins_at: int = 0
    parent: str | None = None
    todo_tokens: int = 0  # to train, replays included
    replay_tokens: int = 0
    flops: float = 0.0  # of what is to do
    seconds: float | None = None
    disk_bytes: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The step's name."""
        return self.step.name


@dataclass(frozen=True)
class Plan:
    """Every step of a recipe against a lab."""

    recipe: Recipe
    prints: Prints
    items: tuple[Item, ...]
    flops_per_second: float  # of one worker: measured in this lab, given, or assumed
    measured: bool
    price_per_hour: float | None = None
    warnings: tuple[str, ...] = field(default_factory=tuple)
    token_prices: Prices | None = None  # of labels that are asked for

    @cached_property
    def to_do(self) -> tuple[Item, ...]:
        """The items that are not done and can be."""
        return tuple(item for item in self.items if item.state not in NOT_TO_DO)

    @cached_property
    def missing(self) -> Mapping[str, Item]:
        """The items to do by name."""
        return {item.name: item for item in self.to_do}

    @property
    def unread(self) -> tuple[Item, ...]:
        """The items to do that make or look at documents: what they cost is known once some were read."""
        return tuple(item for item in self.to_do if not isinstance(item.step, COUNTED))

    @cached_property
    def labels(self) -> list[Wanted]:
        """What is to be asked of models, and the most that it may cost."""
        return wanted_labels((item.step for item in self.to_do), self.token_prices)

    @cached_property
    def tokens(self) -> Cost:
        """Tokens trained: the trunk and the branches that answer a budget, the cosine runs, and the rest."""
        return self._cost(by_tokens)

    @cached_property
    def flops(self) -> Cost:
        """FLOPs, counted per matrix product, as `tokens` are."""
        return self._cost(by_product)

    @cached_property
    def six_nd(self) -> Cost:
        """FLOPs by the rule of thumb, 6·N·D, beside those that are counted."""
        return self._cost(by_six_nd)

    def _cost(self, of: Measure) -> Cost:
        runs = ((i.step, i.begins_at, max(i.points)) for i in self.items if isinstance(i.step, Run))
        return cost(self.recipe, runs, of)

    def seconds(self, flops: float) -> float:
        """Return the seconds of one worker that so many FLOPs take."""
        return flops / self.flops_per_second

    def money(self, flops: float) -> float | None:
        """Return what so many FLOPs cost at the given price of a worker's hour."""
        return (
            None
            if self.price_per_hour is None
            else self.seconds(flops) / 3600 * self.price_per_hour
        )

    def json(self) -> dict[str, Any]:
        """Return the plan as plain data, as `ramify plan --json` prints it."""
        return {
            "recipe": self.recipe.name,
            "steps": [self._row(item) for item in self.items],
            "tokens": self.tokens.json(),
            "flops": self.flops.json(),
            "six_nd": self.six_nd.json(),
            "todo": {
                "tokens": sum(item.todo_tokens for item in self.items),
                "replay_tokens": sum(item.replay_tokens for item in self.items),
                "flops": sum(item.flops for item in self.items),
                "seconds": sum(self.seconds(item.flops) for item in self.items),
                "disk_bytes": sum(item.disk_bytes for item in self.items),
                "money": self.money(sum(item.flops for item in self.items)),
            },
            "flops_per_second": self.flops_per_second,
            "measured": self.measured,
            "warnings": list(self.warnings),
            "labels": [wanted.json() for wanted in self.labels],
            # None: not known before documents are read; `ramify dry` reads a sample of them
            "curation": {
                "steps": len(self.unread),
                "tokens": None,
                "cpu_hours": None,
                "disk_bytes": None,
            },
        }

    def _row(self, item: Item) -> dict[str, Any]:
        run = item.step if isinstance(item.step, Run) else None
        root = self.recipe.line(run).root if run else None
        return {
            "name": item.name,
            "kind": item.step.kind(),
            "parent": item.parent,
            "leaves_at_tokens": run.leaves_at if isinstance(run, Cooldown) else None,
            "ends_at_tokens": max(item.points) if run else None,
            "asked_tokens": (run.asked_tokens or run.tokens) if run else None,
            "state": item.state,
            "inputs": {where: str(ref) for where, ref in item.step.refs().items()},
            "points": list(item.points),
            "missing": list(item.missing),
            "todo_tokens": item.todo_tokens,
            "replay_tokens": item.replay_tokens,
            "flops": item.flops,
            "six_nd": six_nd(root.model.parameters, item.todo_tokens) if root else None,
            "disk_bytes": item.disk_bytes,
        }


def plan(
    recipe: Recipe,
    lab: Lab,
    *,
    flops_per_second: float | None = None,
    price_per_hour: float | None = None,
    only: Collection[str] = (),
    until: int | None = None,
    token_prices: Prices | None = None,
) -> Plan:
    """Return the plan of a recipe against a lab; makes and changes nothing.

    `only` keeps the named steps and what they need; `until` asks of every run no point beyond it.
    Raises Mismatch, with the fields, where a step under a wanted name was asked for otherwise.
    """
    prints = Prints(recipe)
    names = _needed(recipe, only, until)
    _refuse_in_the_way(lab, names)
    measured = _measured(lab) if flops_per_second is None else None
    wanted = recipe.points_wanted_by(names, only or names)
    items = tuple(
        _item(recipe, step, prints, lab, wanted.get(step.name, ()), until)
        for step in recipe.ordered
        if step.name in names
    )
    items = keep_out(recipe, prints, lab, items)
    return Plan(
        recipe=recipe,
        prints=prints,
        items=items,
        flops_per_second=flops_per_second or measured or ASSUMED_FLOPS,
        measured=measured is not None,
        price_per_hour=price_per_hour,
        warnings=tuple(_warnings(recipe, items, lab)),
        token_prices=token_prices,
    )


def _needed(recipe: Recipe, only: Collection[str], until: int | None) -> set[str]:
    for name in only:
        if name not in recipe.by_name:
            raise NotFound(
                f"{recipe.name} has no step {name!r}", hint=f"steps: {', '.join(recipe.by_name)}"
            )
    needed = set(only or recipe.by_name)
    for step in reversed(recipe.ordered if only else ()):
        if step.name in needed:
            needed.update(ref.name for ref in step.refs().values())
    if until is not None:
        needed -= _beyond(recipe, until)
    return needed


def _beyond(recipe: Recipe, until: int) -> set[str]:
    """Return the steps that need a point after `until`, and all that needs them."""
    beyond: set[str] = set()
    for step in recipe.ordered:
        ends = [recipe.end(ref) or 0 for ref in step.refs().values()]
        own = step.tokens if isinstance(step, Run) and not isinstance(step, Root) else 0
        if max([*ends, own], default=0) > until or any(
            r.name in beyond for r in step.refs().values()
        ):
            beyond.add(step.name)
    return beyond


def _refuse_in_the_way(lab: Lab, names: Collection[str]) -> None:
    """Refuse a step whose folder lies in that of another step of the lab, or holds one."""
    if not lab.folder.is_dir():
        return
    for above in {folder for name in names for folder in folders_above(name)}:
        if lab.holds(above):
            inside = next(name for name in names if above in folders_above(name))
            raise BadInput(
                f"{inside} would lie inside the folder of {above}, which is in {lab.folder}",
                hint=f"rename it, or type: ramify forget {above}",
            )
    for name in names:
        if lab.at(name).is_dir() and not lab.holds(name):
            held = next(lab.places(name), None)
            if held is not None:
                raise BadInput(
                    f"the folder of {name} holds {held.name}, which is in {lab.folder}",
                    hint=f"rename it, or type: ramify forget {held.name}",
                )


def _item(
    recipe: Recipe,
    step: Step,
    prints: Prints,
    lab: Lab,
    wanted: tuple[int, ...],
    until: int | None,
) -> Item:
    if isinstance(step, Run):
        return _run_item(recipe, step, prints, lab, wanted, until)
    record = lab.record(step.name)
    flops = _evaluate_flops(recipe, step) if isinstance(step, Evaluate) else 0.0
    if record is not None:
        _refuse_otherwise(step.name, record.asked, prints.asked(step.name))
        return Item(step, "done")
    if isinstance(step, Average | EmaAverage):
        check_average(recipe, step, lab)
    begun = artifact.partial(lab.at(step.name)).exists()
    return Item(step, "partial" if begun else "wanted", flops=flops)


def _run_item(
    recipe: Recipe,
    run: Run,
    prints: Prints,
    lab: Lab,
    wanted: tuple[int, ...],
    until: int | None,
) -> Item:
    line = recipe.line(run)
    there, newest, warnings = _sound_points(lab, run.name)
    if newest is not None:
        _refuse_otherwise(run.name, newest.asked, prints.asked(run.name, max(there)))
    done_to = max(there, default=line.begins_at)
    points = _points(line, recipe.wanted_points[run.name], wanted, done_to, until)
    missing = tuple(p for p in points if p not in there)
    growth = max(max(points) - done_to, 0) if missing else 0
    replay, below = 0, sorted(there)
    for point in missing:
        if point < done_to:
            replay += point - max((p for p in below if p < point), default=line.begins_at)
            below.append(point)
    begun = bool(there) or (lab.at(run.name) / places.RUN).exists()
    return Item(
        run,
        "done" if not missing else "partial" if begun else "wanted",
        points=points,
        missing=missing,
        begins_at=line.begins_at,
        parent=run.parent.name if isinstance(run, Cooldown) else None,
        todo_tokens=growth + replay,
        replay_tokens=replay,
        flops=by_product(line.root, growth + replay),
        disk_bytes=len(missing) * line.root.model.parameters * _bytes_of_state(line, run),
        warnings=warnings,
    )


def _bytes_of_state(line: Line, run: Run) -> int:
    """Return the bytes of a point for each parameter: weights, moments, averages under way."""
    means = (run.windows is not None, run.ema is not None, line.is_schedule_free)
    return BYTES_OF_STATE + BYTES_OF_SUM * sum(means)


def _points(
    line: Line,
    every: tuple[int, ...],
    wanted: tuple[int, ...],
    done_to: int,
    until: int | None,
) -> tuple[int, ...]:
    """Return the points wanted, and of `every` point of the recipe those passed on the way there."""
    if until is not None and max(wanted) > until:
        whole = until // line.step_tokens * line.step_tokens
        if whole <= line.begins_at:
            raise BadInput(
                f"{line.run.name} has no step that ends by {until} tokens",
                hint=f"give {line.begins_at + line.step_tokens} or more",
            )
        wanted = (*(p for p in wanted if p <= until), whole)
    passed = {p for p in every if done_to < p < max(wanted)}
    return tuple(sorted(passed.union(wanted)))


def _sound_points(lab: Lab, run: str) -> tuple[set[int], Record | None, tuple[str, ...]]:
    """Return the points that are there, the record of the newest that has one, and what is wrong."""
    there, wrong = lab.points_of(run), []
    while there:
        newest = max(there)
        try:
            record = artifact.read_record(there[newest])
        except Corrupt as error:
            wrong.append(f"{error.message}: goes on from an older point")
            record = None
        if record is not None:
            return set(there), record, tuple(wrong)
        del there[newest]  # not sound, or removed since the look
    return set(), None, tuple(wrong)


def _evaluate_flops(recipe: Recipe, step: Evaluate) -> float:
    if step.limit_tokens is None:
        return 0.0  # how much is held out is known once it is read
    target = recipe.by_name[step.model.name]
    while not isinstance(target, Run):
        target = recipe.by_name[next(iter(target.refs().values())).name]
    root = recipe.line(target).root
    return forward_flops(root.model, step.seq_len, step.limit_tokens * len(step.corpora))


def _refuse_otherwise(name: str, made: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    asked = json.loads(json.dumps(asked))
    if made != asked:
        changed = artifact.differences(made, asked)
        raise Mismatch(
            f"{name} was made otherwise: {'; '.join(changed[:4])}",
            hint=f"give it another name, or type: ramify forget {name}"
            " (--with-children: and all that was made from it)",
        )


def _measured(lab: Lab) -> float | None:
    """Return the FLOPs a second of a worker, as the longest journal of this lab tells."""
    if not lab.folder.is_dir():
        return None
    journals = [p.folder / places.JOURNAL for p in lab.places() if p.is_run]
    longest = max((j for j in journals if j.exists()), key=lambda j: j.stat().st_size, default=None)
    if longest is None:
        return None
    born, steps = places.read_run(longest.parent), read_journal(longest, "step")
    seconds = sum(line["seconds"] for line in steps)
    if born is None or not seconds:
        return None
    shape = ModelConfig.model_validate(born["lineage"][0]["model"])
    tokens = sum(line["loss_tokens"] for line in steps)
    return float(train_flops(shape, born["lineage"][0]["seq_len"], tokens) / seconds)


def _warnings(recipe: Recipe, items: tuple[Item, ...], lab: Lab) -> list[str]:
    told = [warning for item in items for warning in item.warnings]
    told += _rounded([item.step for item in items if isinstance(item.step, Run)])
    for item in items:
        run = item.step
        if isinstance(run, Cooldown) and run.mixture is None:
            told.extend(_crossed(recipe, run))
    need = sum(item.disk_bytes for item in items)
    home = next(
        folder
        for folder in (lab.folder.absolute(), *lab.folder.absolute().parents)
        if folder.exists()
    )
    free = shutil.disk_usage(home).free
    if need > free:
        told.append(f"the points need {need} bytes of disk, {free} are free")
    return [*told, *_epochs(recipe, items, lab)]


def _rounded(runs: Sequence[Run]) -> list[str]:
    """Return what was rounded to whole steps: each run, or all in one line where they are many."""
    asked = [(run, run.asked_tokens) for run in runs if run.asked_tokens not in (None, run.tokens)]
    if len(asked) <= ROUNDED_TOLD:
        return [
            f"{r.name}: {wanted} tokens asked, {r.tokens} in whole steps" for r, wanted in asked
        ]
    most = max(abs(run.tokens / wanted - 1) for run, wanted in asked if wanted)
    return [f"{len(asked)} runs end on whole steps, at most {most:.2%} from what was asked"]


def _crossed(recipe: Recipe, run: Cooldown) -> list[str]:
    *_, parent, _ = recipe.lineage(run)
    stages = recipe.line(parent).stages(run.tokens)
    crossed = [at for at, _ in stages if run.leaves_at <= at < run.tokens]
    return [
        f"{run.name} keeps the mixture that it leaves at {run.leaves_at} to its end, though "
        f"{parent.name} changes its own at {at}"
        for at in crossed
    ]


def _epochs(recipe: Recipe, items: tuple[Item, ...], lab: Lab) -> list[str]:
    """Return a warning for each source that a run would read more than 4 times, where sizes are known."""
    told = []
    sizes: dict[str, int | None] = {}
    for item in items:
        if not isinstance(item.step, Run):
            continue
        line = recipe.line(item.step)
        used = dict.fromkeys(line.source_names, 0.0)
        stages = [*line.stages(max(item.points)), (max(item.points), {})]
        for (at, mixture), (end, _) in pairwise(stages):
            for name, share in mixture.items():
                used[name] += share * (end - at)
        for name, tokens in used.items():
            ref = line.root.sources.get(name)
            if ref is None:
                continue
            if ref.name not in sizes:
                record = lab.record(ref.name)
                sizes[ref.name] = record.facts.get("tokens") if record else None
            size = sizes[ref.name]
            if size and tokens / size > EPOCHS_WARNED:
                told.append(
                    f"{item.name} reads {name} {tokens / size:.1f} times (beyond 4 to 5 it stops helping)"
                )
    return told


def money_flag(text: str | None) -> float | None:
    """Return a price per hour as a number; BadInput if it is none."""
    if text is None:
        return None
    try:
        price = float(text.lstrip("$"))
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise BadInput(f"--price {text} is no amount", hint="write dollars an hour, like 2.50")
    return price
