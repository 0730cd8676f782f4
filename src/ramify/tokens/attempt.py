"""What an attempt at packing left behind, and what a packed source tells: shared by all that pack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ramify.ground import files
from ramify.ground.errors import BadInput
from ramify.ground.step import Input
from ramify.tokens import pack
from ramify.tokens.tokenizer import Codec

SOURCE = "source.json"
MADE_OF = "made_of.json"  # inside the spool: what an earlier attempt encoded, and with what
TOLD = (
    "documents",
    "tokens",
    "bytes",
    "dtype",
    "segment",
    "vocab",
    "encoder",
    "held_out",
    "provenance",
)


def of_inputs(inputs: Mapping[str, Input]) -> str:
    """Return a hash of every file that the inputs hold, as their records tell."""
    contents = {name: given.record.get("files", {}) for name, given in inputs.items()}
    return hashlib.sha256(json.dumps(contents, sort_keys=True, default=str).encode()).hexdigest()


def finished(out: Path, made_of: dict[str, Any]) -> dict[str, Any] | None:
    """Return the source if an earlier attempt was killed after all was written; None if it was not."""
    if not (out / SOURCE).is_file():
        return None
    source: dict[str, Any] = json.loads((out / SOURCE).read_bytes())
    if source["made_of"] == made_of:
        files.remove(out / "spool")
        return source
    files.remove(out / SOURCE)
    return None


def begin(out: Path, made_of: dict[str, Any]) -> None:
    """Keep what an earlier attempt left if it was made of the very same, else remove it."""
    note = out / "spool" / MADE_OF
    if note.is_file() and json.loads(note.read_bytes()) == made_of:
        return
    for name in ("shards", "held_out.parquet", "spool"):
        files.remove(out / name)
    note.parent.mkdir(parents=True)
    files.write_json(note, made_of)


def check_enough(spooled: pack.Spooled, segment: int, what: Path) -> None:
    """Raise BadInput unless there is a segment and a token more."""
    if spooled.tokens <= segment:
        raise BadInput(
            f"{what} has {spooled.tokens} tokens, less than a segment of {segment} and one more",
            hint="give it more text, or a smaller segment or max_context",
        )


def finish(
    out: Path,
    spooled: pack.Spooled,
    shards: list[pack.Shard],
    codec: Codec,
    **more: Any,
) -> dict[str, Any]:
    """Write source.json, remove the spool, and return the facts of the source for its record."""
    source = {
        "format": 1,
        "tokens": spooled.tokens,
        "documents": spooled.documents,
        "vocab": codec.vocab,
        "end_of_text": codec.end_of_text,
        "tokenizer": codec.sha256,
        "bytes": spooled.bytes,
        "provenance": spooled.provenance(),
        **more,
        "shards": [asdict(shard) for shard in shards],
    }
    files.write_json(out / SOURCE, source)
    files.remove(out / "spool")
    return told(source)


def told(source: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a source for its record."""
    tokens, segment = source["tokens"], source["segment"]
    return {
        **{name: source[name] for name in TOLD},
        **({"brought": _numbers(source["brought"])} if "brought" in source else {}),
        "bytes_per_token": source["bytes"] / tokens,
        "wasted": (tokens - 1) % segment / tokens,  # of an epoch: the tail that fills no segment
        "shards": len(source["shards"]),
    }


def _numbers(brought: Mapping[str, Any]) -> dict[str, int]:
    """Return what was brought without the list of its files, which source.json has."""
    return {**brought, "files": len(brought["files"])}
