"""The batches of a run for one rank: a pure function of (path, rank, world, position), read ahead.

Shapes: R rows of this rank, T sequence length; a row holds T+1 tokens, inputs and targets overlapping.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ramify.ground.errors import BadInput, Mismatch, NotFound
from ramify.tokens.chain import add_digests, row_digest
from ramify.tokens.path import Path, SourceSize
from ramify.tokens.shards import Source, check_join


@dataclass(frozen=True)
class Batch:
    """One rank's rows of the batch from token `start` to `end` of the run.

    Real rows come first, with weight 1; the padding rows after them have weight 0, tokens 0 and
    source 0. `digest` is of the real rows alone, so that the ranks' sum is the batch's.
    """

    start: int
    end: int
    tokens_RT1: npt.NDArray[np.int64]
    weights_R: npt.NDArray[np.float32]
    sources_R: npt.NDArray[np.int64]
    digest: int


class Loader:
    """Batches of `path` for rank `rank` of `world`, read from `sources`.

    Rows go to ranks in contiguous blocks of ceil(rows / world); every rank has equally many, and a
    multiple of `micro_rows`, by rows of weight zero. `names` are what `Batch.sources_R` counts
    along. Raises Mismatch for sources of several tokenizers or of other sizes than the path's,
    NotFound for one that the path's last span needs and that is not given.
    """

    def __init__(
        self,
        path: Path,
        sources: Mapping[str, Source],
        *,
        rank: int = 0,
        world: int = 1,
        micro_rows: int = 1,
        prefetch: int = 2,
    ) -> None:
        if not 0 <= rank < world or micro_rows < 1 or prefetch < 0:
            raise BadInput(
                f"rank {rank} of {world}, {micro_rows} micro-batch rows, {prefetch} read ahead",
                hint="ranks count from 0; at least one row",
            )
        self.path, self.sources = path, sources
        self.rank, self.world, self.micro_rows, self.prefetch = rank, world, micro_rows, prefetch
        self.names = path.sources
        check_join(sources)
        for name, source in sources.items():
            size = SourceSize(source.segments, source.segment)
            if path.segments.get(name, size) != size:
                raise Mismatch(
                    f"{name} in {source.folder} has {size}, the path has {path.segments[name]}",
                    hint="a run goes on with the very sources that it began with",
                )
        for name, _ in path.spans[-1].shares:
            self._source(name)

    def _source(self, name: str) -> Source:
        if name not in self.sources:
            raise NotFound(
                f"source {name} was not given", hint=f"given: {', '.join(sorted(self.sources))}"
            )
        return self.sources[name]

    def batch(self, tokens: int) -> Batch:
        """Return this rank's rows of the batch that begins at `tokens`; BadInput if none does."""
        span = self.path.span_at(tokens)
        block = -(-span.rows // self.world)
        padded = -(-block // self.micro_rows) * self.micro_rows
        first = self.rank * block
        rows = self.path.rows_many(tokens, first, min(first + block, span.rows))
        tokens_RT1 = np.zeros((padded, span.seq_len + 1), dtype=np.int64)
        weights_R = np.zeros(padded, dtype=np.float32)
        sources_R = np.zeros(padded, dtype=np.int64)
        real = rows.sources_R.size
        weights_R[:real], sources_R[:real] = 1, rows.sources_R
        digest = 0
        for i, (which, start) in enumerate(
            zip(rows.sources_R.tolist(), rows.starts_R.tolist(), strict=True)
        ):
            read = self._source(self.names[which]).read(start, span.seq_len + 1)
            tokens_RT1[i] = read
            digest = add_digests(digest, row_digest(first + i, read))
        return Batch(tokens, tokens + span.batch_tokens, tokens_RT1, weights_R, sources_R, digest)

    def iterate(self, from_tokens: int, to_tokens: int) -> Iterator[Batch]:
        """Yield the batches from `from_tokens` until `to_tokens`, `prefetch` of them read ahead.

        One background thread reads; it is joined when the iterator is exhausted, closed or dropped
        and when the interpreter ends, and what it raises is raised here, in its place.
        """
        positions = self._positions(from_tokens, to_tokens)
        if not self.prefetch:
            yield from map(self.batch, positions)
            return
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        ahead: deque[Future[Batch]] = deque()
        try:
            for position in positions:
                ahead.append(pool.submit(self.batch, position))
                if len(ahead) > self.prefetch:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _positions(self, from_tokens: int, to_tokens: int) -> Iterator[int]:
        while from_tokens < to_tokens:
            yield from_tokens
            from_tokens += self.path.span_at(from_tokens).batch_tokens


def documents(tokens_RT1: npt.NDArray[np.int64], end_of_text: int) -> npt.NDArray[np.int64]:
    """Return, per input position [R, T], which document of its row it is in, counted from 0.

    An end of text still belongs to the document that it ends.
    """
    ends_RT = (tokens_RT1[:, :-1] == end_of_text).astype(np.int64)
    begun_RT: npt.NDArray[np.int64] = np.cumsum(ends_RT, axis=1) - ends_RT
    return begun_RT
