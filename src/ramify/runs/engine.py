"""Where the work is done: here, a process per step, as many at once as the cores allow. Torch-free.

plan ─▶ pending ─▶ ready (inputs there, cores free) ─▶ worker process ─▶ judged by its record
        longest path first; where there are GPUs, a step that computes has one for itself
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ramify.evals.steps import Evaluate
from ramify.ground import artifact, files
from ramify.ground.errors import BadInput, Busy, Diverged, Failed, RamifyError, Stopped
from ramify.ground.extras import need
from ramify.ground.spread import LOCAL
from ramify.ground.step import Ref, Step
from ramify.release.steps import Complete, Export
from ramify.runs import job as jobs
from ramify.runs.job import Given, Job
from ramify.runs.lab import JOBS, Lab
from ramify.runs.order import foretold, paths
from ramify.runs.plan import Item, Plan
from ramify.runs.recipe import Recipe
from ramify.train import places
from ramify.train.steps import Average, Cooldown, Root, Run

ON_GPU = (Run, Average, Evaluate, Export, Complete)  # the steps that compute with a network
GRACE_SECONDS = 60.0  # to save and leave, after SIGTERM
# seen to be faster on CPU; glibc and OpenMP read them before a process starts
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    # a thread that sleeps at once wakes late: spinning for some microseconds first made a step of
    # the micro model on two threads 8% shorter, and takes nothing from others worth telling
    "GOMP_SPINCOUNT": "20000",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "DO_NOT_TRACK": "true",
    "DAFT_ANALYTICS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


class Watcher(Protocol):
    """What an engine tells while it works."""

    def started(self, item: Item) -> None: ...
    def progress(self, item: Item, done: float, total: float, unit: str, note: str) -> None: ...
    def note(self, item: Item, text: str) -> None: ...
    def ended(self, item: Item, error: RamifyError | None) -> None: ...


@dataclass
class Engine:
    """Runs the difference of a plan on this machine."""

    lab: Lab
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    processes: int = 1  # per training run, under torchrun
    parallel: str = "ddp"
    ray: str | None = None  # the cluster that curation is spread over; conduct, as all of these
    gpus: tuple[str, ...] = field(default_factory=lambda: visible_gpus())
    failed: dict[str, RamifyError] = field(default_factory=dict)  # by step, of the last plan
    held: tuple[str, ...] = ()  # steps that need one that failed

    def run(self, plan: Plan, watcher: Watcher) -> None:
        """Make all that the plan wants and that is not there; raises the first error once all ended.

        A step that fails holds back only what needs it. KeyboardInterrupt and SIGTERM stop every
        worker, which saves what it has, and raise Stopped. Raises BadInput for a `parallel` that
        is not known, Busy if another drives this lab: two would take each other's steps away.
        """
        if self.ray is not None and any(jobs.is_spread(item.step) for item in plan.to_do):
            need("ray", extra="cluster")  # before anything is begun
        if self.parallel not in ("ddp", "fsdp") or self.processes < 1:
            raise BadInput(
                f"{self.processes} processes with parallel={self.parallel!r}",
                hint="give 1 or more, and ddp or fsdp",
            )
        self.lab.create()
        alone = artifact.lock(self.lab.whole_lock, what=str(self.lab.folder))
        with alone, _sigterm_is_interrupt(), _jobs_folder(self.lab) as folder:
            _tidy(plan, self.lab)
            crew = _Crew(self, plan, watcher, folder)
            try:
                crew.work()
            except KeyboardInterrupt:
                crew.stop()
                raise Stopped("stopped", hint="type the same command to go on") from None
            except BaseException:
                crew.stop()
                raise
            finally:
                self.failed, self.held = crew.failed, crew.held
        if crew.errors:
            # a run that blew up is kept out from now on: what else went wrong is told first
            raise min(crew.errors, key=lambda error: isinstance(error, Diverged))


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that a worker could see, as CUDA_VISIBLE_DEVICES names them; torch-free."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        names = (name.strip() for name in told.split(","))
        return tuple(itertools.takewhile(lambda name: name not in ("", "-1"), names))
    return tuple(map(str, range(len(list(Path("/dev").glob("nvidia[0-9]*"))))))


def side_by_side(plan: Plan, cores: int, gpus: tuple[str, ...] = ()) -> int:
    """Return how many runs of a plan are made at once: one a GPU, or as many as threads allow."""
    if gpus:
        return len(gpus)
    runs = [item.step for item in plan.to_do if isinstance(item.step, Run)]
    return max(cores // max((run.numerics.threads or cores for run in runs), default=1), 1)


def input_refs(recipe: Recipe, step: Step) -> dict[str, Ref]:
    """Return the refs that a job takes in: of a run, the sources that its whole line reads too."""
    if not isinstance(step, Run):
        return step.refs()
    line = recipe.line(step)
    runs: list[Root | Cooldown] = [line.root, *line.branches]
    sources = {name: ref for run in runs for name, ref in run.sources.items()}
    return {**{f"sources.{name}": sources[name] for name in line.source_names}, **step.refs()}


def folder_of(lab: Lab, recipe: Recipe, ref: Ref) -> Path:
    """Return the folder that a ref stands for: a step's, or a point's of a run."""
    end = recipe.end(ref)
    folder = lab.at(ref.name)
    return folder if end is None else places.point_folder(folder, end)


def job_of(plan: Plan, lab: Lab, item: Item, threads: int, parallel: str = "none") -> Job:
    """Return what a worker is told of one item of a plan."""
    step, prints, recipe = item.step, plan.prints, plan.recipe
    lineage = recipe.lineage(step) if isinstance(step, Run) else (step,)
    inputs = {
        where: Given(path=str(folder_of(lab, recipe, ref)), fingerprint=prints.of(ref))
        for where, ref in input_refs(recipe, step).items()
    }
    return Job(
        steps=tuple(jobs.told(each) for each in lineage),
        inputs=inputs,
        folder=str(lab.at(item.name)),
        lock=str(lab.lock(item.name)),
        points=item.points,
        asked={} if isinstance(step, Run) else json.loads(json.dumps(prints.asked(item.name))),
        threads=threads,
        parallel=parallel,
    )


@dataclass
class _Worker:
    item: Item
    process: subprocess.Popen[str]
    cores: int
    gpus: tuple[str, ...]
    log_begins: int  # where in its log file what it says begins
    error: RamifyError | None = None


class _Crew:
    """The workers of one plan: who waits, who works, who is done."""

    def __init__(
        self, engine: Engine, plan: Plan, watcher: Watcher, jobs: Path | None = None
    ) -> None:
        self.engine, self.plan, self.watcher, self.lab = engine, plan, watcher, engine.lab
        self.jobs = jobs or engine.lab.folder / JOBS
        first, self.foretold = paths(plan), foretold(plan)
        self.pending = sorted(plan.to_do, key=lambda item: -first[item.name])
        self.working: dict[str, _Worker] = {}
        self.failed: dict[str, RamifyError] = {}
        self.held: tuple[str, ...] = ()
        self.errors: list[RamifyError] = []
        self.events: queue.SimpleQueue[tuple[str, dict[str, Any] | None]] = queue.SimpleQueue()
        runs = [item.step for item in plan.items if isinstance(item.step, Run)]
        # steps that are no runs take as many threads as the thriftiest run does
        self.threads = min((self._run_threads(run) for run in runs), default=1)

    def _run_threads(self, run: Run) -> int:
        cores = self.engine.cores
        most = max(cores // len(self.engine.gpus), 1) if self.engine.gpus else cores
        return min(run.numerics.threads or most, cores)

    def work(self) -> None:
        """Start what can be started and hear what is told, until nothing is left."""
        while self.pending or self.working:
            self._start_ready()
            if not self.working:
                self._give_up()
                return
            with contextlib.suppress(queue.Empty):
                self._hear(*self.events.get(timeout=0.2))

    def _start_ready(self) -> None:
        waits_for_gpus = False
        for item in list(self.pending):
            takes = self._gpus(item)
            if (takes and waits_for_gpus) or not self._is_ready(item):
                continue
            free = self.engine.cores - sum(worker.cores for worker in self.working.values())
            held = {gpu for worker in self.working.values() for gpu in worker.gpus}
            gpus = tuple(gpu for gpu in self.engine.gpus if gpu not in held)
            needs = self._cores(item)
            if needs > free and self.working:
                return  # nothing after it either, or it would wait for ever
            if takes > len(gpus):
                waits_for_gpus = True  # what needs none may go on
                continue
            self.pending.remove(item)
            self._start(item, needs, gpus[:takes])

    def _threads(self, item: Item) -> int:
        if isinstance(item.step, Run):
            return min(self._run_threads(item.step) * self.engine.processes, self.engine.cores)
        return self.threads

    def _cores(self, item: Item) -> int:
        """Return how many cores a step is given: every one if it begins a Ray of its own."""
        alone = self.engine.ray == LOCAL and jobs.is_spread(item.step)
        return self.engine.cores if alone else self._threads(item)

    def _gpus(self, item: Item) -> int:
        """Return how many GPUs a step has for itself; none where there are none."""
        many = self.engine.processes if isinstance(item.step, Run) else 1
        return min(many, len(self.engine.gpus)) if isinstance(item.step, ON_GPU) else 0

    def _is_ready(self, item: Item) -> bool:
        forecasts = self.foretold.get(item.name, ())
        if forecasts and any(other.name in forecasts for other in self._unmade()):
            return False  # it is foretold before it is run
        return all(map(self._is_there, input_refs(self.plan.recipe, item.step).values()))

    def _unmade(self) -> Iterator[Item]:
        yield from self.pending
        yield from (worker.item for worker in self.working.values())

    def _is_there(self, ref: Ref) -> bool:
        return (folder_of(self.lab, self.plan.recipe, ref) / artifact.RECORD).exists()

    def _give_up(self) -> None:
        for item in self.pending:
            refs = input_refs(self.plan.recipe, item.step).values()
            waits = next((str(ref) for ref in refs if not self._is_there(ref)), "?")
            if not self.errors:
                self.errors.append(Failed(f"{item.name} waits for {waits}, which nobody makes"))

    def _start(self, item: Item, cores: int, gpus: tuple[str, ...]) -> None:
        log = self.lab.log(item.name)
        log.parent.mkdir(exist_ok=True)
        told = self.jobs / f"{log.name.removesuffix('.log')}.json"
        many = self.engine.processes if isinstance(item.step, Run) else 1
        parallel = self.engine.parallel if many > 1 else "none"
        threads = self._threads(item)
        job = job_of(self.plan, self.lab, item, threads, parallel).model_copy(
            update={"ray": self.engine.ray, "cores": self.engine.cores}
        )
        files.write_text(told, job.model_dump_json(indent=1) + "\n")
        command = [sys.executable, "-m"]
        if many > 1:
            command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={many}", "-m"]
        each = max(threads // many, 1)
        with log.open("a") as errors:
            begins = errors.tell()
            process = subprocess.Popen(
                [*command, "ramify.worker", str(told)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                errors="replace",
                env={
                    **ENVIRONMENT,
                    **os.environ,
                    **({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}),
                    "OMP_NUM_THREADS": str(each),
                    "DAFT_PROGRESS_BAR": "0",
                    jobs.DRIVER: str(os.getpid()),
                },
                start_new_session=True,
            )
        self.working[item.name] = _Worker(item, process, cores, gpus, begins)
        self.watcher.started(item)
        threading.Thread(target=self._read, args=(item.name, process), daemon=True).start()

    def _read(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        try:
            with process:  # waits for it, and closes its pipes
                for line in process.stdout:
                    with contextlib.suppress(json.JSONDecodeError):
                        event = json.loads(line)
                        if isinstance(event, dict) and "event" in event:
                            self.events.put((name, event))
        finally:
            self.events.put((name, None))

    def _hear(self, name: str, event: dict[str, Any] | None) -> None:
        worker = self.working[name]
        if event is None:
            self._judge(self.working.pop(name))
            return
        match event.pop("event"):
            case "progress":
                self.watcher.progress(worker.item, **event)
            case "note":
                self.watcher.note(worker.item, event["note"])
            case "error":
                worker.error = _error(event)
            case "stopped":
                worker.error = Stopped(
                    f"{name} was told to stop", hint="type the same command to go on"
                )
            case _:
                pass

    def _judge(self, worker: _Worker) -> None:
        """Look at the record, never at an exit code alone."""
        item = worker.item
        if isinstance(item.step, Run):
            made = all(self._is_there(Ref(name=item.name, at=at)) for at in item.points)
        else:
            made = self._is_there(Ref(name=item.name))
        error = None if made else worker.error or self._died(worker)
        if error is not None:
            self.errors.append(error)
            self.failed[item.name] = error
            needy = self._needs_failed()
            self.held += tuple(waiting.name for waiting in self.pending if waiting.name in needy)
            self.pending = [waiting for waiting in self.pending if waiting.name not in needy]
        self.watcher.ended(item, error)

    def _died(self, worker: _Worker) -> RamifyError:
        code = worker.process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"left with exit code {code}"
        log = self.lab.log(worker.item.name)
        said = log.read_bytes()[worker.log_begins :] if log.exists() else b""
        lines = said.decode(errors="replace").strip().splitlines()
        last = f" ({lines[-1].strip()[:160]})" if lines and code > 0 else ""
        return Failed(
            f"{worker.item.name} {how} without a record{last}",
            hint=f"look into {log}, then type the same command again",
        )

    def _needs_failed(self) -> set[str]:
        """Return the names of steps that need one that failed and is not there."""
        held = set(self.failed)
        for item in self.plan.items:
            refs = input_refs(self.plan.recipe, item.step).values()
            if any(ref.name in held and not self._is_there(ref) for ref in refs):
                held.add(item.name)
        return held

    def stop(self) -> None:
        """Ask every worker to save and leave; end those that do not."""
        for worker in self.working.values():
            _signal(worker.process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in self.working.values():
            try:
                worker.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                _signal(worker.process, signal.SIGKILL)
                worker.process.wait()


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _error(event: dict[str, Any]) -> RamifyError:
    kinds = {kind.__name__: kind for kind in _kinds(RamifyError)}
    return kinds.get(event["kind"], Failed)(event["message"], hint=event["hint"])


def _kinds(base: type[RamifyError]) -> Iterator[type[RamifyError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _tidy(plan: Plan, lab: Lab) -> None:
    """Remove what a kill left of the runs that are done: of the others, their workers do."""
    for item in plan.items:
        if isinstance(item.step, Run) and item.state == "done":
            with contextlib.suppress(Busy), artifact.lock(lab.lock(item.name)):
                places.tidy(lab.at(item.name), {*item.points, *item.step.points})


@contextlib.contextmanager
def _jobs_folder(lab: Lab) -> Iterator[Path]:
    """Yield a folder for the jobs of this driver alone, and remove those whose drivers were killed."""
    home = lab.folder / JOBS
    home.mkdir(exist_ok=True)
    for old in home.iterdir():
        driver = old.name.partition("-")[0]
        if driver.isdigit() and not artifact.is_alive(int(driver)):
            with contextlib.suppress(OSError):  # another driver may remove it too
                files.remove(old)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=home))
    try:
        yield folder
    finally:
        files.remove(folder)


@contextlib.contextmanager
def _sigterm_is_interrupt() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
