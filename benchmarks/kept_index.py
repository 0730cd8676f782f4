"""A benchmark that appears later: looked up in the kept index of a corpus against searched for in its text.

Documents are stretches of the shared prose of 800 words in which every eighth word, drawn by a seed,
is another of the same prose, 120 MB in all; one question of GSM8K in fifty is planted in one. Each
set of items is searched for in the text, as Decontaminate does, and looked up in an index made
before, for indexes that serve items of 2, 3 and 5 words and more. Told are CPU-seconds, the bytes of
the index beside those of the corpus, and peak memory, each in a process of its own with one thread.

Run from the project root: `python benchmarks/kept_index.py`; a tenth of the text with `--tenth`. The
last line is JSON. Needs ../shared/data.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation_scale import DATA, ENVIRONMENT, cpu_seconds, hardware, peak_gb, prose, say

WORDS = 800  # of a document
BYTES = 120_000_000
SHARD_ROWS = 5000
SHORTEST = (2, 3, 5)
PLANTED = 50  # one question of GSM8K in as many
LEAST_FASTER = 5.0


def rows_of(name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a shared file."""
    import pyarrow as pa  # noqa: PLC0415

    with pa.input_stream(str(DATA / f"{name}.jsonl.zst"), compression="zstd") as file:
        yield from (json.loads(line) for line in file.read().split(b"\n") if line.strip())


def sets_of_items() -> dict[str, list[dict[str, str]]]:
    """Return the sets of items: id, task, text, answer."""
    gsm8k = [(x["question"], x["answer"].split("####")[-1]) for x in rows_of("math/gsm8k_train")]
    mmlu = [
        (x["question"], x["choices"]["ABCD".index(x["answer"])]) for x in rows_of("evals/mmlu_val")
    ]
    piqa = [(x["query"], x["choices"][x["gold"]]) for x in rows_of("evals/llmfoundry/piqa")]
    given = {"gsm8k": gsm8k, "mmlu": mmlu, "piqa": piqa}
    return {
        task: [
            {"id": str(n), "task": task, "text": text, "answer": answer}
            for n, (text, answer) in enumerate(pairs)
        ]
        for task, pairs in given.items()
    }


def write_corpus(folder: Path, questions: list[str], whole: int) -> dict[str, int]:
    """Write documents as shards of a corpus; return how many and how large they are."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    folder.mkdir(parents=True)
    words, chance = prose(), random.Random(0)
    size = count = shard = 0
    planted = iter(questions[::PLANTED])
    while size < whole:
        rows = []
        for _ in range(SHARD_ROWS):
            at = chance.randrange(len(words) - WORDS)
            piece = words[at : at + WORDS]
            for place in range(chance.randrange(8), WORDS, 8):
                piece[place] = words[chance.randrange(len(words))]
            if chance.random() < 0.01:
                piece.insert(chance.randrange(WORDS), next(planted, ""))
            rows.append({"id": f"{count:032x}", "text": " ".join(piece), "origin": str(count)})
            size, count = size + len(rows[-1]["text"].encode()), count + 1
        pq.write_table(
            pa.Table.from_pylist(rows),
            folder / f"{shard:05}.parquet",
            row_group_size=1024,
            compression="zstd",
        )
        shard += 1
    on_disk = sum(path.stat().st_size for path in folder.iterdir())
    return {"documents": count, "text_bytes": size, "corpus_bytes": on_disk}


def _quiet(done: float, total: float, unit: str, note: str = "") -> None:
    """Say nothing."""


def work(home: Path, task: str, shortest: int, making: bool) -> dict[str, Any]:
    """In a process of its own: make an index, or look for items by one, or without (shortest 0)."""
    from ramify.curate.decontaminate import run_contamination  # noqa: PLC0415
    from ramify.curate.gram_index import run_index  # noqa: PLC0415
    from ramify.curate.selection_steps import Contamination, NgramIndex  # noqa: PLC0415
    from ramify.ground.step import Input, Ref  # noqa: PLC0415

    corpus = Input(home / "corpus", {}, "corpus")
    index = Input(home / f"index-{shortest}", {}, "index")
    before = cpu_seconds()
    if making:
        index.path.mkdir()
        step = NgramIndex(name="i", corpus=Ref(name="c"), shortest=shortest)
        facts = run_index(step, {"corpus": corpus}, index.path, _quiet)
    else:
        out = home / f"{task}-{shortest}"
        out.mkdir()
        asked = Contamination(
            name="t", corpus=Ref(name="c"), items=(str(home / f"{task}.jsonl"),),
            index=Ref(name="i") if shortest else None,
        )  # fmt: skip
        inputs = {"corpus": corpus, "index": index} if shortest else {"corpus": corpus}
        facts = run_contamination(asked, inputs, out, _quiet)
    return {
        "facts": facts,
        "cpu_s": round(cpu_seconds() - before, 2),
        "peak_gb": peak_gb(),
    }


def apart(home: Path, task: str, shortest: int, *, making: bool = False) -> dict[str, Any]:
    """Return what `work` says in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--work", str(home), task, str(shortest), str(int(making))],
        check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    say(f"{task or 'index'} {shortest}: {told['cpu_s']} s, {told['peak_gb']} GB")
    return told


def measure(home: Path, whole: int) -> tuple[dict[str, Any], bool]:
    """Return the figures, and whether every lookup told what the search told."""
    sets = sets_of_items()
    figures: dict[str, Any] = write_corpus(
        home / "corpus" / "documents", [x["text"] for x in sets["gsm8k"]], whole
    )
    for task, items in sets.items():
        (home / f"{task}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in items))
        figures[f"{task}_items"] = len(items)
    for shortest in SHORTEST:
        made = apart(home, "", shortest, making=True)
        figures[f"index_{shortest}_cpu_s"] = made["cpu_s"]
        figures[f"index_{shortest}_bytes"] = made["facts"]["index_bytes"]
        figures[f"index_{shortest}_peak_gb"] = made["peak_gb"]
    same = True
    for task in sets:
        searched = apart(home, task, 0)
        figures[f"{task}_search_cpu_s"] = searched["cpu_s"]
        figures[f"{task}_contaminated"] = searched["facts"]["contaminated"]
        report = (home / f"{task}-0" / "report.parquet").read_bytes()
        for shortest in SHORTEST:
            looked = apart(home, task, shortest)
            same = same and (home / f"{task}-{shortest}" / "report.parquet").read_bytes() == report
            told = looked["facts"]
            name = f"{task}_index_{shortest}"
            figures[f"{name}_cpu_s"] = looked["cpu_s"]
            figures[f"{name}_peak_gb"] = looked["peak_gb"]
            figures[f"{name}_searched"] = told["searched"]
            figures[f"{name}_too_short"] = told["too_short_for_index"]
    return figures, same


def main() -> int:
    if sys.argv[1:2] == ["--work"]:
        home, task, shortest, making = sys.argv[2:6]
        print(json.dumps(work(Path(home), task, int(shortest), making == "1")))
        return 0
    if not DATA.exists():
        say(f"needs {DATA}")
        return 1
    with tempfile.TemporaryDirectory(prefix="ramify-index-") as name:
        figures, same = measure(Path(name), BYTES // 10 if "--tenth" in sys.argv else BYTES)
    faster = figures["gsm8k_search_cpu_s"] / figures["gsm8k_index_3_cpu_s"]
    figures["gsm8k_faster"] = round(faster, 2)
    bars = [
        {"what": "reports of a lookup that are those of a search", "value": float(same), "op": "==",
         "bar": 1.0, "holds": same},
        {"what": "GSM8K: CPU of a search to that of a lookup, items of 3 words and more",
         "value": round(faster, 2), "op": ">=", "bar": LEAST_FASTER, "holds": faster >= LEAST_FASTER},
    ]  # fmt: skip
    told = {"name": "kept_index", "n": 1, "hardware": hardware()}
    print(json.dumps({**told, "figures": figures, "bars": bars}))
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
