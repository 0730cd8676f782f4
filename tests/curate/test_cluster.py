"""Curation on a Ray cluster of two machines: the bytes of one process, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from moto.moto_api import recorder
from tests import far, hub_server
from tests.hub_server import Hub

from ramify.curate import read
from ramify.curate.classify import run_classify
from ramify.curate.copies import Shelf
from ramify.curate.decontaminate import run_contamination, run_decontaminate
from ramify.curate.dedup import run_dedup
from ramify.curate.filters import TooLong, TooShort
from ramify.curate.gram_index import run_index
from ramify.curate.masks import Mask
from ramify.curate.quality_steps import Classify, Linear, Score
from ramify.curate.read import run_read
from ramify.curate.score import run_score
from ramify.curate.selection_steps import Contamination, Decontaminate, NgramIndex
from ramify.curate.sift import run_sift
from ramify.curate.steps import Dedup, Files, Read, Sift
from ramify.ground import spread
from ramify.ground.errors import BadInput, Mismatch, NotFound
from ramify.ground.spread import ATTEMPTS, Made, each, over
from ramify.ground.step import Input, Ref, Tell

from .corpora import contents, prose, quiet, row, write_corpus
from .labelled import graded, written

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ramify[cluster]'")

SHARDS = 12
HUB = "hf://datasets/people/texts"
FILES = 16
MANY = {  # the last text of each is the first of the next
    f"{n:02}.{kind}": write(2 * n, 2 * n + 1, 2 * n + 2)
    for n in range(FILES)
    for kind, write in [("parquet", far.table) if n % 5 == 0 else ("jsonl", far.rows)]
}
OPERATIONS = 40  # of files, after which a task's process kills itself: some shards later
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


class Machines:
    """Two machines of one core each, as Ray sees them; their tasks' processes die young.

    Each has a key for buckets that the driver does not have, and no token for the hub.
    """

    key = "AKIDOFTHEMACHINES"

    def __init__(self, log: Path) -> None:
        from ray.cluster_utils import Cluster  # noqa: PLC0415

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        with pytest.MonkeyPatch.context() as of_machines:
            of_machines.setenv("RAMIFY_FAILPOINT", str(OPERATIONS))
            of_machines.setenv("RAMIFY_FAILPOINT_LOG", str(log))
            of_machines.setenv("AWS_ACCESS_KEY_ID", self.key)
            self._cluster: Any = Cluster(initialize_head=True, head_node_args=NODE)
            self._second = self._cluster.add_node(**NODE)
        self._log = log
        self.address: str = self._cluster.address

    def lose_one(self) -> None:
        """End the second machine with all its processes at once."""
        self._cluster.remove_node(self._second, allow_graceful=False)

    def deaths(self) -> int:
        """Return how many tasks' processes have killed themselves."""
        if not self._log.exists():
            return 0
        return sum(
            line.split()[1] == str(OPERATIONS) for line in self._log.read_text().splitlines()
        )

    def end(self) -> None:
        self._cluster.shutdown()


@dataclass
class Away:
    """A bucket `texts` of the files MANY, and a hub of the first three."""

    client: Any
    hub: Hub


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Away]:
    """Serve both before there are machines, which learn from their start where they are."""
    home = tmp_path_factory.mktemp("home")
    with (
        pytest.MonkeyPatch.context() as environment,
        far.bucket(MANY, environment) as client,
        hub_server.serving(Hub()) as hub,
    ):
        hub.commit(dict(list(MANY.items())[:3]))
        environment.setenv("HF_ENDPOINT", hub.url)
        environment.setenv("HF_HOME", str(home))
        yield Away(client, hub)


@pytest.fixture(scope="module")
def machines(away: Away, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    found = Machines(tmp_path_factory.mktemp("machines") / "operations")
    yield found
    found.end()


def corpus(folder: Path) -> Input:
    """A corpus of some shards, of which every seventh document is too short."""
    return write_corpus(
        folder,
        {
            f"documents/{shard:05}": [
                row("no" if n % 7 == 3 else f"{prose((shard, n))} a@b.org", f"{shard}.txt", n)
                for n in range(40)
            ]
            for shard in range(SHARDS)
        },
    )


STEP = Sift(name="s", corpus=Ref(name="c"), filters=(TooShort(characters=5), Mask()))


def sifted(given: Input, out: Path, address: str | None = None, tell: Tell = quiet) -> Any:
    out.mkdir(exist_ok=True)
    with over(address):
        return run_sift(STEP, {"corpus": given}, out, tell)


def after(shards: int, act: Callable[[], None]) -> Tell:
    """Return what acts once when so many shards are told of."""

    def told(done: float, total: float, unit: str, note: str = "") -> None:
        if done == shards:
            act()

    return told


DRIVER = """
import os, signal, sys
from pathlib import Path
from tests.curate.test_cluster import after, sifted
from ramify.ground.step import Input
end = after(3, lambda: os.kill(os.getpid(), signal.SIGKILL))
sifted(Input(Path(sys.argv[1]), {}, Path(sys.argv[1]).name), Path(sys.argv[2]), sys.argv[3], end)
"""


def folders(home: Path) -> set[Path]:
    return {path.relative_to(home) for path in home.rglob("*") if path.is_dir()}


Steps = dict[str, tuple[Any, Any, dict[str, Input]]]


def _index(home: Path, given: dict[str, Input]) -> Input:
    (home / "index").mkdir()
    facts = run_index(NgramIndex(name="i", corpus=Ref(name="c")), given, home / "index", quiet)
    return Input(home / "index", facts, "i")


def steps(home: Path) -> Steps:
    """Return a step of each kind that is spread, how it is made, and of what."""
    ref = Ref(name="c")
    texts = home / "texts"
    texts.mkdir(parents=True)
    for n in range(30):
        words = ["one text in two files" if n % 6 == 0 else prose(n, 80), "no", f"a{n}@b.org is"]
        lines = "".join(json.dumps({"text": text}) + "\n" for text in words)
        (texts / f"{n}.jsonl").write_text(lines)
    (home / "items.jsonl").write_text(
        json.dumps({"id": "q", "task": "t", "text": prose((3, 5)), "answer": ""}) + "\n"
    )
    given = {"corpus": corpus(home / "c")}
    labels = {"labels": written(home / "labels", graded(80))}
    (home / "classifier").mkdir()
    run_classify(
        Classify(name="k", labels=ref, method=Linear(bits=8)), labels, home / "classifier", quiet
    )
    classifier = {"classifier": Input(home / "classifier", {}, "k")}
    source = Read(
        name="r",
        source=Files(path=str(texts)),
        filters=(TooShort(characters=5), Mask()),
    )
    return {
        "read": (run_read, source, {}),
        "limited": (run_read, source.but(limit_bytes=5000), {}),
        "dedup": (
            run_dedup,
            Dedup(name="d", corpora={"c": ref}, held_out_by="document", held_out_least=1),
            {"corpora.c": given["corpus"]},
        ),
        "score": (
            run_score,
            Score(name="s", corpus=ref, classifier=Ref(name="k")),
            {**given, **classifier},
        ),
        "decontaminate": (
            run_decontaminate,
            Decontaminate(name="t", corpus=ref, items=(str(home / "items.jsonl"),)),
            given,
        ),
        "looked up": (
            run_contamination,
            Contamination(
                name="l", corpus=ref, items=(str(home / "items.jsonl"),), index=Ref(name="i")
            ),
            {**given, "index": _index(home, given)},
        ),
    }


def test_every_step_that_is_spread_makes_the_bytes_of_one_process(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "LEAST_SHARD_BYTES", 1 << 11)
    monkeypatch.setattr(read, "MOST_SHARD_BYTES", 1 << 11)
    found = steps(tmp_path)
    facts = {}
    for address in (None, machines.address):
        with over(address):
            for name, (make, step, inputs) in found.items():
                out = tmp_path / ("alone" if address is None else "many") / name
                out.mkdir(parents=True)
                facts[address, name] = make(step, inputs, out, quiet)
    for name in found:
        assert facts[None, name] == facts[machines.address, name]
        alone = contents(tmp_path / "alone" / name)
        assert alone == contents(tmp_path / "many" / name)
        assert folders(tmp_path / "many" / name) == folders(tmp_path / "alone" / name)
        shards = sum(path.startswith(("documents", "c/documents")) for path in alone)
        assert shards > 2 or name == "looked up"  # which makes no documents
    assert facts[None, "read"]["dropped"] == {"duplicate": 4 + 29, "too_short": 30}  # masked alike
    assert facts[None, "limited"]["files_not_read"]
    assert facts[None, "decontaminate"]["dropped"] == {"contaminated": 1}
    assert facts[None, "looked up"]["contaminated"] == 1


def test_a_long_document_that_a_task_drops_counts_whole(machines: Machines, tmp_path: Path) -> None:
    for name, text in (("kept", "a few words"), ("long", "é" * 1_200_000)):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.txt").write_text(text)
    source = Files(path=str(tmp_path / "in"), cut_characters=None)
    step = Read(name="r", source=source, filters=(TooLong(characters=1_000_000),))
    (tmp_path / "out").mkdir()
    with over(machines.address):
        facts = run_read(step, {}, tmp_path / "out", quiet)
    assert facts["bytes"] == {"seen": 2_400_011, "kept": 11, "dropped": 2_400_000}


def test_what_a_task_raises_is_raised_here_with_its_hint(
    machines: Machines, tmp_path: Path
) -> None:
    def fails(shard: int, out: Path) -> Made:
        raise BadInput(f"shard {shard} is odd", hint="make it even")

    with over(machines.address), pytest.raises(BadInput, match=r"^shard 1 is odd; make it even$"):
        list(each(fails, [1, 2, 3], tmp_path))
    assert not (tmp_path / ATTEMPTS).exists()


def copied(path: str, out: Path, address: str | None = None, tell: Tell = quiet) -> Any:
    out.mkdir(exist_ok=True)
    with over(address):
        return run_read(Read(name="r", source=Files(path=path)), {}, out, tell)


def asked_by(log: str) -> set[tuple[str, str]]:
    """Return what a bucket was asked for, a listing or a file, and with which key."""
    found = set()
    for line in log.splitlines():
        told = json.loads(line)
        (key,) = re.findall(r"Credential=(\w+)/", told["headers"]["Authorization"])
        found.add(("listing" if "list-type" in told["url"] else "file", key))
    return found


def test_files_far_away_are_copied_by_the_tasks_with_keys_of_their_own_machine(
    away: Away, machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "LEAST_SHARD_BYTES", 1 << 10)
    monkeypatch.setattr(read, "MOST_SHARD_BYTES", 1 << 10)
    monkeypatch.chdir(tmp_path)  # where the bucket's log is
    died = machines.deaths()
    facts = copied("s3://texts", tmp_path / "alone")
    recorder.start_recording()
    try:
        assert copied("s3://texts", tmp_path / "many", machines.address) == facts
    finally:
        recorder.stop_recording()
    asked = asked_by(recorder.download_recording())
    assert asked == {("listing", far.KEYS["AWS_ACCESS_KEY_ID"]), ("file", machines.key)}
    assert contents(tmp_path / "many") == contents(tmp_path / "alone")
    assert folders(tmp_path / "many") == {Path("documents"), Path("dropped")}  # no copy is left
    assert 6 <= len(list((tmp_path / "many" / "documents").iterdir())) < FILES
    assert facts["dropped"] == {"duplicate": FILES - 1}
    assert machines.deaths() > died


def test_a_machine_that_the_hub_refuses_is_named_and_one_that_it_does_not_copies(
    away: Away, machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "LEAST_SHARD_BYTES", 1)
    monkeypatch.setattr(read, "MOST_SHARD_BYTES", 1)
    monkeypatch.setattr(away.hub, "needs_token", "of the driver")
    monkeypatch.setenv("HF_TOKEN", "of the driver")
    facts = copied(HUB, tmp_path / "alone")
    refused = f"^on {os.uname().nodename}: the hub has no dataset people/texts, .* HF_TOKEN"
    with pytest.raises(NotFound, match=refused):
        copied(HUB, tmp_path / "many", machines.address)
    monkeypatch.setattr(away.hub, "needs_token", None)
    assert copied(HUB, tmp_path / "many", machines.address) == facts
    assert contents(tmp_path / "many") == contents(tmp_path / "alone")
    assert folders(tmp_path / "many") == {Path("documents"), Path("dropped")}


def test_a_file_far_away_that_is_replaced_meanwhile_is_an_error_and_then_read_as_it_is(
    away: Away, machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "LEAST_SHARD_BYTES", 1 << 10)
    monkeypatch.setattr(read, "MOST_SHARD_BYTES", 1 << 10)
    files = Shelf(Files(path="s3://texts"), tmp_path).files
    last = [file.origin for file in files if file.reader == "rows"][-1]

    def replace(done: float, total: float, unit: str, note: str = "") -> None:
        away.client.put_object(Bucket="texts", Key=last, Body=far.rows(999))

    said = "^a file of s3://texts changed since it was listed; type: ramify run again, .* anew$"
    with pytest.raises(Mismatch, match=said):
        copied("s3://texts", tmp_path / "many", machines.address, replace)
    assert folders(tmp_path / "many") == {Path("documents"), Path("dropped")}
    facts = copied("s3://texts", tmp_path / "many")
    assert facts == copied("s3://texts", tmp_path / "alone")
    assert contents(tmp_path / "many") == contents(tmp_path / "alone")
    away.client.put_object(Bucket="texts", Key=last, Body=MANY[last])


def test_a_task_that_does_not_hear_that_it_is_over_is_ended(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "END_SECONDS", 1)
    begun = tmp_path / "begun"

    def deaf(shard: int, out: Path) -> Made:
        while shard > 1:
            with suppress(KeyboardInterrupt):
                begun.write_text(str(os.getpid()))
                time.sleep(60)
        return {}, []

    (tmp_path / "out").mkdir()
    with over(machines.address):
        for _ in each(deaf, [1, 2], tmp_path / "out"):
            while not begun.exists() or not begun.read_text():
                time.sleep(0.1)
            break
        process = Path("/proc", begun.read_text())
        for _ in range(300):
            if not process.exists():
                break
            time.sleep(0.1)
        assert not process.exists()
    assert not (tmp_path / "out" / ATTEMPTS).exists()


def test_processes_a_machine_and_the_driver_die_and_the_bytes_are_those_of_one_process(
    machines: Machines, tmp_path: Path
) -> None:
    given = corpus(tmp_path / "in")
    died = machines.deaths()  # before: how many is a matter of which tests share these machines
    facts = sifted(given, tmp_path / "alone")
    out = tmp_path / "many"
    out.mkdir()
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "src")])
    killed = subprocess.run(
        [sys.executable, "-c", DRIVER, str(given.path), str(out), machines.address],
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert 3 <= len((out / "ledger.jsonl").read_text().splitlines()) - 1 < SHARDS
    assert sifted(given, out, machines.address, after(7, machines.lose_one)) == facts
    assert contents(out) == contents(tmp_path / "alone")
    assert not (out / ATTEMPTS).exists()
    assert facts["seen"] == 40 * SHARDS
    assert machines.deaths() > died


def test_where_no_cluster_answers_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no Ray cluster answers at '127.0.0.1:1'.*HOST:PORT"):
        sifted(corpus(tmp_path / "in"), tmp_path / "out", "127.0.0.1:1")
