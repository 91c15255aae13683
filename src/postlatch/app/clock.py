"""The real clock, and the watch for jumps of it."""

from __future__ import annotations

import time

JUMP = 60.0  # seconds; less is ordinary slewing


class SystemClock:
    """The machine's clocks, as the rooms want them."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since the machine started."""
        return time.monotonic()


class JumpWatch:
    """Notices when the wall clock moved by more than a minute against the monotonic one."""

    def __init__(self, now: float, monotonic: float) -> None:
        self._offset = now - monotonic

    def jumped(self, now: float, monotonic: float) -> float | None:
        """Seconds by which the wall clock jumped since the last call, or None."""
        offset = now - monotonic
        moved = offset - self._offset
        if abs(moved) <= JUMP:
            return None
        self._offset = offset
        return moved
