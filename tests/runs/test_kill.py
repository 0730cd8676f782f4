"""Killed anywhere, typed again, and nobody can tell: the same bits as had it never been killed."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
    Contamination,
    Decontaminate,
    DomainRecall,
    Ema,
    EmaAverage,
    Evaluate,
    Export,
    Fetch,
    Forecast,
    Interpolate,
    Linear,
    NgramIndex,
    Pair,
    Recipe,
    Ref,
    Remove,
    Rubric,
    ScheduleFree,
    Score,
    Select,
    Server,
    Sheet,
    Sift,
    Trial,
    Trunk,
    Windows,
)
from ramify.curate.filters import TooShort
from ramify.ground.step import Step
from ramify.runs.engine import job_of
from ramify.runs.job import KINDS, Job
from ramify.runs.lab import Lab
from ramify.runs.plan import plan

from .tiny import STEP, loaded, make, prints, told

FORKED = Path(__file__).with_name("forked.py")
LOUD = Path(__file__).with_name("loud.py")
DATA = ("read", "dedup", "sift", "tokenizer", "broughttokenizer", "tokenize", "broughttokens")
CHOICES = (
    "decontaminate", "contamination", "ngramindex", "domainrecall", "fetch", "remove", "apportion",
)  # fmt: skip
QUALITY = ("annotate", "sheet", "audit", "classify", "score", "select")
RUNS = ("trunk", "cooldown", "cosine")
OTHERWISE = {"free": "trunk", "off": "cooldown"}  # runs that keep, or begin with, something else
OTHERS = ("free", "off")  # a schedule-free trunk, and a branch off an average
AFTER = (
    "average", "emaaverage", "interpolate", "evaluate", "forecast", "ablation", "export", "complete",
)  # fmt: skip
SEED = 20_250_722


def forked(*arguments: object) -> Any:
    """Run forked.py and return what it tells."""
    command = [sys.executable, str(FORKED), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def archive(home: Path) -> Path:
    """Write a web archive of one page, a list of it and an index of it; return the index."""
    data = gzip.compress(b"WARC/1.0\r\nContent-Length: 0\r\n\r\n\r\n\r\n", mtime=0)
    (home / "a.warc.gz").write_bytes(data)
    (home / "urls").write_text("https://a.org/\n")
    told = {"url": "https://a.org/", "filename": "a.warc.gz", "offset": 0, "length": len(data)}
    (home / "index.cdx").write_text(f"org,a)/ 20240101000000 {json.dumps(told)}\n")
    return home / "index.cdx"


@pytest.fixture(scope="module")
def jobs(
    whole: Lab,
    recipe_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
    llm_of_module: Any,
) -> dict[str, Job]:
    """Return a job of every kind, whose inputs are there."""
    home = tmp_path_factory.mktemp("jobs")
    lab = Lab(shutil.copytree(whole.folder, home / "lab"))
    tiny = loaded(recipe_file)
    trunk = tiny.by_name["trunk"].but(windows=Windows(steps=2, every=1))
    mean = tiny.by_name["mean"]
    assert isinstance(trunk, Trunk)
    assert isinstance(mean, Average)
    brought = lab.folder / "tokenizer" / "tokenizer.json"
    corpora, at = {"words": Ref(name="words")}, Ref(name="trunk", at=8 * STEP)
    more = (
        Evaluate(name="left", model=at, corpora=corpora, seq_len=16),
        Forecast(name="foretold", trunk=at, ends_at=10 * STEP, left=Ref(name="left")),
        Ablation(
            name="tried",
            trials=(
                Trial(
                    name="itself",
                    having=corpora["words"],
                    lacking=corpora["words"],
                    pairs=(Pair(having=Ref(name="left"), lacking=Ref(name="left")),),
                ),
            ),
        ),
        Sift(name="sifted", corpus=Ref(name="clean"), part="words", filters=(TooShort(),)),
        BroughtTokenizer(name="brought", path=brought),
        BroughtTokens(
            name="ids",
            path=str(lab.folder / "words" / "shards"),
            tokenizer=Ref(name="tokenizer"),
            max_context=16,
            held_out=0.1,
        ),
        Export(name="best", models={"mean": Ref(name="mean")}, tokenizer=Ref(name="tokenizer")),
        EmaAverage(name="moving", run=trunk.point(12 * STEP), ema=Ema(decay=0.5, every=2)),
        Interpolate(name="between", a=trunk.point(8 * STEP), b=Ref(name="cool-10"), share=0.5),
        trunk.but(name="free", optimizer=ScheduleFree(), windows=None, ema=None),
        trunk.cooldown("off", 16 * STEP, off=mean, rewarm=STEP),
        Complete(name="heard", model=Ref(name="best"), prompts=("the sum",), max_new_tokens=2),
    )
    steps = (*(trunk if step.name == "trunk" else step for step in tiny.steps), *more)
    recipe = Recipe(name="tiny", steps=(*steps, *quality(llm_of_module.url), *choices(home)))
    make(recipe, lab, "best", "left", "scored")
    planned = plan(recipe, lab)
    found = {item.step.kind(): job_of(planned, lab, item, 1) for item in reversed(planned.items)}
    few = {"trunk": 2, "cosine": 1, "cooldown": 10}  # steps: the last of a cooldown, from 8 on
    for kind, count in few.items():
        found[kind] = found[kind].model_copy(update={"points": (count * STEP,)})
    others = {item.name: item for item in planned.items if item.name in OTHERS}
    for name, count in zip(OTHERS, (2, 13), strict=True):
        job = job_of(planned, lab, others[name], 1)
        found[name] = job.model_copy(update={"points": (count * STEP,)})
    return found


def choices(home: Path) -> tuple[Step, ...]:
    """Return a step of every kind that looks for items, domains or pages."""
    items = home / "items.jsonl"
    items.write_text(json.dumps({"id": "0", "task": "t", "text": "the sum of", "answer": "is"}))
    looked: dict[str, Any] = {"corpus": Ref(name="clean"), "part": "sums", "items": (str(items),)}
    return (
        Decontaminate(name="decontaminated", **looked),
        Contamination(name="contamination", **looked),
        NgramIndex(name="ngrams", corpus=Ref(name="clean"), part="sums"),
        DomainRecall(name="domains", corpus=Ref(name="clean"), part="sums", score="part"),
        Remove(name="removed", corpus=Ref(name="clean"), part="sums", lists=(str(home / "urls"),)),
        Apportion(
            name="apportioned",
            corpora={"sums": Ref(name="clean"), "words": Ref(name="text/words")},
            parts={"sums": "sums"},
            shares={"sums": 0.8, "words": 0.2},
        ),
        Fetch(name="pages", index=(str(archive(home)),), urls=str(home / "urls"), base=str(home)),
    )


def quality(url: str) -> tuple[Step, ...]:
    """Return a step of every kind about quality, labelled by a real server."""
    labels = Ref(name="labels")
    return (
        Annotate(
            name="labels",
            corpus=Ref(name="text/words"),
            labeller=Asked(model="hash"),
            rubric=Rubric(name="any", highest=3, text="Judge."),
            server=Server(base_url=url, keys=(), first_wait_seconds=0.01),
            cap=Cap(tokens=1_000_000),
        ),
        Sheet(name="sheet", labels=labels, per_label=2),
        Audit(name="audit", labels=labels, others={"itself": labels}, resamples=100),
        Classify(name="classifier", labels=labels, folds=2, method=Linear(bits=8)),
        Score(name="scored", corpus=Ref(name="text/words"), classifier=Ref(name="classifier")),
        Select(name="good", corpus=Ref(name="scored"), shares={1: 0.5}),
    )


def test_every_kind_of_step_is_killed(jobs: dict[str, Job]) -> None:
    assert jobs.keys() - OTHERS == {*DATA, *CHOICES, *QUALITY, *RUNS, *AFTER} == KINDS.keys()


@pytest.mark.parametrize(
    "kinds",
    [DATA, CHOICES, QUALITY, RUNS, OTHERS, AFTER],
    ids=["data", "choices", "quality", "runs", "others", "after"],
)
def test_a_step_killed_between_any_two_file_operations_is_resumed_to_the_same_bits(
    jobs: dict[str, Job], tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    asked = tmp_path / "jobs.json"
    asked.write_text(json.dumps({kind: jobs[kind].model_dump(mode="json") for kind in kinds}))
    ways = forked("everywhere", asked, tmp_path)
    assert ways.keys() == set(kinds)
    for kind, way in ways.items():
        home = tmp_path / kind
        assert way["whole"] == 0
        assert len(way["deaths"]) > 5
        once = Lab(home / "whole" / "lab")
        assert prints(once)
        for name, (label, dead, again) in way["deaths"].items():
            where = f"{kind}, killed {label} ({name})"
            lab = Lab(home / name / "lab")
            assert (dead, again) == (-9, 0), where
            assert prints(lab) == prints(once), where
            assert not any(wrong for _, wrong in lab.verify()), where
            assert left_over(lab) == left_over(once), where
            if kind in RUNS + OTHERS:
                assert told(lab, "made") == told(once, "made"), where


def left_over(lab: Lab) -> list[str]:
    """Return what lies about unfinished."""
    found = [*lab.folder.rglob("*.tmp"), *lab.folder.rglob("*.partial")]
    return sorted(path.relative_to(lab.folder).as_posix() for path in found)


def test_a_tree_killed_at_twenty_random_moments_is_resumed_to_the_same_bits(
    data: Lab, whole: Lab, recipe_file: Path, tmp_path: Path
) -> None:
    """Every other time the driver alone is killed, and its workers find out."""
    for n in range(1, 21):
        shutil.copytree(data.folder, tmp_path / f"{n:02d}")
    way = forked("anywhere", tmp_path, SEED, 20, "run", recipe_file)
    output = (tmp_path / "output").read_text()
    assert way["killed"] == 20, output
    assert set(way["codes"]) == {0}, output
    for n in range(1, way["labs"] + 1):
        lab = Lab(tmp_path / f"{n:02d}")
        assert prints(lab) == prints(whole)
        assert left_over(lab) == []
        for run in ("trunk", "cool-10", "cool-15", "cosine"):
            assert told(lab, run) == told(whole, run)


@pytest.mark.parametrize(("begun", "step"), [(True, "cool-10"), (False, "text/words")])
def test_two_who_run_one_lab_at_once_make_it_once(
    data: Lab, whole: Lab, recipe_file: Path, tmp_path: Path, begun: bool, step: str
) -> None:
    """The second is told who is at work, or finds the work done; the first goes on undisturbed."""
    lab = Lab(tmp_path / "lab")
    if begun:
        shutil.copytree(data.folder, lab.folder)
    both = [
        subprocess.Popen(
            [sys.executable, LOUD, "run", recipe_file, "--lab", lab.folder, "--only", step],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [one.communicate()[1] for one in both]
    codes = [one.returncode for one in both]
    assert 0 in codes, said
    for code, err in zip(codes, said, strict=True):
        busy = code == 1 and err.startswith("ramify: ") and " is being made by process " in err
        assert (code, err) == (0, "") or (busy and len(err.splitlines()) == 1)
    assert prints(lab).items() <= prints(whole).items()
    assert any(name.startswith(step) for name in prints(lab))
