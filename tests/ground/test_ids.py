"""A document keeps its id: on every machine, whatever its name is made of."""

from __future__ import annotations

from ramify.ground.ids import digest


def test_an_id_is_the_same_for_ever() -> None:
    assert digest("prose/a.md", 3) == "a9816efee53ff986e68f63a10ff2619f"


def test_where_one_name_ends_and_the_next_begins_matters() -> None:
    assert len({digest("a", 11), digest("a1", 1), digest("a11")}) == 3


def test_a_file_name_that_is_no_utf8_has_an_id() -> None:
    assert digest(b"\xff.txt".decode("utf-8", "surrogateescape"), 0) != digest("?.txt", 0)
