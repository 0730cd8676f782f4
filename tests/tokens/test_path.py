"""A path of spans: absolute positions, branches that go on where they left, and no stretch twice."""

from __future__ import annotations

import tracemalloc
from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramify.ground.errors import BadInput, Mismatch
from ramify.tokens.mixture import Stage
from ramify.tokens.order import group_segments
from ramify.tokens.path import Path, Row, SourceSize, Span, Use

LENGTHS = (1, 2, 4, 8)
NAMES = ("a", "b", "c", "d")
ELEVEN_TRILLION = 11 * 10**12


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, float]:
    names = draw(st.sets(st.sampled_from(NAMES), min_size=1))
    weights = {name: draw(st.integers(1, 20)) for name in sorted(names)}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


@st.composite
def paths(draw: st.DrawFn, spans: int = 5) -> tuple[Path, int]:
    """A path of up to five spans over small sources, and a token at which to stop reading it."""
    sizes = {
        name: SourceSize(draw(st.integers(1, 70)), draw(st.sampled_from([8, 16, 24])))
        for name in NAMES
    }
    mixture, rows = draw(mixtures()), draw(st.integers(1, 12))
    first = Span(0, tuple(mixture.items()), rows, draw(st.sampled_from(LENGTHS)))
    path, end = Path(draw(st.integers(0, 2**63)), (first,), sizes), 0
    for _ in range(draw(st.integers(0, spans - 1))):
        end += draw(st.integers(0, 25)) * path.spans[-1].batch_tokens
        path = path.branch(
            end,
            shares=draw(st.none() | mixtures()),
            seq_len=draw(st.none() | st.sampled_from(LENGTHS)),
            rows=draw(st.none() | st.integers(1, 12)),
        )
    return path, end + draw(st.integers(0, 25)) * path.spans[-1].batch_tokens


def positions(path: Path, end: int, begin: int = 0) -> list[int]:
    """Where the batches from `begin` until `end` begin."""
    found = []
    while begin < end:
        found.append(begin)
        begin += path.span_at(begin).batch_tokens
    return found


@given(paths())
@settings(max_examples=80, deadline=None)
def test_nothing_of_a_source_is_read_twice_before_its_epoch_is_over(
    drawn: tuple[Path, int],
) -> None:
    path, end = drawn
    seen: dict[tuple[str, int], set[int]] = defaultdict(set)
    for tokens in positions(path, end):
        seq_len = path.span_at(tokens).seq_len
        for source, cursor, start in path.rows(tokens):
            size = path.segments[source]
            stretch = set(range(start, start + seq_len))
            epoch = seen[source, cursor // size.tokens]
            assert not epoch & stretch
            assert stretch <= set(range(size.tokens))
            epoch |= stretch


@given(paths())
@settings(max_examples=80, deadline=None)
def test_the_ledger_is_what_the_rows_add_up_to(drawn: tuple[Path, int]) -> None:
    path, end = drawn
    read: dict[str, int] = defaultdict(int)
    furthest: dict[str, int] = defaultdict(int)
    for tokens in positions(path, end):
        seq_len = path.span_at(tokens).seq_len
        for source, cursor, _ in path.rows(tokens):
            read[source] += seq_len
            furthest[source] = max(furthest[source], cursor + seq_len)
    ledger = path.ledger(end)
    assert sum(use.tokens for use in ledger.values()) == end
    for source, use in ledger.items():
        size = path.segments[source]
        assert use.tokens == read[source]
        assert use.tokens + use.skipped >= furthest[source]
        assert use.epochs == (use.tokens + use.skipped) / size.tokens
        changes = len(path.spans) - 1
        assert use.skipped <= changes * (group_segments(size.segments) * size.segment - 1)


@given(paths(spans=1), st.data())
@settings(max_examples=60, deadline=None)
def test_nothing_is_skipped_while_the_context_stays_as_it_is(
    drawn: tuple[Path, int], data: st.DataObject
) -> None:
    path, end = drawn
    for _ in range(3):
        path = path.branch(end, shares=data.draw(mixtures()))
        end += data.draw(st.integers(0, 20)) * path.spans[-1].batch_tokens
    assert all(use.skipped == 0 for use in path.ledger(end).values())


@given(paths())
@settings(max_examples=60, deadline=None)
def test_each_source_is_read_along_its_cursor_without_a_gap(drawn: tuple[Path, int]) -> None:
    path, end = drawn
    for begin, until in zip(
        [span.start for span in path.spans],
        [*(span.start for span in path.spans[1:]), end],
        strict=True,
    ):
        cursors: dict[str, list[int]] = defaultdict(list)
        for tokens in positions(path, until, begin):
            rows = path.rows(tokens)
            for source in {row.source for row in rows}:
                cursors[source] += sorted(row.cursor for row in rows if row.source == source)
        step = path.span_at(begin).seq_len
        for read in cursors.values():
            assert read == list(range(read[0], read[0] + len(read) * step, step))


@given(paths(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_branch_agrees_with_its_trunk_until_it_leaves(
    drawn: tuple[Path, int], data: st.DataObject
) -> None:
    trunk, end = drawn
    every = [*positions(trunk, end), end]
    at = data.draw(st.sampled_from(every))
    branch = trunk.branch(
        at, shares=data.draw(mixtures()), seq_len=data.draw(st.sampled_from(LENGTHS))
    )
    for tokens in positions(trunk, at):
        assert branch.rows(tokens) == trunk.rows(tokens)
    used = [
        {n: use for n, use in path.ledger(at).items() if use.tokens} for path in (branch, trunk)
    ]
    assert used[0] == used[1]


@given(paths(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_branch_that_changes_nothing_sees_the_very_batches_of_its_trunk(
    drawn: tuple[Path, int], data: st.DataObject
) -> None:
    trunk, end = drawn
    at = data.draw(st.sampled_from([*positions(trunk, end), end]))
    span = trunk.span_at(at)
    branch = trunk.branch(at, shares=dict(reversed(span.shares)), seq_len=span.seq_len)
    later = [s.start for s in trunk.spans if s.start > at]
    for tokens in positions(trunk, later[0] if later else end, at):
        assert branch.rows(tokens) == trunk.rows(tokens)
    assert branch == trunk.branch(at)
    assert branch.spans[-1] == span  # and it goes on in that mixture to its end


@given(paths(), st.data())
@settings(max_examples=60, deadline=None)
def test_any_part_of_any_batch_is_found_without_what_came_before(
    drawn: tuple[Path, int], data: st.DataObject
) -> None:
    path, end = drawn
    fresh = Path(path.seed, path.spans, path.segments)
    for tokens in data.draw(st.permutations(positions(path, end)))[:5]:
        rows = path.rows(tokens)
        first = data.draw(st.integers(0, len(rows)))
        last = data.draw(st.integers(first, len(rows)))
        columns = [column.tolist() for column in fresh.rows_many(tokens, first, last)]
        part = [Row(path.sources[i], c, s) for i, c, s in zip(*columns, strict=True)]
        assert part == rows[first:last]


def trunk(rows: int = 4, seq_len: int = 4) -> Path:
    stages = [Stage(mixture={"a": 0.5, "b": 0.5}), Stage(at=160, mixture={"a": 0.25, "c": 0.75})]
    sizes = {"a": SourceSize(40, 8), "b": SourceSize(1, 8), "c": SourceSize(20, 16)}
    return Path.of(7, stages, sizes, rows=rows, seq_len=seq_len)


def test_the_batches_of_a_path_are_the_same_for_ever() -> None:
    path = trunk()
    assert path.rows(0) == [Row("b", 4, 4), Row("a", 0, 232), Row("a", 4, 76), Row("b", 0, 0)]
    assert path.rows(160) == [
        Row("c", 8, 132),
        Row("c", 4, 136),
        Row("c", 0, 128),
        Row("a", 80, 108),
    ]
    assert path.branch(176, seq_len=8).rows(176) == [
        Row("a", 96, 96),
        Row("c", 32, 296),
        Row("c", 24, 256),
        Row("c", 16, 264),
    ]


def test_a_new_context_begins_at_the_next_group_and_the_ledger_says_what_that_cost() -> None:
    path = trunk().branch(176, seq_len=8)
    assert trunk().ledger(176) == {
        "a": Use(84, 0, 84 / 320),
        "b": Use(80, 0, 10.0),
        "c": Use(12, 0, 12 / 320),
    }
    assert path.ledger(176) == trunk().ledger(176)  # the skip belongs to the batch that follows
    assert path.ledger(208) == {
        "a": Use(84 + 8, 12, 104 / 320),  # groups of two segments: from 84 to 96
        "b": Use(80, 0, 10.0),  # not in the mixture: it stays where it stood
        "c": Use(12 + 24, 4, 40 / 320),  # groups of one segment: from 12 to 16
    }


def test_a_source_that_comes_back_goes_on_where_it_stood() -> None:
    path = trunk().branch(176, shares={"b": 1.0})
    assert min(row.cursor for row in path.rows(176)) == 80


def test_a_source_that_is_new_to_the_path_begins_at_its_beginning() -> None:
    path = trunk().branch(176, shares={"new": 1.0}, segments={"new": SourceSize(9, 16)})
    assert sorted(row.cursor for row in path.rows(176)) == [0, 4, 8, 12]
    assert path.sources == ("a", "b", "c", "new")


def test_a_branch_on_a_stage_boundary_is_in_the_stage_that_begins_there() -> None:
    assert trunk().branch(160).spans == trunk().spans
    assert trunk().branch(144).spans == trunk().spans[:1]
    changed = trunk().branch(160, shares={"b": 1.0})
    assert [span.start for span in changed.spans] == [0, 160]


def test_another_seed_is_another_order() -> None:
    first = trunk()
    other = Path(8, first.spans, first.segments)
    assert [first.rows(t) for t in (0, 16, 32)] != [other.rows(t) for t in (0, 16, 32)]


def test_the_order_in_which_a_mixture_is_typed_decides_nothing() -> None:
    assert Span(0, (("b", 0.3), ("a", 0.7)), 4, 4) == Span(0, (("a", 0.7), ("b", 0.3)), 4, 4)


def eleven_trillion() -> Path:
    names = [f"s{i:02d}" for i in range(12)]
    stages = [
        Stage(
            at=2048 * 1024 * i * 1_300_000,
            mixture={name: (1 + (j + i) % 12) / 78 for j, name in enumerate(names)},
        )
        for i in range(4)
    ]
    sizes = {name: SourceSize(1_000_000, 2**20) for name in names}
    return Path.of(1, stages, sizes, rows=1024, seq_len=2048)


def test_sample_five_billion_takes_no_more_memory_than_the_first() -> None:
    path = eleven_trillion()
    path.rows_many(0)
    tracemalloc.start()
    peaks = []
    for sample in (0, 5 * 10**9):
        tracemalloc.reset_peak()
        rows = path.rows_many(sample // 1024 * 1024 * 2048)
        peaks.append(tracemalloc.get_traced_memory()[1])
        assert rows.starts_R.size == 1024
        assert (rows.starts_R >= 0).all()
        assert (rows.starts_R < 2**20 * 1_000_000).all()
    tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_over_eleven_trillion_tokens_every_share_is_met_to_two_rows_a_stage() -> None:
    path = eleven_trillion()
    end = ELEVEN_TRILLION // (1024 * 2048) * 1024 * 2048
    ends = [*(span.start for span in path.spans[1:]), end]
    for name, use in path.ledger(end).items():
        share = sum(
            (until - span.start) * dict(span.shares)[name]
            for span, until in zip(path.spans, ends, strict=True)
        )
        # and a few tokens of what a float of 0.1 leaves at 10^13
        assert abs(use.tokens - share) <= 4 * 2 * 2048 + 4


SIZES = {"a": SourceSize(4, 8), "none": SourceSize(0, 8)}


def one(source: str = "a", seq_len: int = 4, rows: int = 2, start: int = 0) -> Span:
    return Span(start, ((source, 1.0),), rows, seq_len)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Path(1, (), SIZES), "a path begins at token 0"),
        (lambda: Path(1, (one(start=8),), SIZES), "a path begins at token 0"),
        (lambda: Path(1, (one("b"),), SIZES), "names b, which is no source; the sources are: a"),
        (lambda: Path(1, (one("none"),), SIZES), "none holds no whole segment of 8 tokens"),
        (lambda: Path(1, (one(seq_len=3),), SIZES), "3 tokens do not divide a's segments of 8"),
        (lambda: Path(1, (one(seq_len=16),), SIZES), "do not divide"),
        (lambda: Path(1, (one(), one(start=9)), SIZES), "no batch begins at token 9; .* 8 and 16"),
        (lambda: Path(1, (one(), one()), SIZES), "two spans begin at token 0"),
        (lambda: one(rows=0), "a batch of 0 rows"),
        (lambda: one(seq_len=0), "a batch of 2 rows of 0 tokens"),
        (lambda: Span(0, (("a", 0.4),), 1, 1), "sums to 0.4"),
        (lambda: Path(1, (one(),), SIZES).rows(3), "no batch begins at token 3; .* 0 and 8"),
        (lambda: Path(1, (one(),), SIZES).rows(-8), "before the run"),
        (lambda: Path(1, (one(),), SIZES).ledger(12), "no batch begins at token 12"),
        (lambda: Path(1, (one(),), SIZES).branch(12), "no batch begins at token 12"),
        (lambda: Path(1, (one(),), SIZES).branch(8, shares={"z": 1.0}), "names z"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_line(make: Callable[[], object], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        make()


def test_a_source_packed_anew_is_not_the_source_of_the_path() -> None:
    with pytest.raises(Mismatch, match=r"a has .*segments=5.* on the path it leaves"):
        Path(1, (one(),), SIZES).branch(8, segments={"a": SourceSize(5, 8)})


@given(paths(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_stretch_is_seen_in_just_the_rows_that_take_it_in(
    given_path: tuple[Path, int], data: st.DataObject
) -> None:
    path, end = given_path
    source = data.draw(st.sampled_from(NAMES))
    size = path.segments[source].tokens
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first + 1, min(size, first + 30)))
    expected = sorted(
        (begin, row.cursor)
        for begin in positions(path, end)
        for row in path.rows(begin)
        if row.source == source
        and row.start < last
        and row.start + path.span_at(begin).seq_len > first
    )
    found = [(sight.tokens, sight.cursor) for sight in path.sights(source, first, last, end)]
    assert sorted(found) == expected
    assert all(s.epoch == s.cursor // size for s in path.sights(source, first, last, end))
