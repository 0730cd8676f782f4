"""Fetches pages out of web archives: looked up in an index, read by range, written as archives.

index ─► wanted places ─► shards of places ─► range reads, tried again ─┬─► warc/00000.warc.gz
                                                                        ├─► pages/00000.parquet
                                                                        └─► failed/00000.parquet (why)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ramify.curate.domains import domain_of, recalled, urls_in
from ramify.curate.ledger import Ledger
from ramify.curate.page_index import (
    Entry,
    Place,
    Unfetched,
    entries,
    failures,
    index_files,
    read_range,
    wanted,
)
from ramify.curate.selection_steps import Fetch
from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.extras import check_scheme
from ramify.ground.ids import digest
from ramify.ground.step import Input, Tell
from ramify.ground.units import in_runs

SHARD_BYTES = 128 << 20  # of records, as the index tells
PLACES = "places.parquet"
PLACE = pa.schema(
    [("file", pa.string()), ("offset", pa.int64()), ("length", pa.int64()), ("url", pa.string())]
)
FAILED = PLACE.append(pa.field("reason", pa.string()))
FIRST_WAIT_SECONDS = 0.5  # before a second try; each later one waits twice as long

Sleep = Callable[[float], None]


def run_fetch(
    step: Fetch, inputs: Mapping[str, Input], out: Path, tell: Tell, sleep: Sleep = time.sleep
) -> dict[str, Any]:
    """Fetch every page that is wanted and that the index has; go on after the last finished shard.

    Raises NotFound without an index, BadInput where it has none of the pages, MissingExtra where what
    reads the index or the archives is not installed.
    """
    check_scheme(step.base)  # before an index is read, which may take hours
    places, counts = _places(step, inputs, out, tell)
    shards = in_runs(places, lambda place: place.length, SHARD_BYTES)
    plan = {"places": len(places), "listing": digest(*(x.file + str(x.offset) for x in places))}
    ledger = Ledger(out, plan, ["warc/*.warc.gz", "pages/*.parquet", "failed/*.parquet"])
    for number, shard in enumerate(shards):
        if number >= len(ledger.shards):
            _write_shard(step, number, shard, out, ledger, sleep)
        tell(number + 1, len(shards), "shards", "fetching")
    files.remove(out / PLACES)
    return _finish(ledger, counts, out)


def _places(
    step: Fetch, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> tuple[list[Place], dict[str, int]]:
    """Return the places of all pages wanted, in the order of the archives, and what the index held.

    A URL that the index has several times is fetched where it comes first. An earlier attempt's are
    taken as they were, so that an index that grows meanwhile changes nothing.
    """
    path = out / PLACES
    if path.is_file():
        table = pq.read_table(path)
        counts = {k.decode(): int(v) for k, v in table.schema.metadata.items()}
        return [Place(**row) for row in table.to_pylist()], counts
    is_asked = _asked(step, inputs)
    counts = dict.fromkeys(("index_rows", "malformed", "not_asked", "not_pages", "again"), 0)
    first: dict[str, Place] = {}
    found = [each for where in step.index for each in index_files(where)]
    for number, (system, name) in enumerate(found):
        for entry in entries(system, name):
            counts["index_rows"] += 1
            why = _refused(step, entry, is_asked)
            if why is not None:
                counts[why] += 1
            elif isinstance(entry, Entry):
                counts["again"] += entry.place.url in first
                known = first.get(entry.place.url, entry.place)
                first[entry.place.url] = min(known, entry.place)
        tell(number + 1, len(found), "files", "looking up")
    if not first:
        raise BadInput(
            f"the index has none of the pages that {step.name} asks for",
            hint=f"of its {counts['index_rows']} rows, {counts['not_asked']} are of other pages",
        )
    places = sorted(first.values())
    metadata = {key: str(value) for key, value in counts.items()}
    table = pa.Table.from_pylist([asdict(x) for x in places], PLACE.with_metadata(metadata))
    with files.replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return places, counts


def _asked(step: Fetch, inputs: Mapping[str, Input]) -> Callable[[str], bool]:
    if step.domains is not None:
        domains = recalled(inputs["domains"].path)
        return lambda url: domain_of(url) in domains
    assert step.urls is not None
    urls = frozenset(urls_in(Path(step.urls).expanduser()))
    return lambda url: url in urls


def _refused(step: Fetch, entry: Entry | str, is_asked: Callable[[str], bool]) -> str | None:
    if isinstance(entry, str):
        return "malformed"
    if not is_asked(entry.place.url):
        return "not_asked"
    return None if wanted(entry, step.media) else "not_pages"


def _write_shard(
    step: Fetch, number: int, places: Sequence[Place], out: Path, ledger: Ledger, sleep: Sleep
) -> None:
    """Fetch a shard's records, several at a time, and write them in the order of their places."""
    names = {"warc": "warc.gz", "pages": "parquet", "failed": "parquet"}
    paths = {kind: out / kind / f"{number:05}.{suffix}" for kind, suffix in names.items()}
    for path in paths.values():
        path.parent.mkdir(exist_ok=True)
    fetched, failed, size, again = [], [], 0, 0
    with (
        files.replacing(paths["warc"]) as temporary,
        temporary.open("wb") as archive,
        ThreadPoolExecutor(step.at_once) as pool,
    ):
        for place, (data, tries) in zip(
            places, pool.map(lambda each: _record(step, each, sleep), places), strict=True
        ):
            again += tries - 1
            if isinstance(data, bytes):
                archive.write(data)
                size += len(data)
                fetched.append(asdict(place))
            else:
                failed.append({**asdict(place), "reason": data})
    for kind, rows, schema in (("pages", fetched, PLACE), ("failed", failed, FAILED)):
        with files.replacing(paths[kind]) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, schema), temporary, compression="zstd")
    reasons = Counter(row["reason"].split(":", 1)[0] for row in failed)
    counts = {"fetched": len(fetched), "failed": dict(reasons), "bytes": size, "tried_again": again}
    ledger.add(counts, paths.values())


def _record(step: Fetch, place: Place, sleep: Sleep) -> tuple[bytes | str, int]:
    """Return a record, or why it could not be had, and how often it was tried."""
    if place.length > step.most_record_bytes:
        return f"too_long: {place.length} bytes", 1
    said = ""
    for number in range(step.tries):
        if number:
            sleep(FIRST_WAIT_SECONDS * 2 ** (number - 1))
        try:
            return read_range(step.base, place, step.timeout_seconds), number + 1
        except (Unfetched, FileNotFoundError) as error:  # it will be the same another time
            kind = "missing" if isinstance(error, FileNotFoundError) else "not_a_record"
            return f"{kind}: {_short(error)}", number + 1
        except failures() as error:
            said = _short(error)
    return f"unreachable: {said}", step.tries


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:200]


def _finish(ledger: Ledger, counts: Mapping[str, int], out: Path) -> dict[str, Any]:
    failed: Counter[str] = Counter()
    for shard in ledger.shards:
        failed.update(shard["failed"])
    facts = {
        **counts,
        "fetched": sum(shard["fetched"] for shard in ledger.shards),
        "failed": dict(sorted(failed.items())),
        "bytes": sum(shard["bytes"] for shard in ledger.shards),
        "tried_again": sum(shard["tried_again"] for shard in ledger.shards),
    }
    files.write_json(out / "counts.json", facts)
    return facts
