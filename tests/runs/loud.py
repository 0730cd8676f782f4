"""`ramify`, telling every progress of every step on a line, so that a test can act just then."""

from __future__ import annotations

import sys

from ramify import cli
from ramify.runs import progress
from ramify.runs.plan import Item


class Loud(progress.Lines):
    """Plain lines, and one for each progress."""

    def progress(self, item: Item, done: float, total: float, unit: str, note: str) -> None:
        """Tell it."""
        sys.stdout.write(f"progress {item.name} {done:.0f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    progress.Lines = Loud  # type: ignore[misc]
    cli.main()
