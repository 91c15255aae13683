"""A clock that moves only when told."""

from __future__ import annotations


class FakeClock:
    """``now`` starts at 2026-01-01T00:00:00Z unless told otherwise; ``advance`` moves both clocks, ``jump`` only ``now``."""

    def __init__(self, now: float = 1_767_225_600.0) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as NTP or an administrator does."""
        self._now += seconds
