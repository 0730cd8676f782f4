"""Which domains are worth more pages: counted by the scores of pages that are there, and by seed lists.

corpus (url, score) ─► pages and good pages a domain ─┬─► domains.parquet (recalled or not, and why)
seed lists of URLs  ─► URLs a domain ─────────────────┘
"""

from __future__ import annotations

import functools
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ramify.curate import corpora
from ramify.curate.selection_steps import DomainRecall
from ramify.ground import files
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.extras import need
from ramify.ground.step import Input, Tell

DOMAINS = "domains.parquet"
DOMAIN = pa.schema(
    [
        ("domain", pa.string()),
        ("pages", pa.int64()),
        ("good", pa.int64()),  # of them, those that reach the score
        ("seeds", pa.list_(pa.string())),  # the lists that have enough of its URLs
        ("by_score", pa.bool_()),
        ("recalled", pa.bool_()),
    ]
)
COMPRESSION = {".gz": "gzip", ".zst": "zstd"}


@functools.cache
def _suffixes() -> Any:
    return need("publicsuffixlist", extra="curate").PublicSuffixList()


@functools.lru_cache(1 << 16)
def _registered(host: str) -> str | None:
    try:
        name = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return None
    found: str | None = _suffixes().privatesuffix(name)
    return found


def domain_of(url: str) -> str | None:
    """Return the domain of a URL as registered, in lower case; None if it has none (an address, too)."""
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname
    except ValueError:
        return None
    if not host or host.replace(".", "").isdigit() or ":" in host:
        return None
    return _registered(host.rstrip("."))


def urls_in(path: Path) -> Iterator[str]:
    """Yield the URLs of a file: of parquet its column `url`, else one a line."""
    if not path.is_file():
        raise NotFound(f"no list of URLs at {path}", hint="give a file that exists")
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            if "url" not in file.schema_arrow.names:
                raise BadInput(f"{path} has no column 'url'", hint="name the column of URLs url")
            for batch in file.iter_batches(columns=["url"]):
                yield from batch["url"].drop_null().to_pylist()
        return
    yield from lines_in(path)


def lines_in(path: Path) -> Iterator[str]:
    """Yield the lines of a text file that hold something; NotFound if it is not there."""
    if not path.is_file():
        raise NotFound(f"no list at {path}", hint="give a file that exists")
    kind = COMPRESSION.get(path.suffix)
    with pa.input_stream(str(path), compression=kind) as stream:
        for line in io.TextIOWrapper(stream, "utf-8", "replace"):
            if line.strip():
                yield line.strip()


def run_recall(
    step: DomainRecall, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Write every domain with its counts and whether it is recalled; return how many of each.

    Raises BadInput for a corpus without the columns url and the score.
    """
    pages: Counter[str] = Counter()
    good: Counter[str] = Counter()
    without = 0
    shards = corpora.shards(inputs["corpus"], step.part)
    for number, shard in enumerate(shards):
        without += _count(step, shard.path, pages, good)
        tell(number + 1, len(shards), "shards")
    seeds = {name: _seeded(step, path) for name, path in sorted(step.seeds.items())}
    told: list[dict[str, Any]] = []
    for domain in sorted({*pages, *(x for found in seeds.values() for x in found)}):
        lists = [name for name, found in seeds.items() if domain in found]
        by_score = _is_good(step, pages[domain], good[domain])
        told.append(
            {
                "domain": domain,
                "pages": pages[domain],
                "good": good[domain],
                "seeds": lists,
                "by_score": by_score,
                "recalled": by_score or bool(lists),
            }
        )
    with files.replacing(out / DOMAINS) as temporary:
        pq.write_table(pa.Table.from_pylist(told, schema=DOMAIN), temporary, compression="zstd")
    facts = {
        "pages": pages.total() + without,
        "without_domain": without,
        "domains": len(told),
        "by_score": sum(row["by_score"] for row in told),
        "by_seeds": {name: len(found) for name, found in seeds.items()},
        "recalled": sum(row["recalled"] for row in told),
    }
    files.write_json(out / "counts.json", facts)
    return facts


def _is_good(step: DomainRecall, pages: int, good: int) -> bool:
    if step.rule == "pages":
        return good >= step.least_pages
    return good > 0 and good >= step.least_share * pages


def _count(step: DomainRecall, path: Path, pages: Counter[str], good: Counter[str]) -> int:
    """Count a shard's pages by domain; return how many have none."""
    there = pq.read_schema(path).names
    missing = [name for name in ("url", step.score) if name not in there]
    if missing:
        raise BadInput(
            f"{path} has no column {missing[0]!r}",
            hint="read pages with their URLs and score them first",
        )
    table = pq.read_table(path, columns=["url", step.score])
    domains = [None if url is None else domain_of(url) for url in table["url"].to_pylist()]
    high = pc.fill_null(pc.greater_equal(table[step.score], step.least_score), False)
    pages.update(x for x in domains if x is not None)
    good.update(
        x for x, is_high in zip(domains, high.to_pylist(), strict=True) if is_high and x is not None
    )
    return domains.count(None)


def _seeded(step: DomainRecall, path: str) -> set[str]:
    """Return the domains of which a seed list has enough URLs."""
    found = Counter(domain_of(url) for url in urls_in(Path(path).expanduser()))
    return {x for x, count in found.items() if x is not None and count >= step.seed_urls}


def recalled(folder: Path) -> frozenset[str]:
    """Return the domains that a DomainRecall folder recalls."""
    table = pq.read_table(folder / DOMAINS, columns=["domain", "recalled"])
    return frozenset(table.filter(table["recalled"])["domain"].to_pylist())
