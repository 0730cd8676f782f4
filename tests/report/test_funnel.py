"""A corpus says what share of its tokens is under which licence, and from where."""

from __future__ import annotations

from ramify.report.funnel import Passage, shares, told_of_provenance
from ramify.tokens.provenance import COUNTED

MIT: dict[str, object] = {"value": "mit", "documents": 3, "tokens": 60}
NOBODY: dict[str, object] = {"value": None, "documents": 1, "tokens": 30}
REST: dict[str, object] = {"value": None, "values": 12, "documents": 12, "tokens": 10}


def passage(**provenance: list[dict[str, object]]) -> Passage:
    return Passage("own", "tokenize", 4, 4, 10, 100, {}, provenance or None)


def test_shares_are_of_the_tokens_and_name_what_nobody_stated() -> None:
    assert shares([MIT, NOBODY, REST], 8) == "mit 60.0%, not stated 30.0%, 12 more 10.0%"
    assert shares([MIT, NOBODY, REST], 1) == "mit 60.0%, 13 more 40.0%"


def test_a_line_each_is_told_of_licences_and_sources_that_were_stated() -> None:
    assert set(COUNTED) == {"license", "source"}
    told = list(told_of_provenance([passage(license=[MIT], source=[NOBODY]), passage()]))
    assert told == ["own, licences: mit 100.0%"]
