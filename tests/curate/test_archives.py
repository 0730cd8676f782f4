"""Web archives: every answer is a page or a counted drop, and no malformed record is the end."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("fastwarc")

from ramify.curate.archives import answers

SHARED = Path(__file__).parents[3] / "shared" / "data" / "web" / "warc"


def record(number: int, body: bytes | None = None, status: str = "200 OK") -> bytes:
    body = f"<html><p>page {number}</p></html>".encode() if body is None else body
    http = f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n".encode() + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/{number}\r\n"
        f"WARC-Date: 2020-01-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def written(path: Path, *records: bytes, zipped: bool = False) -> Path:
    path.write_bytes(b"".join(gzip.compress(r) if zipped else r for r in records))
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_reading_goes_on_behind_a_malformed_record(tmp_path: Path, zipped: bool) -> None:
    junk = b"this is no record\r\n\r\n"
    path = written(tmp_path / "a.warc", record(1), junk, record(2), record(3), zipped=zipped)
    found = list(answers(path))
    assert [x.url for x in found if x.broken is None] == [
        f"http://a.example/{n}" for n in (1, 2, 3)
    ]
    assert [x.broken.split(":")[0] for x in found if x.broken] == ["malformed"]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_truncated_archive_ends_with_a_broken_answer(tmp_path: Path, zipped: bool) -> None:
    last = record(2, bytes(range(256)) * 40)
    path = written(tmp_path / "a.warc", record(1), last, zipped=zipped)
    path.write_bytes(path.read_bytes()[:-120])
    found = list(answers(path))
    assert found[0].broken is None
    assert len(found) == 2
    assert found[1].broken is not None


@pytest.mark.parametrize("zipped", [False, True])
def test_an_archive_that_ends_within_a_request_says_so(tmp_path: Path, zipped: bool) -> None:
    head = b"WARC/1.1\r\nWARC-Type: request\r\nContent-Length: 2560\r\n\r\n"
    asked = head + bytes(range(256)) * 10 + b"\r\n\r\n"
    path = written(tmp_path / "a.warc", record(1), asked, zipped=zipped)
    assert [x.broken for x in answers(path)] == [None]
    path.write_bytes(path.read_bytes()[:-120])
    (good, cut) = answers(path)
    assert good.broken is None
    assert cut.broken is not None
    assert cut.broken.startswith("truncated: ")


def test_what_was_not_answered_well_says_its_status(tmp_path: Path) -> None:
    found = list(answers(written(tmp_path / "a.warc", record(1, status="404 Not Found"))))
    assert [x.broken for x in found] == ["http_status: 404"]


def test_an_empty_archive_has_no_answers(tmp_path: Path) -> None:
    assert list(answers(written(tmp_path / "a.warc"))) == []


@pytest.mark.shared
def test_of_real_archives_every_answer_is_read_or_has_its_reason() -> None:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not there")
    good = Counter[str]()
    broken = Counter[str]()
    for path in sorted(SHARED.iterdir()):
        for answer in answers(path):
            if answer.broken is None:
                good[path.name] += 1
            else:
                broken[answer.broken.split(":")[0]] += 1
    for kind in ("warc", "warc.gz", "warc.lz4"):
        assert good[f"chatnoir-resiliparse__warcfile.{kind}"] == 16
    assert good["chatnoir-resiliparse__clueweb-quirk.warc.gz"] == 29
    for name in ("arc", "arc.gz", "warc", "warc.gz"):
        assert good[f"warcio__example.{name}"] == 1
    assert broken == {"malformed": 2, "truncated": 2, "http_status": 1}
