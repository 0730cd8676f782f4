"""Curation from JSON lines to packed tokens: MB per CPU-second and peak memory, beside datatrove.

The same input and the same five steps: read, filter (50 characters at least), near-duplicates by
14 x 8 MinHash, decontamination by 13-grams of GSM8K and MMLU, tokenization. The input is prose of the
shared data in pieces of some 2,000 characters, a tenth of it copied with a few words changed, and some
items planted. Ramify runs its steps from file to file as a lab does, verifying near-duplicates and
taking the longest common subsequence of whatever shares a 13-gram. datatrove runs its blocks with
their defaults (spaCy's words); a 13-gram alone contaminates. One process and one thread each; clocks
begin after the imports. What each keeps is told beside.

Run from the project root, after `make bench-setup`: `python benchmarks/curation_speed.py`. The last
line is JSON. Needs ../shared/data.
"""

from __future__ import annotations

import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA = Path("../shared/data")
PEERS = Path(".venv-peers/bin/python")
PIECE_CHARACTERS = 2000
TEXT_BYTES = 9_000_000
LEAST_CHARACTERS = 50
VOCAB = 16_384
ROUNDS = 3
ENVIRONMENT = {
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "FASTOKENS_BPE_THREADS": "1",
}
STEPS = ("read", "dedup", "decontaminate", "tokenize")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def cpu_seconds(since: float = 0.0) -> float:
    """Return user and system seconds of this process and of its ended children."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used) - since


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a compressed file of JSON lines."""
    import pyarrow as pa  # noqa: PLC0415

    with pa.input_stream(str(path), compression="zstd") as stream:
        return [json.loads(line) for line in stream.read().split(b"\n") if line.strip()]


def items() -> list[dict[str, str]]:
    """Return evaluation items: GSM8K's questions and MMLU's."""
    found = [
        {"id": f"g{n}", "task": "gsm8k", "text": row["question"], "answer": row["answer"].split("####")[-1].strip()}
        for n, row in enumerate(rows(DATA / "math" / "gsm8k_train.jsonl.zst"))
    ]  # fmt: skip
    return found + [
        {"id": f"m{n}", "task": "mmlu", "text": row["question"], "answer": row["choices"]["ABCD".index(row["answer"])]}
        for n, row in enumerate(rows(DATA / "evals" / "mmlu_val.jsonl.zst"))
    ]  # fmt: skip


def write_input(home: Path) -> dict[str, Any]:
    """Write text.jsonl and items.jsonl; return what was put into them."""
    chance = random.Random(0)
    questions = items()
    texts: list[str] = []
    total = 0
    for name in ("openstax", "standard_ebooks"):
        for row in rows(DATA / "prose" / f"{name}.jsonl.zst"):
            whole = row["text"]
            texts += [
                whole[at : at + PIECE_CHARACTERS] for at in range(0, len(whole), PIECE_CHARACTERS)
            ]
    chance.shuffle(texts)
    kept: list[str] = []
    copies = planted = 0
    for text in texts:
        if total > TEXT_BYTES:
            break
        if chance.random() < 0.01:
            text, planted = f"{text}\n{chance.choice(questions[:7000])['text']}\n", planted + 1
        kept.append(text)
        total += len(text)
        if chance.random() < 0.1:
            words = text.split(" ")
            words[chance.randrange(len(words))] = "changed"
            kept.append(" ".join(words))
            copies += 1
    lines = (json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(kept))
    (home / "text.jsonl").write_text("".join(lines))
    (home / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in questions))
    size = sum(len(text.encode()) for text in kept)
    say(f"{len(kept):,} documents, {size / 1e6:.1f} MB")
    return {"documents": len(kept), "text_mb": size / 1e6, "copies": copies, "planted": planted}


def _quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def train(home: Path) -> None:
    """Train the tokenizer that both use."""
    from ramify.tokens import tokenizer  # noqa: PLC0415

    with (home / "text.jsonl").open() as file:
        texts = [json.loads(line)["text"] for line in file]
    (home / "words").mkdir()
    tokenizer.train(texts[:2000], VOCAB, ("<|endoftext|>",)).save(home / "words")


def run_ramify(home: Path, out: Path) -> dict[str, Any]:
    """In a process of its own: the four steps as a lab would make them, from file to file."""
    from ramify.curate.decontaminate import run_decontaminate  # noqa: PLC0415
    from ramify.curate.dedup import run_dedup  # noqa: PLC0415
    from ramify.curate.filters import TooShort  # noqa: PLC0415
    from ramify.curate.read import run_read  # noqa: PLC0415
    from ramify.curate.selection_steps import Decontaminate  # noqa: PLC0415
    from ramify.curate.steps import Dedup, Files, Read  # noqa: PLC0415
    from ramify.ground.step import Input, Ref  # noqa: PLC0415
    from ramify.tokens.make import run_tokenize  # noqa: PLC0415
    from ramify.tokens.steps import Corpus, Tokenize  # noqa: PLC0415

    a, b, c, d = (out / name for name in STEPS)
    for folder in (a, b, c, d):
        folder.mkdir(parents=True)
    used: dict[str, Any] = {}
    began, clock = cpu_seconds(), time.perf_counter()
    marks = [began]
    source = Files(path=str(home / "text.jsonl"), id_column="id")
    step = Read(name="a", source=source, filters=(TooShort(characters=LEAST_CHARACTERS),))
    run_read(step, {}, a, _quiet)
    marks.append(cpu_seconds())
    clean = Dedup(name="b", corpora={"text": Ref(name="a")}, held_out=0)
    run_dedup(clean, {"corpora.text": Input(a, {}, "a")}, b, _quiet)
    marks.append(cpu_seconds())
    free = Decontaminate(
        name="c", corpus=Ref(name="b"), part="text", items=(str(home / "items.jsonl"),)
    )
    counts = run_decontaminate(free, {"corpus": Input(b, {}, "b")}, c, _quiet)
    marks.append(cpu_seconds())
    packed = Tokenize(name="d", corpus=Corpus(ref=Ref(name="c")), tokenizer=Ref(name="w"))
    given = {"corpus.ref": Input(c, {}, "c"), "tokenizer": Input(home / "words", {}, "w")}
    facts = run_tokenize(packed, given, d, _quiet)
    marks.append(cpu_seconds())
    for name, first, last in zip(STEPS, marks, marks[1:], strict=False):
        used[f"{name}_cpu_s"] = round(last - first, 2)
    return {
        **used,
        "cpu_s": marks[-1] - began,
        "wall_s": time.perf_counter() - clock,
        "peak_mb": peak_mb(),
        "after_dedup": counts["seen"],
        "kept": counts["kept"],
        "tokens": facts["tokens"],
    }


def write_index(home: Path, folder: Path, filters: Any) -> None:
    """Write the n-grams of the items as datatrove's NGramsDecontIndexer does, which needs lighteval."""
    import numpy as np  # noqa: PLC0415
    from datatrove.utils.text import ngrams, simplify_text  # noqa: PLC0415

    hashes: set[int] = set()
    with (home / "items.jsonl").open() as file:
        for item in map(json.loads, file):
            for text in (item["text"], item["answer"]):
                words = filters.tokenizer.word_tokenize(
                    simplify_text(text, filters.config.norm_config)
                )
                hashes.update(map(filters.hash_func, map(" ".join, ngrams(words, 13))))
    folder.mkdir(parents=True, exist_ok=True)
    np.array(sorted(hashes), np.uint64).tofile(folder / "items.index.hashes")


def run_datatrove(home: Path, out: Path) -> dict[str, Any]:
    """In a process of its own, with the peers' Python: the same steps by datatrove's blocks."""
    from datatrove.pipeline.decont.n_grams import (  # noqa: PLC0415
        NGramsDecontConfig,
        NGramsDecontFilter,
    )
    from datatrove.pipeline.dedup import (  # noqa: PLC0415
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.filters import LambdaFilter  # noqa: PLC0415
    from datatrove.pipeline.readers import JsonlReader  # noqa: PLC0415
    from datatrove.pipeline.tokens.tokenizer import DocumentTokenizer  # noqa: PLC0415
    from datatrove.pipeline.writers import JsonlWriter  # noqa: PLC0415
    from loguru import logger  # noqa: PLC0415

    logger.remove()
    a, b, c, d = (str(out / name) for name in STEPS)
    signature = MinhashDedupSignature(output_folder=f"{b}/signatures")
    config = NGramsDecontConfig(n_grams=13, find_query_ngrams=True, find_overlap_ngrams=False)
    decontaminate = NGramsDecontFilter(f"{c}/index", config=config)
    for tokenizer in (signature.word_tokenizer, decontaminate.tokenizer):
        tokenizer.word_tokenize("warm")
    began, clock = cpu_seconds(), time.perf_counter()
    marks = [began]
    reader = JsonlReader(str(home), glob_pattern="text.jsonl")
    long_enough = LambdaFilter(lambda document: len(document.text.strip()) >= LEAST_CHARACTERS)
    for _ in JsonlWriter(a, compression=None).run(long_enough.run(reader.run())):
        pass
    marks.append(cpu_seconds())
    signature.run(JsonlReader(a).run(), 0, 1)
    for bucket in range(14):
        MinhashDedupBuckets(f"{b}/signatures", f"{b}/buckets").run(None, bucket, 14)
    MinhashDedupCluster(f"{b}/buckets", f"{b}/remove").run(None, 0, 1)
    after = 0
    documents = MinhashDedupFilter(f"{b}/remove").run(JsonlReader(a).run(), 0, 1)
    for _ in JsonlWriter(f"{b}/text", compression=None).run(documents):
        after += 1
    marks.append(cpu_seconds())
    write_index(home, out / "decontaminate" / "index", decontaminate)
    free = decontaminate.run(JsonlReader(f"{b}/text").run())
    kept = 0
    for _ in JsonlWriter(f"{c}/text", compression=None).run(free):
        kept += 1
    marks.append(cpu_seconds())
    DocumentTokenizer(
        output_folder=d,
        tokenizer_name_or_path=str(home / "words" / "tokenizer.json"),
        eos_token="<|endoftext|>",
        seed=0,
    ).run(JsonlReader(f"{c}/text").run())
    marks.append(cpu_seconds())
    used = {
        f"{name}_cpu_s": round(last - first, 2)
        for name, first, last in zip(STEPS, marks, marks[1:], strict=False)
    }
    told = {"after_dedup": after, "kept": kept, "peak_mb": peak_mb()}
    return {**used, **told, "cpu_s": marks[-1] - began, "wall_s": time.perf_counter() - clock}


CONTESTANTS = {"ramify": run_ramify, "datatrove": run_datatrove}


def contest(home: Path, contestant: str, number: int) -> dict[str, Any]:
    """Run one contestant once in a fresh process; return what it used."""
    python = str(PEERS) if contestant == "datatrove" else sys.executable
    out = home / f"{contestant}{number}"
    done = subprocess.run(
        [python, __file__, "--contestant", contestant, str(home), str(out)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    used: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return used


def measure(home: Path) -> dict[str, Any]:
    """Run both in turns and return rates, medians of ROUNDS."""
    figures = write_input(home)
    train(home)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for number in range(ROUNDS):
        for name in CONTESTANTS:
            used = contest(home, name, number)
            runs[name].append(used)
            rate = figures["text_mb"] / used["cpu_s"]
            say(f"{number + 1}/{ROUNDS} {name}: {rate:.2f} MB per CPU-second {used}")
    for name, each in runs.items():
        for key in (*(f"{step}_cpu_s" for step in STEPS), "cpu_s", "wall_s", "peak_mb"):
            figures[f"{name}_{key}"] = round(statistics.median(used[key] for used in each), 2)
        figures[f"{name}_cpu_s_all"] = [round(used["cpu_s"], 2) for used in each]
        figures[f"{name}_after_dedup"] = each[0]["after_dedup"]
        figures[f"{name}_kept"] = each[0]["kept"]
        figures[f"{name}_mb_per_cpu_s"] = round(figures["text_mb"] / figures[f"{name}_cpu_s"], 3)
    figures["ramify_to_datatrove"] = figures["datatrove_cpu_s"] / figures["ramify_cpu_s"]
    return figures


def hardware() -> str:
    cpus = Path("/proc/cpuinfo").read_text()
    model = next((x.split(":")[1].strip() for x in cpus.splitlines() if "model name" in x), "CPU")
    return f"{len(os.sched_getaffinity(0))} cores, {model}, Python {platform.python_version()}"


def main() -> int:
    if sys.argv[1:2] == ["--contestant"]:
        name, home, out = sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
        print(json.dumps(CONTESTANTS[name](home, out)))
        return 0
    if not PEERS.exists() or not DATA.exists():
        say(f"needs {PEERS} (type: make bench-setup) and {DATA}")
        return 1
    with tempfile.TemporaryDirectory(prefix="ramify-curation-") as name:
        figures = measure(Path(name))
    value = figures["ramify_to_datatrove"]
    bar = {
        "what": "read, filter, dedup, decontaminate and tokenize per CPU-second, to datatrove's",
        "value": value,
        "op": ">=",
        "bar": 10,
        "holds": value >= 10,
    }
    told = {"name": "curation_speed", "n": ROUNDS, "hardware": hardware()}
    print(json.dumps({**told, "figures": figures, "bars": [bar]}))
    return 0 if bar["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
