"""A step: one frozen, torch-free node of the work, that says what is asked and nothing of where."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict, field_validator

from ramify.ground.errors import BadInput
from ramify.ground.units import Tokens

NAME = re.compile(r"[a-z0-9][a-z0-9_.\-]*(/[a-z0-9][a-z0-9_.\-]*)*", re.IGNORECASE)
# what a run or a lab keeps under its own name, so that a step cannot be taken for it
RESERVED = frozenset(
    {"at", "windows", "partial", "lab.json", "run.json", "record.json", "asked.json", "journal.jsonl", "report.html"}
)  # fmt: skip


class Tell(Protocol):
    """What a step calls to say how far it is."""

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None: ...


def check_name(name: str) -> str:
    """Return `name` if it can be a folder of a lab, else raise BadInput."""
    parts = name.split("/")
    taken = RESERVED & set(parts) or any(part.endswith(".partial") for part in parts)
    if taken or not NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} cannot name a step",
            hint="use letters, digits, '.', '_', '-' and '/' (at, windows and partial are reserved)",
        )
    return name


class Ref(BaseModel):
    """What a step takes in: another step by name and, for a run, the token at which it is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    at: Tokens | None = None

    def __str__(self) -> str:
        return self.name if self.at is None else f"{self.name}@{self.at}"


class Step(BaseModel):
    """One node of the work. Changed only by `but`, which validates again."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: ClassVar[int] = 1  # raised when a default, or what a field means, changes
    conduct: ClassVar[frozenset[str]] = frozenset()  # fields that change no result
    name: str

    _name_is_a_folder = field_validator("name")(check_name)

    @classmethod
    def kind(cls) -> str:
        """Return the step's class as one lower-case word."""
        return cls.__name__.lower()

    def but(self, **changes: Any) -> Self:
        """Return a copy with `changes`, validated as if it were written out."""
        return type(self).model_validate({**dict(self), **changes})

    def refs(self) -> dict[str, Ref]:
        """Return every ref of this step by the path of its field, as `corpora.code`."""
        return dict(self._found_refs)

    @cached_property  # planning asks for them again and again
    def _found_refs(self) -> dict[str, Ref]:
        return {
            where: ref
            for field in type(self).model_fields
            for where, ref in _refs(field, getattr(self, field))
        }

    def inputs(self, at: int | None = None) -> dict[str, Ref]:
        """Return the refs that the step's result up to `at` tokens depends on."""
        return self.refs()

    def asked(self, at: int | None = None) -> dict[str, Any]:
        """Return what identifies the result: class, version, and fields that are no conduct or default."""
        skip = self.conduct | {"name"}
        return {"kind": self.kind(), "version": self.version, **canonical_fields(self, skip)}


def _refs(where: str, value: object) -> Iterator[tuple[str, Ref]]:
    match value:
        case str() | int() | float() | None:
            return
        case Ref():
            yield where, value
        case BaseModel():
            for field in type(value).model_fields:
                yield from _refs(f"{where}.{field}", getattr(value, field))
        case Mapping():
            for key, inner in value.items():
                yield from _refs(f"{where}.{key}", inner)
        case tuple() | list():
            for index, inner in enumerate(value):
                yield from _refs(f"{where}.{index}", inner)
        case _:
            return


def canonical_fields(
    model: BaseModel, skip: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    """Return the fields that differ from their defaults, and `kind` always, as plain JSON values."""
    fields = type(model).model_fields
    return {
        name: canonical(getattr(model, name))
        for name, field in fields.items()
        if name not in skip
        and (
            name == "kind"
            or field.is_required()
            or getattr(model, name) != field.get_default(call_default_factory=True)
        )
    }


class Told(dict[str, Any]):
    """A ref as plain JSON; of a type of its own, so that no mapping of sources is taken for one."""


def canonical(value: object) -> Any:
    """Return a value as plain JSON in which a ref is `{"ref": name, "at": tokens}`."""
    match value:
        case Ref():
            return Told(ref=value.name, at=value.at)
        case BaseModel():
            return canonical_fields(value)
        case Mapping():
            return {str(key): canonical(inner) for key, inner in value.items()}
        case tuple() | list():
            return [canonical(inner) for inner in value]
        case frozenset() | set():
            return sorted(str(inner) for inner in value)
        case Path():
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise BadInput(f"a {type(value).__name__} cannot be part of a step: {value!r}")


def identity(
    step: Step, fingerprint_of: Callable[[Ref], str], at: int | None = None
) -> dict[str, Any]:
    """Return what `step.asked` says, with each ref as the fingerprint of what it names.

    This is what a record keeps and what is fingerprinted: names and places are no part of it.
    """
    needed = set(step.inputs(at).values())

    def told(value: Any) -> Any:
        if isinstance(value, Told):
            ref = Ref(name=value["ref"], at=value["at"])
            return {"fingerprint": fingerprint_of(ref), "at": ref.at} if ref in needed else None
        if isinstance(value, dict):
            return {key: told(inner) for key, inner in value.items()}
        return [told(inner) for inner in value] if isinstance(value, list) else value

    asked: dict[str, Any] = told(step.asked(at))
    return asked


@dataclass(frozen=True)
class Input:
    """A resolved ref: a finished folder, its record as a dict, and its fingerprint."""

    path: Path
    record: Mapping[str, Any]
    fingerprint: str
