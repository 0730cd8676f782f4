"""One piece of work done on shard after shard: in this process, or as tasks of a Ray cluster.

    shards ─► work, in this process                                     ─► told in order
           ─► task on some machine ─► ATTEMPTS/<its own>/files ─► placed by the driver, in order

A task writes only into a folder of its own. The driver alone renames what a finished task wrote to
where it belongs, and enters it, so a task that is run twice, or lives on after it was given up for
dead, neither doubles nor harms anything. Ray pickles the messages of its tasks; none is kept.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt, Failed, NotFound
from ramify.ground.extras import need

LOCAL = "local"  # in place of an address: a Ray of one's own, on this machine
ATTEMPTS = "attempts"  # in a working folder: what tasks write, until it is placed
RETRIES = 8  # of a shard whose process or machine died
AHEAD = 2  # shards a core that are asked for before the first of them is there
ANSWER_SECONDS = 20
END_SECONDS = 30  # that a task has to end when it is interrupted
STORE_BYTES = 80 << 20  # of a Ray of one's own: only the work itself is shared through it
# what a task's process must have as this one has it: threads change bits
ENVIRONMENT = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "MALLOC_MMAP_MAX_",
    "MALLOC_TRIM_THRESHOLD_",
    "DO_NOT_TRACK",
    "DAFT_ANALYTICS_ENABLED",
    "DAFT_PROGRESS_BAR",
    "TOKENIZERS_PARALLELISM",
)

T = TypeVar("T")
Made = tuple[dict[str, Any], list[Path]]  # what is entered of a shard, and the files made of it
Work = Callable[[T, Path], Made]


@dataclass(frozen=True)
class _Cluster:
    ray: Any
    threads: int


_cluster: _Cluster | None = None
_held: dict[str, Any] = {}  # in a task's process: the last work it was sent, by key


def is_on() -> bool:
    """Say whether `each` sends its shards to a cluster now."""
    return _cluster is not None


def each(work: Work[T], given: Sequence[T], out: Path) -> Iterator[Made]:
    """Yield, in order, what `work` returns of each shard given; its files are in place under `out`.

    `work` is called with a shard and the folder to write into, and may name files that it did not
    write. Raises what it raises. On a cluster further shards are under way meanwhile; both are
    pickled, so neither may hold an open file.
    """
    clear(out)
    if _cluster is None:
        for shard in given:
            yield work(shard, out)
    elif given:
        yield from _spread(_cluster, work, given, out)


def clear(out: Path) -> None:
    """Remove what tasks of an earlier driver, that was killed, left in a working folder."""
    if (out / ATTEMPTS).exists():
        files.remove(out / ATTEMPTS)


@contextlib.contextmanager
def over(address: str | None, cores: int = 1, threads: int = 1) -> Iterator[None]:
    """Send the shards of `each` to the Ray cluster at `address`; None: keep them in this process.

    `local` begins a Ray of `cores` on this machine and ends it again; a task takes `threads` of them.
    Raises MissingExtra without Ray, NotFound where no cluster answers, BadInput for one without a
    machine of enough cores.
    """
    global _cluster
    if address is None:
        yield
        return
    ray = _connected(address, max(cores, threads), threads)
    _cluster = _Cluster(ray, threads)
    try:
        yield
    finally:
        _cluster = None
        ray.shutdown()


def _connected(address: str, cores: int, threads: int) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = need("ray", extra="cluster")
    if address != LOCAL:
        _require_answer(address)
    own = {"num_cpus": cores, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    with _signals_kept():
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": environment},
                **(own if address == LOCAL else {}),
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _nobody(address, error) from error
    most = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    if most < threads:
        ray.shutdown()
        raise BadInput(
            f"a task takes {threads} cores and no machine of the cluster at {address} has more than"
            f" {most:g}",
            hint="start Ray there with more cores, or give the runs fewer threads",
        )
    return ray


def _require_answer(address: str) -> None:
    """Raise NotFound where nobody listens, which Ray itself would find out in minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise _nobody(address, error) from error


def _nobody(address: str, error: Exception) -> NotFound:
    why = (str(error).splitlines() or [type(error).__name__])[0][:120]
    return NotFound(
        f"no Ray cluster answers at {address!r} ({why})",
        hint="give HOST:PORT as `ray start --head` tells it, or local",
    )


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep who hears SIGTERM, which Ray would take for itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _spread(cluster: _Cluster, work: Work[T], given: Sequence[T], out: Path) -> Iterator[Made]:
    ray = cluster.ray
    task = ray.remote(_attempt).options(num_cpus=cluster.threads, max_retries=RETRIES)
    sent, key = [ray.put(work)], uuid.uuid4().hex
    waiting: deque[Any] = deque()
    left = iter(given)
    try:
        while True:
            for shard in _next(left, _room(cluster) - len(waiting)):
                waiting.append(task.remote(sent, key, shard, str(out.absolute()), str(Path.cwd())))
            if not waiting:
                break
            entry, attempt, made = _got(ray, waiting[0])
            waiting.popleft()
            yield entry, _placed(out, attempt, made)
    finally:
        _end(ray, list(waiting))
        files.remove(out / ATTEMPTS)


def _end(ray: Any, tasks: list[Any]) -> None:
    """Interrupt tasks, and end the processes of those that do not hear it, as one that awaits a file."""
    left = _unfinished(ray, tasks, 0)  # Ray aborts where one is cancelled that has just answered
    for force in (False, True):
        for ref in left:
            ray.cancel(ref, force=force)
        left = _unfinished(ray, left, END_SECONDS)


def _unfinished(ray: Any, tasks: list[Any], seconds: float) -> list[Any]:
    """Return the tasks that have not ended after so long a wait for all of them."""
    return list(ray.wait(tasks, num_returns=len(tasks), timeout=seconds)[1]) if tasks else []


def _next(left: Iterator[T], count: int) -> list[T]:
    return [shard for _, shard in zip(range(count), left, strict=False)]


def _room(cluster: _Cluster) -> int:
    """Return how many tasks may be under way; a cluster may have grown or shrunk."""
    cores = cluster.ray.cluster_resources().get("CPU", 1)
    return max(AHEAD * int(cores // cluster.threads), AHEAD)


def _got(ray: Any, ref: Any) -> tuple[dict[str, Any], str, dict[str, int]]:
    """Return what a task returned, or raise what it raised."""
    try:
        found: tuple[dict[str, Any], str, dict[str, int]] = ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise Failed(
            f"a shard could not be made on the cluster: {str(error).splitlines()[0][:160]}",
            hint="look into the cluster's logs, then type the same command again",
        ) from error
    return found


def _placed(out: Path, attempt: str, made: dict[str, int]) -> list[Path]:
    """Rename what a task wrote to where it belongs; Corrupt where it is not here as it was there."""
    folder = out / ATTEMPTS / attempt
    for inner in sorted(folder.rglob("*")):
        if inner.is_dir():  # an empty one too, as it would be there without a cluster
            files.make_folder(out / inner.relative_to(folder))
    for name, size in made.items():
        source, target = folder / name, out / name
        if not source.is_file() or source.stat().st_size != size:
            raise Corrupt(
                f"a machine of the cluster wrote {name} and it is not in {folder}",
                hint="the lab must lie in a file system that all machines share",
            )
        files.rename(source, target)
    files.remove(folder)
    return [out / name for name in made]


def _attempt(
    sent: list[Any], key: str, shard: Any, out: str, here: str
) -> tuple[dict[str, Any], str, dict[str, int]]:
    """Do one shard, on whatever machine this is, and return what to place and to enter."""
    home = Path(out)
    if not (home.is_dir() and Path(here).is_dir()):
        raise NotFound(
            f"{home if Path(here).is_dir() else here} is not on {os.uname().nodename}",
            hint="lab, data and current folder must lie in a file system that all machines share",
        )
    os.chdir(here)  # as paths may begin there
    if key not in _held:
        _held.clear()
        _held[key] = need("ray", extra="cluster").get(sent[0])
    name = uuid.uuid4().hex
    folder = home / ATTEMPTS / name
    files.make_folder(folder)
    entry, made = _held[key](shard, folder)
    there = [path for path in made if path.exists()]
    return entry, name, {path.relative_to(folder).as_posix(): path.stat().st_size for path in there}
