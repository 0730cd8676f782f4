"""Check a recipe whose sources are there: data a person can read, disk, and each root run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from ramify.ground.units import show_bytes
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.recipe import Recipe
from ramify.tokens.shards import Source
from ramify.tokens.tokenizer import Codec
from ramify.train.check import Finding, check_run
from ramify.train.line import Line
from ramify.train.steps import Root

SHOWN = 240  # characters of a decoded sample


def check(recipe: Recipe, lab: Lab) -> Iterator[Finding]:
    """Yield findings: disk, one decoded sample per source, and what every root run would meet."""
    planned = plan(recipe, lab)
    need = sum(item.disk_bytes for item in planned.items)
    free = shutil.disk_usage(lab.folder).free
    yield Finding(need < free, f"disk: points need {show_bytes(need)}, {show_bytes(free)} are free")
    yield from (Finding(True, f"note: {warning}") for warning in planned.warnings)
    shown: set[str] = set()
    looked_at: list[object] = []
    for step in recipe.steps:
        if not isinstance(step, Root):
            continue
        same = (step.model, step.stages, step.rows, step.seq_len, step.optimizer, step.seed)
        if same in looked_at:
            continue  # a cosine run starts as its trunk does
        looked_at.append(same)
        line = Line((step,))
        folders = {name: lab.at(step.sources[name].name) for name in line.source_names}
        for name, folder in folders.items():
            if name not in shown:
                shown.add(name)
                yield _sample(lab, name, Source.open(folder))
        yield from check_run(line, folders)


def _sample(lab: Lab, name: str, source: Source) -> Finding:
    record = lab.record(source.folder.relative_to(lab.folder).as_posix())
    assert record is not None
    codec = Codec.open(lab.at(record.parents["tokenizer"]["name"]))
    ids = source.read(source.tokens // 2, min(128, source.tokens - source.tokens // 2))
    text = codec.decode(ids.tolist())
    readable = sum(c.isprintable() or c.isspace() for c in text) > 0.9 * len(text)
    return Finding(readable, f"{name}: {source.tokens} tokens; a sample: {text[:SHOWN]!r}")
