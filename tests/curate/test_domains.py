"""Domains are recalled by the scores of their pages and by seed lists, as the paper counts them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ramify.curate.domains import domain_of, recalled, run_recall, urls_in
from ramify.curate.selection_steps import DomainRecall
from ramify.ground.errors import BadInput, NotFound
from ramify.ground.step import Ref

from .corpora import Row, quiet, row, write_corpus


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.Math.example.co.uk:8080/a?b", "example.co.uk"),
        ("http://alice.github.io/", "alice.github.io"),
        ("blog.example.com/page", "example.com"),
        ("https://example.com.", "example.com"),
        ("https://bücher.example.de/", "example.de"),
        ("https://192.168.0.1/", None),
        ("http://[::1]/", None),
        ("https://co.uk/", None),
        ("", None),
        ("http://[bad", None),
    ],
)
def test_a_domain_is_what_can_be_registered(url: str, domain: str | None) -> None:
    assert domain_of(url) == domain


def pages(domain: str, high: int, low: int) -> list[Row]:
    scores = [2.0] * high + [1.9] * low
    return [
        row("text", f"{domain}/{n}", url=f"https://www.{domain}/{n}", score=score)
        for n, score in enumerate(scores)
    ]


CORPUS = [
    *pages("ten.org", 10, 200),
    *pages("nine.org", 9, 0),
    *pages("tenth.org", 1, 9),
    *pages("less.org", 1, 10),
    {**row("text", "none"), "url": None, "score": 3.0},
]


def run(base: Path, **fields: Any) -> Row:
    given = write_corpus(base / "in", {"documents/0": CORPUS[:50], "documents/1": CORPUS[50:]})
    (base / "out").mkdir()
    step = DomainRecall(name="t", corpus=Ref(name="c"), **fields)
    return run_recall(step, {"corpus": given}, base / "out", quiet)


@pytest.mark.parametrize(
    ("fields", "domains"),
    [
        ({}, {"ten.org"}),
        ({"least_pages": 9}, {"ten.org", "nine.org"}),
        ({"rule": "share"}, {"nine.org", "tenth.org"}),
        ({"rule": "share", "least_share": 0.04}, {"nine.org", "tenth.org", "less.org", "ten.org"}),
        ({"least_score": 1.9}, {"ten.org", "tenth.org", "less.org"}),
    ],
)
def test_domains_are_recalled_by_pages_or_by_their_share(
    fields: dict[str, Any], domains: set[str], tmp_path: Path
) -> None:
    facts = run(tmp_path, **fields)
    assert recalled(tmp_path / "out") == domains
    assert facts["recalled"] == len(domains)
    assert (facts["pages"], facts["without_domain"], facts["domains"]) == (len(CORPUS), 1, 4)


def test_domains_of_seed_lists_are_recalled_too(tmp_path: Path) -> None:
    lines = [f"https://seed.com/{n}" for n in range(10)] + ["https://few.com/", "", "nonsense"]
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    pq.write_table(
        pa.table({"url": [f"https://nine.org/{n}" for n in range(10)]}), tmp_path / "b.parquet"
    )
    seeds = {"a": str(tmp_path / "a.txt.gz"), "b": str(tmp_path / "b.parquet")}
    facts = run(tmp_path, seeds=seeds)
    assert recalled(tmp_path / "out") == {"ten.org", "seed.com", "nine.org"}
    assert facts["by_seeds"] == {"a": 1, "b": 1}
    told = {x["domain"]: x for x in pq.read_table(tmp_path / "out/domains.parquet").to_pylist()}
    assert told["nine.org"] == {
        "domain": "nine.org", "pages": 9, "good": 9, "seeds": ["b"], "by_score": False,
        "recalled": True,
    }  # fmt: skip


def test_what_has_no_scores_or_no_urls_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no column 'quality'"):
        run(tmp_path, score="quality")
    with pytest.raises(NotFound, match="no list of URLs"):
        list(urls_in(tmp_path / "none"))
    pq.write_table(pa.table({"link": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(BadInput, match="no column 'url'"):
        list(urls_in(tmp_path / "x.parquet"))
