"""Small words of the renderings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

NOTHING = "-"


def text(value: Any) -> str:
    """Any JSON value as text; nothing at all is a dash."""
    match value:
        case None | "" | []:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(text, value))
        case _:
            return str(value)


def when(value: Any) -> str:
    """A time for people, in UTC to the second; seconds since 1970 or RFC 3339."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(int(value), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return text(value)


def count(number: int, one: str, many: str = "") -> str:
    """``1 recipient``, ``1,200 recipients``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def limits(value: Any) -> str:
    """Limits as a table by what they count, or as a list."""
    if isinstance(value, Mapping):
        return "; ".join(f"{kind} {text(texts)}" for kind, texts in value.items() if texts) or NOTHING
    return text(value)


def size(octets: Any) -> str:
    """``4.2 KiB``."""
    if not isinstance(octets, int | float):
        return text(octets)
    number = float(octets)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
