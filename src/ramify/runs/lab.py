"""What exists: a folder of finished and unfinished steps, under the names that people gave them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramify.ground import artifact, files
from ramify.ground.artifact import Record
from ramify.ground.errors import BadInput, Corrupt, NotFound
from ramify.ground.journal import read as read_journal
from ramify.ground.step import check_name
from ramify.ground.units import parse_count
from ramify.train import places

MARK = "lab.json"
LOCKS, LOGS, JOBS = ".locks", ".logs", ".jobs"


@dataclass(frozen=True)
class Place:
    """One step as it is found in a lab."""

    name: str
    folder: Path
    is_run: bool
    is_partial: bool


class Lab:
    """A folder that holds steps by name; readers never see half a thing."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @classmethod
    def open(cls, folder: Path | str) -> Lab:
        """Open a lab that exists; NotFound if nothing was ever made there."""
        lab = cls(folder)
        if not (lab.folder / MARK).is_file():
            raise NotFound(f"there is no lab in {folder}", hint="type: ramify run RECIPE --lab DIR")
        return lab

    def create(self) -> Lab:
        """Make the lab's folder if it is not there; BadInput if it is, and is no lab."""
        if not (self.folder / MARK).is_file():
            if self.folder.exists() and not self._is_empty():
                raise BadInput(
                    f"{self.folder} is there, and is no lab", hint="give --lab another folder"
                )
            files.make_folder(self.folder)
            with artifact.lock(self.folder / LOCKS / ".birth.lock", wait=True):
                files.write_json(self.folder / MARK, {"format": 1})
        return self

    def _is_empty(self) -> bool:
        # hidden entries are those of a lab about to be made, by another or by one that was killed
        return self.folder.is_dir() and all(e.name.startswith(".") for e in self.folder.iterdir())

    def at(self, name: str) -> Path:
        """Return the folder of the step called `name`, whether or not it is there."""
        return self.folder / name

    def lock(self, name: str) -> Path:
        """Return the lock file of the step called `name`."""
        return self.folder / LOCKS / f"{name.replace('/', '+')}.lock"

    @property
    def whole_lock(self) -> Path:
        """The lock file of whoever drives the whole lab: no step's, since their names have no such dot."""
        return self.folder / LOCKS / ".driver.lock"

    def log(self, name: str) -> Path:
        """Return the file that takes what the step's worker prints."""
        return self.folder / LOGS / f"{name.replace('/', '+')}.log"

    def holds(self, name: str) -> bool:
        """Say whether a step called `name` is there: a finished one, or a run that was born."""
        folder = self.at(name)
        return (folder / artifact.RECORD).exists() or (folder / places.RUN).exists()

    def places(self, inside: str = "") -> Iterator[Place]:
        """Yield every step that is there (below a name), finished or not, in order of name."""
        yield from _places(self.folder / inside, self.folder)

    def place(self, name: str) -> Place:
        """Return the step called `name`; NotFound, with the names that are there, if it is not."""
        folder = self.at(check_name(name))
        if (folder / places.RUN).exists():
            return Place(name, folder, is_run=True, is_partial=not places.points(folder))
        if (folder / artifact.RECORD).exists():
            return Place(name, folder, is_run=False, is_partial=False)
        places_there = list(self.places())
        if any(place.name == name for place in places_there):
            raise NotFound(
                f"{name} is begun, not finished, in {self.folder}",
                hint="type the ramify run that began it again",
            )
        there = ", ".join(place.name for place in places_there) or "nothing"
        raise NotFound(f"{name} is not in {self.folder}", hint=f"there: {there}")

    def corpus(self, name: str) -> tuple[str, str | None]:
        """Return the step that `NAME` or `NAME/PART` stands for, and which of its corpora (None: all).

        Raises NotFound, with the parts or the names that are there, if there is no such step or part.
        """
        step, _, part = check_name(name).rpartition("/")
        record = self.record(step) if step and not self.holds(name) else None
        parts = record.facts.get("corpora", {}) if record else {}
        if parts and part not in parts:
            raise NotFound(f"{step} has no part {part!r}", hint=f"parts: {', '.join(parts)}")
        return (step, part) if parts else (self.place(name).name, None)

    def record(self, name: str) -> Record | None:
        """Return the record of a finished step that is no run; Corrupt if it cannot be read."""
        try:
            return artifact.read_record(self.at(name))
        except Corrupt as error:
            raise Corrupt(error.message, hint=f"type: ramify forget {name}") from error

    def points_of(self, run: str) -> dict[int, Path]:
        """Return the finished points of a run by token."""
        return places.points(self.at(run))

    def journal(self, run: str, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the journal of a run: those lines that hold."""
        return read_journal(self.at(run) / places.JOURNAL, kind)

    def points(self) -> list[dict[str, Any]]:
        """Return a table of every point of every run, for notebooks: a list of plain rows.

        Columns: run, kind, parent, leaves_at, tokens, decayed, loss (the mean of its last steps,
        in nats), rate, parameters, seconds, fingerprint, path, and bits_per_byte by domain where a
        probe looked. `pandas.DataFrame(lab.points())` makes a frame of it.
        """
        return [row for place in self.places() if place.is_run for row in self._rows(place)]

    def _rows(self, place: Place) -> Iterator[dict[str, Any]]:
        born = places.read_run(place.folder) or {}
        own = born["lineage"][-1]
        parent = own.get("parent") or {}
        steps = self.journal(place.name, "step")
        probes = {
            line["tokens"]: line["bits_per_byte"] for line in self.journal(place.name, "probe")
        }
        for tokens, folder in places.points(place.folder).items():
            record = artifact.read_record(folder)
            if record is None:  # a point that only served to go on, removed since the look
                continue
            yield {
                "run": place.name,
                "kind": own["kind"],
                "parent": parent.get("name"),
                "leaves_at": parent.get("at") or own.get("stands_at"),
                "tokens": tokens,
                "decayed": record.facts["decayed"],
                "loss": recent_loss(steps, tokens),
                "rate": record.facts["rate"],
                "parameters": born.get("parameters"),
                "seconds": sum(line["seconds"] for line in steps if line["tokens"] <= tokens),
                "fingerprint": record.fingerprint,
                "path": str(folder),
                "bits_per_byte": probes.get(tokens),
            }

    def verify(self) -> Iterator[tuple[str, list[str]]]:
        """Yield (name, what is wrong) for every finished folder: every record, size and hash."""
        for place in self.places():
            if place.is_partial and not place.is_run:
                continue
            folders = [place.folder]
            if place.is_run:
                yield place.name, _wrong_birth(place.folder)
                folders = [
                    *places.points(place.folder).values(),
                    *places.windows(place.folder).values(),
                ]
            for folder in folders:
                yield folder.relative_to(self.folder).as_posix(), _wrong(folder)

    def forget(self, target: str, after: int | None = None) -> list[str]:
        """Remove a step, of a run one point (`NAME@TOKENS`), or all `after` a token; return what.

        What was made from it stays. Raises Busy while it is being made, NotFound if there is no
        such step or point, BadInput for a token of what is no run.
        """
        name, _, text = target.partition("@")
        place = self._any(name)
        one = parse_count(text) if text else None
        if not place.is_run and not (one is None and after is None):
            raise BadInput(f"{name} is no run", hint=f"type: ramify forget {name}")
        with artifact.lock(self.lock(name)):
            parts = self._parts(place, one, after)
            # windows, then points, newest first: what a kill leaves is still refused or still true
            for folder in reversed(parts):
                artifact.discard(folder)
            # with a point gone, a run that blew up may be tried again from before it
            files.remove(place.folder / places.DIVERGED)
            if one is not None or after is not None:
                return [f"{name}@{tokens}" for tokens in sorted(set(parts.values()))]
            # what a run is known by first, so that nobody takes the rest for it
            files.remove(place.folder / places.RUN)
            for folder in (place.folder, artifact.partial(place.folder)):
                artifact.discard(folder)
            return [name]

    def _parts(self, place: Place, one: int | None, after: int | None) -> dict[Path, int]:
        """Return the points and windows of a run: all, that at a token, or those after one."""
        found = [places.points(place.folder), places.windows(place.folder)]
        if one is not None and one not in found[0]:
            there = ", ".join(map(str, found[0])) or "none"
            raise NotFound(f"{place.name} has no point at {one} tokens", hint=f"points: {there}")
        return {
            folder: tokens
            for each in found
            for tokens, folder in each.items()
            if (one is None or tokens == one) and (after is None or tokens > after)
        }

    def _any(self, name: str) -> Place:
        folder = self.at(check_name(name))
        if not self.holds(name) and artifact.partial(folder).exists():
            return Place(name, folder, is_run=False, is_partial=True)
        return self.place(name)

    def children(self, name: str, after: int | None = None) -> list[str]:
        """Return the names of what was made from a step and is there; of a run, `after` a token."""
        found = set()
        for place in self.places():
            for parent in self.parents(place).values():
                beyond = after is None or parent["at"] is None or parent["at"] > after
                if parent["name"] == name and beyond:
                    found.add(place.name)
        return sorted(found)

    def descendants(self, name: str) -> list[str]:
        """Return the names of all that was made from a step, however far: each before its parents."""
        found: dict[str, None] = {}

        def take(parent: str) -> None:
            for child in self.children(parent):
                if child not in found:
                    take(child)
                    found[child] = None

        take(name)
        return list(found)

    def parents(self, place: Place) -> dict[str, dict[str, Any]]:
        """Return what a step was made from: field -> {name, at, fingerprint}; {} if nobody knows."""
        folder = place.folder
        if place.is_run:
            folder = next(reversed(places.points(folder).values()), folder)
        try:
            record = artifact.read_record(folder)
        except Corrupt:  # `verify` tells
            return {}
        return record.parents if record else {}


def recent_loss(steps: list[dict[str, Any]], tokens: int, last: int = 20) -> float | None:
    """Return the mean loss of the last steps up to a token."""
    losses = [
        line["loss"] for line in steps if line["tokens"] <= tokens and line["loss"] is not None
    ]
    return sum(losses[-last:]) / len(losses[-last:]) if losses else None


def _places(folder: Path, top: Path) -> Iterator[Place]:
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        name = entry.relative_to(top).as_posix()
        if (entry / places.RUN).exists():
            yield Place(name, entry, is_run=True, is_partial=not places.points(entry))
        elif entry.name.endswith(".partial"):
            yield Place(name.removesuffix(".partial"), entry, is_run=False, is_partial=True)
        elif (entry / artifact.RECORD).exists():
            yield Place(name, entry, is_run=False, is_partial=False)
        else:
            yield from _places(entry, top)


def _wrong_birth(run: Path) -> list[str]:
    try:
        places.read_run(run)
    except Corrupt as error:
        return [error.message]
    return []


def _wrong(folder: Path) -> list[str]:
    try:
        record = artifact.read_record(folder)
    except Corrupt as error:
        return [error.message]
    return artifact.unsound(folder, record) if record else [f"{folder} has no record"]


def read_json(path: Path) -> Any:
    """Return the JSON of a file of a lab; Corrupt if it is none."""
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise Corrupt(f"{path} cannot be read", hint="type: ramify verify") from error
