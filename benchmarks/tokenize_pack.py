"""Tokenizing and packing: MB of text per CPU-second, beside datatrove's DocumentTokenizer.

The text is the Python installation's own (standard library and installed packages), the tokenizer a
byte-level BPE of 49,152 tokens trained on it. Each contestant runs in a process of its own, with one
thread, in turns: Ramify with fastokens, Ramify with its fallback, datatrove. Clocks begin after the
imports. Ramify's covers everything from the parquet files to the sealed shards: reading, the check
of fastokens against the reference, the order, the index of documents. datatrove's covers
DocumentTokenizer alone (its defaults: shuffled documents, an index), documents already in memory.
The tokens of every document are compared.

Run from the project root, after `make bench-setup`: `python benchmarks/tokenize_pack.py`. The last
line is JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEXT_BYTES = 48_000_000
VOCAB = 49_152
ROUNDS = 5
FILE_ROWS = 1000
PEERS = Path(".venv-peers/bin/python")
SUFFIXES = (".py", ".pyi", ".md", ".rst", ".txt")
CONTESTANTS = ("fastokens", "tokenizers", "datatrove")
ENVIRONMENT = {
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "FASTOKENS_BPE_THREADS": "1",
}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def cpu_seconds(since: float = 0.0) -> float:
    """Return user and system seconds of this process and of its ended children."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used) - since


def installed_texts() -> Iterator[tuple[str, str]]:
    """Yield (id, text) of the installation's files, in an order that mixes packages."""
    paths = sysconfig.get_paths()
    roots = [Path(paths[key]).resolve() for key in ("stdlib", "purelib")]
    found = {path for root in roots for path in root.rglob("*") if path.suffix in SUFFIXES}
    named = {hashlib.sha256(str(path).encode()).hexdigest()[:32]: path for path in found}
    for name in sorted(named):
        try:
            text = named[name].read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        if text and "<|" not in text:  # datatrove would turn a control token's name into its id
            yield name, text


def write_text(folder: Path) -> int:
    """Write the corpus as parquet for Ramify and as JSON lines for datatrove; return its bytes."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    documents: list[tuple[str, str]] = []
    total = 0
    for name, text in installed_texts():
        documents.append((name, text))
        total += len(text.encode())
        if total >= TEXT_BYTES:
            break
    (folder / "text" / "documents").mkdir(parents=True)
    for at in range(0, len(documents), FILE_ROWS):
        ids, texts = zip(*documents[at : at + FILE_ROWS], strict=True)
        table = pa.table({"id": ids, "text": texts, "origin": ids, "part": [0] * len(ids)})
        pq.write_table(table, folder / "text" / "documents" / f"{at:06d}.parquet")
    with (folder / "text.jsonl").open("w") as file:
        file.writelines(json.dumps(pair) + "\n" for pair in documents)
    say(f"{len(documents):,} documents, {total / 1e6:.1f} MB")
    return total


def train(folder: Path) -> None:
    """Train the tokenizer that all contestants use."""
    from ramify.ground.step import Input, Ref  # noqa: PLC0415
    from ramify.tokens import make  # noqa: PLC0415
    from ramify.tokens.steps import Corpus, Tokenizer  # noqa: PLC0415

    say(f"training a tokenizer of {VOCAB:,}")
    step = Tokenizer(name="words", corpora={"text": Corpus(ref=Ref(name="text"))}, vocab=VOCAB)
    (folder / "words").mkdir()
    make.run_tokenizer(
        step, {"corpora.text.ref": Input(folder / "text", {}, "")}, folder / "words", _quiet
    )


def _quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def run_ramify(folder: Path, out: Path, encoder: Any) -> dict[str, Any]:
    """In a process of its own: tokenize the corpus from its parquet files."""
    from ramify.ground.step import Input, Ref  # noqa: PLC0415
    from ramify.tokens import make  # noqa: PLC0415
    from ramify.tokens.steps import Corpus, Tokenize  # noqa: PLC0415

    step = Tokenize(
        name="packed",
        corpus=Corpus(ref=Ref(name="text")),
        tokenizer=Ref(name="words"),
        encoder=encoder,
    )
    inputs = {
        "corpus.ref": Input(folder / "text", {}, ""),
        "tokenizer": Input(folder / "words", {}, ""),
    }
    began, clock = cpu_seconds(), time.perf_counter()
    facts = make.run_tokenize(step, inputs, out, _quiet)
    used = {"cpu_s": cpu_seconds(began), "wall_s": time.perf_counter() - clock}
    if facts["encoder"]["name"] != encoder:
        raise SystemExit(f"{encoder} was not used: {facts['encoder']['why']}")
    return used


def run_datatrove(folder: Path, out: Path) -> dict[str, Any]:
    """In a process of its own, with the peers' Python: tokenize documents that are in memory."""
    from datatrove.data import Document  # noqa: PLC0415
    from datatrove.pipeline.tokens.tokenizer import DocumentTokenizer  # noqa: PLC0415
    from loguru import logger  # noqa: PLC0415

    logger.remove()
    with (folder / "text.jsonl").open() as file:
        documents = [Document(id=name, text=text) for name, text in map(json.loads, file)]
    step = DocumentTokenizer(
        output_folder=str(out),
        tokenizer_name_or_path=str(folder / "words" / "tokenizer.json"),
        eos_token="<|endoftext|>",
        seed=0,
    )
    began, clock = cpu_seconds(), time.perf_counter()
    step.run(iter(documents))
    return {"cpu_s": cpu_seconds(began), "wall_s": time.perf_counter() - clock}


def documents_of(contestant: str, out: Path) -> list[bytes]:
    """Return the digest of every document's tokens that a contestant wrote, sorted."""
    import numpy as np  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    if contestant == "datatrove":
        (shuffled,) = out.glob("*.ds")
        ends = np.fromfile(f"{shuffled}.index", "<u8").astype(np.int64)
        ids = np.fromfile(shuffled, "<u2")
        starts = np.concatenate([[0], ends[:-1]])
    else:
        ids = np.concatenate(
            [np.fromfile(path, "<u2") for path in sorted(out.glob("shards/*.bin"))]
        )
        tables = [pq.read_table(path) for path in sorted(out.glob("shards/*.docs.parquet"))]
        starts = np.concatenate([table.column("start").to_numpy() for table in tables])
        sizes = np.concatenate([table.column("tokens").to_numpy() for table in tables])
        ends = starts + sizes + 1  # with the end of text
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    return sorted(hashlib.sha256(ids[start:end].tobytes()).digest() for start, end in pairs)


def contest(folder: Path, contestant: str, number: int) -> dict[str, Any]:
    """Run one contestant once in a fresh process; return what it used."""
    out = folder / f"{contestant}{number}"
    out.mkdir()
    python = str(PEERS) if contestant == "datatrove" else sys.executable
    before = cpu_seconds()
    done = subprocess.run(
        [python, __file__, "--contestant", contestant, str(folder), str(out)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    used: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**used, "process_cpu_s": cpu_seconds(before), "out": out}


def measure(folder: Path) -> dict[str, Any]:
    """Run everybody in turns and return rates, medians of ROUNDS."""
    total = write_text(folder)
    train(folder)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for number in range(ROUNDS):
        for name in CONTESTANTS:
            used = contest(folder, name, number)
            runs[name].append(used)
            say(
                f"{number + 1}/{ROUNDS} {name}: {total / 1e6 / used['cpu_s']:.2f} MB per CPU-second"
            )
    written = [documents_of(name, runs[name][0]["out"]) for name in CONTESTANTS]
    figures: dict[str, Any] = {"text_mb": total / 1e6, "documents": len(written[0]), "vocab": VOCAB}
    figures["tokens_equal"] = all(each == written[0] for each in written)
    for name in CONTESTANTS:
        for clock in ("cpu_s", "process_cpu_s"):
            rates = [total / 1e6 / used[clock] for used in runs[name]]
            figures[f"{name}_mb_per_{clock}"] = statistics.median(rates)
            figures[f"{name}_mb_per_{clock}_all"] = [round(rate, 3) for rate in rates]
    for name in CONTESTANTS[:2]:
        for clock in ("cpu_s", "process_cpu_s"):
            ours, theirs = (figures[f"{each}_mb_per_{clock}"] for each in (name, "datatrove"))
            figures[f"{name}_to_datatrove_{clock}"] = ours / theirs
    return figures


def hardware() -> str:
    cpus = Path("/proc/cpuinfo").read_text()
    model = next((x.split(":")[1].strip() for x in cpus.splitlines() if "model name" in x), "CPU")
    return f"{len(os.sched_getaffinity(0))} cores, {model}, Python {platform.python_version()}"


def versions() -> dict[str, str]:
    """Return what was measured, from both environments."""
    program = (
        "import json, sys; from importlib import metadata;"
        "print(json.dumps({n: metadata.version(n) for n in sys.argv[1:]}))"
    )
    said = {}
    for where, python, names in (
        ("ramify", sys.executable, ("fastokens", "tokenizers", "pyarrow")),
        ("peers", str(PEERS), ("datatrove", "tokenizers")),
    ):
        found = subprocess.run(
            [python, "-c", program, *names], check=True, capture_output=True, text=True
        )
        said |= {f"{where} {name}": version for name, version in json.loads(found.stdout).items()}
    return said


BARS = (
    (
        "fastokens_to_datatrove_cpu_s",
        ">=",
        10,
        "text per CPU-second, with fastokens, to datatrove's",
    ),
    ("tokens_equal", "==", True, "every document has the same tokens in all three"),
)


def main() -> int:
    if sys.argv[1:2] == ["--contestant"]:
        name, folder, out = sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
        used = run_datatrove(folder, out) if name == "datatrove" else run_ramify(folder, out, name)
        print(json.dumps(used))
        return 0
    if not PEERS.exists():
        say(f"no {PEERS}; type: make bench-setup")
        return 1
    with tempfile.TemporaryDirectory(prefix="ramify-tokenize-") as name:
        figures = measure(Path(name))
    figures["versions"] = versions()
    bars = [
        {
            "what": what,
            "value": figures[key],
            "op": op,
            "bar": bar,
            "holds": figures[key] >= bar if op == ">=" else figures[key] == bar,
        }
        for key, op, bar, what in BARS
    ]
    print(
        json.dumps(
            {
                "name": "tokenize_pack",
                "n": ROUNDS,
                "hardware": hardware(),
                "figures": figures,
                "bars": bars,
            }
        )
    )
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
