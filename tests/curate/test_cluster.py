"""Curation on a Ray cluster of two machines: the bytes of one process, whatever dies meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.curate.corpora import contents, prose, quiet, row, write_corpus

from ramify.curate.filters import TooShort
from ramify.curate.masks import Mask
from ramify.curate.sift import run_sift
from ramify.curate.steps import Sift
from ramify.ground.spread import ATTEMPTS, over
from ramify.ground.step import Input, Ref, Tell

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ramify[cluster]'")

SHARDS = 12
OPERATIONS = 25  # of files, after which a task's process kills itself: in its third shard or so
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


class Machines:
    """Two machines of one core each, as Ray sees them; their tasks' processes die young."""

    def __init__(self, log: Path) -> None:
        from ray.cluster_utils import Cluster  # noqa: PLC0415

        os.environ["RAMIFY_FAILPOINT"] = str(OPERATIONS)
        os.environ["RAMIFY_FAILPOINT_LOG"] = str(log)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            self._cluster: Any = Cluster(initialize_head=True, head_node_args=NODE)
            self._second = self._cluster.add_node(**NODE)
        finally:
            del os.environ["RAMIFY_FAILPOINT"], os.environ["RAMIFY_FAILPOINT_LOG"]
        self._log = log
        self.address: str = self._cluster.address

    def lose_one(self) -> None:
        """End the second machine with all its processes at once."""
        self._cluster.remove_node(self._second, allow_graceful=False)

    def deaths(self) -> int:
        """Return how many tasks' processes have killed themselves."""
        return sum(
            line.split()[1] == str(OPERATIONS) for line in self._log.read_text().splitlines()
        )

    def end(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    found = Machines(tmp_path / "operations")
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


def test_processes_a_machine_and_the_driver_die_and_the_bytes_are_those_of_one_process(
    machines: Machines, tmp_path: Path
) -> None:
    given = corpus(tmp_path / "in")
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
    assert machines.deaths() > 1
