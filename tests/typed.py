"""A command typed, but run in the process of the test."""

from __future__ import annotations

import sys

import pytest

from ramify import cli


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run a command and return the code that it left with."""
    monkeypatch.setattr(sys, "argv", ["ramify", *words])
    try:
        cli.main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0
