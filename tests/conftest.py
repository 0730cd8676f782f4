"""A real LLM server process for the tests that ask one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("llm_server.py")


class LlmServer:
    """A server that can die and be started again, on another port."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._started = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.stop()
        self._started += 1
        port = self._home / f"port-{self._started}"
        self.process = subprocess.Popen([sys.executable, str(SCRIPT), str(port)])
        while not port.exists():
            assert self.process.poll() is None
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{port.read_text()}/v1"

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def asked(self) -> int:
        """How many requests it has had since it was started."""
        return int(self.told()["asked"])

    def told(self) -> dict[str, Any]:
        """Return what it tells of itself."""
        with urllib.request.urlopen(self.url) as answer:
            told: dict[str, Any] = json.load(answer)
        return told


@pytest.fixture
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlmServer]:
    """Return a server of this test's own."""
    server = LlmServer(tmp_path_factory.mktemp("llm"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def llm_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlmServer]:
    """Return a server that the tests of a module share."""
    server = LlmServer(tmp_path_factory.mktemp("llm"))
    yield server
    server.stop()
