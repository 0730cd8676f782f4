"""Extraction of the main text of web pages: F1 against hand-made ground truth, and pages a second.

The pages are the 181 of the article extraction benchmark of Zyte (Scrapinghub), the measure its own:
precision and recall over shingles of four words, averaged over pages. What is left out of a page was
chosen on the half whose hashed ids are even, and is reported on the other half. Beside it bare
resiliparse (main content, no texts of images), and trafilatura as it comes and with favor_precision.
The interval is a paired bootstrap over the pages of that half. Rates are CPU-seconds of the same
pages in the same process, in turns. The pages of Mozilla's Readability are a second look: their
expected markup, as text, is the truth there. The other half's F1 was seen, though not chosen by, while
what is left out was being chosen.

Run from the project root: `python benchmarks/extraction.py`. The data is in ../shared/data. The last
line is JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import trafilatura
from resiliparse.extract.html2text import extract_plain_text

from ramify.curate.extract import extract
from ramify.curate.steps import Extraction

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "web"
TOKEN = re.compile(r"\w+")
ROUNDS = 5
RESAMPLED = 2000
Counts = tuple[float, float, float]  # true and false positives, false negatives; they sum to 1


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a set of the shared data."""
    with pa.input_stream(str(SHARED / f"{name}.jsonl.zst"), compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().splitlines()]


def shingles(text: str, n: int = 4) -> Counter[tuple[str, ...]]:
    """Return the shingles of a text, of at most n words."""
    tokens = TOKEN.findall(text or "")
    found = (tuple(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1)))
    return Counter(shingle for shingle in found if shingle)


def compared(true: str, got: str) -> Counts:
    """Return the shares of shingles that both have, that only `got` has, and that only `true` has."""
    a, b = shingles(true), shingles(got)
    both, more, less = (sum(x.values()) for x in (a & b, b - a, a - b))
    total = both + more + less
    return (both / total, more / total, less / total) if total else (0.0, 0.0, 0.0)


def share(hit: float, miss: float, other: float) -> float:
    """Return precision or recall of one page, as the benchmark defines them at the edges."""
    if miss == other == 0:
        return 1.0
    return 0.0 if hit + miss == 0 else hit / (hit + miss)


def scores(counts: Sequence[Counts]) -> dict[str, float]:
    """Return F1, precision and recall, the latter two averaged over pages."""
    precision = statistics.mean(share(tp, fp, fn) for tp, fp, fn in counts if tp + fp > 0)
    recall = statistics.mean(share(tp, fn, fp) for tp, fp, fn in counts if tp + fn > 0)
    return {
        "f1": 2 * precision * recall / (precision + recall),
        "precision": precision,
        "recall": recall,
    }


def interval(ours: Sequence[Counts], theirs: Sequence[Counts], seed: int = 1) -> list[float]:
    """Return the 95% interval of our F1 less theirs, pages drawn with replacement."""
    chance, differences = random.Random(seed), []
    for _ in range(RESAMPLED):
        drawn = [chance.randrange(len(ours)) for _ in ours]
        differences.append(
            scores([ours[i] for i in drawn])["f1"] - scores([theirs[i] for i in drawn])["f1"]
        )
    differences.sort()
    return [differences[int(RESAMPLED * 0.025)], differences[int(RESAMPLED * 0.975)]]


def contestants() -> dict[str, Callable[[str], str]]:
    """Return what turns markup into text, by name."""

    how = Extraction()
    return {
        "ramify": lambda page: extract(page, how).text,
        "resiliparse": lambda page: extract_plain_text(page, main_content=True, alt_texts=False),
        "trafilatura": lambda page: trafilatura.extract(page) or "",
        "trafilatura precise": lambda page: trafilatura.extract(page, favor_precision=True) or "",
    }


def main() -> None:
    """Measure, and print the figures as one line of JSON."""
    pages = rows("article_extraction_benchmark")
    halves: dict[str, list[dict[str, Any]]] = {"tuned": [], "reported": []}
    for page in pages:
        even = hashlib.blake2b(page["id"].encode()).digest()[0] % 2 == 0
        halves["tuned" if even else "reported"].append(page)
    others = [page for page in rows("readability_pages") if page.get("expected_html")]
    plain = contestants()["resiliparse"]
    told: dict[str, Any] = {}
    kept: dict[str, list[Counts]] = {}
    for name, extracted in contestants().items():
        for half, some in halves.items():
            counts = [compared(p["article_body"], extracted(p["html"])) for p in some]
            told[f"{name}, {half} half"] = scores(counts)
            if half == "reported":
                kept[name] = counts
        counts = [compared(_text(p["expected_html"]), extracted(p["html"])) for p in others]
        if counts:
            told[f"{name}, readability"] = scores(counts)
        say(f"{name}: {told[f'{name}, reported half']}")
    low, high = interval(kept["ramify"], kept["resiliparse"])
    told["ramify less resiliparse"] = {"low": low, "high": high}
    rates = _rates({"ramify": contestants()["ramify"], "resiliparse": plain}, pages)
    told["pages a CPU-second"] = {name: len(pages) / seconds for name, seconds in rates.items()}
    slow = _rates({"trafilatura": contestants()["trafilatura"]}, pages, rounds=1)
    told["pages a CPU-second"]["trafilatura"] = len(pages) / slow["trafilatura"]
    rate = rates["resiliparse"] / rates["ramify"]
    f1 = told["ramify, reported half"]["f1"]
    print(
        json.dumps(
            {
                "name": "extraction",
                "n": {
                    **{half: len(some) for half, some in halves.items()},
                    "readability": len(others),
                },
                "hardware": f"{os.cpu_count()} cores, Python {platform.python_version()}",
                "figures": told,
                "bars": [
                    bar("F1 on the reported half", f1, 0.94),
                    bar("F1 over that of bare resiliparse, low end of the interval", low, 0.0, ">"),
                    bar("share of bare resiliparse's rate", rate, 0.7),
                ],
            }
        )
    )


def bar(what: str, value: float, asked: float, op: str = ">=") -> dict[str, Any]:
    """Return a figure beside what was asked of it."""
    holds = value > asked if op == ">" else value >= asked
    return {"what": what, "value": value, "op": op, "bar": asked, "holds": holds}


def _text(markup: str) -> str:

    return str(extract_plain_text(markup, alt_texts=False))


def _rates(
    named: dict[str, Callable[[str], str]], pages: Sequence[dict[str, Any]], rounds: int = ROUNDS
) -> dict[str, float]:
    """Return the least CPU-seconds that each took for all pages, in turns."""
    seconds = dict.fromkeys(named, float("inf"))
    for _ in range(rounds):
        for name, extracted in named.items():
            began = time.process_time()
            for page in pages:
                extracted(page["html"])
            seconds[name] = min(seconds[name], time.process_time() - began)
    return seconds


if __name__ == "__main__":
    main()
