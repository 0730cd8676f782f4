"""A worker: one job in a process of its own, told by a JSON file, judged by the record it leaves.

It prints one JSON line per event to standard output: `progress`, `note`, `error`, `stopped`.
It saves and leaves on SIGTERM and SIGINT, and when its driver has died: when its standard input
ends or, under torchrun, which keeps that to itself, when the process RAMIFY_DRIVER is gone.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ramify.ground.artifact import lock
from ramify.ground.errors import RamifyError, Stopped, told
from ramify.runs.execute import execute
from ramify.runs.job import DRIVER, Job

DONE, FAILED, STOPPED = 0, 1, 3
TELL_SECONDS = 0.2


class Events:
    """Events as JSON lines on standard output; progress no more often than is looked at."""

    def __init__(self) -> None:
        self._last = 0.0
        self._leads = os.environ.get("RANK", "0") == "0"

    def send(self, **event: Any) -> None:
        """Print one event; nobody to hear it is no reason not to save."""
        if self._leads:
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.write(json.dumps(event) + "\n")
                sys.stdout.flush()

    def tell(self, done: float, total: float, unit: str, note: str = "") -> None:
        """Print how far the step is."""
        if time.monotonic() - self._last >= TELL_SECONDS or done >= total:
            self._last = time.monotonic()
            self.send(event="progress", done=done, total=total, unit=unit, note=note)

    def say(self, note: str) -> None:
        """Print something that a person should be told."""
        self.send(event="note", note=note)


def main(path: str) -> int:
    """Do the job in the file at `path`; return the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_leave_with_driver, args=(stop,), daemon=True).start()
    events = Events()
    job = Job.model_validate_json(Path(path).read_bytes())
    leads = os.environ.get("RANK", "0") == "0"
    driver = int(os.environ.get(DRIVER, os.getppid()))
    try:
        with lock(Path(job.lock), driver=driver) if leads else nullcontext():
            done = execute(job, events.tell, events.say, stop.is_set)
    except Stopped:
        done = False
    except RamifyError as error:
        events.send(
            event="error", kind=type(error).__name__, message=error.message, hint=error.hint
        )
        return FAILED
    except ValidationError as error:
        events.send(event="error", kind="BadInput", message=told(error), hint=None)
        return FAILED
    except OSError as error:
        events.send(event="error", kind="OSError", message=_plain(error), hint=_hint(error))
        return FAILED
    if not done:
        events.send(event="stopped")
    return DONE if done else STOPPED


def _leave_with_driver(stop: threading.Event) -> None:
    if "RANK" not in os.environ:
        while os.read(0, 4096):
            pass
    elif DRIVER in os.environ:
        with contextlib.suppress(ProcessLookupError):
            select.select([os.pidfd_open(int(os.environ[DRIVER]))], [], [])
    else:
        return  # started by hand: torchrun is the driver
    stop.set()
    # a step that does not ask whether to stop is ended: what it finished is kept by its ledger
    time.sleep(10)
    os.kill(os.getpid(), signal.SIGKILL)


def _plain(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"


def _hint(error: OSError) -> str | None:
    # a library that writes may pass on no number
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)
    return "free some space, then type the same command again" if full else None


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    # Daft's threads now and then abort an interpreter that shuts down: all is on disk by now
    os._exit(code)
