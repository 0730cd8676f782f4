"""A real OpenAI-compatible server in a process of its own, which answers by rule and misbehaves on demand.

    python tests/llm_server.py PORT_FILE

It scores a document by how often the word `because` is in it; a model called `hash` by a hash. Words of a document make it misbehave:
`@prose` answers in prose, `@prose-once` at first only, `@range` a score off the scale, `@slow` after
three seconds, `@drip` one byte at a time for ever, `@busy-once` 429 at first, `@busy` 429 always,
`@later-once` 429 at first, until a date,
`@broken-once` 500 at first, `@html` a page with 200, `@refuse` 400, `@die` ends the process.
A model called `strict` asks for the key `sesame`; GET /asked tells how many requests there were.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import zlib
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOCK = threading.Lock()
ASKED: Counter[str] = Counter()
TIMES: list[float] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        with LOCK:
            told = {"asked": ASKED.total(), "times": TIMES}
        self.send(200, json.dumps(told).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = body["messages"][-1]["content"]
        with LOCK:
            ASKED[text] += 1
            TIMES.append(time.monotonic())
            first = ASKED[text] == 1
        words = {word for word in text.split() if word.startswith("@")}
        words = {w.removesuffix("-once") if first else w for w in words}
        if body["model"] == "strict" and self.headers["authorization"] != "Bearer sesame":
            said = f"wrong key {self.headers['authorization'].removeprefix('Bearer ')}"
            self.error(401, said)
        elif not self.misbehaved(words):
            self.answer(body, text, words)

    def misbehaved(self, words: set[str]) -> bool:
        if "@die" in words:
            os._exit(1)
        if "@slow" in words:
            time.sleep(3)
        if "@busy" in words:
            self.error(429, "too many requests", ("retry-after-ms", "50"))
        elif "@later" in words:
            self.error(429, "too many requests", ("retry-after", formatdate(usegmt=True)))
        elif "@broken" in words:
            self.error(500, "out of memory")
        elif "@refuse" in words:
            self.error(400, "this document cannot be read")
        elif "@html" in words:
            self.send(200, b"<html>welcome</html>", kind="text/html")
        elif "@drip" in words:
            self.drip()
        else:
            return False
        return True

    def answer(self, body: dict[str, Any], text: str, words: set[str]) -> None:
        counted = (
            zlib.crc32(text.encode()) % 4 if body["model"] == "hash" else text.count("because")
        )
        score = 9 if "@range" in words else min(counted, highest(body))
        said = json.dumps({"reason": f"{score} reasons are given", "score": score})
        if "@prose" in words:
            said = "I would say that this is rather good."
        message = {"role": "assistant", "content": said}
        told = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60},
        }
        self.send(200, json.dumps(told).encode())

    def drip(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "1000000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.1)

    def error(self, status: int, message: str, *headers: tuple[str, str]) -> None:
        self.send(status, json.dumps({"error": {"message": message}}).encode(), *headers)

    def send(
        self, status: int, data: bytes, *headers: tuple[str, str], kind: str = "application/json"
    ) -> None:
        try:
            self.send_response(status)
            for name, value in (("content-type", kind), *headers):
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):  # who asked has gone
            self.close_connection = True


def highest(body: dict[str, Any]) -> int:
    """Return the highest score that the asked form allows, 5 where none is asked for."""
    form = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    return int(max(form.get("properties", {}).get("score", {}).get("enum", [5])))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Say nothing of those who hung up."""


def main(port_file: str) -> None:
    server = Server(("127.0.0.1", 0), Handler)
    temporary = Path(port_file + ".tmp")
    temporary.write_text(str(server.server_address[1]))
    temporary.rename(port_file)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
