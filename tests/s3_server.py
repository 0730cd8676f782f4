"""An S3 server with one object that tears, refuses or answers nonsense when it is told to."""

from __future__ import annotations

import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.serving import listening

LISTED = (
    '<?xml version="1.0"?><ListBucketResult><Name>texts</Name><KeyCount>1</KeyCount>'
    "<IsTruncated>false</IsTruncated><Contents><Key>a.jsonl</Key><Size>{size}</Size>"
    '<ETag>"tag"</ETag></Contents></ListBucketResult>'
)


@dataclass
class Shaky:
    """The object's bytes, after how many each next answer breaks off, and a code to refuse with."""

    data: bytes
    torn: list[int] = field(default_factory=list)
    code: str | None = None
    ranges: list[str | None] = field(default_factory=list)
    signed: list[bool] = field(default_factory=list)
    url: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a listing and reads of the object."""

    protocol_version = "HTTP/1.1"
    shaky: Shaky

    def do_GET(self) -> None:
        """Answer one request."""
        shaky = self.shaky
        shaky.signed.append("Authorization" in self.headers)
        if shaky.code is not None:
            self.say(403, f"<Error><Code>{shaky.code}</Code><Message>No</Message></Error>".encode())
        elif "list-type" in urlsplit(self.path).query:
            self.say(200, LISTED.format(size=len(shaky.data)).encode())
        else:
            asked = self.headers.get("Range")
            shaky.ranges.append(asked)
            begins = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.say(206 if begins else 200, shaky.data[begins:], shaky.torn)

    def say(self, status: int, body: bytes, torn: list[int] | None = None) -> None:
        """Answer, and break off where it is to be torn."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: torn.pop(0)] if torn else body)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(shaky: Shaky) -> Iterator[Shaky]:
    """Serve until the block ends; its `url` says where."""
    handler = type("OfShaky", (Handler,), {"shaky": shaky})
    with listening(handler) as shaky.url:
        yield shaky
