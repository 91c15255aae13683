"""How many different ones within an hour or a day: recipient domains. Exact, and bounded by the amount.

What counts is when each was last used. Of more than ``bound`` different ones the longest unused are forgotten: the others are
enough to know that the limit is reached, and until when.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from postlatch.limits.limit import Limit

MAX_DISTINCT: Final = 10_000  # the settings permit no larger amount

_NEVER: Final = 1 << 62


class Distinct:
    """The state of one limit of one key."""

    __slots__ = ("_bound", "_last", "_newest", "_oldest", "limit", "warned_at")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.warned_at = 0.0
        # Held mail counts too, up to twice the amount.
        self._bound = 2 * min(MAX_DISTINCT, max(limit.amount if limit.hard else 0, limit.warn, 1))
        self._last: dict[str, float] = {}  # longest unused first
        self._newest = 0.0
        self._oldest = 0.0

    def retry_at(self, now: float, items: Collection[str]) -> float:
        """0.0 if ``items`` fit at ``now``, else the first time at which they will.

        More of them than the whole amount never fit; the answer is a window from now.
        """
        self._settle(now)
        last, amount = self._last, self.limit.amount
        excess = len(last) + sum(item not in last for item in items) - amount
        if excess <= 0:
            return 0.0
        if len(items) > amount:
            return now + self.limit.seconds
        # What is used again does not leave: it takes as many of the others.
        for item, at in last.items():
            if item in items:
                continue
            excess -= 1
            if excess == 0:
                return at + self.limit.seconds
        return now + self.limit.seconds

    def add(self, now: float, items: Collection[str]) -> bool:
        """Count ``items``, even past the limit. True if it is time to warn: once a window."""
        self._settle(now)
        last = self._last
        for item in items:
            last.pop(item, None)
            last[item] = now
        while len(last) > self._bound:
            del last[next(iter(last))]
        self._mark_ends()
        return len(last) >= (self.limit.warn or _NEVER) and self._warn_due(now)

    def holds(self, now: float, items: Collection[str]) -> bool:
        """Are ``items`` within twice the amount?"""
        self._settle(now)
        return len(self._last) + sum(item not in self._last for item in items) <= 2 * self.limit.amount

    def used(self, now: float) -> int:
        """How many there are at ``now``."""
        self._settle(now)
        return len(self._last)

    def idle(self, now: float) -> bool:
        """True if nothing is counted any more."""
        return not self._last or self._newest + self.limit.seconds <= now

    def dump(self) -> dict[str, float]:
        """The state as a JSON value."""
        return dict(self._last)

    def restore(self, state: object) -> None:
        """Take up what ``dump`` gave; ValueError if it is not that."""
        if not isinstance(state, dict) or len(state) > 2 * MAX_DISTINCT:
            raise ValueError("the state of a limit on different ones is their names and times")
        found: dict[str, float] = {}
        for item, at in state.items():
            if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < 1e12:
                raise ValueError("the times of a limit's state must be times")
            found[str(item)] = float(at)
        self._last = dict(sorted(found.items(), key=lambda pair: pair[1]))
        self._mark_ends()

    def _warn_due(self, now: float) -> bool:
        if self.warned_at <= now < self.warned_at + self.limit.seconds:
            return False
        self.warned_at = now
        return True

    def _settle(self, now: float) -> None:
        """Drop what has left the window; what was used in the future (the clock went back) was used now, at the latest."""
        last = self._last
        if not last or (self._newest <= now < self._oldest + self.limit.seconds):
            return
        if self._newest > now:
            for item, at in last.items():
                last[item] = min(at, now)
        leaving = []
        for item, at in last.items():
            if at + self.limit.seconds > now:
                break
            leaving.append(item)
        for item in leaving:
            del last[item]
        self._mark_ends()

    def _mark_ends(self) -> None:
        if self._last:
            self._oldest = next(iter(self._last.values()))
            self._newest = next(reversed(self._last.values()))
