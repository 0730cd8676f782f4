"""The same corpus from a Ray cluster that loses a process and a machine in mid-run; what Ray costs.

The documents of curation_scale, 100,000 of them, are read and filtered, deduplicated and tokenized by
`ramify run` three times: in one process a step, on a local Ray cluster of two machines of one core
each, and on such a cluster while a process that does a task is killed by SIGKILL and later the second
machine with all its processes. Every file of the labs is compared by its hash, of records what was
asked and found, and each document must be there once. Told are CPU-seconds of every process begun:
those of the driver, of the tasks' processes, and of Ray's own; of a process that is killed, to within a tenth
of a second.

Run from the project root: `python benchmarks/curation_cluster.py`; half the documents with `--half`.
The last line is JSON. Needs ../shared/data and Ray.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from curation_scale import DATA, ENVIRONMENT, VOCAB, hardware, prose, say, texts
from ramify import BroughtTokenizer, Corpus, Dedup, Files, Read, Recipe, Ref, Tokenize

DOCUMENTS = 100_000
FILE_ROWS = 2500
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
DRIVER = "from ramify.cli import main; main()"
TASK = "ray::_attempt"  # what a process that does a task is called meanwhile
TICKS = os.sysconf("SC_CLK_TCK")
STEPS = ("raw", "clean", "words", "packed")


def recipe(folder: str, words: str) -> Recipe:
    """Return the steps: read and filtered, deduplicated, tokenized."""
    raw = Read(name="raw", source=Files(path=folder))
    clean = Dedup(name="clean", corpora={"text": Ref(name="raw")}, held_out_by="document")
    brought = BroughtTokenizer(name="words", path=Path(words))
    packed = Tokenize(
        name="packed",
        corpus=Corpus(ref=Ref(name="clean"), part="text"),
        tokenizer=Ref(name="words"),
    )
    return Recipe(name="curation-cluster", steps=(raw, clean, brought, packed))


@dataclass
class Processes:
    """The processes begun under this one, with the CPU-seconds each was last seen to have used."""

    used: dict[tuple[int, str], float] = field(default_factory=dict)  # by id and time of birth
    kinds: dict[tuple[int, str], str] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)

    def look(self) -> None:
        """See what each has used up to now."""
        alive = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                name = (entry / "cmdline").read_bytes().split(b"\0")
                after = (entry / "stat").read_text().rpartition(")")[2].split()
                alive[int(entry.name)] = (name, after)
        self.parents = {pid: int(after[1]) for pid, (_, after) in alive.items()}
        for pid, (name, after) in alive.items():
            if self.is_below(pid, os.getpid()):
                key = (pid, after[19])
                self.used[key] = (int(after[11]) + int(after[12])) / TICKS
                if name[0]:  # one that has ended has none any more
                    self.kinds[key] = _kind(name)

    def is_below(self, pid: int, above: int) -> bool:
        """Say whether a process was begun by another, or by one that it began."""
        while pid := self.parents.get(pid, 0):
            if pid == above:
                return True
        return False

    def at_a_task(self, above: int) -> list[int]:
        """Return the processes below another that do a task of Ray now."""
        self.look()
        return [
            pid
            for pid in self.parents
            if self.is_below(pid, above) and _command(pid).startswith(TASK)
        ]

    def seconds(self) -> Counter[str]:
        """Return the CPU-seconds of each kind of process."""
        found: Counter[str] = Counter()
        for key, used in self.used.items():
            found[self.kinds.get(key, "ray")] += used
        return found


def _kind(name: list[bytes]) -> str:
    """Return what a process is for, by its command line."""
    if name[0].startswith(b"ray::"):
        return "tasks"
    is_ours = any(word == DRIVER.encode() or word.startswith(b"ramify.") for word in name)
    return "driver" if is_ours else "ray"


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


class Machines:
    """Two machines of one core each, as Ray sees them."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster  # noqa: PLC0415

        self._cluster: Any = Cluster(initialize_head=True, head_node_args=NODE)
        self._second = self._cluster.add_node(**NODE)
        self.address: str = self._cluster.address
        self.killed = self.lost = 0

    def kill_a_process(self, seen: Processes) -> bool:
        """Kill a process that does a task, of either machine; say whether there was one."""
        for pid in seen.at_a_task(os.getpid())[:1]:
            os.kill(pid, signal.SIGKILL)
            self.killed += 1
        return self.killed > 0

    def lose_one(self, seen: Processes) -> bool:
        """End the second machine with all its processes while it does a task; say whether it did."""
        raylet = self._second.all_processes["raylet"][0].process.pid
        if seen.at_a_task(raylet):
            self._cluster.remove_node(self._second, allow_graceful=False)
            self.lost += 1
        return self.lost > 0

    def end(self) -> None:
        self._cluster.shutdown()


@contextlib.contextmanager
def machines() -> Iterator[Machines]:
    found = Machines()
    try:
        yield found
    finally:
        found.end()


def shards_entered(lab: Path) -> int:
    """Return how many shards of the first step are in its ledger."""
    with contextlib.suppress(OSError):
        return sum(
            len(path.read_text().splitlines()) - 1
            for path in lab.glob("raw*/ledger.jsonl")  # in the making and made
        )
    return 0


Act = tuple[int, Callable[[Processes], bool]]  # from how many shards on, until it says that it did


def grow(home: Path, lab: Path, address: str | None, acts: tuple[Act, ...] = ()) -> dict[str, Any]:
    """Run the recipe by the command line and return what it took."""
    given = [f"folder={home / 'texts'}", f"words={home / 'tokenizer.json'}"]
    command = [
        *(sys.executable, "-c", DRIVER, "run", __file__, "--lab", str(lab)),
        *(x for value in given for x in ("--set", value)),
        *(("--ray", address) if address else ()),
    ]
    seen, clock, left = Processes(), time.perf_counter(), list(acts)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        command, env={**os.environ, **ENVIRONMENT, "PYTHONPATH": path}, stdout=subprocess.DEVNULL
    ) as running:
        while running.poll() is None:
            if left and shards_entered(lab) >= left[0][0] and left[0][1](seen):
                left.pop(0)
            seen.look()
            time.sleep(0.05)
    if running.returncode:
        raise SystemExit(f"ramify run left with code {running.returncode}")
    seconds = seen.seconds()
    return {
        **{f"{kind}_cpu_s": round(seconds[kind], 2) for kind in ("driver", "tasks", "ray")},
        "cpu_s": round(seconds.total(), 2),
        "wall_s": round(time.perf_counter() - clock, 1),
    }


def hashes(lab: Path) -> dict[str, str]:
    """Return the hash of every file of the steps; of a record, that of what was asked and found."""
    found = {}
    for path in sorted(x for step in STEPS for x in (lab / step).rglob("*") if x.is_file()):
        data = path.read_bytes()
        if path.name == "record.json":
            record = json.loads(data)
            data = json.dumps([record["fingerprint"], record["facts"]]).encode()
        found[path.relative_to(lab).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


def unlike(one: dict[str, str], other: dict[str, str]) -> int:
    """Return how many files are not the same in both, or only in one."""
    return sum(one.get(name) != other.get(name) for name in one.keys() | other.keys())


def ids(folder: Path) -> Counter[str]:
    """Return how often each document is in the tables below a folder, whatever became of it."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    found: Counter[str] = Counter()
    for path in folder.rglob("*.parquet"):
        if path.parent.name in ("documents", "dropped", "held_out"):
            found.update(pq.read_table(path, columns=["id"])["id"].to_pylist())
    return found


def not_once(lab: Path, count: int) -> int:
    """Return how many documents either step lost or has more than once."""
    raw, clean = ids(lab / "raw"), ids(lab / "clean")
    kept = json.loads((lab / "raw" / "counts.json").read_text())["kept"]
    doubled = sum(n - 1 for each in (raw, clean) for n in each.values())
    return doubled + abs(count - len(raw)) + abs(kept - len(clean))


def write_texts(home: Path, count: int) -> None:
    """Write the documents, and a tokenizer trained on some of them."""
    from ramify.tokens import tokenizer  # noqa: PLC0415

    words = prose()
    tokenizer.train(list(texts(words, 4000)), VOCAB, ("<|endoftext|>",)).save(home)
    (home / "texts").mkdir()
    lines = (json.dumps({"text": text}) + "\n" for text in texts(words, count))
    for number in range(-(-count // FILE_ROWS)):
        (home / "texts" / f"{number:05}.jsonl").write_text("".join(islice(lines, FILE_ROWS)))


def measure(home: Path, count: int) -> dict[str, Any]:
    """Return what each way took, and how the labs differ."""
    write_texts(home, count)
    figures: dict[str, Any] = {"documents": count}
    ways: dict[str, dict[str, Any]] = {"one process": grow(home, home / "alone", None)}
    expected = hashes(home / "alone")
    figures["files"] = len(expected)
    with machines() as two:
        ways["cluster"] = grow(home, home / "cluster", two.address)
    with machines() as dying:
        acts = ((1, dying.kill_a_process), (2, dying.lose_one))
        ways["cluster that dies"] = grow(home, home / "dies", dying.address, acts)
        figures |= {"processes_killed": dying.killed, "machines_lost": dying.lost}
    for name, took in ways.items():
        say(f"{name}: {took}")
        figures[name] = took
    labs = (home / "cluster", home / "dies")
    figures["files_unlike"] = sum(unlike(expected, hashes(lab)) for lab in labs)
    figures["documents_not_once"] = sum(not_once(lab, count) for lab in (home / "alone", *labs))
    figures["packed_tokens"] = json.loads((home / "alone/packed/record.json").read_text())["facts"][
        "tokens"
    ]
    cluster, alone = (ways[name]["cpu_s"] for name in ("cluster", "one process"))
    figures["cluster_to_one_process_cpu"] = round(cluster / alone, 2)
    return figures


def main() -> int:
    if not DATA.exists():
        say(f"needs {DATA}")
        return 1
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    count = DOCUMENTS // 2 if "--half" in sys.argv else DOCUMENTS
    with tempfile.TemporaryDirectory(prefix="ramify-cluster-") as name:
        figures = measure(Path(name), count)
    asked = {
        "files that differ from one process's": ("files_unlike", 0),
        "documents lost or doubled": ("documents_not_once", 0),
        "processes killed while they did a task": ("processes_killed", 1),
        "machines lost while they did a task": ("machines_lost", 1),
    }
    bars = [
        {"what": what, "value": figures[key], "op": "==", "bar": bar, "holds": figures[key] == bar}
        for what, (key, bar) in asked.items()
    ]
    told = {"name": "curation_cluster", "n": 1, "hardware": hardware()}
    print(json.dumps({**told, "figures": figures, "bars": bars}))
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
