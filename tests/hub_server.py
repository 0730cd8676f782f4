"""A server that answers what the hub's client asks for a dataset: its commit, its files, their bytes."""

from __future__ import annotations

import hashlib
import http.server
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.serving import listening

Tree = dict[str, bytes]

LARGE = ".parquet"  # kept as Git LFS keeps them: named by the SHA-256 of their bytes


@dataclass
class Hub:
    """One dataset: its commits, oldest first, which of them its branches name, and what was asked."""

    repo: str = "people/texts"
    commits: dict[str, Tree] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    needs_token: str | None = None
    gated: bool = False
    trouble: dict[str, list[int]] = field(default_factory=dict)  # statuses of the next answers
    torn: dict[str, int] = field(default_factory=dict)  # bytes after which one answer breaks off
    wrong: set[str] = field(default_factory=set)  # files that come with a byte changed
    asked: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def commit(self, tree: Tree, branch: str = "main") -> str:
        """Add a commit on a branch and return its name."""
        name = hashlib.sha1(f"{len(self.commits)}{sorted(tree)}".encode()).hexdigest()
        self.commits[name] = tree
        self.branches[branch] = name
        return name


def blob(data: bytes) -> str:
    """Return the SHA-1 that git gives a file."""
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def entries(tree: Tree, below: str) -> list[dict[str, Any]]:
    """Return files and folders below a path as the hub tells of them; of a file, itself."""
    found: list[dict[str, Any]] = []
    folders = set()
    for path, data in tree.items():
        if below and path != below and not path.startswith(f"{below}/"):
            continue
        parents = path.split("/")[:-1]
        folders |= {"/".join(parents[: n + 1]) for n in range(len(parents))} - {below}
        told: dict[str, Any] = {
            "type": "file", "path": path, "size": len(data), "oid": blob(data)
        }  # fmt: skip
        if path.endswith(LARGE):
            sha = hashlib.sha256(data).hexdigest()
            told["lfs"] = {"oid": sha, "size": len(data), "pointerSize": 130}
        found.append(told)
    return [*found, *({"type": "directory", "path": f, "oid": "0" * 40} for f in folders)]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for the hub of its server."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        """Answer with JSON of a commit or a tree, or with a file."""
        self.answer()

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self.answer()

    def do_POST(self) -> None:
        """Answer what some paths are."""
        self.answer()

    def answer(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.asked[f"{self.command} {path}"] += 1
        refused = self.refused(path)
        if refused:
            self.say(*refused)
            return
        repo = self.hub.repo
        for kind, begins in (
            ("info", f"/api/datasets/{repo}/revision/"),
            ("tree", f"/api/datasets/{repo}/tree/"),
            ("paths", f"/api/datasets/{repo}/paths-info/"),
            ("file", f"/datasets/{repo}/resolve/"),
        ):
            if path.startswith(begins):
                self.of_revision(kind, path.removeprefix(begins), body)
                return
        self.say(404, "RepoNotFound")

    def refused(self, path: str) -> tuple[int, str] | None:
        """Return the status and code of a refusal, if there is one."""
        if self.hub.trouble.get(path):
            return self.hub.trouble[path].pop(0), ""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.hub.needs_token and token != self.hub.needs_token:
            return (403, "GatedRepo") if self.hub.gated else (401, "RepoNotFound")
        return None

    def of_revision(self, kind: str, rest: str, body: bytes) -> None:
        """Answer for a commit, or for what a branch names now."""
        named = next((b for b in self.hub.branches if rest == b or rest.startswith(f"{b}/")), None)
        revision = named or rest.split("/")[0]
        inner = rest.removeprefix(revision).strip("/")
        commit = self.hub.branches.get(revision, revision)
        if commit not in self.hub.commits:
            self.say(404, "RevisionNotFound")
            return
        tree = self.hub.commits[commit]
        if kind == "info":
            self.tell({"id": self.hub.repo, "sha": commit})
        elif kind == "paths":
            try:
                paths = json.loads(body)["paths"]
            except ValueError:
                paths = parse_qs(body.decode())["paths"]
            top = [
                entry for path in paths for entry in entries(tree, path) if entry["path"] == path
            ]
            folders = [
                {"type": "directory", "path": path, "oid": "0" * 40}
                for path in paths
                if path not in tree and entries(tree, path)
            ]
            self.tell([*top, *folders])
        elif kind == "tree":
            found = entries(tree, inner)
            if found:
                self.tell(found)
            else:
                self.say(404, "EntryNotFound")
        elif inner in tree:
            self.file(inner, tree[inner], commit)
        else:
            self.say(404, "EntryNotFound")

    def file(self, name: str, data: bytes, commit: str) -> None:
        """Answer with a file, or a range of it."""
        tag = hashlib.sha256(data).hexdigest() if name.endswith(LARGE) else blob(data)
        begins = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        if name in self.hub.wrong:
            data = data[:-2] + b"?\n"
        part = data[begins:]
        self.send_response(206 if begins else 200)
        if begins:
            self.send_header("Content-Range", f"bytes {begins}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", f'"{tag}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command == "GET":
            torn = self.hub.torn.pop(name, None)
            self.wfile.write(part[:torn])
            if torn is not None:
                self.close_connection = True

    def tell(self, told: Any) -> None:
        """Answer with JSON."""
        self.say(200, "", json.dumps(told).encode())

    def say(self, status: int, code: str, body: bytes = b"") -> None:
        """Answer with a status and, where there is one, the hub's code of an error."""
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub until the block ends; its `url` says where."""
    handler = type("OfHub", (Handler,), {"hub": hub})
    with listening(handler) as hub.url:
        yield hub
