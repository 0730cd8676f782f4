"""Curation of millions of short documents: cost per document as their number grows tenfold, and memory.

Documents are pieces of the shared prose of some 500 characters in which every eighth word, drawn by
a seed, is another of the same prose; one in ten is a near copy of the one before. They are read,
filtered, deduplicated by 14 x 8 MinHash and tokenized, as a lab would, in a process of its own for
each size, with one thread, and with RLIMIT_DATA at 8 GiB, beyond which the kernel gives it no memory
to write to. Told are CPU-seconds per document at both sizes, by step, and peak memory. That a
cluster makes the same corpus is curation_cluster's.

Run from the project root: `python benchmarks/curation_scale.py`, 5 million documents; a tenth of that
with `--tenth`. The last line is JSON. Needs ../shared/data and, at full size, some 12 GB of disk.
"""

from __future__ import annotations

import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

DATA = Path("../shared/data")
WHOLE = 5_000_000
PIECE_WORDS = 80
FILE_ROWS = 50_000
VOCAB = 16_384
LIMIT_GB = 8  # GiB
ENVIRONMENT = {
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "FASTOKENS_BPE_THREADS": "1",
}
STEPS = ("read", "dedup", "tokenize")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def prose() -> list[str]:
    """Return the words of the shared prose, end to end."""
    import pyarrow as pa  # noqa: PLC0415

    words: list[str] = []
    for name in ("openstax", "standard_ebooks"):
        with pa.input_stream(str(DATA / "prose" / f"{name}.jsonl.zst"), compression="zstd") as file:
            for line in file.read().split(b"\n"):
                words += json.loads(line)["text"].split() if line.strip() else []
    return words


def texts(words: list[str], count: int) -> Iterator[str]:
    """Yield perturbed pieces; of every ten the last is a near copy of the one before."""
    chance = random.Random(0)
    piece: list[str] = []
    for number in range(count):
        if number % 10 == 9:
            piece = list(piece)
            piece[chance.randrange(PIECE_WORDS)] = "changed"
        else:
            at = chance.randrange(len(words) - PIECE_WORDS)
            piece = words[at : at + PIECE_WORDS]
            for place in range(chance.randrange(8), PIECE_WORDS, 8):
                piece[place] = words[chance.randrange(len(words))]
        yield " ".join(piece)


def write_input(folder: Path, words: list[str], count: int) -> None:
    """Write the documents as parquet files of 50,000 rows."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    folder.mkdir()
    source = texts(words, count)
    for number in range(-(-count // FILE_ROWS)):
        rows = list(islice(source, FILE_ROWS))
        pq.write_table(pa.table({"text": rows}), folder / f"{number:05}.parquet")


def _quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_gb() -> float:
    """Return the peak memory of this process; what getrusage tells is that of its parent, if higher."""
    told = Path("/proc/self/status").read_text()
    return round(int(told.split("VmHWM:")[1].split()[0]) / 2**20, 3)


def cap(gb: float) -> None:
    """Have the kernel refuse this process memory beyond so many GiB, and see that it does."""
    most = int(gb * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        bytearray(most)
    except MemoryError:
        return
    raise SystemExit("the kernel does not hold a process to RLIMIT_DATA: there is no limit here")


def curate(text: Path, words: Path, out: Path) -> dict[str, Any]:
    """In a process of its own: the steps as a lab would make them; what each used."""
    from ramify.curate.dedup import run_dedup  # noqa: PLC0415
    from ramify.curate.read import run_read  # noqa: PLC0415
    from ramify.curate.steps import Dedup, Files, Read  # noqa: PLC0415
    from ramify.ground.step import Input, Ref  # noqa: PLC0415
    from ramify.tokens.make import run_tokenize  # noqa: PLC0415
    from ramify.tokens.steps import Corpus, Tokenize  # noqa: PLC0415

    a, b, c = (out / name for name in STEPS)
    for folder in (a, b, c):
        folder.mkdir(parents=True)
    marks, clock = [cpu_seconds()], time.perf_counter()
    read = run_read(Read(name="a", source=Files(path=str(text))), {}, a, _quiet)
    marks.append(cpu_seconds())
    say(f"read {read['seen']:,}")
    clean = Dedup(name="b", corpora={"text": Ref(name="a")}, held_out_by="document")
    told = run_dedup(clean, {"corpora.text": Input(a, {}, "a")}, b, _quiet)
    marks.append(cpu_seconds())
    say(f"dropped {told['corpora']['text']['dropped']:,}")
    packed = Tokenize(
        name="c", corpus=Corpus(ref=Ref(name="b"), part="text"), tokenizer=Ref(name="w")
    )
    given = {"corpus.ref": Input(b, {}, "b"), "tokenizer": Input(words, {}, "w")}
    facts = run_tokenize(packed, given, c, _quiet)
    marks.append(cpu_seconds())
    used = {
        f"{name}_cpu_s": round(last - first, 2)
        for name, first, last in zip(STEPS, marks, marks[1:], strict=False)
    }
    return {
        **used,
        "cpu_s": round(marks[-1] - marks[0], 2),
        "wall_s": round(time.perf_counter() - clock, 1),
        "peak_gb": peak_gb(),
        "seen": read["seen"],
        "dropped": told["corpora"]["text"]["dropped"],
        "tokens": facts["tokens"],
    }


def measure(home: Path, whole: int) -> dict[str, Any]:
    """Return what a tenth of the documents and all of them took."""
    from ramify.tokens import tokenizer  # noqa: PLC0415

    words = prose()
    (home / "words").mkdir()
    tokenizer.train(list(texts(words, 4000)), VOCAB, ("<|endoftext|>",)).save(home / "words")
    figures: dict[str, Any] = {}
    for name, count in (("few", whole // 10), ("many", whole)):
        write_input(home / name, words, count)
        done = subprocess.run(
            [sys.executable, __file__, "--curate", str(home / name), str(home / "words"),
             str(home / f"{name}-out"), str(LIMIT_GB)],
            check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **ENVIRONMENT},
        )  # fmt: skip
        used = json.loads(done.stdout.splitlines()[-1])
        say(f"{count:,} documents: {used}")
        figures |= {f"{name}_{key}": value for key, value in used.items()}
        figures[f"{name}_documents"] = count
        figures[f"{name}_cpu_us_per_document"] = round(used["cpu_s"] / count * 1e6, 1)
    few, many = (figures[f"{name}_cpu_us_per_document"] for name in ("few", "many"))
    return {**figures, "cost_of_growth": round(many / few, 3)}


def hardware() -> str:
    cpus = Path("/proc/cpuinfo").read_text()
    model = next((x.split(":")[1].strip() for x in cpus.splitlines() if "model name" in x), "CPU")
    return f"{len(os.sched_getaffinity(0))} cores, {model}, Python {platform.python_version()}"


def main() -> int:
    if sys.argv[1:2] == ["--curate"]:
        cap(float(sys.argv[5]))
        print(json.dumps(curate(*map(Path, sys.argv[2:5]))))
        return 0
    if not DATA.exists():
        say(f"needs {DATA}")
        return 1
    whole = WHOLE // 10 if "--tenth" in sys.argv else WHOLE
    with tempfile.TemporaryDirectory(prefix="ramify-scale-") as name:
        figures = measure(Path(name), whole)
    growth, peak = figures["cost_of_growth"], figures["many_peak_gb"]
    bars = [
        {
            "what": f"cost per document at {whole:,} to that at {whole // 10:,}",
            "value": growth,
            "op": "<=",
            "bar": 1.2,
            "holds": growth <= 1.2,
        },
        {
            "what": f"peak memory at {whole:,} documents, GiB",
            "value": peak,
            "op": "<=",
            "bar": LIMIT_GB,
            "holds": peak <= LIMIT_GB,
        },
    ]
    told = {"name": "curation_scale", "n": 1, "hardware": hardware()}
    print(json.dumps({**told, "figures": figures, "bars": bars}))
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
