"""FineMath runs from pages to tokens, with a real server that labels, and is planned without anything there."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.runs.tiny import make

from ramify.curate.quality_steps import Select
from ramify.curate.steps import Dedup, Read
from ramify.ground.errors import BadInput
from ramify.recipes.finemath import recipe
from ramify.report.funnel import funnel
from ramify.report.samples import write_beside, write_samples
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.recipe import load

ITEM = "a farmer sells nine baskets of plums at the market and keeps two thirds of what he earns"
STEPS = (
    "nothing much happens in this town apart from the weather and the news of the day",
    "the number of houses is larger than the number of shops because people live there",
    "we add both sides because equal things stay equal when the same number is added",
    "then we divide by the factor because it is not zero and so the root is found",
    "finally the proof is complete because every case of the triangle has been looked at",
)


def page(n: int, level: int) -> str:
    """Return the markup of a page that a judge gives `level` points."""
    words = [
        f"Sentence {n} {k}: {STEPS[k]}, and the result of line {n * k} is $x_{k}={n}$."
        for k in range(level + 1)
    ]
    body = "".join(
        f"<p>{word} This is written in plain English for the reader.</p>" for word in words
    )
    more = f"<p>{ITEM}.</p>" if n == 4 else "<p>We write &lt;script&gt; into it.</p>"
    return f"<html><body><main><h1>Page {n}</h1>{body}{more}</main></body></html>"


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    """Return a crawl of two domains: one that teaches, and one that does not."""
    rows = [
        {"url": f"https://{'good' if level else 'bad'}-{n % 6}.org/{n}", "html": page(n, level)}
        for n in range(60)
        for level in [n % 5]
    ]
    (tmp_path / "crawl").mkdir()
    (tmp_path / "crawl" / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    items = {"id": "plums", "task": "farm", "text": ITEM, "answer": "6"}
    (tmp_path / "items.jsonl").write_text(json.dumps(items))
    return tmp_path / "crawl"


def test_pages_become_two_corpora_of_tokens(crawl: Path, llm: Any, tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    wanted = recipe(
        pages=str(crawl), server=llm.url, model="rule", sample=60, least_pages=4,
        items=(str(tmp_path / "items.jsonl"),), vocab=300, max_context=64,
    )  # fmt: skip
    make(wanted, lab, *(step.name for step in wanted.steps))
    urls = pq.read_table(lab.at("pages/recalled") / "documents")["url"].to_pylist()
    assert urls
    assert not any("bad-" in url for url in urls)
    scored = pq.read_table(lab.at("teaching/scored") / "documents").to_pylist()
    assert "$" in scored[0]["text"]
    three = told(lab, "math/3plus")
    assert three["dropped"] == {"contaminated": 1}
    assert three["seen"] > told(lab, "math/4plus")["kept"] > 0
    assert told(lab, "finemath-3plus")["tokens"] > told(lab, "finemath-4plus")["tokens"] > 0
    steps = funnel(lab, "finemath-3plus")
    assert [step.name for step in steps][-4:] == [
        "math/deduplicated",
        "math/english",
        "math/3plus",
        "finemath-3plus",
    ]
    assert all(step.seen == step.kept + sum(step.dropped.values()) for step in steps)
    dropped = dict(steps[-4].dropped)
    assert dropped == {"near_duplicate": dropped["near_duplicate"]}
    assert steps[-1].tokens == told(lab, "finemath-3plus")["tokens"]
    names = [step.name for step in wanted.steps]
    pages = write_beside(lab, names)
    assert [page.name for page in pages] == [f"finemath-{n}plus.samples.html" for n in (3, 4)]
    before = [page.stat().st_mtime_ns for page in pages]
    assert [page.stat().st_mtime_ns for page in write_beside(lab, names)] == before
    page = write_samples(lab, "finemath-3plus", tmp_path / "samples.html").read_text()
    assert "contaminated: farm plums" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def write_archive(crawl: Path) -> str:
    """Write the crawl's pages as a web archive beside it, and an index of that; return the index."""
    data, lines = b"", []
    for row in map(json.loads, (crawl / "a.jsonl").read_text().splitlines()):
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + row["html"].encode()
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {row['url']}\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(answer)}\r\n\r\n"
        )
        record = gzip.compress(head.encode() + answer + b"\r\n\r\n", mtime=0)
        at = {"url": row["url"], "status": "200", "mime": "text/html", "filename": "a.warc.gz"}
        at |= {"offset": str(len(data)), "length": str(len(record))}
        lines.append(f"key 20240101000000 {json.dumps(at)}")
        data += record
    (crawl.parent / "a.warc.gz").write_bytes(data)
    index = crawl.parent / "index.cdx"
    index.write_text("\n".join(sorted(lines)) + "\n")
    return str(index)


def test_with_an_index_the_pages_of_recalled_domains_are_fetched_and_read_again(
    crawl: Path, llm: Any, tmp_path: Path
) -> None:
    lab = Lab(tmp_path / "lab")
    wanted = recipe(
        pages=str(crawl), server=llm.url, model="rule", sample=60, least_pages=5,
        index=(write_archive(crawl),), archive=str(tmp_path),
    )  # fmt: skip
    make(wanted, lab, "pages/recalled")
    urls = pq.read_table(lab.at("pages/recalled") / "documents")["url"].to_pylist()
    assert len(urls) == told(lab, "pages/fetched")["fetched"] == 48
    fetched, read = funnel(lab, "pages/recalled")[-2:]
    assert (fetched.name, fetched.seen, fetched.kept) == ("pages/fetched", 48, 48)
    assert read.seen == fetched.kept
    assert not any("bad-" in url for url in urls)


def told(lab: Lab, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((lab.at(name) / "record.json").read_text())["facts"]
    return facts


def test_it_is_planned_without_anything_there_as_the_paper_has_it(tmp_path: Path) -> None:
    found = load("finemath", {"index": '["cc.cdx.gz"]', "items": '["gsm8k.parquet"]'})
    assert len(plan(found, Lab(tmp_path / "lab")).to_do) == len(found.steps)
    dedup = found.by_name["math/deduplicated"]
    assert isinstance(dedup, Dedup)
    assert (dedup.bands, dedup.rows) == (1, 10)
    english = found.by_name["math/english"]
    assert english.refs()["corpus"].name == "math/deduplicated"
    read = found.by_name["pages/read"]
    assert isinstance(read, Read)
    assert "language" not in {each.kind for each in read.sieve}
    thresholds = [step.at_least for step in found.steps if isinstance(step, Select)]
    assert thresholds == [3, 4]
    assert found.by_name["pages/recalled"].refs()["source.ref"].name == "pages/fetched"


def test_a_page_without_the_columns_asked_for_is_found_out_before_a_label_is_paid_for(
    crawl: Path, tmp_path: Path
) -> None:
    for column, said in (
        ("url_column", "none of 60 documents has a url; rows have url, html; name"),
        ("html_column", "no column 'other', only url, html; name the column of it"),
    ):
        wanted = load("finemath", {"pages": str(crawl), column: "other"})
        with pytest.raises(BadInput, match=said):
            make(wanted, Lab(tmp_path / column), "pages/read")


def test_english_can_be_asked_before_pages_of_other_languages_are_paid_for() -> None:
    found = load("finemath", {"english_first": "true"})
    assert "math/english" not in found.by_name
    read = found.by_name["pages/read"]
    assert isinstance(read, Read)
    assert "language" in {each.kind for each in read.sieve}
