"""What an ablation found, as tables of the page."""

from __future__ import annotations

from collections.abc import Mapping

from ramify.ground.artifact import Record
from ramify.report.ablation import HEAD, ONE_BY_ONE, ablations, caption, cells
from ramify.report.markup import Markup, join
from ramify.report.sections import row_of, table


def ablation_section(records: Mapping[str, Record]) -> Markup | None:
    """Return the ablations of a lab as tables of the page, None where there are none."""
    tables = [
        table(
            f"{caption(facts)}; {ONE_BY_ONE}.",
            HEAD,
            [row_of(name, *cells(trial), words=1) for name, trial in facts["trials"].items()],
            words=1,
        )
        for facts in ablations(records)
    ]
    return join(tables) if tables else None
