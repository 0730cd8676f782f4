"""Places far away for tests: an S3 server with a bucket, a hub, and texts to lay there."""

from __future__ import annotations

import gzip
import io
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDOFTHETEST", "AWS_SECRET_ACCESS_KEY": "not-to-be-written-down"}


def story(number: int) -> str:
    """Return a text of its own."""
    return f"Story {number} tells how the {number}th branch left the trunk, and where it went next."


def rows(*numbers: int) -> bytes:
    """Return a file of jsonl."""
    return b"".join(
        json.dumps({"text": story(n), "url": f"https://a.org/{n}"}).encode() + b"\n"
        for n in numbers
    )


def table(*numbers: int) -> bytes:
    """Return a file of parquet."""
    data = io.BytesIO()
    pq.write_table(pa.table({"text": [story(n) for n in numbers]}), data)
    return data.getvalue()


def texts() -> dict[str, bytes]:
    """Return a folder of files of several kinds, and files that are left out."""
    return {
        "a/one.jsonl": rows(1, 2, 3),
        "a/two.parquet": table(4, 5),
        "a/deep/three.jsonl.gz": gzip.compress(rows(6, 7), mtime=0),
        "a/deep/four.txt": story(8).encode(),
        "a/.hidden.txt": story(9).encode(),
        "b/five.jsonl": rows(10),
    }


def lay(folder: Path, tree: dict[str, bytes]) -> None:
    """Write a tree of files."""
    for name, data in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@contextmanager
def bucket(tree: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve a bucket `texts` that holds a tree; yields a client of it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        signed_for(monkeypatch, f"http://{host}:{port}")
        reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).close()  # an earlier server's buckets are in the process
        client = boto3.client("s3")
        client.create_bucket(Bucket="texts")
        for name, data in tree.items():
            client.put_object(Bucket="texts", Key=name, Body=data)
        yield client
    finally:
        server.stop()


def signed_for(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let S3 be at a URL, and give keys for it."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
