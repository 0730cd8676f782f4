"""What is wanted: steps by name, as a Python function returns them. No side effects, no torch."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from ramify.ground.artifact import digest
from ramify.ground.errors import BadInput, NotFound, told
from ramify.ground.step import Ref, Step, check_name, identity
from ramify.train.line import Line
from ramify.train.steps import Cooldown, Root, Run

INSTALLED = "ramify.recipes"


class Recipe(BaseModel):
    """A lab's worth of wanted steps. Raises BadInput for a name twice, unknown, or in a circle."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    steps: tuple[SerializeAsAny[Step], ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_name(self.name)
        seen: set[str] = set()
        for step in self.steps:
            if step.name in seen:
                raise BadInput(f"two steps are called {step.name!r}", hint="give one another name")
            seen.add(step.name)
        for name in seen:
            if inside := next((p for p in _folders_above(name) if p in seen), None):
                raise BadInput(f"{name} would lie inside the folder of {inside}", hint="rename one")
        for step in self.steps:
            for where, ref in step.refs().items():
                self._check_ref(step, where, ref)
        _ = self.ordered
        for step in self.steps:
            if isinstance(step, Run):
                Line(self.lineage(step))
        return self

    def _check_ref(self, step: Step, where: str, ref: Ref) -> None:
        target = self.by_name.get(ref.name)
        if target is None:
            near = ", ".join(sorted(self.by_name)[:12])
            raise BadInput(
                f"{step.name} takes {where} from {ref.name!r}, which is no step",
                hint=f"steps: {near}",
            )
        if ref.at is None:
            return
        if not isinstance(target, Run):
            raise BadInput(
                f"{step.name} takes {ref}, but {ref.name} is no run", hint="leave out at="
            )
        line = Line(self.lineage(target))
        if ref.at % line.step_tokens:
            whole = round(ref.at / line.step_tokens) * line.step_tokens
            raise BadInput(
                f"{step.name} takes {ref}, within a step of {line.step_tokens} tokens",
                hint=f"give at={whole}",
            )
        first = line.begins_at if isinstance(target, Root) else line.begins_at + 1
        last = ref.at if _has_no_length(target) else target.tokens
        if not first <= ref.at <= last:
            raise BadInput(
                f"{step.name} takes {ref}, a point that does not exist",
                hint=f"{ref.name} goes from {line.begins_at} to {target.tokens} tokens",
            )

    @cached_property
    def by_name(self) -> Mapping[str, Step]:
        """The steps by name."""
        return {step.name: step for step in self.steps}

    @cached_property
    def ordered(self) -> tuple[Step, ...]:
        """The steps in the order written, but each after all that it takes in."""
        done: dict[str, Step] = {}
        for step in self.steps:
            _visit(step, self.by_name, done, [])
        return tuple(done.values())

    def lineage(self, run: Run) -> tuple[Run, ...]:
        """Return the runs from the root to `run`."""
        line = [run]
        while isinstance(line[0], Cooldown):
            parent = self.by_name[line[0].parent.name]
            if not isinstance(parent, Run):
                raise BadInput(f"{line[0].name} leaves {parent.name}, which is no run")
            if parent in line:
                raise BadInput(f"{parent.name} leaves itself", hint="let it leave another run")
            line.insert(0, parent)
        return tuple(line)

    def end(self, ref: Ref) -> int | None:
        """Return the token that a ref stands for: its own, or its run's end; None if no run."""
        step = self.by_name[ref.name]
        return (ref.at or step.tokens) if isinstance(step, Run) else None

    @cached_property
    def wanted_points(self) -> Mapping[str, tuple[int, ...]]:
        """The points wanted of each run: what others take, what it asks to keep, and its end."""
        wanted: dict[str, set[int]] = {}
        for step in self.steps:
            if isinstance(step, Run):
                wanted.setdefault(step.name, set()).update({*step.points, step.tokens})
            for ref in step.refs().values():
                if (at := self.end(ref)) is not None:
                    wanted.setdefault(ref.name, set()).add(at)
        return {name: tuple(sorted(points)) for name, points in wanted.items()}


def _folders_above(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:n]) for n in range(1, len(parts)))


def _has_no_length(step: Step) -> bool:
    return step.kind() == "trunk"


def _visit(step: Step, steps: Mapping[str, Step], done: dict[str, Step], path: list[str]) -> None:
    # by hand, not recursive: trees may be thousands of steps deep
    stack: list[tuple[Step, Iterator[Ref]]] = [(step, iter(step.refs().values()))]
    path.append(step.name)
    on_path = {step.name}
    while stack:
        current, refs = stack[-1]
        ref = next(refs, None)
        if ref is None:
            stack.pop()
            on_path.discard(current.name)
            done.setdefault(current.name, current)
            continue
        if ref.name in on_path:
            raise BadInput(f"{ref.name} takes in itself, by way of {current.name}")
        if ref.name not in done:
            on_path.add(ref.name)
            stack.append((steps[ref.name], iter(steps[ref.name].refs().values())))


class Prints:
    """Fingerprints of a recipe's steps: of what was asked, never of where or how long it ran."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._known: dict[tuple[str, int | None], str] = {}

    def asked(self, name: str, at: int | None = None) -> dict[str, Any]:
        """Return the identity of a step (of a run up to `at`), with its inputs as fingerprints."""
        return identity(self.recipe.by_name[name], self.of, at)

    def of(self, ref: Ref) -> str:
        """Return the fingerprint of what a ref names."""
        at = self.recipe.end(ref)
        key = (ref.name, at)
        if key not in self._known:
            self._known[key] = digest(self.asked(ref.name, at))
        return self._known[key]


def load(spec: str, settings: Mapping[str, str] | None = None) -> Recipe:
    """Return the recipe of `quickstart` (installed), `path.py` or `path.py:function`, with settings.

    Raises NotFound if there is none, BadInput if it cannot be imported, takes no such setting, or
    returns no Recipe.
    """
    function = find(spec)
    given = _parsed(spec, function, settings or {})
    try:
        recipe = function(**given)
    except ValidationError as error:
        raise BadInput(f"{spec}: {told(error)}") from error
    if not isinstance(recipe, Recipe):
        raise BadInput(f"{spec} returned a {type(recipe).__name__}", hint="return a ramify.Recipe")
    return recipe


def find(spec: str) -> Callable[..., Any]:
    """Return the function that a recipe's name stands for."""
    place, _, name = spec.partition(":")
    if place.endswith(".py") or "/" in place:
        module = _from_file(Path(place))
    elif importlib.util.find_spec(f"{INSTALLED}.{place}") is not None:
        module = importlib.import_module(f"{INSTALLED}.{place}")
    else:
        raise NotFound(
            f"no recipe is called {place!r}",
            hint=f"use one of {', '.join(installed())}, or path.py",
        )
    functions = {
        n: f
        for n, f in vars(module).items()
        if inspect.isfunction(f) and f.__module__ == module.__name__
    }
    wanted = name or ("recipe" if "recipe" in functions else next(iter(functions), ""))
    if wanted not in functions:
        raise NotFound(
            f"{place} has no function {wanted!r}", hint=f"it has: {', '.join(functions) or 'none'}"
        )
    return functions[wanted]


def installed() -> list[str]:
    """Return the names of the recipes that come with Ramify."""
    package = importlib.import_module(INSTALLED)
    homes = [Path(home) for home in package.__path__]
    return sorted(p.stem for home in homes for p in home.glob("*.py") if p.stem != "__init__")


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise NotFound(f"there is no recipe {path}", hint="type: ramify new FOLDER to write one")
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except ValidationError as error:
        raise BadInput(f"{path}: {told(error)}") from error
    except (SyntaxError, ImportError, NameError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} cannot be imported: {error}") from error
    return module


def _parsed(spec: str, function: Callable[..., Any], settings: Mapping[str, str]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    hints = typing.get_type_hints(function, include_extras=True)
    given = {}
    for name, text in settings.items():
        if name not in parameters:
            raise BadInput(
                f"{spec} has no setting {name!r}", hint=f"it has: {', '.join(parameters) or 'none'}"
            )
        adapter = TypeAdapter[Any](hints.get(name, str))
        try:
            as_json = text.startswith(("[", "{"))
            given[name] = adapter.validate_json(text) if as_json else adapter.validate_strings(text)
        except ValidationError as error:
            raise BadInput(f"--set {name}={text}: {told(error)}") from error
    return given
