"""What is wanted: steps by name, as a Python function returns them. No side effects, no torch."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
import traceback
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from ramify.ground.artifact import digest
from ramify.ground.errors import BadInput, NotFound, RamifyError, told
from ramify.ground.step import Ref, Step, check_name, identity
from ramify.train.line import Line
from ramify.train.steps import Average, Cooldown, EmaAverage, Root, Run, Trunk

INSTALLED = "ramify.recipes"
MISTAKES = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError,
)  # fmt: skip  # what a person's own code may raise


class Recipe(BaseModel):
    """A lab's worth of wanted steps. Raises BadInput for a name twice, unknown, or in a circle."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    steps: tuple[SerializeAsAny[Step], ...]

    @field_validator("steps")
    @classmethod
    def _placed(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Let each branch off an average know where that stands."""
        named = {step.name: step for step in steps}
        return tuple(
            step.placed(named.get(step.parent.name)) if isinstance(step, Cooldown) else step
            for step in steps
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_name(self.name)
        self._check_names()
        for step in self.steps:
            for where, ref in step.refs().items():
                if ref.name not in self.by_name:
                    near = ", ".join(sorted(self.by_name)[:12])
                    raise BadInput(
                        f"{step.name} takes {where} from {ref.name!r}, which is no step",
                        hint=f"steps: {near}",
                    )
        _ = self.ordered
        for step in self.steps:
            if isinstance(step, Run):
                self._check_run(step)
        for step in self.steps:
            for ref in step.refs().values():
                self._check_ref(step, ref)
        return self

    def _check_names(self) -> None:
        seen: set[str] = set()
        for step in self.steps:
            if step.name in seen:
                raise BadInput(f"two steps are called {step.name!r}", hint="give one another name")
            seen.add(step.name)
        for name in seen:
            if inside := next((p for p in folders_above(name) if p in seen), None):
                raise BadInput(f"{name} would lie inside the folder of {inside}", hint="rename one")

    def _check_run(self, run: Run) -> None:
        line = self.line(run)
        if run.tokens <= line.begins_at:
            raise BadInput(
                f"{run.name} is asked for {run.tokens} tokens", hint=f"give {line.step_tokens}"
            )
        for point in run.points:
            if point % line.step_tokens or point <= line.begins_at:
                raise BadInput(
                    f"{run.name} keeps a point at {point} tokens, where no step of it ends",
                    hint=f"give whole steps of {line.step_tokens} after {line.begins_at}",
                )
        if isinstance(run, Cooldown):
            self._check_mixture(run, line)

    def _check_mixture(self, run: Cooldown, line: Line) -> None:
        """Refuse a mixture of sources that the branch's fingerprint would not cover."""
        above: list[Root | Cooldown] = [line.root, *line.branches[:-1]]
        known = {name: ref for each in above for name, ref in each.sources.items()}
        stages = line.root.stages_before(line.branches[0].leaves_at)
        covered = {name for stage in stages for name in stage.mixture}
        covered.update(name for branch in line.branches for name in branch.sources)
        for name, ref in run.sources.items():
            if known.get(name, ref) != ref:
                raise BadInput(
                    f"{run.name} calls {ref} {name!r}, as its line calls {known[name]}",
                    hint="give the source another name in its mixture",
                )
        for name in run.mixture or {}:
            if name not in covered:
                at = f"Ref(name={known[name].name!r})" if name in known else "Ref(name=...)"
                raise BadInput(
                    f"the mixture of {run.name} names {name!r}, which its line has not read",
                    hint=f"give it sources={{{name!r}: {at}}}",
                )

    def _check_ref(self, step: Step, ref: Ref) -> None:
        target = self.by_name[ref.name]
        if ref.at is None:
            return
        if not isinstance(target, Run):
            raise BadInput(
                f"{step.name} takes {ref}, but {ref.name} is no run", hint="leave out at="
            )
        line = self.line(target)
        if ref.at % line.step_tokens:
            whole = max(round(ref.at / line.step_tokens), 1) * line.step_tokens
            raise BadInput(
                f"{step.name} takes {ref}, within a step of {line.step_tokens} tokens",
                hint=f"give at={whole}",
            )
        # a trunk has no length: whoever takes a point of it makes it grow there
        last = ref.at if isinstance(target, Trunk) else target.tokens
        if not line.begins_at < ref.at <= last:
            first = line.begins_at + line.step_tokens
            raise BadInput(
                f"{step.name} takes {ref}, a point that does not exist",
                hint=f"{ref.name} has points from {first} to {target.tokens} tokens",
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
            if step.name not in done:
                _visit(step, self.by_name, done)
        return tuple(done.values())

    def lineage(self, run: Run) -> tuple[Run, ...]:
        """Return the runs from the root to `run`."""
        line = [run]
        while isinstance(last := line[-1], Cooldown):
            parent = self.by_name[last.parent.name]
            if last.parent.at is None and isinstance(parent, Average | EmaAverage):
                parent = self.by_name[parent.run.name]
            if not isinstance(parent, Run):
                raise BadInput(
                    f"{last.name} leaves {parent.name}, which is no run",
                    hint="let it leave a trunk, a cosine run, a branch or an average of one",
                )
            line.append(parent)
        return tuple(reversed(line))

    def line(self, run: Run) -> Line:
        """Return a run with its ancestors; BadInput where it cannot leave its parent."""
        if run.name not in self._lines:
            self._lines[run.name] = Line(self.lineage(run))
        return self._lines[run.name]

    @cached_property
    def _lines(self) -> dict[str, Line]:
        return {}

    def end(self, ref: Ref) -> int | None:
        """Return the token that a ref stands for: its own, or its run's end; None if no run."""
        step = self.by_name[ref.name]
        if not isinstance(step, Run):
            return None
        return step.tokens if ref.at is None else ref.at

    @cached_property
    def wanted_points(self) -> Mapping[str, tuple[int, ...]]:
        """The points wanted of each run: what others take, what it asks to keep, and its end."""
        return self.points_wanted_by(self.by_name, self.by_name)

    def points_wanted_by(
        self, names: Collection[str], whole: Collection[str]
    ) -> Mapping[str, tuple[int, ...]]:
        """Return what the steps `names` take of each run, and of the runs `whole` all that they ask."""
        wanted: dict[str, set[int]] = {}
        for name in names:
            step = self.by_name[name]
            if isinstance(step, Run) and name in whole:
                wanted.setdefault(name, set()).update({*step.points, step.tokens})
            for ref in step.refs().values():
                if (at := self.end(ref)) is not None:
                    wanted.setdefault(ref.name, set()).add(at)
        return {name: tuple(sorted(points)) for name, points in wanted.items()}


def folders_above(name: str) -> Iterator[str]:
    """Yield the names of the folders that a step's folder lies in, outermost first."""
    parts = name.split("/")
    return ("/".join(parts[:n]) for n in range(1, len(parts)))


def _visit(step: Step, steps: Mapping[str, Step], done: dict[str, Step]) -> None:
    # by hand, not recursive: trees may be thousands of steps deep
    stack: list[tuple[Step, Iterator[Ref]]] = [(step, iter(step.refs().values()))]
    on_path = {step.name}
    while stack:
        current, refs = stack[-1]
        ref = next(refs, None)
        if ref is None:
            stack.pop()
            on_path.discard(current.name)
            done[current.name] = current
        elif ref.name in on_path:
            raise BadInput(
                f"{ref.name} takes in itself, by way of {current.name}",
                hint="let one of them take in something else",
            )
        elif ref.name not in done:
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
        stack = [ref]  # by hand, not recursive, as chains may be long
        while stack:
            name, at = key = self._key(stack[-1])
            inputs = self.recipe.by_name[name].inputs(at).values()
            unknown = [each for each in inputs if self._key(each) not in self._known]
            if key not in self._known and unknown:
                stack += unknown
                continue
            if key not in self._known:
                self._known[key] = digest(self.asked(name, at))
            stack.pop()
        return self._known[self._key(ref)]

    def _key(self, ref: Ref) -> tuple[str, int | None]:
        return ref.name, self.recipe.end(ref)


def load(spec: str, settings: Mapping[str, str] | None = None) -> Recipe:
    """Return the recipe of `quickstart` (installed), `path.py` or `path.py:function`, with settings.

    Raises NotFound if there is none, BadInput, with the line of the file, if it cannot be imported
    or fails, takes no such setting, or returns no Recipe.
    """
    function = find(spec)
    file = function.__code__.co_filename
    with _mistakes_told(spec, file, settings or {}):
        given = _parsed(spec, function, settings or {})
        recipe = function(**given)
    if not isinstance(recipe, Recipe):
        raise BadInput(f"{spec} returned a {type(recipe).__name__}", hint="return a ramify.Recipe")
    return recipe


@contextlib.contextmanager
def _mistakes_told(spec: str, file: str, settings: Mapping[str, str]) -> Iterator[None]:
    """Turn what goes wrong in a person's own code into BadInput with the line where it did.

    A number in a field that is called as a setting is told with what was typed for it.
    """
    try:
        yield
    except RamifyError:
        raise
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][-1]) if first["loc"] else ""
        is_number = isinstance(first["input"], int | float)  # what is none may be a secret
        typed = f" (--set {field}={settings[field]})" if field in settings and is_number else ""
        raise BadInput(f"{spec}{_line_of(error, file)}: {told(error)}{typed}") from error
    except MISTAKES as error:
        where = _line_of(error, file)
        raise BadInput(f"{spec}{where}: {type(error).__name__}: {error}") from error


def _line_of(error: BaseException, file: str) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return f", line {lines[-1]}" if lines else ""


def find(spec: str) -> FunctionType:
    """Return the function that a recipe's name stands for: `recipe`, or the first of its module."""
    place, _, name = spec.partition(":")
    if place.endswith(".py") or "/" in place:
        module = _from_file(Path(place))
    elif place in installed():
        module = importlib.import_module(f"{INSTALLED}.{place}")
    else:
        raise NotFound(
            f"no recipe is called {place!r}",
            hint=f"use one of {', '.join(installed())}, or path.py",
        )
    functions = {
        n: f
        for n, f in vars(module).items()
        if inspect.isfunction(f) and f.__module__ == module.__name__ and not n.startswith("_")
    }
    # a function that says it returns nothing is a script's, and would do its work
    returning = [
        n for n, f in functions.items() if f.__annotations__.get("return", "") not in (None, "None")
    ]
    wanted = name or ("recipe" if "recipe" in functions else next(iter(returning), "recipe"))
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
    # a cached copy is told from its source by size and second: an edit could go unseen
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with _mistakes_told(str(path), str(path), {}):
            spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
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
        hint = hints.get(name, str)
        adapter = TypeAdapter[Any](hint)
        try:
            as_json = text.startswith(("[", "{")) or (text == "null" and _may_be_none(hint))
            given[name] = adapter.validate_json(text) if as_json else adapter.validate_strings(text)
        except ValidationError as error:
            listed = error.errors()[0]["type"] == "tuple_type"
            hint = f"""write a list, like --set {name}='["one", "two"]'""" if listed else None
            raise BadInput(f"--set {name}={text}: {told(error)}", hint=hint) from error
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in given:
            raise BadInput(f"{spec} needs a {name}", hint=f"add --set {name}=VALUE")
    return given


def _may_be_none(hint: Any) -> bool:
    """Say whether a setting may be left without a value; of one that may not, `null` is a word."""
    return type(None) in typing.get_args(hint)
