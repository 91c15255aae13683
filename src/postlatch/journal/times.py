"""Times for people: RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=64)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def when(at: float) -> str:
    """To the second, like ``2026-01-01T00:00:00Z``; the bare number where there is no such date."""
    try:
        return f"{_second(int(at // 1))}Z"
    except (OverflowError, OSError, ValueError):
        return repr(at)


def when_exactly(at: float) -> str:
    """To the millisecond, like ``2026-01-01T00:00:00.000Z``; the bare number where there is no such date."""
    try:
        return f"{_second(int(at // 1))}.{int(at % 1 * 1000):03d}Z"
    except (OverflowError, OSError, ValueError):
        return repr(at)
