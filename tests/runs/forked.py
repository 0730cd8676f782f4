"""Run jobs, or `ramify` itself, in forks of a process that has torch already, and kill them.

    python tests/runs/forked.py everywhere JOBS.json HOME     each job, at every file operation
    python tests/runs/forked.py anywhere HOME SEED MOMENTS ARGUMENTS...   `ramify ARGUMENTS`

A fork is born in milliseconds and a new interpreter in seconds: so each file operation can be the
last one, and a death meets the work and not the import of torch. What is told goes to standard
output as JSON; it is for test_kill.py to judge.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any

from ramify import worker
from ramify.ground import files
from ramify.runs.execute import execute, maker
from ramify.runs.job import KINDS, Job

LATE = {  # what a job imports when it comes to it, by what it has imported before
    "torch": ("torch._dynamo",),
    "daft": ("daft.extension_type", "pyarrow.dataset", "numpy.ma"),
    "tokenizers": ("fastokens",),
    "ramify.curate.annotate": ("openai.resources.chat.completions", "openai._base_client"),
    "ramify.curate.classify": (
        "sklearn.feature_extraction.text",
        "sklearn.linear_model",
        "sklearn.metrics",
        "sklearn.model_selection",
        "sklearn.preprocessing",
        "scipy.stats",
    ),
    "ramify.release.make": ("transformers", "transformers.models.llama.modeling_llama"),
    "ramify.cli": ("ramify.report.page", "ramify.report.terminal"),
}
POPEN = subprocess.Popen


def fork(work: Callable[[], int]) -> int:
    """Return the process of a fork that does `work` and leaves with what it returns."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        files._passed = 0
        code = work()
    except BaseException:  # noqa: BLE001  # the fork must never go on as its parent would
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(process: int) -> int:
    """Wait for a process; return its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def warm(kinds: Collection[str]) -> None:
    """Import all that jobs of these kinds will, and no more: what is large is slow to fork."""
    for kind in kinds:
        maker(KINDS[kind])
    for before, after in LATE.items():
        for module in after if before in sys.modules else ():
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that a fork shares more and copies less


def thrifty() -> None:
    """Save at every step, so that few steps meet every way to die; measure no speed; flush nothing.

    What a flush guards against is the death of the machine: a killed process loses nothing by it.
    """
    os.fsync = lambda fd: None
    train = sys.modules.get("ramify.train.make")
    if train is not None:
        vars(train).update(peak_flops=lambda _: 1e11)
        vars(sys.modules["ramify.train.keeper"]).update(SAVE_SECONDS=0.0, SAVE_SHARE=1e9)


# every file operation


def do(job: dict[str, Any], home: Path, **environment: str) -> int:
    """Do a job in a folder of its own, in a fork; return how that ended."""

    def work() -> int:
        os.environ.update(environment)
        given = Job.model_validate(
            {**job, "folder": str(home / "lab" / "made"), "lock": str(home / "lock")}
        )
        execute(given, lambda *_, **__: None, lambda _: None, lambda: False)
        return 0

    return ended(fork(work))


def everywhere(jobs: Path, home: Path) -> dict[str, Any]:
    """Do each job once, and again for each of its file operations: killed before it, then resumed.

    A job lists the operations that it is killed at: of runs, those are the ones before which
    something was written, since the state after one is the state before the next.
    """
    told: dict[str, Any] = {}
    asked = json.loads(jobs.read_text())
    warm({job["steps"][-1]["kind"] for job in asked.values()})
    thrifty()
    for name, job in asked.items():
        place = home / name
        (place / "whole").mkdir(parents=True)
        log = place / "operations"
        code = do(job, place / "whole", RAMIFY_FAILPOINT_LOG=str(log))
        labels = [line.split(" ", 2)[2] for line in log.read_text().splitlines()]
        told[name] = {"whole": code, "deaths": {}}
        for k, label in enumerate(labels, 1):
            if not label.startswith("after ") or k == len(labels):
                here = place / f"{k:03d}"
                here.mkdir()
                dead = do(job, here, RAMIFY_FAILPOINT=str(k))
                told[name]["deaths"][f"{k:03d}"] = [label, dead, do(job, here)]
    return told


# any moment


class Forked:
    """What subprocess.Popen is to the engine, but a fork of this process that does the job."""

    def __init__(
        self, command: list[str], *, stderr: IO[str], env: dict[str, str], **_: Any
    ) -> None:
        here_in, there_in = os.pipe()
        there_out, here_out = os.pipe()
        sys.stdout.flush()

        def work() -> int:
            os.setsid()
            for number, end in enumerate((here_in, here_out, stderr.fileno())):
                os.dup2(end, number)
            os.closerange(3, 512)  # as an exec would: or nobody would see its driver die
            os.environ.update(env)
            subprocess.Popen = POPEN  # type: ignore[misc]
            return worker.main(command[-1])

        self.pid = fork(work)
        for end in (here_in, here_out):
            os.close(end)
        self.stdin, self.stdout = os.fdopen(there_in, "w"), os.fdopen(there_out)
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the fork; TimeoutExpired if it takes longer."""
        with self._lock:
            if self.returncode is None:
                handle = os.pidfd_open(self.pid)
                ready, *_ = select.select([handle], [], [], timeout)
                os.close(handle)
                if not ready:
                    raise subprocess.TimeoutExpired("fork", timeout or 0.0)
                self.returncode = ended(self.pid)
            return self.returncode

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self.wait()


def ramify(arguments: list[str], lab: Path, output: Path) -> int:
    """Run `ramify` in a fork whose workers are forks; return its process."""

    def work() -> int:
        with output.open("a") as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
        subprocess.Popen = Forked  # type: ignore[assignment,misc]
        sys.argv = ["ramify", *arguments, "--lab", str(lab)]
        try:
            sys.modules["ramify.cli"].main()
        except SystemExit as left:
            sys.stdout.flush()
            return int(left.code or 0)
        sys.stdout.flush()
        return 0

    return fork(work)


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state = path.read_text().rpartition(")")[2].split()
            if int(state[1]) == process:
                found.append(int(path.parent.name))
    return found


def kill(process: int, whole: bool) -> None:
    """Kill a driver, and with `whole` its workers too, as the death of a machine would."""
    os.kill(process, signal.SIGSTOP)
    workers = children(process) if whole else []
    for each in (*workers, process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def anywhere(home: Path, seed: int, moments: int, arguments: list[str]) -> dict[str, Any]:
    """Kill `ramify` at random moments and type it again, in a new lab whenever it came to its end."""
    importlib.import_module("ramify.cli")
    warm(("trunk", "average", "evaluate"))
    thrifty()
    draw = random.Random(seed)
    labs, codes, killed = 1, [], 0
    while True:
        lab = home / f"{labs:02d}"
        driver = ramify(arguments, lab, home / "output")
        handle = os.pidfd_open(driver)
        wait = draw.uniform(0.1, 1.0) if killed < moments else None
        done, *_ = select.select([handle], [], [], wait)
        os.close(handle)
        if not done:
            kill(driver, whole=killed % 2 == 0)
            killed += 1
        code = ended(driver)
        if done:
            codes.append(code)
            labs += 1
            if code or killed == moments:
                return {"labs": labs - 1, "codes": codes, "killed": killed}


def main(way: str, *arguments: str) -> None:
    """Do as the command line says."""
    if way == "everywhere":
        told = everywhere(Path(arguments[0]), Path(arguments[1]))
    else:
        home, seed, moments, *command = arguments
        told = anywhere(Path(home), int(seed), int(moments), command)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
