"""A tokenized source on disk, read: its facts from source.json, its tokens from memory-mapped shards.

A shard is looked at when it is first read, so that opening 22,000 of them takes no time.
"""

from __future__ import annotations

import json
import mmap
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ramify.ground.errors import BadInput, Corrupt, Mismatch, NotFound

FORMAT = 1
Words = np.unsignedinteger[Any]
DTYPES: dict[str, np.dtype[Words]] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
OPEN_SHARDS = (
    64  # per source; a group of segments rarely spans more, and 12 sources stay below 1024 files
)

Tokens_N = npt.NDArray[Words]


class Source:
    """One tokenized source: how many tokens, in which segments, and the tokens themselves."""

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder = folder
        self.tokens = int(facts["tokens"])
        self.segment = int(facts["segment"])
        self.dtype = DTYPES[facts["dtype"]]
        self.vocab = int(facts["vocab"])
        self.end_of_text = int(facts["end_of_text"])
        self.tokenizer = str(facts["tokenizer"])
        self._files = [shard["file"] for shard in facts["shards"]]
        sizes = [int(shard["tokens"]) for shard in facts["shards"]]
        self._ends: list[int] = np.cumsum(np.array(sizes, dtype=np.int64)).tolist()
        self._maps: OrderedDict[int, Tokens_N] = OrderedDict()

    @classmethod
    def open(cls, folder: Path) -> Source:
        """Open the source in `folder`; no shard is touched yet.

        Raises NotFound without a source.json, Corrupt where it contradicts itself, BadInput where
        it holds fewer tokens than a segment and one.
        """
        file = folder / "source.json"
        if not file.is_file():
            raise NotFound(f"no source.json in {folder}", hint="name a folder that tokenize made")
        try:
            facts = json.loads(file.read_bytes())
            version = facts["format"]
        except (ValueError, TypeError, KeyError) as error:
            raise Corrupt(f"{file} is not what tokenize writes ({error!r})", hint=AGAIN) from error
        if version != FORMAT:
            raise BadInput(
                f"{file} is of format {version}, not {FORMAT}",
                hint="read it with the version of Ramify that made it, or tokenize again",
            )
        try:
            source = cls(folder, facts)
        except (ValueError, TypeError, KeyError) as error:
            raise Corrupt(f"{file} is not what tokenize writes ({error!r})", hint=AGAIN) from error
        source._check_facts(file)
        return source

    def _check_facts(self, file: Path) -> None:
        held = self._ends[-1] if self._ends else 0
        if held != self.tokens:
            raise Corrupt(f"{file} says {self.tokens} tokens, its shards hold {held}", hint=AGAIN)
        if self.vocab - 1 > np.iinfo(self.dtype).max:
            raise Corrupt(
                f"{file} says a vocabulary of {self.vocab} in {self.dtype.name}", hint=AGAIN
            )
        if self.segment < 1 or self.segments < 1:
            raise BadInput(
                f"{self.folder} has {self.tokens} tokens: no whole segment of {self.segment} and "
                "one token more",
                hint="tokenize more text, or with smaller segments",
            )

    @property
    def segments(self) -> int:
        """Segments that an epoch reads; the last sequence needs one token beyond them."""
        return (self.tokens - 1) // self.segment

    def read(self, start: int, count: int) -> Tokens_N:
        """Return tokens `start` to `start + count`, across shards if need be, as a copy.

        Raises Corrupt for a shard that is missing or of another size than source.json says, and for
        a token that is not in the vocabulary; BadInput for a stretch outside the source.
        """
        if start < 0 or count < 0 or start + count > self.tokens:
            raise BadInput(
                f"tokens {start} to {start + count} of {self.folder}, which has {self.tokens}",
                hint="ask for tokens that are there",
            )
        out = np.empty(count, dtype=self.dtype)
        which, filled = bisect_right(self._ends, start), 0
        while filled < count:
            begins = self._ends[which - 1] if which else 0
            part = self._shard(which)[start + filled - begins :][: count - filled]
            if part.size and int(part.max()) >= self.vocab:
                raise Corrupt(
                    f"shard {self.folder / self._files[which]} holds token {part.max()}, beyond "
                    f"the vocabulary of {self.vocab}",
                    hint=AGAIN,
                )
            out[filled : filled + part.size] = part
            filled, which = filled + part.size, which + 1
        return out

    def _shard(self, which: int) -> Tokens_N:
        if which in self._maps:
            self._maps.move_to_end(which)
            return self._maps[which]
        while len(self._maps) >= OPEN_SHARDS:
            self._maps.popitem(last=False)
        self._maps[which] = self._map(which)
        return self._maps[which]

    def _map(self, which: int) -> Tokens_N:
        file = self.folder / self._files[which]
        begins = self._ends[which - 1] if which else 0
        expected = (self._ends[which] - begins) * self.dtype.itemsize
        try:
            opened = os.open(file, os.O_RDONLY)
        except FileNotFoundError as error:
            raise Corrupt(f"shard {file} is missing", hint=AGAIN) from error
        try:
            size = os.fstat(opened).st_size
            if size != expected:
                raise Corrupt(f"shard {file} has {size} bytes, not {expected}", hint=AGAIN)
            if not size:
                return np.empty(0, dtype=self.dtype)
            mapped = mmap.mmap(opened, size, access=mmap.ACCESS_READ)
        finally:
            os.close(opened)
        return np.frombuffer(mapped, dtype=self.dtype)


AGAIN = "restore the file, or `ramify forget` the step and run it again"


def check_join(sources: Mapping[str, Source]) -> None:
    """Raise Mismatch unless all sources were made by one and the same tokenizer."""
    made: dict[str, list[str]] = {}
    for name, source in sources.items():
        made.setdefault(source.tokenizer, []).append(name)
    if len(made) > 1:
        groups = "; ".join(f"{sha[:12]} made {', '.join(names)}" for sha, names in made.items())
        raise Mismatch(
            f"the sources come from {len(made)} tokenizers: {groups}",
            hint="tokenize them with one tokenizer",
        )
