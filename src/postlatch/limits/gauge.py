"""How many at once: the one limit that is not about time."""

from __future__ import annotations


class Gauge:
    """Counts what is held by each key; keys that hold nothing take no memory."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def held(self, key: str) -> int:
        """How many ``key`` holds."""
        return self._held.get(key, 0)

    def acquire(self, key: str, limit: int) -> bool:
        """Take one if ``key`` holds fewer than ``limit``. Every True needs exactly one ``release``."""
        held = self._held.get(key, 0)
        if held >= limit:
            return False
        self._held[key] = held + 1
        return True

    def release(self, key: str) -> None:
        """Give one back; LookupError if ``key`` holds none, because then some other caller's count would be wrong."""
        held = self._held.get(key, 0)
        if held == 0:
            raise LookupError("released more often than acquired")
        if held == 1:
            del self._held[key]
        else:
            self._held[key] = held - 1
