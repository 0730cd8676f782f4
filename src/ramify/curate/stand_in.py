"""Labels that mean nothing, for a dry run in which nobody was asked for any."""

from __future__ import annotations

import hashlib


def label(text: str) -> int:
    """Return 0, 1, 2 or 3 by a hash of the text: spread like labels, and no judgement of anything."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=1).digest()[0] % 4
