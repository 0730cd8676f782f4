"""Removes near-duplicates from several corpora, then sets documents aside for evaluation.

corpora ─► catalogue (ids, origins) ─► signatures ─► clusters ─► fates ─┬─► label/documents
                                                                        ├─► label/held_out
                                                                        └─► dropped (why)
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate.ledger import Ledger
from ramify.curate.near import Clusters, buckets, shingles, signatures
from ramify.curate.read import COUNTS
from ramify.curate.readers import identity
from ramify.curate.steps import Dedup
from ramify.curate.tables import columns_there, conformed, shards_of, with_further, writing
from ramify.ground import files
from ramify.ground.errors import BadInput, Corrupt
from ramify.ground.seeds import derive
from ramify.ground.step import Input, Tell

SIGNATURES = "signatures"
LEADER = re.compile(r"of ([0-9a-f]{32})")  # in a reason
BATCH_ROWS = 4096
NOBODY = np.empty(0, np.int64)

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Shard:
    """One parquet file of an input corpus, and where its documents stand in the catalogue."""

    label: str
    path: Path
    name: str  # of every file made from it
    first: int
    documents: int


@dataclass(frozen=True)
class Catalogue:
    """Every document of every corpus, in file order: its rank, its corpus, and its hold-out key."""

    shards: list[Shard]
    ids: pa.ChunkedArray
    rank: I64  # 0 is the first that would be kept: by corpus, then by id
    place: I64  # the inverse: the document of a rank
    corpus: npt.NDArray[np.uint16]
    key: U64  # hash of the origin (or of the document), keyed by the seed


def run_dedup(step: Dedup, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make in `out` a folder a corpus, with documents and held_out, and beside them what was dropped.

    Goes on after the last shard that an earlier attempt finished. Raises BadInput for a corpus too
    small to hold documents out, Corrupt for one whose ids are not 32 hex digits, each once.
    """
    catalogue = read_catalogue(step, inputs)
    made_in = ["dropped/*.parquet", *(f"{label}/*/*.parquet" for label in step.priority)]
    ledger = Ledger(out, _plan(catalogue, inputs), made_in)
    if ledger.began_afresh:
        files.remove(out / SIGNATURES)
    if len(ledger.shards) < len(catalogue.shards):
        clusters = _clusters(step, catalogue, out, tell)
        dropped = clusters.dropped()
        held = hold_out(step, catalogue, dropped)
        for number, shard in enumerate(catalogue.shards):
            if number >= len(ledger.shards):
                _write_shard(shard, catalogue, dropped, held, out, ledger)
            tell(number + 1, len(catalogue.shards), "shards")
    return _finish(step, catalogue, ledger, out)


def _plan(catalogue: Catalogue, inputs: Mapping[str, Input]) -> dict[str, Any]:
    prints = {name: given.fingerprint for name, given in sorted(inputs.items())}
    sizes = [(x.label, x.path.name, x.path.stat().st_size) for x in catalogue.shards]
    return {"documents": len(catalogue.rank), "inputs": prints, "listing": identity(str(sizes))}


def read_catalogue(step: Dedup, inputs: Mapping[str, Input]) -> Catalogue:
    """Return the catalogue of all corpora in the order of their priority; texts are not read."""
    shards: list[Shard] = []
    ids: list[pa.ChunkedArray] = []
    keys: list[U64] = []
    seed = derive(step.seed, "held_out").to_bytes(8, "little")
    for label in step.priority:
        for path in shards_of(inputs[f"corpora.{label}"].path / "documents"):
            table = pq.read_table(path, columns=["id", "origin"])
            if not table.num_rows:
                continue
            first = sum(shard.documents for shard in shards)
            shards.append(Shard(label, path, f"{label}-{path.name}", first, table.num_rows))
            ids.append(table["id"])
            keys.append(_keys(table["origin" if step.held_out_by == "origin" else "id"], seed))
        if not any(shard.label == label for shard in shards):
            raise BadInput(
                f"corpus {label!r} holds no documents",
                hint="name a corpus that a Read step has made",
            )
    labels = [step.priority.index(shard.label) for shard in shards]
    corpus = np.repeat(np.array(labels, np.uint16), [shard.documents for shard in shards])
    every = pa.chunked_array([chunk for column in ids for chunk in column.chunks], pa.string())
    place = _order(every, corpus)
    rank = np.empty_like(place)
    rank[place] = np.arange(len(place))
    return Catalogue(shards, every, rank, place, corpus, np.concatenate(keys))


def _keys(column: pa.ChunkedArray, seed: bytes) -> U64:
    """Return the keyed hash of every value; equal values are hashed once."""
    encoded = column.combine_chunks().dictionary_encode()
    hashed = [
        int.from_bytes(hashlib.blake2b(x.encode(), digest_size=8, key=seed).digest(), "little")
        for x in encoded.dictionary.to_pylist()
    ]
    which: I64 = encoded.indices.to_numpy(zero_copy_only=False)
    return np.array(hashed, np.uint64)[which]


def _order(ids: pa.ChunkedArray, corpus: npt.NDArray[np.uint16]) -> I64:
    """Return the documents by corpus, then id: who is kept first."""
    halves = _numbers(ids)
    order = np.lexsort((halves[:, 1], halves[:, 0], corpus))
    same = (np.diff(halves[order], axis=0) == 0).all(axis=1) & (np.diff(corpus[order]) == 0)
    if same.any():
        twice = ids[int(order[int(np.argmax(same))])].as_py()
        raise Corrupt(
            f"two documents of a corpus have the id {twice}", hint="read the corpus again"
        )
    return order.astype(np.int64)


def _numbers(ids: pa.ChunkedArray) -> U64:
    """Return ids of 32 hex digits as two big-endian 64-bit numbers each."""
    if not pc.all(pc.match_substring_regex(ids, "^[0-9a-f]{32}$"), skip_nulls=False).as_py():
        raise Corrupt("the ids of a corpus are not 32 hex digits", hint="read the corpus again")
    raw = bytes.fromhex("".join(ids.to_pylist()))
    return np.frombuffer(raw, ">u8").reshape(-1, 2).astype(np.uint64)


def _clusters(step: Dedup, catalogue: Catalogue, out: Path, tell: Tell) -> Clusters:
    """Return the verified clusters; signatures are kept on disk until the step is done."""
    folder = out / SIGNATURES
    folder.mkdir(exist_ok=True)
    paths = []
    for number, shard in enumerate(catalogue.shards):
        path = folder / shard.name
        if not path.exists():
            _write_signatures(step, catalogue, shard, path)
        paths.append(path)
        tell(number + 1, len(catalogue.shards), "shards", "signatures")
    lists = [chunk for band in range(step.bands) for chunk in buckets(paths, band).chunks]
    wanted = np.unique(np.concatenate([NOBODY, *(chunk.flatten().to_numpy() for chunk in lists)]))
    clusters = Clusters(_sets(step, catalogue, wanted), step.jaccard)
    for chunk in lists:
        ranks, ends = chunk.flatten().to_numpy(), np.cumsum(chunk.value_lengths().to_numpy())
        for bucket in np.split(ranks, ends[:-1]):
            clusters.add(bucket)
    return clusters


def _write_signatures(step: Dedup, catalogue: Catalogue, shard: Shard, path: Path) -> None:
    ids = catalogue.ids.slice(shard.first, shard.documents).combine_chunks()
    ranks = catalogue.rank[shard.first : shard.first + shard.documents]
    names = [f"band_{band:03}" for band in range(step.bands)]
    schema = pa.schema([("rank", pa.int64()), *((name, pa.uint64()) for name in names)])
    found = 0
    with writing({path: schema}) as (table,):
        for some, hashes in signatures(shard.path, step.bands, step.rows, step.words, step.seed):
            where = pc.index_in(some.cast(pa.string()), value_set=ids).to_numpy(
                zero_copy_only=False
            )
            columns = [ranks[where], *(hashes[:, band] for band in range(step.bands))]
            table.write(pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema))
            found += len(where)
    assert found == shard.documents, "Daft returned another number of documents than the file holds"


def _sets(step: Dedup, catalogue: Catalogue, wanted: I64) -> dict[int, U64]:
    """Return the n-grams of the documents that share a bucket, by rank."""
    chosen = np.zeros(len(catalogue.rank), np.bool_)
    chosen[wanted] = True
    found = {}
    for shard in catalogue.shards:
        for rows, ranks in _batches(shard, catalogue, ["text"]):
            mask = chosen[ranks]
            for rank, text in zip(ranks[mask], rows.filter(pa.array(mask))["text"], strict=True):
                found[int(rank)] = shingles(text.as_py(), step.words)
    return found


def _batches(
    shard: Shard, catalogue: Catalogue, columns: list[str]
) -> Iterator[tuple[pa.Table, I64]]:
    """Yield a shard's rows and their ranks, some at a time."""
    first = shard.first
    for batch in pq.ParquetFile(shard.path).iter_batches(BATCH_ROWS, columns=columns):
        yield pa.Table.from_batches([batch]), catalogue.rank[first : first + batch.num_rows]
        first += batch.num_rows


def hold_out(
    step: Dedup, catalogue: Catalogue, dropped: Mapping[int, tuple[int, float]]
) -> npt.NDArray[np.bool_]:
    """Return, by rank, who is held out of training: the origins of the lowest keys in each corpus.

    An origin held out of one corpus is held out of all. Raises BadInput where a corpus is too small.
    """
    stays = np.ones(len(catalogue.rank), np.bool_)
    stays[list(dropped)] = False
    left = np.bincount(catalogue.corpus[catalogue.place][stays], minlength=len(step.priority))
    if not left.all():
        raise BadInput(
            f"nothing is left of corpus {step.priority[int(np.argmin(left))]!r}:"
            " all of it is near another corpus before it",
            hint="take it out, or put it first",
        )
    keys, corpus = catalogue.key[catalogue.place], catalogue.corpus[catalogue.place]
    if not step.held_out:
        return np.zeros_like(stays)
    chosen = [
        _lowest(step, label, keys[stays & (corpus == number)])
        for number, label in enumerate(step.priority)
    ]
    held = stays & np.isin(keys, np.concatenate(chosen))
    for number, label in enumerate(step.priority):
        here = corpus == number
        _require_half(step, label, int((held & here).sum()), int((stays & here).sum()))
    return np.asarray(held)


def _lowest(step: Dedup, label: str, keys: U64) -> U64:
    """Return the keys below the share asked for, and as many more as the least number needs."""
    values, counts = np.unique(keys, return_counts=True)
    below = int((values < np.uint64(int(step.held_out * 2**64))).sum())
    enough = int(np.searchsorted(np.cumsum(counts), min(step.held_out_least, len(keys)))) + 1
    return values[: max(below, enough)]


def _require_half(step: Dedup, label: str, held: int, stays: int) -> None:
    if held < step.held_out_least or 2 * held > stays:
        by = "documents" if step.held_out_by == "document" else "origin files"
        raise BadInput(
            f"corpus {label!r} is too small: of its {stays} documents, {held} would be held out"
            f" (whole {by}; at least {step.held_out_least}, at most half)",
            hint="give it more files, or set held_out_by='document' or held_out=0",
        )


def _write_shard(
    shard: Shard,
    catalogue: Catalogue,
    dropped: Mapping[int, tuple[int, float]],
    held: npt.NDArray[np.bool_],
    out: Path,
    ledger: Ledger,
) -> None:
    """Send every document of a shard to the one of three tables where it belongs."""
    document = with_further(shard.path)
    dropped_of = document.append(pa.field("reason", pa.string())).append(
        pa.field("corpus", pa.string())
    )
    paths = {
        out / shard.label / "documents" / shard.path.name: document,
        out / shard.label / "held_out" / shard.path.name: document,
        out / "dropped" / shard.name: dropped_of,
    }
    size: Counter[str] = Counter()
    gone = np.zeros(len(catalogue.rank), np.bool_)
    gone[list(dropped)] = True
    with writing(paths) as tables:
        for found, ranks in _batches(shard, catalogue, columns_there(shard.path)):
            rows = conformed(found, document)
            reasons = [_reason(catalogue, dropped[int(rank)]) for rank in ranks[gone[ranks]]]
            fates = (~gone[ranks] & ~held[ranks], held[ranks], gone[ranks])
            kept, aside, lost = (rows.filter(pa.array(fate)) for fate in fates)
            lost = lost.append_column("reason", pa.array(reasons, pa.string()))
            lost = lost.append_column("corpus", pa.array([shard.label] * len(reasons), pa.string()))
            for table, some, fate in zip(
                tables, (kept, aside, lost), ("kept", "held_out", "dropped"), strict=True
            ):
                table.write(some)
                size[fate] += pc.sum(pc.binary_length(some["text"])).as_py() or 0
    counts = dict(zip(("kept", "held_out", "dropped"), (t.rows for t in tables), strict=True))
    assert sum(counts.values()) == shard.documents, "a document was lost or doubled"
    ledger.add({"corpus": shard.label, "counts": counts, "bytes": dict(size)}, paths)


def _reason(catalogue: Catalogue, why: tuple[int, float]) -> str:
    leader, similarity = why
    id_ = catalogue.ids[int(catalogue.place[leader])].as_py()
    return f"near_duplicate: of {id_} (jaccard {similarity:.2f})"


def _finish(step: Dedup, catalogue: Catalogue, ledger: Ledger, out: Path) -> dict[str, Any]:
    corpora: dict[str, Any] = {}
    for label in step.priority:
        shards = [shard for shard in ledger.shards if shard["corpus"] == label]
        count: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for shard in shards:
            count.update(shard["counts"])
            size.update(shard["bytes"])
        corpora[label] = {"seen": count.total(), **count, "bytes": dict(size)}
    facts = {"corpora": corpora, **_sizes_of_clusters(out)}
    files.write_json(out / COUNTS, facts)
    files.remove(out / SIGNATURES)
    return facts


def _sizes_of_clusters(out: Path) -> dict[str, int]:
    """Return how many clusters there were, and how many documents the largest had."""
    led: Counter[str] = Counter()
    for path in shards_of(out / "dropped"):
        reasons = pq.read_table(path, columns=["reason"])["reason"].to_pylist()
        led.update(leader for reason in reasons for leader in LEADER.findall(reason))
    return {"clusters": len(led), "largest_cluster": 1 + max(led.values(), default=0)}
