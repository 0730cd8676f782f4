"""The fingerprints and defaults of this version, kept in fingerprints.json so that none changes unseen.

A fingerprint leaves out what is a default. So a changed default would let old results pass for new
ones: it must raise `version` of every step class that has it. Then write the file anew:

    python tests/runs/golden.py
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ramify import (
    Ablation,
    Annotate,
    Apportion,
    Asked,
    Audit,
    Average,
    BroughtTokenizer,
    BroughtTokens,
    Cap,
    Classify,
    Complete,
    Constant,
    Contamination,
    Corpus,
    Decontaminate,
    Dedup,
    DomainRecall,
    EmaAverage,
    Evaluate,
    Export,
    Fetch,
    Files,
    Forecast,
    Interpolate,
    ModelConfig,
    NgramIndex,
    Pair,
    PythonInstallation,
    Read,
    Recipe,
    Ref,
    Remove,
    Rubric,
    Score,
    Select,
    Server,
    Sheet,
    Sift,
    Stage,
    Tokenize,
    Tokenizer,
    Trial,
    Trunk,
    Windows,
)
from ramify.curate.filters import TooShort
from ramify.ground.step import Step, canonical
from ramify.runs.job import KINDS
from ramify.runs.recipe import Prints, load

GOLDEN = Path(__file__).with_name("fingerprints.json")
STEP = 64
GONE = "gone"  # where a default was


def kinds() -> Recipe:
    """Return a recipe that has a step of every kind, each asked for as little as can be."""
    sources = {"a": Ref(name="a")}
    windows = Windows(steps=4, every=2)
    trunk = Trunk(
        name="trunk",
        model=ModelConfig(layers=1, width=16, heads=2, kv_heads=1, ffw=32, vocab=300),
        sources=sources,
        stages=(Stage(mixture={"a": 1.0}),),
        seq_len=16,
        rows=4,
        schedule=Constant(peak=1e-2),
        tokens=12 * STEP,
    )
    corpus = Corpus(ref=Ref(name="dedup"), part="a")
    return Recipe(
        name="kinds",
        steps=(
            Read(name="read", source=Files(path="texts")),
            Read(name="other", source=Files(path="other")),
            Dedup(name="dedup", corpora={"a": Ref(name="read")}),
            Annotate(
                name="annotate",
                corpus=Ref(name="read"),
                labeller=Asked(model="m"),
                rubric=Rubric(name="r", highest=5, text="Judge."),
                server=Server(base_url="http://localhost/v1"),
                cap=Cap(tokens=1000),
            ),
            Sheet(name="sheet", labels=Ref(name="annotate")),
            Audit(
                name="audit", labels=Ref(name="annotate"), others={"again": Ref(name="annotate")}
            ),
            Classify(name="classify", labels=Ref(name="annotate")),
            Score(
                name="score",
                corpus=Ref(name="read"),
                classifier=Ref(name="classify"),
                refine=Ref(name="classify"),
                near=(2.0,),
            ),
            Select(name="select", corpus=Ref(name="score"), at_least=3),
            Decontaminate(name="decontaminate", corpus=Ref(name="read"), items=("items",)),
            Contamination(name="contamination", corpus=Ref(name="read"), items=("items",)),
            NgramIndex(name="ngramindex", corpus=Ref(name="read")),
            DomainRecall(name="domainrecall", corpus=Ref(name="read")),
            Remove(name="remove", corpus=Ref(name="read"), licenses=("mit",)),
            Apportion(name="apportion", corpora={"a": Ref(name="read")}, shares={"a": 1.0}),
            Fetch(name="fetch", index=("index",), domains=Ref(name="domainrecall")),
            Sift(name="sift", corpus=Ref(name="read"), filters=(TooShort(),)),
            Tokenizer(name="tokenizer", corpora={"a": corpus}),
            BroughtTokenizer(name="broughttokenizer", path=Path("tokenizer.json")),
            Tokenize(name="a", corpus=corpus, tokenizer=Ref(name="tokenizer")),
            BroughtTokens(name="broughttokens", path="tokens", tokenizer=Ref(name="tokenizer")),
            trunk,
            trunk.cosine("cosine", 12 * STEP),
            trunk.cooldown("cooldown", 10 * STEP),
            Average(name="average", run=trunk.point(8 * STEP), windows=windows),
            EmaAverage(name="emaaverage", run=trunk.point(8 * STEP)),
            Interpolate(
                name="interpolate", a=trunk.point(8 * STEP), b=Ref(name="cooldown"), share=0.5
            ),
            Evaluate(name="evaluate", model=trunk.point(8 * STEP), corpora=sources, seq_len=16),
            Forecast(
                name="forecast",
                trunk=trunk.point(8 * STEP),
                ends_at=10 * STEP,
                left=Ref(name="evaluate"),
            ),
            Ablation(
                name="ablation",
                trials=(
                    Trial(
                        name="t",
                        having=Ref(name="a"),
                        lacking=Ref(name="a"),
                        pairs=(Pair(having=Ref(name="evaluate"), lacking=Ref(name="evaluate")),),
                    ),
                ),
            ),
            Export(
                name="export",
                models={"trunk": trunk.point(8 * STEP)},
                tokenizer=Ref(name="tokenizer"),
            ),
            Complete(name="complete", model=Ref(name="export"), prompts=("The",)),
        ),
    )


def defaults(kind: type[Step]) -> dict[str, Any]:
    """Return every default that identifies a result, of a step and of the models it is made of."""
    found: dict[str, Any] = {}
    for model in _models(kind, set()):
        skip = getattr(model, "conduct", frozenset()) | {"name"}
        for name, field in model.model_fields.items():
            if name not in skip and not field.is_required():
                value = field.get_default(call_default_factory=True)
                found[f"{model.__name__}.{name}"] = canonical(value)
    if kind is Read:  # the filters that stand for None
        for part in ("code", "prose", "math"):
            found[f"Read.sieve of {part}"] = _sieve(PythonInstallation(part=part))
        found["Read.sieve of files"] = _sieve(Files(path="texts"))
    return found


def _sieve(source: PythonInstallation | Files) -> list[dict[str, Any]]:
    return [each.model_dump() for each in Read(name="read", source=source).sieve]


def _models(kind: Any, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind not in seen:
            seen.add(kind)
            yield kind
            for name, field in kind.model_fields.items():
                if name not in getattr(kind, "conduct", ()):
                    yield from _models(field.annotation, seen)
        return
    for inner in typing.get_args(kind):
        yield from _models(inner, seen)


def current() -> dict[str, Any]:
    """Return what fingerprints.json should hold."""
    recipe, quickstart = kinds(), load("quickstart")
    prints, quick = Prints(recipe), Prints(quickstart)
    return {
        "kinds": {
            kind: {
                "version": cls.version,
                "fingerprint": prints.of(Ref(name="a" if kind == "tokenize" else kind)),
                "defaults": defaults(cls),
            }
            for kind, cls in KINDS.items()
        },
        "quickstart": {step.name: quick.of(Ref(name=step.name)) for step in quickstart.steps},
    }


def silently_changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the kinds whose defaults changed though their version did not.

    A default that is new is no change: what was asked before is asked in the same words, and its
    default must do what was done before there was the field.
    """
    return [
        kind
        for kind, told in new["kinds"].items()
        if kind in old["kinds"]
        and told["version"] <= old["kinds"][kind]["version"]
        and {k: told["defaults"].get(k, GONE) for k in old["kinds"][kind]["defaults"]}
        != old["kinds"][kind]["defaults"]
    ]


def main() -> int:
    """Write the file anew, unless a default changed and its version did not."""
    new = json.loads(json.dumps(current()))
    silent = silently_changed(json.loads(GOLDEN.read_text()), new) if GOLDEN.exists() else []
    if silent:
        sys.stderr.write(f"raise `version` of {', '.join(silent)} first: a default has changed\n")
        return 1
    GOLDEN.write_text(json.dumps(new, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
