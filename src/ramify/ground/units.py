"""Counts, bytes, FLOPs, time and money: read from what people type, printed as people read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from decimal import Decimal, DecimalException
from typing import Annotated, TypeVar

from pydantic import BeforeValidator

from ramify.ground.errors import BadInput

T = TypeVar("T")
SCALES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12, "P": 10**15}
MOST = Decimal(10) ** 30  # beyond any count of tokens, bytes or FLOPs
COUNT = re.compile(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?(?:e[+]?[0-9]+)?)\s*([kKmMbBgGtTpP]?)\s*")


def parse_count(value: object) -> int:
    """Return the whole number that `6T`, `2M`, `0.5B`, `1.13e23`, `4_096` or an int stands for.

    Raises BadInput for anything else, for a negative number and for a fraction of a token.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    matched = COUNT.fullmatch(value) if isinstance(value, str) else None
    text = matched.group(1).replace("_", "").replace(",", "") if matched else str(value)
    try:
        number = Decimal(text) * SCALES[matched.group(2).upper() if matched else ""]
    except DecimalException:
        number = Decimal("NaN")
    if not (number.is_finite() and 0 <= number <= MOST) or number != number.to_integral_value():
        raise BadInput(
            f"{value!r} is not a count", hint="write a whole number, like 4096, 2M or 11T"
        )
    return int(number)


Tokens = Annotated[int, BeforeValidator(parse_count)]
"""A number of tokens; pydantic fields of this type also take `6T` and `2M`."""


def _scaled(number: float, digits: int, scales: tuple[str, ...], base: float = 1000.0) -> str:
    if not math.isfinite(number):
        return str(number)
    power = 0
    while abs(number) >= base - 0.5 * 10.0**-digits and power < len(scales) - 1:
        number, power = number / base, power + 1
    whole = (
        f"{number:.{digits}f}".rstrip("0").rstrip(".") if power or number % 1 else f"{number:.0f}"
    )
    return whole + scales[power]


def show_count(count: float) -> str:
    """Return a count as people say it: 819200 is `819.2K`."""
    return _scaled(count, 2, ("", "K", "M", "B", "T", "P"))


def show_bytes(count: float) -> str:
    """Return a size in powers of 1024: 1536 is `1.5 KiB`."""
    return _scaled(count, 1, (" B", " KiB", " MiB", " GiB", " TiB", " PiB"), base=1024.0)


def show_flops(count: float) -> str:
    """Return FLOPs in scientific form: `1.13e+23` is `1.13e23`."""
    return f"{count:.3g}".replace("e+", "e")


def show_seconds(seconds: float) -> str:
    """Return a duration in its two largest units: 3723 is `1h 02m`."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 59.95:
        return f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02d}h"
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {rest:02d}s"


def show_money(dollars: float) -> str:
    """Return US dollars, with cents below a thousand: `$12.34`, `$250,000`."""
    return f"${dollars:,.2f}" if dollars < 1000 else f"${dollars:,.0f}"


def in_runs(items: Iterable[T], size: Callable[[T], int], limit: int) -> list[list[T]]:
    """Return items in runs, in order, of at most `limit` together; one that is larger has its own."""
    runs: list[list[T]] = []
    room = 0
    for item in items:
        if not runs or size(item) > room:
            runs.append([])
            room = limit
        runs[-1].append(item)
        room -= size(item)
    return runs
