"""A recipe says what is wanted: what cannot be is refused, and its fingerprints are what was asked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify import (
    AdamW,
    Constant,
    Cooled,
    Corpus,
    Ema,
    Evaluate,
    Extraction,
    Files,
    ModelConfig,
    Numerics,
    Pair,
    Probe,
    Read,
    Recipe,
    Ref,
    Sample,
    Stage,
    Tokenize,
    Tokenizer,
    Trial,
    Trunk,
    Windows,
)
from ramify.curate.filters import TooShort
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.step import Step
from ramify.optim import schedule
from ramify.runs.job import KINDS
from ramify.runs.recipe import Prints, find, installed, load
from ramify.train.steps import Cooldown

from . import quality_fields
from .golden import GOLDEN, current, kinds, silently_changed

STEP = 64
REGENERATE = "if it is meant, type: python tests/runs/golden.py"


def trunk(**fields: Any) -> Trunk:
    given: dict[str, Any] = {
        "name": "trunk",
        "model": ModelConfig(layers=1, width=16, heads=2, kv_heads=1, ffw=32, vocab=300),
        "sources": {name: Ref(name=name) for name in ("a", "b", "c")},
        "stages": (Stage(mixture={"a": 0.5, "b": 0.5}), Stage(at=8 * STEP, mixture={"c": 1.0})),
        "seq_len": 16,
        "rows": 4,
        "schedule": Constant(peak=1e-2, warmup=2 * STEP),
        "tokens": 12 * STEP,
        **fields,
    }
    return Trunk(**given)


def packed(name: str, **fields: Any) -> Tokenize:
    corpus = Corpus(ref=Ref(name="read"), part=name)
    return Tokenize(name=name, corpus=corpus, tokenizer=Ref(name="tokenizer"), **fields)


DATA: tuple[Step, ...] = (
    Read(name="read", source=Files(path="texts")),
    Tokenizer(name="tokenizer", corpora={"a": Corpus(ref=Ref(name="read"))}),
    *map(packed, ("a", "b", "c", "d")),
)


def recipe(*steps: Step, data: tuple[Step, ...] = DATA) -> Recipe:
    return Recipe(name="some", steps=(*data, *steps))


def prints(*steps: Step) -> Prints:
    return Prints(recipe(*steps))


# what cannot be


def cool(at: int, tokens: int, parent: str = "trunk", name: str = "cool", **more: Any) -> Cooldown:
    return Cooldown(name=name, parent=Ref(name=parent, at=at * STEP), tokens=tokens * STEP, **more)


WRONG: dict[str, tuple[tuple[Step, ...], str]] = {
    "two of a name": ((trunk(), trunk()), "two steps are called 'trunk'"),
    "a name inside another": (
        (trunk(), trunk(name="trunk/more")),
        "trunk/more would lie inside the folder of trunk",
    ),
    "a ref to nothing": ((cool(8, 10),), "cool takes parent from 'trunk', which is no step; steps"),
    "a ref to nothing, further on": (
        (cool(9, 11, "mid", "last"), cool(8, 10, "nowhere", "mid")),
        "mid takes parent from 'nowhere', which is no step",
    ),
    "a circle": (
        (cool(8, 10, "two", "one"), cool(8, 10, "one", "two")),
        "one takes in itself, by way of two",
    ),
    "its own parent": ((cool(8, 10, "cool"),), "cool takes in itself, by way of cool"),
    "a parent that is no run": ((cool(8, 10, "read"),), "cool leaves read, which is no run"),
    "a point of what is no run": (
        (trunk(), Evaluate(name="e", model=Ref(name="a", at=64), corpora={"a": Ref(name="a")}, seq_len=16)),
        "e takes a@64, but a is no run",
    ),
    "a point within a step": (
        (trunk(), Evaluate(name="e", model=Ref(name="trunk", at=100), corpora={"a": Ref(name="a")}, seq_len=16)),
        "e takes trunk@100, within a step of 64 tokens; give at=128",
    ),
    "the point before the first step": (
        (trunk(), Evaluate(name="e", model=Ref(name="trunk", at=0), corpora={"a": Ref(name="a")}, seq_len=16)),
        "e takes trunk@0, a point that does not exist; trunk has points from 64 to 768 tokens",
    ),
    "a point beyond a branch": (
        (trunk(), cool(8, 10), cool(11, 12, "cool", "more")),
        "more: a cooldown leaves at 704 tokens, where its parent's rate is 0",
    ),
    "a point beyond the end of a branch": (
        (trunk(), cool(8, 10, descent=schedule.Cooldown(final=0.1)), cool(11, 12, "cool", "more")),
        "more takes cool@704, a point that does not exist; cool has points from 576 to 640 tokens",
    ),
    "a point before a branch": (
        (trunk(), cool(8, 10), cool(7, 12, "cool", "more")),
        "more takes cool@448, a point that does not exist",
    ),
    "a branch before the warm-up ends": ((trunk(), cool(1, 10)), "before the warm-up ends at 128"),
    "a branch that ends within a step": (
        (trunk(), cool(8, 10).but(tokens=10 * STEP + 1)),
        "cool ends at 641 tokens, within a step of 64",
    ),
    "a trunk of nothing": ((trunk(tokens=0),), "trunk is asked for 0 tokens; give 64"),
    "a mixture of no source": (
        (trunk(), cool(4, 10, mixture={"nope": 1.0})),
        r"the mixture of cool names 'nope', which its line has not read; give it sources=\{'nope'",
    ),
    "a mixture that its line has not read": (
        (trunk(), cool(4, 10, mixture={"c": 1.0})),
        r"names 'c', which its line has not read; give it sources=\{'c': Ref\(name='c'\)\}",
    ),
    "one name for two sources": (
        (trunk(), cool(4, 10, mixture={"a": 1.0}, sources={"a": Ref(name="d")})),
        "cool calls d 'a', as its line calls a",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_is_refused_and_says_why(what: str) -> None:
    steps, says = WRONG[what]
    with pytest.raises(ValueError, match=says):
        recipe(*steps)


def test_a_cooldown_never_ends_before_it_leaves() -> None:
    with pytest.raises(ValueError, match="leaves at 640 tokens and ends at 640; let it end above"):
        cool(10, 10)


def test_steps_come_after_what_they_take_in_and_otherwise_as_written() -> None:
    ordered = recipe(cool(8, 10), trunk(), data=tuple(reversed(DATA))).ordered
    assert [step.name for step in ordered] == [
        "read", "tokenizer", "d", "c", "b", "a", "trunk", "cool",
    ]  # fmt: skip


def test_a_trunk_grows_to_what_is_taken_of_it_and_keeps_what_it_is_asked_to() -> None:
    long = cool(20, 25, name="long")
    wanted = recipe(trunk(points=(3 * STEP,)), cool(8, 10), long).wanted_points
    assert wanted["trunk"] == tuple(n * STEP for n in (3, 8, 12, 20))
    assert wanted["long"] == (25 * STEP,)


# fingerprints


def test_no_default_changes_without_a_new_version() -> None:
    old, new = json.loads(GOLDEN.read_text()), json.loads(json.dumps(current()))
    assert silently_changed(old, new) == [], "raise `version` of these: a default has changed"
    for kind, told in new["kinds"].items():
        assert told == old["kinds"].get(kind), REGENERATE
    assert new["quickstart"] == old["quickstart"], REGENERATE


def test_the_guard_sees_a_default_that_changed() -> None:
    old = json.loads(GOLDEN.read_text())
    new = json.loads(GOLDEN.read_text())
    new["kinds"]["trunk"]["defaults"]["AdamW.beta2"] = 0.99
    assert silently_changed(old, new) == ["trunk"]
    new["kinds"]["trunk"]["version"] += 1
    assert silently_changed(old, new) == []


OTHER: dict[str, dict[str, Any]] = {
    "read": {
        "source": Files(path="texts", text_column="body"),
        "filters": (TooShort(),),
        "limit_bytes": 1000,
        "sample": Sample(share=0.5),
    },
    "dedup": {
        "corpora": {"a": Ref(name="other")},
        "bands": 15, "rows": 9, "words": 4, "jaccard": 0.8, "held_out": 0.1,
        "held_out_least": 9, "held_out_by": "document", "seed": 1, "within": "source", "largest": 99,
        "against": (Ref(name="other"),), "keep_index": True,
    },
    "decontaminate": {
        "corpus": Ref(name="other"), "part": "b", "items": ("others",), "ngram": 8, "overlap": 0.5,
        "near": 20, "index": Ref(name="other"),
    },
    "contamination": {
        "corpus": Ref(name="other"), "part": "b", "items": ("others",), "ngram": 8, "overlap": 0.5,
        "near": 20, "index": Ref(name="other"),
    },
    "ngramindex": {"corpus": Ref(name="other"), "part": "b", "shortest": 5},
    "domainrecall": {
        "corpus": Ref(name="other"), "part": "b", "score": "other", "least_score": 3.0,
        "rule": "share", "least_pages": 5, "least_share": 0.2, "seeds": {"a": "urls"},
        "seed_urls": 5,
    },
    "fetch": {
        "index": ("others",), "domains": Ref(name="other"), "base": "other", "media": (),
        "most_record_bytes": 1000,
    },
    "sift": {
        "corpus": Ref(name="other"), "part": "a", "extraction": Extraction(code=False),
        "filters": (TooShort(characters=9),),
    },
    "apportion": {
        "corpora": {"a": Ref(name="other")},
        "parts": {"a": "b"},
        "shares": {"a": 2.0},
        "seed": 1,
    },
    "remove": {
        "corpus": Ref(name="other"), "part": "b", "lists": ("others",), "licenses": ("cc0",),
    },
    "tokenizer": {
        "corpora": {"a": Corpus(ref=Ref(name="read"))},
        "vocab": 512, "sample_bytes": 1000, "control": ("<|end|>",), "seed": 1,
    },
    "broughttokenizer": {
        "path": Path("other.json"), "sha256": "0" * 64, "end_of_text": "<|end|>",
    },
    "tokenize": {
        "corpus": Corpus(ref=Ref(name="read")), "tokenizer": Ref(name="broughttokenizer"),
        "segment": 4096, "max_context": 1024, "seed": 1,
    },
    "broughttokens": {
        "path": "others", "tokenizer": Ref(name="broughttokenizer"), "dtype": "uint32",
        "header_bytes": 8, "end_of_text": 1, "license": "mit", "source": "web", "held_out": 0.1,
        "segment": 4096, "max_context": 1024, "seed": 1,
    },
    "trunk": {
        "model": ModelConfig(layers=2, width=16, heads=2, kv_heads=1, ffw=32, vocab=300),
        "sources": {"a": Ref(name="tokenizer")}, "stages": (Stage(mixture={"a": 0.5, "b": 0.5}),),
        "seq_len": 32, "rows": 2, "optimizer": AdamW(beta2=0.99), "seed": 1,
        "mask_documents": True, "schedule": Constant(peak=2e-2),
    },
    "cosine": {
        "model": ModelConfig(layers=2, width=16, heads=2, kv_heads=1, ffw=32, vocab=300),
        "sources": {"a": Ref(name="tokenizer")}, "stages": (Stage(mixture={"a": 0.5, "b": 0.5}),),
        "seq_len": 32, "rows": 2, "optimizer": AdamW(beta2=0.99), "seed": 1,
        "mask_documents": True, "schedule": schedule.Cosine(peak=1e-2, horizon=12 * STEP),
    },
    "cooldown": {
        "parent": Ref(name="trunk", at=9 * STEP), "descent": schedule.Cooldown(shape="linear"),
        "mixture": {"a": 1.0}, "sources": {"b": Ref(name="a")}, "tokens": 11 * STEP,
        "carry": "weights",
    },
    "average": {
        "run": Ref(name="trunk", at=9 * STEP), "last": 2, "windows": Windows(steps=8, every=2),
    },
    "emaaverage": {"run": Ref(name="trunk", at=9 * STEP), "ema": Ema(decay=0.9)},
    "interpolate": {
        "a": Ref(name="trunk", at=9 * STEP), "b": Ref(name="trunk", at=9 * STEP), "share": 0.25,
    },
    "evaluate": {
        "model": Ref(name="trunk", at=9 * STEP), "corpora": {"b": Ref(name="a")}, "seq_len": 8,
        "limit_tokens": 100,
    },
    "ablation": {
        "trials": (
            Trial(
                name="other", having=Ref(name="a"), lacking=Ref(name="a"),
                pairs=(Pair(having=Ref(name="evaluate"), lacking=Ref(name="evaluate")),),
            ),
        ),
        "judged_on": ("a",),
        "level": 0.9,
    },
    "forecast": {
        "trunk": Ref(name="trunk", at=9 * STEP), "ends_at": 11 * STEP, "shape": "linear",
        "left": Ref(name="average"), "averaged": Ref(name="evaluate"), "level": 0.5,
        "learned": (
            Cooled(trunk=Ref(name="trunk", at=8 * STEP), left=Ref(name="average"), ended=Ref(name="evaluate")),
        ),
    },
    "export": {
        "models": {"trunk": Ref(name="average")}, "scores": {"trunk": Ref(name="evaluate")},
        "tokenizer": Ref(name="broughttokenizer"), "dtype": "bfloat16",
    },
    "complete": {
        "model": Ref(name="average"), "prompts": ("A",), "max_new_tokens": 8, "temperature": 0.0,
        "top_p": 0.9, "seed": 1,
    },
}  # fmt: skip
BESIDE: dict[str, dict[str, Any]] = {  # what changes no result
    "read": {"require": ("url",)},
    "fetch": {"tries": 9, "at_once": 2, "timeout_seconds": 9.0},
    "tokenize": {"shard_tokens": 4096, "dtype": "uint32", "encoder": "tokenizers"},
    "broughttokens": {"shard_tokens": 4096},
    "trunk": {
        "tokens": 20 * STEP, "asked_tokens": 20 * STEP + 1, "numerics": Numerics(threads=2),
        "probe": Probe(every=STEP), "windows": Windows(steps=4, every=2), "ema": Ema(), "points": (STEP,),
        "log_every": 2, "skip_limit": 2,
    },
    "cosine": {},
    "cooldown": {},
    "evaluate": {"rows": 4, "loss_chunk": 64},
}  # fmt: skip
OTHER |= quality_fields.OTHER
BESIDE |= quality_fields.BESIDE
for _kind in ("cosine", "cooldown"):
    BESIDE[_kind] = {k: v for k, v in BESIDE["trunk"].items() if k != "tokens"}


def step_of(kind: str) -> Step:
    return next(step for step in kinds().steps if step.kind() == kind)


def print_of(step: Step) -> str:
    """Return the fingerprint of a step beside one of every kind."""
    others = [other for other in kinds().steps if other.name != step.name]
    # not validated: what takes in the step by its old name is there still
    beside = Recipe.model_construct(name="kinds", steps=(*others, step))
    return Prints(beside).of(Ref(name=step.name))


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_identity_or_conduct(kind: str) -> None:
    step = step_of(kind)
    known = OTHER[kind].keys() | BESIDE.get(kind, {}).keys() | {"name"}
    derived = {
        "dedup": {"priority"},
        "fetch": {"urls"},  # instead of domains
        "cosine": {"tokens"},
        "cooldown": {"rewarm", "stands_at"},  # with carry only, below
    }.get(kind, set())
    assert type(step).model_fields.keys() == known | derived
    assert step.conduct <= BESIDE.get(kind, {}).keys()


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, fields in OTHER.items() for field in fields]
)
def test_what_decides_a_result_changes_its_fingerprint(kind: str, field: str) -> None:
    step = step_of(kind)
    changes = {field: OTHER[kind][field]}
    if field == "stages":
        changes["sources"] = {"a": Ref(name="a"), "b": Ref(name="a")}
    assert print_of(step.but(**changes)) != print_of(step)


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, fields in BESIDE.items() for field in fields]
)
def test_conduct_and_length_change_no_fingerprint(kind: str, field: str) -> None:
    step = step_of(kind)
    assert getattr(step, field) != BESIDE[kind][field]
    assert print_of(step.but(**{field: BESIDE[kind][field]})) == print_of(step)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_changes_no_fingerprint(kind: str) -> None:
    step = step_of(kind)
    assert print_of(step.but(name="grid/renamed")) == print_of(step)


POINTS = st.integers(1, 40).map(lambda steps: steps * STEP)


@settings(max_examples=60)
@given(POINTS, POINTS, POINTS)
def test_a_trunk_that_grows_or_is_refined_later_keeps_every_fingerprint_before(
    at: int, grown: int, refined: int
) -> None:
    """A stage that begins where a branch leaves, or later, is none of the branch's business."""
    stages = (*trunk().stages, Stage(at=40 * STEP, mixture={"a": 1.0}))
    before = trunk(stages=stages, tokens=max(at, 2 * STEP))
    kept = tuple(stage for stage in stages if stage.at < refined)
    after = before.but(
        tokens=grown, stages=(*kept, Stage(at=refined, mixture={"b": 0.25, "c": 0.75}))
    )
    point = Ref(name="trunk", at=at)
    same = prints(before).of(point) == prints(after).of(point)
    assert same == (refined >= at)
    leaves = max(at, 2 * STEP)
    branch = Cooldown(name="cool", parent=Ref(name="trunk", at=leaves), tokens=leaves + STEP)
    told = [prints(each, branch).of(Ref(name="cool")) for each in (before, after)]
    assert (told[0] == told[1]) == (refined >= leaves)


def test_a_change_in_the_data_reaches_all_that_was_made_of_it() -> None:
    other = (Read(name="read", source=Files(path="others")), *DATA[1:])
    branch = cool(8, 10)
    old, new = (Prints(recipe(trunk(), branch, data=data)) for data in (DATA, other))
    for name in ("read", "tokenizer", "a", "trunk", "cool"):
        assert old.of(Ref(name=name)) != new.of(Ref(name=name))


def test_a_source_that_no_stage_before_reads_is_no_part_of_a_point() -> None:
    moved = trunk(sources={"a": Ref(name="a"), "b": Ref(name="b"), "c": Ref(name="d")})
    early, late = Ref(name="trunk", at=8 * STEP), Ref(name="trunk", at=9 * STEP)
    assert prints(trunk()).of(early) == prints(moved).of(early)
    assert prints(trunk()).of(late) != prints(moved).of(late)


def test_an_annealing_branch_brings_the_sources_that_its_fingerprint_must_cover() -> None:
    branch = trunk().cooldown("cool", 10 * STEP, mixture={"a": 0.5, "c": 0.5}, fraction=0.4)
    assert branch.sources == {"c": Ref(name="c")}
    moved = trunk(sources={"a": Ref(name="a"), "b": Ref(name="b"), "c": Ref(name="d")})
    other = moved.cooldown("cool", 10 * STEP, mixture={"a": 0.5, "c": 0.5}, fraction=0.4)
    told = {prints(t, b).of(Ref(name="cool")) for t, b in ((trunk(), branch), (moved, other))}
    assert len(told) == 2


def test_fingerprints_of_a_long_chain_need_no_deep_stack() -> None:
    deep = [Evaluate(name="e0", model=Ref(name="trunk"), corpora={"a": Ref(name="a")}, seq_len=16)]
    for n in range(1, 3000):
        deep.append(deep[-1].but(name=f"e{n}", model=Ref(name=f"e{n - 1}")))
    assert len(prints(trunk(), *deep).of(Ref(name="e2999"))) == 32


# how a recipe is named and set

FILE = '''\
"""A recipe."""
from ramify import Files, Read, Recipe, Tokens


def _helper() -> None: ...


def first(budget: Tokens = 5, parts: list[int] = [1], wide: bool = False, path: str = "x") -> Recipe:
    steps = [Read(name=f"r{n}", source=Files(path=path), limit_bytes=budget + wide) for n in parts]
    return Recipe(name="file", steps=tuple(steps))


def second(size: int) -> Recipe:
    return first(size)


def broken() -> Recipe:
    return {}["nothing"]


def refused() -> Recipe:
    return Recipe(name="file", steps=(Read(name="at", source=Files(path="x")),))


def nothing() -> int:
    return 3
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.py"
    path.write_text(FILE)
    return path


def limit(spec: str, **given: str) -> int | None:
    read = load(spec, given).steps[0]
    assert isinstance(read, Read)
    return read.limit_bytes


def test_a_recipe_is_an_installed_name_a_file_or_a_function_of_one(file: Path) -> None:
    assert "quickstart" in installed()
    assert load("quickstart").name == "quickstart"
    assert load("quickstart:recipe").name == "quickstart"
    assert find(str(file)).__name__ == "first"
    assert limit(f"{file}:second", size="7") == 7
    # an edit within the second is seen, and nothing is left beside the file
    file.write_text(FILE.replace("= 5", "= 6"))
    assert limit(str(file)) == 6
    assert list(file.parent.iterdir()) == [file]


def test_settings_are_parsed_as_their_types_say(file: Path) -> None:
    assert limit(str(file), budget="2M") == 2_000_000
    assert limit(str(file), wide="true") == 6
    assert [s.name for s in load(str(file), {"parts": "[3, 4]"}).steps] == ["r3", "r4"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sample": "0"}, r"sample: Input should be .* 1 \(--set sample=0\)$"),
        ({"least_pages": "-2"}, r"least_pages: Input should be .* 1 \(--set least_pages=-2\)$"),
        (
            {"items": "a.jsonl"},
            'valid array; write a list, like --set items=\'\\["one", "two"\\]\'$',
        ),
    ],
)
def test_a_setting_that_cannot_be_is_told_as_it_was_typed(given: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        load("finemath", given)


def test_what_is_no_number_is_not_repeated_as_it_may_be_a_key() -> None:
    with pytest.raises(BadInput, match="not the name of an environment variable") as error:
        load("finemath", {"keys": '["sk-abcdefghijklmnopqrstuvwxyz012345"]'})
    assert "sk-abc" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "given", "says"),
    [
        ("{file}", {"nope": "1"}, "has no setting 'nope'; it has: budget, parts, wide, path"),
        ("{file}", {"budget": "-1"}, "--set budget=-1: '-1' is not a count; write a whole number"),
        ("{file}", {"parts": "[x]"}, r"--set parts=\[x\]: "),
        ("{file}", {"wide": "maybe"}, "--set wide=maybe: "),
        ("{file}:second", {}, "needs a size; add --set size=VALUE"),
        ("{file}:third", {}, "has no function 'third'; it has: first, second, broken"),
        ("{file}:_helper", {}, "has no function '_helper'"),
        ("{file}:nothing", {}, "returned a int; return a ramify.Recipe"),
        ("{file}:broken", {}, "file.py:broken, line 18: KeyError: 'nothing'"),
        ("{file}:refused", {}, "file.py:refused, line 22: name: 'at' cannot name a step"),
        ("{folder}/none.py", {}, "there is no recipe .*none.py; type: ramify new FOLDER"),
        ("nope", {}, "no recipe is called 'nope'; use one of .*quickstart.*, or path.py"),
        ("no.pe", {}, "no recipe is called 'no.pe'"),
        ("", {}, "no recipe is called ''"),
    ],
)
def test_what_cannot_be_loaded_says_where_and_what_there_is(
    file: Path, spec: str, given: dict[str, str], says: str
) -> None:
    with pytest.raises((BadInput, NotFound), match=says):
        load(spec.format(file=file, folder=file.parent), given)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def recipe(:", r"SyntaxError: invalid syntax \(file.py, line 1\)"),
        ("import nowhere", "line 1: ModuleNotFoundError: No module named 'nowhere'"),
        ("x = 1\ny = x / 0", "line 2: ZeroDivisionError: division by zero"),
        (
            "from ramify import Stage\nStage(mixture={'a': 0.9})",
            "line 2: mixture: the mixture sums",
        ),
        ("x = 1", "has no function 'recipe'; it has: none"),
    ],
)
def test_a_file_that_cannot_be_imported_says_on_which_line(
    file: Path, text: str, says: str
) -> None:
    file.write_text(text)
    with pytest.raises((BadInput, NotFound), match=f"{re.escape(str(file))}.*{says}"):
        load(str(file))
