"""Removes near-duplicates from several corpora, then sets documents aside for evaluation.

corpora ─► catalogue (ids, origins) ─► signatures ─► clusters ─► fates ─┬─► label/documents
                                                                        ├─► label/held_out
                                                                        ├─► dropped (why)
                                                                        └─► index (if kept)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate.catalogue import INDEX, SIZE, Catalogue, Shard, batches, read_catalogue
from ramify.curate.ledger import Ledger
from ramify.curate.near import (
    Clusters,
    Fates,
    Sets,
    buckets,
    shingle_sets,
    signatures,
    write_buckets,
)
from ramify.curate.read import COUNTS
from ramify.curate.steps import Dedup
from ramify.curate.tables import columns_there, conformed, with_further, writing
from ramify.ground import files, stop
from ramify.ground.errors import BadInput, Mismatch
from ramify.ground.ids import digest
from ramify.ground.spread import Made, each
from ramify.ground.step import Input, Tell

SIGNATURES = "signatures"
BUCKETS = "buckets.arrow"
CLUSTERS = "clusters.json"
INDEX_FACTS = "index.json"

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Decided:
    """By rank: what leads it, whether it goes or is held out, and how many it stands for if kept."""

    fates: Fates
    gone: npt.NDArray[np.bool_]
    held: npt.NDArray[np.bool_]
    stands_for: I64


def run_dedup(step: Dedup, inputs: Mapping[str, Input], out: Path, tell: Tell) -> dict[str, Any]:
    """Make in `out` a folder a corpus, with documents and held_out, and beside them what was dropped.

    Goes on after the last shard that an earlier attempt finished. Raises BadInput for a corpus too
    small to hold documents out, Corrupt for one whose ids are not 32 hex digits, each once, Mismatch
    for an index that was made of other hashes.
    """
    _require_same_hashes(step, inputs)
    catalogue = read_catalogue(step, inputs)
    made_in = ["dropped/*.parquet", *(f"{label}/*/*.parquet" for label in step.priority)]
    ledger = Ledger(out, _plan(catalogue, inputs), [*made_in, f"{INDEX}/*/*.parquet"])
    if ledger.began_afresh:
        files.remove(out / SIGNATURES)
        files.remove(out / CLUSTERS)
    if len(ledger.shards) < len(catalogue.new):
        fates = _fates(step, catalogue, out, tell)
        gone = fates.dropped
        decided = Decided(fates, gone, hold_out(step, catalogue, gone), _sizes(catalogue, fates))
        for number, shard in enumerate(catalogue.new):
            if number >= len(ledger.shards):
                _write_shard(step, shard, catalogue, decided, out, ledger)
            tell(number + 1, len(catalogue.new), "shards")
    return _finish(step, ledger, out)


def _hashes_of(step: Dedup) -> dict[str, int]:
    return {"bands": step.bands, "rows": step.rows, "words": step.words, "seed": step.seed}


def _require_same_hashes(step: Dedup, inputs: Mapping[str, Input]) -> None:
    for number, ref in enumerate(step.against):
        path = inputs[f"against.{number}"].path / INDEX_FACTS
        if not path.is_file():
            raise BadInput(
                f"{ref.name} kept no index to go against", hint="give that step keep_index=True"
            )
        was = json.loads(path.read_bytes())
        if was != _hashes_of(step):
            raise Mismatch(
                f"the index of {ref.name} is of {was}, {step.name} asks for {_hashes_of(step)}",
                hint="give both the same bands, rows, words and seed",
            )


def _plan(catalogue: Catalogue, inputs: Mapping[str, Input]) -> dict[str, Any]:
    prints = {name: given.fingerprint for name, given in sorted(inputs.items())}
    sizes = [(x.label, x.path.name, x.path.stat().st_size) for x in catalogue.shards]
    return {"documents": len(catalogue.rank), "inputs": prints, "listing": digest(str(sizes))}


def _fates(step: Dedup, catalogue: Catalogue, out: Path, tell: Tell) -> Fates:
    """Return what becomes of every document; signatures are kept on disk until the step is done."""
    folder = out / SIGNATURES
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:05}.parquet" for number in range(len(catalogue.shards))]
    unsigned = [
        _Unsigned.of(catalogue, shard, path.name)
        for shard, path in zip(catalogue.shards, paths, strict=True)
        if not path.exists()
    ]
    for number, _ in enumerate(each(partial(_write_signatures, step), unsigned, out)):
        done = len(paths) - len(unsigned) + number + 1
        tell(done, len(paths), "shards", "signatures")
    write_buckets(paths, step.bands, folder / BUCKETS, tell)
    wanted = np.zeros(len(catalogue.rank), np.bool_)
    for ranks, _ in buckets(folder / BUCKETS):
        wanted[ranks] = True
    sets = _sets(step, catalogue, wanted, folder / "ngrams")
    clusters = Clusters(sets, sets.ranks, len(wanted), step.jaccard)
    for ranks, ends in buckets(folder / BUCKETS):
        for first, last in pairwise([0, *ends.tolist()]):
            clusters.add(ranks[first:last])
    fates = clusters.fates(step.largest)
    _write_clusters(catalogue, fates, out)
    return fates


@dataclass(frozen=True)
class _Unsigned:
    """What of the catalogue the signatures of one shard need, so that only this travels."""

    shard: Shard
    name: str  # of the file of signatures
    ids: pa.ChunkedArray
    ranks: I64
    scope: U64 | None

    @classmethod
    def of(cls, catalogue: Catalogue, shard: Shard, name: str) -> _Unsigned:
        scope = None if catalogue.scope is None else catalogue.scope[shard.stretch]
        ids = catalogue.ids.slice(shard.first, shard.documents)
        return cls(shard, name, ids, catalogue.rank[shard.stretch], scope)


def _write_signatures(step: Dedup, unsigned: _Unsigned, out: Path) -> Made:
    """Write rank and band hashes of a shard's documents, signed anew or from an earlier index."""
    shard, ranks, scope = unsigned.shard, unsigned.ranks, unsigned.scope
    ids = unsigned.ids.combine_chunks()
    path = out / SIGNATURES / unsigned.name
    names = [f"band_{band:03}" for band in range(step.bands)]
    schema = pa.schema([("rank", pa.int64()), *((name, pa.uint64()) for name in names)])
    signed = (
        signatures(shard.path, step.bands, step.rows, step.words, step.seed)
        if shard.index is None
        else _indexed(shard.index, names)
    )
    found = 0
    with writing({path: schema}) as (table,):
        for some, hashes in signed:
            stop.look()
            at = pc.index_in(some.cast(pa.string()), value_set=ids)
            here = pc.is_valid(at).to_numpy(zero_copy_only=False)  # an index is of two files
            where = at.drop_null().to_numpy(zero_copy_only=False)
            own = hashes[here] if scope is None else hashes[here] ^ scope[where][:, None]
            columns = [ranks[where], *(own[:, band] for band in range(step.bands))]
            table.write(pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema))
            found += len(where)
    assert found == shard.documents, "other documents were signed than the file holds"
    return {}, [path]


def _indexed(path: Path, names: list[str]) -> Any:
    """Yield (ids, band hashes) that an earlier deduplication kept."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield batch["id"], np.stack([batch[name].to_numpy() for name in names], axis=1)


def _sets(step: Dedup, catalogue: Catalogue, wanted: npt.NDArray[np.bool_], path: Path) -> Sets:
    """Return the n-grams of the documents that share a bucket, by rank."""
    sets = Sets(path, len(catalogue.rank))
    for shard in catalogue.shards:
        if not wanted[catalogue.rank[shard.stretch]].any():
            continue
        for rows, ranks in batches(shard, catalogue, ["text"]):
            mask = wanted[ranks]
            texts = rows.filter(pa.array(mask))["text"].combine_chunks()
            grams = shingle_sets(texts, step.words)
            for rank, own in zip(ranks[mask].tolist(), grams, strict=True):
                sets.add(rank, own)
    return sets.close()


def _write_clusters(catalogue: Catalogue, fates: Fates, out: Path) -> None:
    """Write how many clusters there were, which were the largest, and how many were broken up."""
    largest = [{"id": catalogue.id_of(lead), "documents": size} for lead, size in fates.largest]
    told = {
        "clusters": fates.clusters,
        "largest_cluster": largest[0]["documents"] if largest else 1,
        "largest": largest,
        "broken": fates.broken,
    }
    files.write_json(out / CLUSTERS, told)


def hold_out(
    step: Dedup, catalogue: Catalogue, dropped: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return, by rank, who is held out of training: the origins of the lowest keys in each corpus.

    An origin held out of one corpus, or earlier, is held out of all. Raises BadInput where a corpus is
    too small.
    """
    keys, corpus = catalogue.key[catalogue.place], catalogue.corpus[catalogue.place]
    stays = ~dropped & (corpus < len(step.priority))
    left = np.bincount(corpus[stays], minlength=len(step.priority))
    if not left.all():
        raise BadInput(
            f"nothing is left of corpus {step.priority[int(np.argmin(left))]!r}:"
            " all of it is near another corpus before it",
            hint="take it out, or put it first",
        )
    chosen = [catalogue.key[shard.stretch] for shard in catalogue.shards if shard.was_held_out]
    if step.held_out:
        chosen += [
            _lowest(step, label, keys[stays & (corpus == number)])
            for number, label in enumerate(step.priority)
        ]
    if not chosen:
        return np.zeros_like(stays)
    held = stays & np.isin(keys, np.concatenate(chosen))
    for number, label in enumerate(step.priority if step.held_out else ()):
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
    step: Dedup,
    shard: Shard,
    catalogue: Catalogue,
    decided: Decided,
    out: Path,
    ledger: Ledger,
) -> None:
    """Send every document of a shard to the one of three tables where it belongs."""
    given = with_further(shard.path)
    kept_of = _without(given, SIZE).append(pa.field(SIZE, pa.int64()))
    dropped_of = given.append(pa.field("reason", pa.string())).append(
        pa.field("corpus", pa.string())
    )
    paths = {
        out / shard.label / "documents" / shard.file: kept_of,
        out / shard.label / "held_out" / shard.file: kept_of,
        out / "dropped" / shard.name: dropped_of,
    }
    size: Counter[str] = Counter()
    gone, held = decided.gone, decided.held
    with writing(paths) as tables:
        for found, ranks in batches(shard, catalogue, columns_there(shard.path)):
            rows = conformed(found, given)
            reasons = [_reason(catalogue, decided.fates, int(rank)) for rank in ranks[gone[ranks]]]
            lost = rows.filter(pa.array(gone[ranks]))
            lost = lost.append_column("reason", pa.array(reasons, pa.string()))
            lost = lost.append_column("corpus", pa.array([shard.label] * len(reasons), pa.string()))
            rows = conformed(rows, _without(given, SIZE)).append_column(
                SIZE, pa.array(decided.stands_for[ranks])
            )
            fates_of = (~gone[ranks] & ~held[ranks], held[ranks])
            kept, aside = (rows.filter(pa.array(fate)) for fate in fates_of)
            for table, some, fate in zip(
                tables, (kept, aside, lost), ("kept", "held_out", "dropped"), strict=True
            ):
                table.write(some)
                size[fate] += pc.sum(pc.binary_length(some["text"])).as_py() or 0
    counts = dict(zip(("kept", "held_out", "dropped"), (t.rows for t in tables), strict=True))
    assert sum(counts.values()) == shard.documents, "a document was lost or doubled"
    made = [*paths, *([_write_index(step, shard, catalogue, gone, out)] if step.keep_index else [])]
    ledger.add({"corpus": shard.label, "counts": counts, "bytes": dict(size)}, made)


def _without(schema: pa.Schema, name: str) -> pa.Schema:
    return pa.schema([field for field in schema if field.name != name])


def _sizes(catalogue: Catalogue, fates: Fates) -> I64:
    """Return, by rank, how many documents each that is kept stands for, itself among them."""
    if catalogue.weight is None:
        return np.bincount(fates.leader, minlength=len(fates.leader))
    own = catalogue.weight[catalogue.place]
    return np.bincount(fates.leader, own, len(fates.leader)).astype(np.int64)


def _reason(catalogue: Catalogue, fates: Fates, rank: int) -> str:
    leader = catalogue.id_of(int(fates.leader[rank]))
    return f"near_duplicate: of {leader} (jaccard {fates.similarity[rank]:.2f})"


def _write_index(
    step: Dedup, shard: Shard, catalogue: Catalogue, gone: npt.NDArray[np.bool_], out: Path
) -> Path:
    """Write id and band hashes of a shard's kept documents, for a later deduplication against them."""
    path = out / INDEX / shard.label / shard.file
    names = [f"band_{band:03}" for band in range(step.bands)]
    schema = pa.schema([("id", pa.string()), *((name, pa.uint64()) for name in names)])
    number = catalogue.shards.index(shard)
    with (
        writing({path: schema}) as (table,),
        pq.ParquetFile(out / SIGNATURES / f"{number:05}.parquet") as file,
    ):
        for batch in file.iter_batches():
            ranks = batch["rank"].to_numpy()
            stays = ~gone[ranks]
            places = catalogue.place[ranks[stays]]
            hashes = [batch[name].to_numpy()[stays] for name in names]
            if catalogue.scope is not None:
                hashes = [each ^ catalogue.scope[places] for each in hashes]
            ids = catalogue.ids.take(pa.array(places)).combine_chunks()
            table.write(pa.table([ids, *map(pa.array, hashes)], schema=schema))
    return path


def _finish(step: Dedup, ledger: Ledger, out: Path) -> dict[str, Any]:
    corpora: dict[str, Any] = {}
    for label in step.priority:
        shards = [shard for shard in ledger.shards if shard["corpus"] == label]
        count: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for shard in shards:
            count.update(shard["counts"])
            size.update(shard["bytes"])
        corpora[label] = {"seen": count.total(), **count, "bytes": dict(size)}
    facts = {"corpora": corpora, **json.loads((out / CLUSTERS).read_bytes())}
    files.write_json(out / COUNTS, facts)
    if step.keep_index:
        files.write_json(out / INDEX_FACTS, _hashes_of(step))
    files.remove(out / SIGNATURES)
    return facts
