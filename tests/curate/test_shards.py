"""A corpus is its documents and what was held out, listed one way; only the former are learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ramify.curate import corpora
from ramify.curate.passing import batches
from ramify.ground import stop
from ramify.ground.errors import BadInput, NotFound, Stopped
from ramify.ground.step import Input

from .corpora import Row, prose, row, write_corpus


def some(place: str, count: int) -> list[Row]:
    return [row(prose((place, n)), f"{place}/{n}") for n in range(count)]


@pytest.fixture
def given(tmp_path: Path) -> Input:
    """Return a corpus of two parts, one of them with documents held out."""
    shards = {
        "code/documents/00000": some("a", 3),
        "code/documents/00001": some("b", 2),
        "code/held_out/00000": some("c", 1),
        "code/held_out/00001": some("c", 1)[:0],  # of no rows
        "web/documents/00000": some("d", 2),
    }
    return write_corpus(tmp_path / "clean", shards)


def test_documents_come_first_then_what_was_held_out_and_files_of_no_rows_are_passed_over(
    given: Input,
) -> None:
    found = corpora.shards(given, "code")
    assert [(x.place, x.path.name, x.name) for x in found] == [
        ("documents", "00000.parquet", "00000.parquet"),
        ("documents", "00001.parquet", "00001.parquet"),
        ("held_out", "00000.parquet", "held_out-00000.parquet"),
    ]


def test_what_was_held_out_is_not_among_what_is_learned_from(given: Input, tmp_path: Path) -> None:
    assert {x.parent.name for x in corpora.documents(given, "code")} == {"documents"}
    held = write_corpus(tmp_path / "held", {"held_out/00000": some("a", 1)})
    assert len(corpora.shards(held)) == 1
    with pytest.raises(NotFound, match="held holds no documents but those held out"):
        corpora.documents(held)


@pytest.mark.parametrize("kind", [NotFound, BadInput])
def test_a_part_that_is_not_there_is_named_with_those_that_are(
    given: Input, kind: type[Exception]
) -> None:
    for listed in (corpora.shards, corpora.documents):
        with pytest.raises(kind, match=r"clean holds no documents of 'math'.*part: code, web"):
            listed(given, "math")
        with pytest.raises(kind, match=r"clean holds no documents; name a part: code, web"):
            listed(given)


def test_rows_come_in_order_in_pieces_of_little_text(tmp_path: Path) -> None:
    rows = [row("x" * (300_000 + n), f"a/{n}") for n in range(40)]
    path = corpora.documents(write_corpus(tmp_path / "c", {"documents/00000": rows}))[0]
    pieces = list(batches(path))
    assert pa.concat_tables(pieces).to_pylist() == rows
    assert max(sum(map(len, x["text"].to_pylist())) for x in pieces) < 3 << 20
    assert [x.column_names for x in batches(path, columns=["id"])] == [["id"]]


def test_of_some_rows_and_columns_only_those_are_read(tmp_path: Path) -> None:
    path = corpora.documents(write_corpus(tmp_path / "c", {"documents/00000": some("a", 9)}))[0]
    wanted = np.arange(9) % 4 == 1
    found = pa.concat_tables(batches(path, wanted, ["origin"])).to_pylist()
    assert found == [{"origin": "a/1"}, {"origin": "a/5"}]


def test_told_to_stop_it_stops_between_two_pieces(given: Input) -> None:
    path = corpora.documents(given, "web")[0]
    with stop.heeding(lambda: True), pytest.raises(Stopped):
        list(batches(path))
