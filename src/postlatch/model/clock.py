"""Time as an argument. Only the composition root makes the real one."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Two clocks: ``now`` in seconds since 1970 UTC (may jump), ``monotonic`` in seconds (never does)."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...
