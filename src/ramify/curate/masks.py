"""E-mail and public IP addresses of people, put out of sight; numbers of versions and sections stay."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from ramify.curate.verdict import Verdict

EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+/-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b(?!\()"
)
IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.\w|%|-\d)")
IPV6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){1,7}(?::|[0-9A-Fa-f])[0-9A-Fa-f:]*(?![\w:.]\w)"
)
# A number that these words come before counts something, and is no address.
COUNTED = re.compile(
    r"(?:\b(?:v|ver|vers|version|versions|release|releases|build|firmware|driver|update|patch|revision|rev"
    r"|section|sections|sec|chapter|clause|paragraph|article|table|figure|fig|appendix|annex|part|item"
    r"|step|rule|oid|isbn|chrome|firefox|safari|opera|edge|android|ios|windows|linux|kernel)\b\.?|§)\s*[:=(]?\s*$",
    re.IGNORECASE,
)
HEADING = re.compile(r"[ \t]+[A-Z(]")  # behind a number at the head of a line
BEFORE = 24  # characters looked at before a number
EXAMPLES = frozenset({"example.com", "example.org", "example.net"})


class Mask(Verdict):
    """Replaces e-mail addresses and public IP addresses (as FineWeb, Penedo et al. 2024, 3.7).

    What is written instead is reserved for examples (RFC 2606, 5737, 3849); None leaves a kind as it
    is. Private and reserved addresses stay, and so do four numbers with dots that a word such as
    `version` or `section` comes before, or that number a heading.
    """

    kind: Literal["mask"] = "mask"
    email: str | None = "email@example.com"
    ipv4: str | None = "192.0.2.1"
    ipv6: str | None = "2001:db8::1"

    def applied(self, text: str) -> tuple[str, str | None]:
        """Return the text with the addresses replaced; it is never dropped."""
        if self.email is not None and "@" in text:
            text = EMAIL.sub(self._email, text)
        if self.ipv4 is not None:
            text = IPV4.sub(self._ipv4, text)
        if self.ipv6 is not None and ":" in text:
            text = IPV6.sub(self._ipv6, text)
        return text, None

    def _email(self, found: re.Match[str]) -> str:
        domain = found.group().rpartition("@")[2].lower()
        return found.group() if domain in EXAMPLES else str(self.email)

    def _ipv4(self, found: re.Match[str]) -> str:
        number = found.group()
        if not _public(number) or _is_counted(found):
            return number
        return str(self.ipv4)

    def _ipv6(self, found: re.Match[str]) -> str:
        number = found.group().rstrip(":") if not found.group().endswith("::") else found.group()
        unicast = number[:1] in "23" and _public(number)
        return str(self.ipv6) + found.group()[len(number) :] if unicast else found.group()


def _public(number: str) -> bool:
    try:
        address = ipaddress.ip_address(number)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast


def _is_counted(found: re.Match[str]) -> bool:
    """Return whether four numbers with dots are a version or the number of a section."""
    text, start = found.string, found.start()
    before = text[max(0, start - BEFORE) : start]
    if COUNTED.search(before):
        return True
    at_head = not before.rpartition("\n")[2].strip(" \t#*-")
    return at_head and HEADING.match(text, found.end()) is not None
