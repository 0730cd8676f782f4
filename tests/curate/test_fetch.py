"""Pages are fetched by range from archives that an index points into, tried again, none in silence."""

from __future__ import annotations

import gzip
import http.server
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from tests.killing import Killed, Killing
from tests.serving import listening

from ramify.curate.domains import DOMAIN, DOMAINS
from ramify.curate.fetch import run_fetch
from ramify.curate.selection_steps import Fetch
from ramify.ground import files
from ramify.ground.errors import BadInput, Failed, MissingExtra, NotFound
from ramify.ground.step import Input, Ref
from ramify.runs.changes import notes
from ramify.runs.lab import Lab
from ramify.runs.plan import plan
from ramify.runs.recipe import Recipe

from .corpora import Row, contents, quiet

PAGES = 12


def record(number: int) -> bytes:
    body = f"<p>page {number}</p>"
    head = f"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: {len(body)}\r\n\r\n"
    return gzip.compress((head + body + "\r\n\r\n").encode(), mtime=0)


def url(number: int) -> str:
    return f"https://d{number % 3}.org/{number}"


def write_archives(home: Path) -> list[Row]:
    """Write two archives of records; return what an index says of them."""
    rows = []
    for name in ("a.warc.gz", "b.warc.gz"):
        data = b""
        for number in range(PAGES):
            if number % 2 == (name[0] == "b"):
                own = record(number)
                rows.append(
                    {"url": url(number), "filename": name, "offset": len(data), "length": len(own)}
                )
                data += own
        (home / name).write_bytes(data)
    return rows


def write_cdx(path: Path, rows: list[Row], status: str = "200") -> str:
    lines = []
    for row in rows:
        said = {**row, "status": status, "mime": "text/html"}
        said |= {key: str(row[key]) for key in ("offset", "length")}  # as Common Crawl's are
        lines.append(f"org,d)/ 20240101000000 {json.dumps(said)}\n")
    path.write_text("".join(lines))
    return str(path)


def write_columnar(path: Path, rows: list[Row], media: str = "text/html") -> str:
    named = {
        "filename": "warc_filename",
        "offset": "warc_record_offset",
        "length": "warc_record_length",
    }
    table = [{named.get(k, k): v for k, v in row.items()} for row in rows]
    told = [{**row, "fetch_status": 200, "content_mime_type": media} for row in table]
    pq.write_table(pa.Table.from_pylist(told), path)
    return str(path)


def all_urls(home: Path) -> str:
    path = home / "urls.txt"
    path.write_text("\n".join(map(url, range(PAGES))))
    return str(path)


def fetch(home: Path, name: str = "out", **fields: Any) -> Row:
    out = home / name
    out.mkdir(exist_ok=True)
    fields = {"base": str(home), "urls": all_urls(home), **fields}
    return run_fetch(Fetch(name="t", **fields), {}, out, quiet, sleep=lambda seconds: None)


def fetched(out: Path) -> list[bytes]:
    """Return the bodies of what was fetched, in order."""
    data = b"".join(gzip.decompress(x.read_bytes()) for x in sorted(out.glob("warc/*.warc.gz")))
    return [part.split(b"\r\n\r\n")[1] for part in data.split(b"WARC/1.0\r\n")[1:]]


@pytest.mark.parametrize("kind", ["cdx", "columnar"])
def test_every_page_asked_for_is_fetched_once_in_the_order_of_the_archives(
    kind: str, tmp_path: Path
) -> None:
    rows = write_archives(tmp_path)
    if kind == "cdx":
        index = write_cdx(tmp_path / "i.cdx", [*rows, *rows])
    else:
        index = write_columnar(tmp_path / "i.parquet", [*rows, *rows])
    facts = fetch(tmp_path, index=(index,))
    order = [n for half in (0, 1) for n in range(PAGES) if n % 2 == half]
    assert fetched(tmp_path / "out") == [f"<p>page {n}</p>".encode() for n in order]
    pages = pq.read_table(tmp_path / "out/pages").to_pylist()
    assert [x["url"] for x in pages] == [url(n) for n in order]
    assert (facts["fetched"], facts["again"], facts["failed"]) == (PAGES, PAGES, {})
    assert facts["index_rows"] == 2 * PAGES


def test_every_row_of_an_index_is_counted_once_whatever_became_of_it(tmp_path: Path) -> None:
    rows = write_archives(tmp_path)
    lost = [{**rows[0], "filename": "none.warc.gz"}, {**rows[1], "length": 7}]
    (tmp_path / "index").mkdir()
    write_cdx(
        tmp_path / "index/0.cdx",
        [*rows[2:], *rows[2:4], *lost, {**rows[0], "url": "https://x.org/"}],
    )
    write_cdx(tmp_path / "index/1.cdx", rows[:3], status="404")
    with (tmp_path / "index/1.cdx").open("a") as file:
        file.write("org,d)/ 20240101000000 no json\n")
    facts = fetch(tmp_path, index=(str(tmp_path / "index"),))
    whys = ("malformed", "not_asked", "not_pages", "again")
    counted = facts["fetched"] + sum(facts["failed"].values()) + sum(facts[why] for why in whys)
    assert counted == facts["index_rows"] == 19
    assert (facts["malformed"], facts["not_asked"], facts["not_pages"]) == (1, 1, 3)
    assert facts["failed"] == {"missing": 1, "not_a_record": 1}
    out = tmp_path / "out"
    failed = pq.read_table(out / "failed").to_pylist()
    assert Counter(row["reason"].split(":")[0] for row in failed) == facts["failed"]
    assert len(pq.read_table(out / "pages")) == len(fetched(out)) == facts["fetched"]
    assert facts["bytes"] == sum(x.stat().st_size for x in out.glob("warc/*"))


def test_only_pages_of_domains_recalled_and_answered_well_are_fetched(tmp_path: Path) -> None:
    rows = write_archives(tmp_path)
    (tmp_path / "domains").mkdir()
    told = [{"domain": f"d{n}.org", "recalled": n == 1} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(told, schema=DOMAIN), tmp_path / "domains" / DOMAINS)
    (tmp_path / "index").mkdir()
    write_cdx(tmp_path / "index/0.cdx", rows[:4], status="404")
    write_cdx(tmp_path / "index/1.cdx", rows[4:])
    write_columnar(tmp_path / "index/2.parquet", rows[:4], media="image/png")
    with (tmp_path / "index/1.cdx").open("a") as file:
        file.write("org,d)/ 20240101000000 no json\n")
    (tmp_path / "out").mkdir()
    step = Fetch(
        name="t", index=(str(tmp_path / "index"),), domains=Ref(name="d"), base=str(tmp_path)
    )
    inputs = {"domains": Input(tmp_path / "domains", {}, "d")}
    facts = run_fetch(step, inputs, tmp_path / "out", quiet)
    wanted = [row["url"] for row in rows[4:] if "//d1.org" in row["url"]]
    assert sorted(x["url"] for x in pq.read_table(tmp_path / "out/pages").to_pylist()) == sorted(
        wanted
    )
    assert facts["malformed"] == 1
    assert facts["index_rows"] == sum(
        facts[key] for key in ("malformed", "not_asked", "not_pages", "again", "fetched")
    )


@dataclass
class Server:
    """A server of files that knows ranges; the first answers to a path are as `trouble` says."""

    base: str
    trouble: dict[str, list[int]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    told = Server("")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told.asked[self.path] += 1
            data = (
                (tmp_path / self.path[1:]).read_bytes()
                if (tmp_path / self.path[1:]).exists()
                else None
            )
            status = told.trouble.get(self.path, [])
            code = status.pop(0) if status else (206 if data is not None else 404)
            body = b""
            if code == 206 and data is not None:
                first, last = self.headers["Range"].removeprefix("bytes=").split("-")
                body = data[int(first) : int(last) + 1]
            elif code == 200 and data is not None:  # a server that knows no ranges
                body = data
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with listening(Handler) as told.base:
        yield told


def test_ranges_of_a_server_are_fetched_and_tried_again_where_it_fails(
    server: Server, tmp_path: Path
) -> None:
    rows = write_archives(tmp_path)
    index = write_cdx(tmp_path / "i.cdx", rows)
    server.trouble["/a.warc.gz"] = [503, 500, 429]
    facts = fetch(tmp_path, index=(index,), base=server.base, at_once=2)
    assert (facts["fetched"], facts["failed"], facts["tried_again"]) == (PAGES, {}, 3)
    assert server.asked["/a.warc.gz"] == PAGES // 2 + 3
    fetch(tmp_path, "local", index=(index,))
    assert fetched(tmp_path / "out") == fetched(tmp_path / "local")


def test_what_cannot_be_fetched_is_counted_with_its_reason(server: Server, tmp_path: Path) -> None:
    rows = write_archives(tmp_path)
    gone = [{**row, "filename": "gone.warc.gz"} for row in rows[:1]]
    off = [{**row, "offset": row["offset"] + 3} for row in rows[1:2]]
    long = [{**row, "length": 1 << 30} for row in rows[2:3]]
    index = write_cdx(tmp_path / "i.cdx", [*gone, *off, *long, *rows[3:]])
    server.trouble["/b.warc.gz"] = [503] * 99
    facts = fetch(tmp_path, index=(index,), base=server.base)
    assert facts["failed"] == {"missing": 1, "not_a_record": 1, "too_long": 1, "unreachable": 6}
    assert facts["fetched"] == PAGES - 9
    failed = pq.read_table(tmp_path / "out/failed").to_pylist()
    assert {x["url"] for x in failed} >= {url(0), url(2), url(4)}


def test_a_server_that_knows_no_ranges_gives_no_page_away(server: Server, tmp_path: Path) -> None:
    index = write_cdx(tmp_path / "i.cdx", write_archives(tmp_path))
    server.trouble = {f"/{name}.warc.gz": [200] * 99 for name in "ab"}
    facts = fetch(tmp_path, index=(index,), base=server.base)
    assert (facts["fetched"], facts["failed"]) == (0, {"not_a_record": PAGES})


def test_an_index_that_is_not_there_or_has_nothing_is_an_error(tmp_path: Path) -> None:
    write_archives(tmp_path)
    with pytest.raises(NotFound, match="no index at"):
        fetch(tmp_path, index=(str(tmp_path / "none.cdx"),))
    empty = write_cdx(tmp_path / "i.cdx", [])
    with pytest.raises(BadInput, match="has none of the pages"):
        fetch(tmp_path, index=(empty,))
    pq.write_table(pa.table({"url": ["x"]}), tmp_path / "i.parquet")
    with pytest.raises(BadInput, match="no column 'warc_filename'"):
        fetch(tmp_path, index=(str(tmp_path / "i.parquet"),))
    with pytest.raises(ValidationError, match="give either domains or urls"):
        Fetch(name="t", index=("i",))


def test_killed_between_any_two_file_operations_it_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramify.curate.fetch.SHARD_BYTES", 500)
    index = write_cdx(tmp_path / "i.cdx", write_archives(tmp_path))
    fetch(tmp_path, "whole", index=(index,))
    expected = contents(tmp_path / "whole")
    assert len(fetched(tmp_path / "whole")) == PAGES
    for kills in itertools.count(1):
        killing = Killing(kills)
        monkeypatch.setattr(files, "failpoint", killing)
        try:
            fetch(tmp_path, str(kills), index=(index,))
        except Killed:
            fetch(tmp_path, str(kills), index=(index,))
        assert contents(tmp_path / str(kills)) == expected
        if killing.left > 0:  # there was no such operation any more
            break
    assert kills > 20


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fsspec know of two schemes that packages read which nobody has; one is called otherwise."""
    known = pytest.importorskip("fsspec.registry").known_implementations
    for scheme, package in (("lacking", "lackfs"), ("unsaid", "client")):
        entry = {"class": f"{package}.FileSystem", "err": "Install lackfs to read this"}
        monkeypatch.setitem(known, scheme, entry)


@pytest.mark.usefixtures("lacking")
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("lacking://b/i", "lacking:// is read by lackfs, which is not installed; type: pip install lackfs"),
        ("unsaid://b/i", "Install lackfs to read this; install what it names"),
        ("zip://i.cdx::lacking://b", "lacking:// is read by lackfs, which is not installed; type: pip install lackfs"),
        ("nope://b/i", "fsspec knows of no nope://; give https://, s3:// or a path of this machine"),
    ],
)  # fmt: skip
def test_what_reads_an_address_and_is_not_installed_is_named_for_index_and_archives(
    path: str, said: str, tmp_path: Path
) -> None:
    index = write_cdx(tmp_path / "i.cdx", write_archives(tmp_path))
    lab = Lab(tmp_path / "lab")
    for fields in ({"index": (path,)}, {"index": (index,), "base": path}):
        with pytest.raises((MissingExtra, BadInput), match=f"^{re.escape(said)}$"):
            fetch(tmp_path, **fields)
        step = Fetch(name="t", urls=all_urls(tmp_path), **fields)
        told = [*notes(plan(Recipe(name="r", steps=(step,)), lab), lab)]
        assert told == [f"t cannot be made: {said}"]  # before anything is


def test_an_index_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(
        Path(write_cdx(tmp_path / "i.cdx", write_archives(tmp_path))).read_bytes()
    )
    for name, data in (("cut.cdx.gz", whole[:-20]), ("no.cdx.gz", b"no"), ("no.parquet", b"no")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Failed, match=f"the index .*{name} cannot be read: ") as error:
            fetch(tmp_path, index=(str(tmp_path / name),))
        assert "look whether it is whole" in str(error.value)
    with listening(http.server.BaseHTTPRequestHandler) as gone:
        pass
    with pytest.raises(
        Failed, match=f"the index {gone}/i.cdx cannot be read: ClientConnectorError"
    ):
        fetch(tmp_path, index=(f"{gone}/i.cdx",))
