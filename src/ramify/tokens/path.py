"""A run's whole line of descent as spans of data: which rows any batch has, and what was used by then.

Positions are absolute: they count slots (rows × sequence length) from the first batch of the root.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from ramify.ground.errors import BadInput, Mismatch
from ramify.ground.seeds import derive
from ramify.tokens.deal import Deal
from ramify.tokens.mixture import Stage, check_shares, check_stages
from ramify.tokens.order import Ints, Order, Words, blend, group_segments, locate, permute, words


class SourceSize(NamedTuple):
    """How much of a source an epoch reads: whole segments, and the tokens of one."""

    segments: int
    segment: int

    @property
    def tokens(self) -> int:
        """Tokens of one epoch."""
        return self.segments * self.segment


class Row(NamedTuple):
    """One row of a batch: its source, the source's cursor there, its first token in the source."""

    source: str
    cursor: int
    start: int


class Rows(NamedTuple):
    """Rows of a batch as arrays: indices into `Path.sources`, cursors and first tokens."""

    sources_R: Ints
    cursors_R: Ints
    starts_R: Ints


class Sight(NamedTuple):
    """A row that took in what was looked for: the token at which its batch begins, cursor, epoch."""

    tokens: int
    cursor: int
    epoch: int


class Use(NamedTuple):
    """What a path took from one source: tokens read, tokens skipped, and both in epochs."""

    tokens: int
    skipped: int
    epochs: float


@dataclass(frozen=True)
class Span:
    """A stretch of a path, from token `start` on, with one mixture, batch size and context length.

    `shares` may be given in any order or as a mapping; it is kept sorted by source.
    """

    start: int
    shares: tuple[tuple[str, float], ...]
    rows: int
    seq_len: int

    def __post_init__(self) -> None:
        shares = check_shares(dict(self.shares))
        object.__setattr__(self, "shares", tuple(shares.items()))
        if min(self.rows, self.seq_len) < 1:
            raise BadInput(
                f"a batch of {self.rows} rows of {self.seq_len} tokens holds nothing",
                hint="give at least one row and one token",
            )

    @property
    def batch_tokens(self) -> int:
        """Slots of one batch."""
        return self.rows * self.seq_len

    def batch(self, tokens: int) -> int:
        """Return which batch of this span begins at `tokens`; raises BadInput if none does."""
        batch, rest = divmod(tokens - self.start, self.batch_tokens)
        if rest or batch < 0:
            near = self.start + max(batch, 0) * self.batch_tokens
            raise BadInput(
                f"no batch begins at token {tokens}",
                hint=f"batches begin at {near} and {near + self.batch_tokens}",
            )
        return batch


class _Stand(NamedTuple):
    """Where a source stands: its cursor, the context it was last read in, tokens skipped so far."""

    cursor: int
    seq_len: int
    skipped: int


@dataclass(frozen=True)
class Path:
    """The data of a run from its root's first batch on, as a pure function of the position.

    `segments` holds the size of every source. Raises BadInput for a source without a size or
    without a segment, a context that does not divide a segment, or a span that begins within a
    batch of the one before.
    """

    seed: int
    spans: tuple[Span, ...]
    segments: Mapping[str, SourceSize]

    @classmethod
    def of(
        cls,
        seed: int,
        stages: Sequence[Stage],
        segments: Mapping[str, SourceSize],
        *,
        rows: int,
        seq_len: int,
    ) -> Path:
        """Return the path of a trunk with these stages and one batch size and context length."""
        check_stages(stages, segments)
        spans = (Span(stage.at, tuple(stage.mixture.items()), rows, seq_len) for stage in stages)
        return cls(seed, tuple(spans), segments)

    def __post_init__(self) -> None:
        if not self.spans or self.spans[0].start != 0:
            raise BadInput("a path begins at token 0", hint="let the first span start at 0")
        for before, after in pairwise(self.spans):
            if before.batch(after.start) == 0:
                raise BadInput(f"two spans begin at token {after.start}", hint="leave one out")
        for span in self.spans:
            self._check_sources(span)

    def _check_sources(self, span: Span) -> None:
        for source, _ in span.shares:
            if source not in self.segments:
                raise BadInput(
                    f"the mixture at {span.start} names {source}, which is no source",
                    hint=f"the sources are: {', '.join(sorted(self.segments))}",
                )
            size = self.segments[source]
            if size.segments < 1:
                raise BadInput(
                    f"{source} holds no whole segment of {size.segment} tokens",
                    hint="pack it with smaller segments, or leave it out",
                )
            if size.segment % span.seq_len:
                raise BadInput(
                    f"sequences of {span.seq_len} tokens do not divide {source}'s segments of "
                    f"{size.segment}",
                    hint="use a context length that divides the segment, or pack it anew",
                )

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Every source's name, sorted; `Rows.sources_R` counts along it."""
        return tuple(sorted(self.segments))

    @cached_property
    def _orders(self) -> dict[str, Order]:
        return {
            name: Order(size.segments, size.segment, group_segments(size.segments),
                        derive(self.seed, "order", name))
            for name, size in self.segments.items()
        }  # fmt: skip

    @cached_property
    def _deals(self) -> tuple[Deal, ...]:
        return tuple(
            Deal(tuple(share for _, share in span.shares), span.rows) for span in self.spans
        )

    def _enter(self, stands: Mapping[str, _Stand], span: Span) -> dict[str, _Stand]:
        """Let every source of the span go on where it stood: at the next group if T changed."""
        entered = dict(stands)
        for source, _ in span.shares:
            cursor, seq_len, skipped = stands.get(source, _Stand(0, span.seq_len, 0))
            begins = cursor if seq_len == span.seq_len else self._orders[source].next_group(cursor)
            entered[source] = _Stand(begins, span.seq_len, skipped + begins - cursor)
        return entered

    def _advance(self, entry: Mapping[str, _Stand], which: int, batches: int) -> dict[str, _Stand]:
        """Return where the sources stand after `batches` batches of span number `which`."""
        span, stands = self.spans[which], dict(entry)
        for (source, _), rows in zip(span.shares, self._deals[which].before(batches), strict=True):
            stand = stands[source]
            stands[source] = stand._replace(cursor=stand.cursor + rows * span.seq_len)
        return stands

    @cached_property
    def _entries(self) -> tuple[dict[str, _Stand], ...]:
        """Where each source stands when each span begins."""
        entries = [self._enter({}, self.spans[0])]
        for which, span in enumerate(self.spans[1:]):
            batches = self.spans[which].batch(span.start)
            entries.append(self._enter(self._advance(entries[-1], which, batches), span))
        return tuple(entries)

    @cached_property
    def _columns(self) -> tuple[Ints, Ints, Ints, Words]:
        """Segments, tokens of a segment, segments of a group and key, per source."""
        orders = [self._orders[name] for name in self.sources]
        ints = [
            [o.segments for o in orders],
            [o.segment for o in orders],
            [o.group for o in orders],
        ]
        segments, segment, group = np.array(ints, dtype=np.int64)
        return segments, segment, group, words([o.key for o in orders])

    def _which(self, tokens: int) -> int:
        if tokens < 0:
            raise BadInput(f"token {tokens} is before the run", hint="positions count from 0")
        return bisect_right(self.spans, tokens, key=lambda span: span.start) - 1

    def span_at(self, tokens: int) -> Span:
        """Return the span that the batch beginning at `tokens` belongs to."""
        return self.spans[self._which(tokens)]

    def rows_many(self, tokens: int, first: int = 0, last: int | None = None) -> Rows:
        """Return rows `first` to `last` (exclusive) of the batch that begins at `tokens`.

        Constant time and memory at any position. Raises BadInput if no batch begins there.
        """
        which = self._which(tokens)
        span, deal = self.spans[which], self._deals[which]
        batch = span.batch(tokens)
        before, after = deal.before(batch), deal.before(batch + 1)
        ends = list(accumulate(late - early for early, late in zip(before, after, strict=True)))
        row_R = np.arange(first, span.rows if last is None else last)
        key = blend(words(derive(self.seed, "rows")), words(tokens))
        dealt_R = permute(row_R, span.rows, key)  # sources side by side, each in its order
        share_R = np.searchsorted(np.array(ends), dealt_R, side="right")
        entry = self._entries[which]
        bases = [  # what the cursor of dealt row 0 would be, were it the source's
            entry[source].cursor + (late - end) * span.seq_len
            for (source, _), late, end in zip(span.shares, after, ends, strict=True)
        ]
        cursors_R = np.array(bases)[share_R] + dealt_R * span.seq_len
        sources_R = np.array([self.sources.index(source) for source, _ in span.shares])[share_R]
        columns = (column[sources_R] for column in self._columns)
        return Rows(sources_R, cursors_R, locate(cursors_R, span.seq_len, *columns))

    def rows(self, tokens: int) -> list[Row]:
        """Return every row of the batch that begins at `tokens`, as `rows_many` does, by name."""
        columns = (column.tolist() for column in self.rows_many(tokens))
        return [Row(self.sources[i], c, s) for i, c, s in zip(*columns, strict=True)]

    def ledger(self, tokens: int) -> dict[str, Use]:
        """Return what the batches before `tokens` used of each source that was in a mixture by then."""
        # At a boundary the span before is the one that ended: the next has skipped nothing yet.
        which = max(self._which(tokens - 1), 0) if tokens else 0
        batches = self.spans[which].batch(tokens)
        stands = self._advance(self._entries[which], which, batches)
        return {
            source: Use(
                stand.cursor - stand.skipped,
                stand.skipped,
                stand.cursor / self.segments[source].tokens,
            )
            for source, stand in sorted(stands.items())
        }

    def sights(self, source: str, first: int, last: int, until: int) -> Iterator[Sight]:
        """Yield every row before token `until` that takes in tokens `first` to `last` of a source.

        In the order of the run. Tokens beyond the last whole segment are in no row.
        """
        for which, span in enumerate(self.spans):
            names = [name for name, _ in span.shares]
            if span.start >= until or source not in names:
                continue
            end = self.spans[which + 1].start if which + 1 < len(self.spans) else until
            batches = -(-(min(end, until) - span.start) // span.batch_tokens)
            yield from self._seen(which, names.index(source), batches, first, last)

    def _seen(self, which: int, index: int, batches: int, first: int, last: int) -> Iterator[Sight]:
        span, deal = self.spans[which], self._deals[which]
        source = span.shares[index][0]
        order, begins = self._orders[source], self._entries[which][source].cursor
        ends = begins + deal.before(batches)[index] * span.seq_len
        usable = min(last, order.segments * order.segment)
        epoch_tokens = order.segments * order.segment
        starts = range(first // span.seq_len * span.seq_len, usable, span.seq_len)
        found = [
            (order.cursor(start, span.seq_len, epoch), epoch)
            for epoch in range(begins // epoch_tokens, -(-ends // epoch_tokens))
            for start in starts
        ]
        for cursor, epoch in sorted(found):
            if begins <= cursor < ends:
                row = (cursor - begins) // span.seq_len
                batch = (
                    bisect_right(range(batches + 1), row, key=lambda n: deal.before(n)[index]) - 1
                )
                yield Sight(span.start + batch * span.batch_tokens, cursor, epoch)

    def branch(
        self,
        at: int,
        *,
        shares: Mapping[str, float] | None = None,
        seq_len: int | None = None,
        rows: int | None = None,
        segments: Mapping[str, SourceSize] | None = None,
    ) -> Path:
        """Return the path that leaves this one at token `at` and goes on in what is in force there.

        What is not given stays; if nothing changes, the span goes on and the batches are the
        trunk's very own. `segments` adds sources. Raises BadInput if no batch begins at `at`,
        Mismatch if a source comes with another size.
        """
        kept = self.spans[: self._which(at) + 1]
        current = kept[-1]
        current.batch(at)
        for name, size in (segments or {}).items():
            if self.segments.get(name, size) != size:
                raise Mismatch(
                    f"{name} has {size} here and {self.segments[name]} on the path it leaves",
                    hint="give what was packed anew a name of its own",
                )
        changed = Span(
            at,
            tuple((shares or dict(current.shares)).items()),
            rows or current.rows,
            seq_len or current.seq_len,
        )
        if replace(changed, start=current.start) != current:
            kept = (*(span for span in kept if span.start < at), changed)
        return Path(self.seed, kept, {**self.segments, **(segments or {})})
