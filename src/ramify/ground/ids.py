"""Ids: what a document, or a list of names, is called from the source to the last answer about it."""

from __future__ import annotations

import hashlib


def digest(*names: str | int) -> str:
    """Return what `names` are called together: 32 hex digits, equal on every machine."""
    text = "\x1f".join(map(str, names)).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).hexdigest()
