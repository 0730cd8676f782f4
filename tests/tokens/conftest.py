"""Small tokenized sources, written as tokenize writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WriteSource = Callable[..., Path]


def write(folder: Path, tokens: np.typing.NDArray[Any], **facts: Any) -> Path:
    """Write `tokens` as a source in `folder`, in shards of `shard_tokens`; `facts` go in as they are."""
    segment = facts.pop("segment", 8)
    shard_tokens = facts.pop("shard_tokens", 4 * segment)
    dtype = facts.get("dtype", "uint16")
    (folder / "shards").mkdir(parents=True)
    shards = []
    for i, start in enumerate(range(0, tokens.size, shard_tokens)):
        part = tokens[start : start + shard_tokens].astype(np.dtype(dtype).newbyteorder("<"))
        (folder / f"shards/{i:05d}.bin").write_bytes(part.tobytes())
        shards.append({"file": f"shards/{i:05d}.bin", "tokens": int(part.size), "documents": 1})
    about = {
        "format": 1, "tokens": int(tokens.size), "dtype": dtype, "segment": segment,
        "documents": len(shards), "vocab": 65_536, "end_of_text": 0, "tokenizer": "a" * 64,
        "order": "as given", "bytes": 0, "shards": shards,
    }  # fmt: skip
    (folder / "source.json").write_text(json.dumps(about | facts))
    return folder


@pytest.fixture(scope="session")
def write_source() -> WriteSource:
    """Write a source folder: `write_source(folder, tokens, segment=8, shard_tokens=32, **facts)`."""
    return write
