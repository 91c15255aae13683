"""What was seen lately, bounded in time and number."""

from __future__ import annotations

from collections import OrderedDict

from postlatch.model.clock import Clock


class Recent:
    """A set of digests. Each is forgotten ``seconds`` after it was added, or when ``entries`` newer ones have come."""

    __slots__ = ("_clock", "_ends", "_entries", "_seconds")

    def __init__(self, clock: Clock, seconds: float, entries: int) -> None:
        self._clock = clock
        self._seconds = seconds
        self._entries = entries
        self._ends: OrderedDict[bytes, float] = OrderedDict()  # in the order of their ends, because all live equally long

    def __len__(self) -> int:
        return len(self._ends)

    def __contains__(self, digest: bytes) -> bool:
        return self._ends.get(digest, 0.0) > self._clock.monotonic()

    def add(self, digest: bytes) -> None:
        """Remember ``digest`` from now on."""
        now = self._clock.monotonic()
        while self._ends and next(iter(self._ends.values())) <= now:
            self._ends.popitem(last=False)
        self._ends[digest] = now + self._seconds
        self._ends.move_to_end(digest)
        if len(self._ends) > self._entries:
            self._ends.popitem(last=False)
