"""What changed on the disk since a finished step read it: said, and nothing is made again for it."""

from __future__ import annotations

from collections.abc import Iterator

from ramify.curate.sources import changed
from ramify.curate.steps import Read
from ramify.runs.lab import Lab
from ramify.runs.plan import Plan

SHOWN = 2


def notes(plan: Plan, lab: Lab) -> Iterator[str]:
    """Yield a line for each finished corpus whose files are no longer those that it was read from."""
    for item in plan.items:
        if isinstance(item.step, Read) and item.state == "done":
            lines = changed(item.step, lab.at(item.name))
            if lines:
                more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
                yield (
                    f"{item.name} stays as it was made, though its files changed: "
                    f"{'; '.join(lines[:SHOWN])}{more} (ramify forget {item.name} reads them anew)"
                )
