"""Sliding counts of different things by key, in bounded memory: how many different passwords, how many different accounts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from postlatch.limits.limit import Limit

K = TypeVar("K", bound=Hashable)
M = TypeVar("M", bound=Hashable)
MOST_MARKS: Final = 200_000


class Tallies(Generic[K, M]):
    """Each key has marks; a mark counts once until the longest of ``limits`` is over. The oldest keys make room.

    ``most`` bounds the marks of all keys together. A limit of N is met by the Nth different mark.
    """

    def __init__(self, limits: tuple[Limit, ...], most: int = MOST_MARKS) -> None:
        self._limits = limits
        self._longest = max((limit.seconds for limit in limits), default=0)
        self._most = most
        self._held = 0
        self._keys: OrderedDict[K, dict[M, float]] = OrderedDict()  # marks in the order of their times

    def add(self, key: K, mark: M, now: float, factor: int = 1) -> Limit | None:
        """Count ``mark``; the limit that it meets, if any. ``factor`` multiplies the limits of wider circles."""
        if not self._limits:
            return None
        marks = self._keys.get(key)
        if marks is None:
            marks = self._keys[key] = {}
        self._keys.move_to_end(key)
        self._forget_old(marks, now)
        if mark not in marks:
            marks[mark] = now
            self._held += 1
            self._make_room()
        return self._met(marks, now, factor)

    def count(self, key: K, now: float) -> int:
        """Different marks of ``key`` now."""
        marks = self._keys.get(key)
        if marks is None:
            return 0
        self._forget_old(marks, now)
        return len(marks)

    def marks(self, key: K) -> list[M]:
        """The marks of ``key``, the oldest first."""
        return list(self._keys.get(key, ()))

    def forgive(self, key: K) -> None:
        """Take the oldest mark of ``key`` away."""
        marks = self._keys.get(key)
        if marks:
            del marks[next(iter(marks))]
            self._held -= 1

    def clear(self, key: K) -> None:
        """Begin anew with ``key``."""
        self._held -= len(self._keys.pop(key, ()))

    def __len__(self) -> int:
        return self._held

    def _met(self, marks: dict[M, float], now: float, factor: int) -> Limit | None:
        for limit in self._limits:
            needed = limit.amount * factor
            if len(marks) < needed:
                continue
            if limit.seconds == self._longest or _newer(marks, now - limit.seconds, needed):
                return limit
        return None

    def _forget_old(self, marks: dict[M, float], now: float) -> None:
        while marks:
            first = next(iter(marks))
            # A time that lies ahead is from before the clock was set back: it counts for the time that is now.
            if marks[first] > now - self._longest:
                break
            del marks[first]
            self._held -= 1

    def _make_room(self) -> None:
        while self._held > self._most and len(self._keys) > 1:
            self.clear(next(iter(self._keys)))


def _newer(marks: dict[M, float], after: float, needed: int) -> bool:
    """Are ``needed`` of them newer than ``after``? Looks at no more than those."""
    for seen, at in enumerate(reversed(marks.values()), 1):
        if at <= after:
            return False
        if seen >= needed:
            return True
    return False
