"""Tokens from elsewhere: streams of ids cut into documents, and packed in the order of their keys.

files ── cut after ends of text ── spool/NNNNN.arrow ── merge by key ── shards/NNNNN.bin + .docs.parquet
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import decoders

from ramify.ground import files
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.ids import digest
from ramify.ground.step import Input, Tell
from ramify.tokens import attempt, corpus, encode, pack, provenance
from ramify.tokens.shards import DTYPES
from ramify.tokens.steps import BroughtTokens
from ramify.tokens.tokenizer import Codec

STREAMS = frozenset({".bin", ".ds", ".npy"})
STRETCH_TOKENS = 2**24  # of a file cut at a time; its documents are held in memory, twice
DECODED_TOKENS = 2**18  # turned to text at a time
LOOKED_AT = 1024  # numbers that tell whether a file's are of twice the size

Ids = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Stretch:
    """Ids of a file from a place on, cut after an end of text or where the file ends."""

    file: str
    start: int
    ids: Ids
    whole: bool  # the file holds no more than this


@dataclass(frozen=True)
class Cut:
    """A stretch as documents: the ids with each one's end, its place in the file, and what was not one."""

    ids: npt.NDArray[Any]
    begins: npt.NDArray[np.int64]  # of each document in `ids`
    ends: npt.NDArray[np.int64]  # of each document in `ids`, past its end of text
    starts: npt.NDArray[np.int64]  # of each document in its file
    empty: int
    unended: bool


class Bringer:
    """How streams become documents: their files, by which tokenizer, with what said of them."""

    def __init__(self, step: BroughtTokens, codec: Codec) -> None:
        self.step, self.codec = step, codec
        self.dtype = encode.narrowest(codec.vocab, None)
        self.end = codec.end_of_text if step.end_of_text is None else step.end_of_text
        self.files = _files(Path(step.path).expanduser())
        self._sizes = _byte_lengths(codec)

    @property
    def listing(self) -> list[list[Any]]:
        """What an earlier attempt must have found too: names, bytes and dates."""
        found = [(name, path.stat()) for name, path in self.files]
        return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in found]

    def stretches(self) -> Iterator[Stretch]:
        """Yield all files, a stretch at a time; which ones is settled by the files alone."""
        for name, path in self.files:
            ids = self._opened(name, path)
            start = 0
            while start < ids.size:
                stop = _stop(ids, start, self.end)
                whole = start == 0 and stop == ids.size
                yield Stretch(name, start, ids[start:stop], whole)
                start = stop

    def tokens(self) -> int:
        """Return the tokens of all files, ends of text included; BadInput for one that is no stream."""
        return sum(self._opened(name, path).size for name, path in self.files)

    def _opened(self, name: str, path: Path) -> Ids:
        """Return a file's ids, mapped; BadInput where it holds none or is of another form."""
        if path.suffix.lower() == ".npy":
            ids = _opened_npy(name, path)
        else:
            dtype = DTYPES[self.step.dtype] if self.step.dtype else self.dtype
            ids = _opened_bare(name, path, dtype, self.step.header_bytes)
        if not ids.size:
            raise BadInput(f"{name} holds no token", hint="remove it, or look at header_bytes")
        return ids

    def cut(self, stretch: Stretch) -> Cut:
        """Return the documents of a stretch, empty ones left out.

        Raises BadInput for a file without an end of text and for ids beyond the vocabulary.
        """
        is_end = stretch.ids == self.end
        ends = np.flatnonzero(is_end) + 1
        if not ends.size and stretch.whole:
            raise BadInput(
                f"{stretch.file} has no end of text (id {self.end}) in {stretch.ids.size} tokens",
                hint="give end_of_text=, the id that its documents end with, or look at dtype",
            )
        self._check_ids(stretch, is_end)
        ids = stretch.ids.astype(self.dtype)
        ids[is_end] = self.codec.end_of_text
        unended = bool(not is_end[-1])
        if unended:
            ids = np.append(ids, self.dtype.type(self.codec.end_of_text))
            ends = np.append(ends, ids.size)
        begins = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        full = ends - begins > 1
        empty = int((~full).sum())
        begins = begins[full]
        return Cut(ids, begins, ends[full], begins + stretch.start, empty, unended)

    def _check_ids(self, stretch: Stretch, is_end: npt.NDArray[np.bool_]) -> None:
        strange = (stretch.ids >= self.codec.vocab) | (stretch.ids < 0)
        strange &= ~is_end
        if strange.any():
            at = int(np.argmax(strange))
            raise BadInput(
                f"{stretch.file} holds id {stretch.ids[at]} at token {stretch.start + at}, beyond "
                f"the tokenizer's vocabulary of {self.codec.vocab}",
                hint="name the tokenizer that made it, or look at dtype and header_bytes",
            )

    def table(self, stretch: Stretch, cut: Cut) -> pa.Table:
        """Return the rows of a stretch's documents with their keys, as a spool file has them."""
        starts = cut.starts.tolist()
        names = [digest(stretch.file, start) for start in starts]
        keys = corpus.order_keys(names, self.step.seed)
        count = len(names)
        said = {"url": None, "license": self.step.license, "source": self.step.source}
        return pa.table(
            {
                "high": keys[:, 0],
                "low": keys[:, 1],
                "id": pa.array(names, pa.string()),
                "origin": pa.array([stretch.file] * count, pa.string()),
                "part": pa.array(starts, pa.int64()),
                "tokens": cut.ends - cut.begins - 1,
                "bytes": self._bytes(cut),
                **{
                    name: pa.array([said[name]] * count, pa.large_string())
                    for name in provenance.COLUMNS
                },
            }
        )

    def _bytes(self, cut: Cut) -> npt.NDArray[np.int64]:
        """Return the bytes of each document's text."""
        if self._sizes is None:
            return np.array([len(text.encode()) for text in self.texts(cut)], np.int64)
        summed = np.concatenate([[0], np.cumsum(self._sizes[cut.ids])])
        sizes: npt.NDArray[np.int64] = summed[cut.ends - 1] - summed[cut.begins]
        return sizes

    def texts(self, cut: Cut) -> Iterator[str]:
        """Yield the text of each document."""
        several: list[list[int]] = []
        held = 0
        for begin, end in zip(cut.begins.tolist(), cut.ends.tolist(), strict=True):
            several.append(cut.ids[begin : end - 1].tolist())
            held += end - begin
            if held > DECODED_TOKENS:
                yield from self.codec.hf.decode_batch(several, skip_special_tokens=False)
                several, held = [], 0
        yield from self.codec.hf.decode_batch(several, skip_special_tokens=False)

    def is_held_out(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """Return which documents go to evaluation: by the half of the key that orders last."""
        low: npt.NDArray[np.uint64] = table.column("low").to_numpy()
        chosen: npt.NDArray[np.bool_] = low < np.uint64(int(self.step.held_out * 2**64))
        return chosen


def run_brought_tokens(
    step: BroughtTokens, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Cut and pack streams of ids into shared format 2; go on where an earlier attempt was killed.

    Raises NotFound where nothing is there, BadInput for what is no stream of this tokenizer's ids.
    """
    codec = Codec.open(inputs["tokenizer"].path)
    bringer = Bringer(step, codec)
    made_of = {
        "inputs": attempt.of_inputs(inputs),
        "listing": bringer.listing,
        "shard_tokens": step.shard_tokens,
        "index": list(pack.INDEX),
    }
    finished = attempt.finished(out, made_of)
    if finished:
        return attempt.told(finished)
    attempt.begin(out, made_of)
    paths, counts = _spool(bringer, out, tell)
    if not paths:
        raise BadInput(f"{step.path} holds no document that is not held out", hint="lower held_out")
    spooled = pack.Spooled(paths)
    segment = step.segment or pack.choose_segment(spooled.tokens, step.max_context)
    attempt.check_enough(spooled, segment, Path(step.path))
    shards = pack.write_shards(spooled, out, max(1, step.shard_tokens // segment) * segment, tell)
    held_out = pack.write_held_out(_held_out(bringer), out / "held_out.parquet")
    return attempt.finish(
        out,
        spooled,
        shards,
        codec,
        dtype=bringer.dtype.name,
        segment=segment,
        order=pack.told_order(step.seed),
        encoder={"name": "brought", "why": "the ids were there"},
        held_out=held_out,
        brought={**counts, "files": _hashed(bringer.files)},
        made_of=made_of,
    )


def _spool(bringer: Bringer, out: Path, tell: Tell) -> tuple[list[Path], dict[str, int]]:
    """Write a spool file for each stretch, those of an earlier attempt left; count what was in them."""
    paths, total = [], bringer.tokens()
    counts = {"read": 0, "empty": 0, "unended": 0}
    for number, stretch in enumerate(bringer.stretches()):
        cut = bringer.cut(stretch)
        counts["read"] += stretch.ids.size
        counts["empty"] += cut.empty
        counts["unended"] += cut.unended
        path = pack.spool_path(out, number)
        if path.is_file() or _spool_one(bringer, stretch, cut, path):
            paths.append(path)
        tell(counts["read"], total, "tokens", f"cutting {stretch.file}")
    return paths, counts


def _spool_one(bringer: Bringer, stretch: Stretch, cut: Cut, path: Path) -> bool:
    """Write the documents of a stretch that are not held out; say whether there are any."""
    table = bringer.table(stretch, cut)
    kept = np.flatnonzero(~bringer.is_held_out(table))
    if kept.size:
        ids = [cut.ids[cut.begins[at] : cut.ends[at]] for at in kept.tolist()]
        pack.write_spool(table.take(pa.array(kept)), ids, path)
    return bool(kept.size)


def _held_out(bringer: Bringer) -> Iterator[pa.Table]:
    """Yield the documents held out, with text and tokens, in the order of the files."""
    if not bringer.step.held_out:
        return
    for stretch in bringer.stretches():
        cut = bringer.cut(stretch)
        table = bringer.table(stretch, cut)
        chosen = np.flatnonzero(bringer.is_held_out(table))
        if not chosen.size:
            continue
        own = Cut(cut.ids, cut.begins[chosen], cut.ends[chosen], cut.starts[chosen], 0, False)
        tokens = [cut.ids[cut.begins[at] : cut.ends[at] - 1] for at in chosen.tolist()]
        table = table.take(pa.array(chosen)).append_column(
            "text", pa.array(list(bringer.texts(own)))
        )
        rows = table.drop_columns("tokens").append_column(
            "tokens", pa.array(tokens, pa.list_(pa.uint32()))
        )
        yield rows.select(pack.HELD_OUT.names).cast(pack.HELD_OUT)


def _hashed(found: Sequence[tuple[str, Path]]) -> list[dict[str, Any]]:
    return [
        {"path": name, "bytes": path.stat().st_size, "sha256": files.sha256(path)}
        for name, path in found
    ]


def _files(root: Path) -> list[tuple[str, Path]]:
    """Return every stream below a path by name, hidden ones left out, sorted."""
    if root.is_file():
        return [(root.name, root)]
    if not root.is_dir():
        raise NotFound(f"{root} is not there", hint="give the path of a file or folder of tokens")
    named = [(path.relative_to(root), path) for path in root.rglob("*") if path.is_file()]
    found = [
        (name.as_posix(), path)
        for name, path in named
        if path.suffix.lower() in STREAMS and not any(x.startswith(".") for x in name.parts)
    ]
    if not found:
        raise BadInput(f"{root} holds no tokens", hint="give a folder with .bin, .ds or .npy files")
    return sorted(found)


def _opened_npy(name: str, path: Path) -> Ids:
    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        said = " ".join(str(error).split())[:100]
        raise BadInput(f"{name} is no .npy of numbers: {said}", hint="write it anew") from error
    if ids.ndim != 1 or ids.dtype.kind not in "ui" or ids.dtype.itemsize < 2:
        raise BadInput(
            f"{name} holds {ids.dtype} in {ids.ndim} dimensions, not a stream of ids",
            hint="write one dimension of uint16 or uint32",
        )
    stream: Ids = ids
    return stream


def _opened_bare(name: str, path: Path, dtype: np.dtype[Any], header: int) -> Ids:
    size = path.stat().st_size - header
    if size <= 0:
        return np.empty(0, dtype)
    if size % dtype.itemsize:
        raise BadInput(
            f"{name} has {size} bytes after its header of {header}, no whole number of {dtype.name}",
            hint="look at dtype and header_bytes",
        )
    ids: Ids = np.memmap(path, dtype, mode="r", offset=header)
    high = ids[1:LOOKED_AT:2]
    if dtype.itemsize == 2 and high.size >= 8 and not high.any():
        raise BadInput(
            f"every second number of {name} is 0, read as uint16", hint="write dtype='uint32'"
        )
    return ids


def _stop(ids: Ids, start: int, end: int) -> int:
    """Return where a stretch from `start` on stops: after an end of text, or with the file."""
    span = STRETCH_TOKENS
    while start + span < ids.size:
        ends = np.flatnonzero(ids[start : start + span] == end)
        if ends.size:
            return start + int(ends[-1]) + 1
        span *= 2
    return int(ids.size)


def _byte_lengths(codec: Codec) -> npt.NDArray[np.int64] | None:
    """Return the bytes of each id's text where a byte-level vocabulary tells; None elsewhere."""
    if not isinstance(codec.hf.decoder, decoders.ByteLevel):
        return None
    added = codec.hf.get_added_tokens_decoder()
    sizes = np.zeros(codec.vocab, np.int64)
    for token, id_ in codec.hf.get_vocab(with_added_tokens=True).items():
        sizes[id_] = len(token.encode()) if id_ in added else len(token)  # a character is a byte
    return sizes
