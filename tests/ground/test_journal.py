"""A journal tells what held: a run that was killed tells its last tokens again, and only once."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramify.ground.errors import Corrupt
from ramify.ground.journal import Journal, read


def told(path: Path) -> list[tuple[int, int]]:
    return [(line["incarnation"], line["tokens"]) for line in read(path, "step")]


def live(path: Path, first: int, last: int) -> None:
    """Live from `first` to `last` tokens, a line a token."""
    journal = Journal(path, first)
    for tokens in range(first + 1, last + 1):
        journal.write("step", tokens, loss=float(tokens))
    journal.close()


def test_a_later_incarnation_tells_anew_what_lay_beyond_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    live(path, 0, 5)
    live(path, 3, 6)
    assert told(path) == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)]
    assert [line["tokens"] for line in read(path, "begin")] == [0, 3]


def test_a_journal_that_is_not_there_tells_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "journal.jsonl") == []


@pytest.mark.parametrize("torn", ['{"incarnation": 1, "tok', "{", '{"incarnation": 1}'])
def test_a_torn_last_line_is_mended_and_left_out(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "journal.jsonl"
    live(path, 0, 2)
    with path.open("a") as file:
        file.write(torn[:-1] if torn.endswith("}") else torn)
    assert told(path) == [(1, 1), (1, 2)]
    live(path, 2, 3)
    assert told(path) == [(1, 1), (1, 2), (2, 3)]


def test_a_last_line_that_only_lacks_its_end_is_true(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    live(path, 0, 2)
    path.write_bytes(path.read_bytes()[:-1])
    live(path, 2, 3)
    assert told(path) == [(1, 1), (1, 2), (2, 3)]


def test_a_line_that_is_no_line_of_a_journal_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    live(path, 0, 1)
    with path.open("a") as file:
        file.write('{"tokens": 2}\n')
    with pytest.raises(Corrupt, match=r"journal.jsonl:3 is not a journal line"):
        read(path)


def test_what_no_text_can_hold_is_taken_for_torn(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    live(path, 0, 1)
    with path.open("ab") as file:
        file.write(b"\0\0\xff\0\n")
    live(path, 1, 2)
    assert told(path) == [(1, 1), (2, 2)]


LIVES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 40)), max_size=5)


@given(LIVES)
def test_however_often_it_died_a_run_tells_each_token_once(
    lives: list[tuple[int, int, int]],
) -> None:
    """A life goes on from a point that some life had reached, and is cut off within any byte."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        reached = 0
        for back, length, cut in lives:
            first = max(reached - back, 0)
            live(path, first, first + length)
            path.write_bytes(path.read_bytes()[:-cut])  # never as far as the line before the last
            reached = max((tokens for _, tokens in told(path)), default=0)
        last = Journal(path, reached)
        last.write("step", reached + 1)
        last.close()
        assert [tokens for _, tokens in told(path)] == list(range(1, reached + 2))
