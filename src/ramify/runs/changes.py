"""What the disk holds otherwise than a plan has it: files that changed since they were read, or are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ramify.curate.items import files_of, read_items
from ramify.curate.selection_steps import Contamination, DomainRecall, Fetch, Remove
from ramify.curate.sources import changed
from ramify.curate.steps import Files, Pages, Read
from ramify.ground.errors import BadInput, MissingExtra
from ramify.ground.extras import check_scheme
from ramify.ground.far import is_far
from ramify.ground.step import Step
from ramify.runs.lab import Lab
from ramify.runs.plan import Plan
from ramify.tokens.steps import BroughtTokenizer

SHOWN = 2


def notes(plan: Plan, lab: Lab) -> Iterator[str]:
    """Yield a line for each finished corpus whose files are no longer those that it was read from.

    And one for each file or package that a step will want and that is not there, before hours of other
    steps.
    """
    for item in plan.to_do:
        yield from _unread(item.step)
        for path in _wanted(item.step):
            if not is_far(path) and not Path(path).expanduser().exists():
                yield f"{item.name} will want {path}, which is not there"
        for file in filter(_is_empty, _items(item.step)):
            yield f"{item.name} will look for items in {file}, which is empty"
    for item in plan.items:
        if isinstance(item.step, Read) and item.state == "done":
            lines = changed(item.step, lab.at(item.name))
            if lines:
                more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
                yield (
                    f"{item.name} stays as it was made, though its files changed: "
                    f"{'; '.join(lines[:SHOWN])}{more} (ramify forget {item.name} reads them anew)"
                )


def _unread(step: Step) -> Iterator[str]:
    """Yield why the addresses of a Fetch, or items that are there, cannot be read."""
    asked: list[Callable[[], object]] = []
    if isinstance(step, Fetch):
        asked += [partial(check_scheme, path) for path in (*step.index, step.base)]
    if items := [path for path in _items(step) if path.exists() and not _is_empty(path)]:
        asked.append(lambda: read_items(files_of(items)))
    found: dict[str, None] = {}
    for ask in asked:
        try:
            ask()
        except (BadInput, MissingExtra) as error:
            found[f"{step.name} cannot be made: {error}"] = None
    yield from found


def _is_empty(path: Path) -> bool:
    return path.is_file() and not path.stat().st_size


def _wanted(step: Step) -> Iterator[str]:
    """Yield the paths that a step of curation reads beside its inputs."""
    match step:
        case Read(source=Files(path=path) | Pages(path=path)):
            yield path
        case Contamination():
            yield from map(str, _items(step))
        case DomainRecall():
            yield from step.seeds.values()
        case Remove():
            yield from step.lists
        case Fetch():
            yield from (each for each in (*step.index, step.base) if not {*each} & {*"*?["})
            yield from [step.urls] if step.urls else []
        case BroughtTokenizer():
            yield str(step.path)
        case _:
            return


def _items(step: Step) -> list[Path]:
    """Return the files and folders of evaluation items that a step takes, other steps' aside."""
    given = step.items if isinstance(step, Contamination) else ()
    return [Path(each).expanduser() for each in given if isinstance(each, str)]
