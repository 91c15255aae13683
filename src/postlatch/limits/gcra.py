"""Seconds and minutes: the generic cell rate algorithm (ITU-T I.371), a leaky bucket that is one number.

The number is the time at which the bucket will be empty. A full bucket (``amount`` at once) is permitted, then one more each
``seconds / amount``; so the worst minute holds just under twice the amount, and the long-run rate is exact. It suits short
units, where a burst of a client that was quiet should pass and a refusal should end soon.
"""

from __future__ import annotations

import math

from postlatch.limits.limit import Limit


class Gcra:
    """The state of one limit of one key."""

    __slots__ = ("_amount", "_empty_at", "_seconds", "limit", "warned_at")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._amount = limit.amount
        self._seconds = limit.seconds
        self.warned_at = 0.0  # as of a window: here nothing warns
        self._empty_at = 0.0

    def retry_at(self, now: float, cost: int) -> float:
        """0.0 if ``cost`` more fit at ``now``, else the first time at which they will.

        A cost above the whole amount never fits; its answer is a window from now, when a smaller one surely does.
        """
        amount, seconds = self._amount, self._seconds
        if cost > amount:
            return now + seconds
        if self._empty_at <= now:
            return 0.0
        # Further in the future than a full bucket: the clock went back. Full at most, so it is free again within the window.
        self._empty_at = min(self._empty_at, now + seconds)
        # Multiplied before it is divided, so that the whole amount costs exactly the whole window.
        fits_at = self._empty_at + cost * seconds / amount - seconds
        return 0.0 if fits_at <= now else fits_at

    def add(self, now: float, cost: int) -> bool:
        """Count ``cost``, even past the limit: an overfull bucket is a full one. False: it never warns."""
        seconds, empty_at = self._seconds, self._empty_at
        full = now + seconds
        empty_at = (max(now, empty_at)) + cost * seconds / self._amount
        self._empty_at = min(full, empty_at)
        return False

    def holds(self, now: float, cost: int) -> bool:  # noqa: ARG002  (as a window's)
        """False: who comes too fast comes again in a moment, and need not be held."""
        return False

    def used(self, now: float) -> int:
        """How much is counted at ``now``, as a whole number."""
        self._empty_at = min(self._empty_at, now + self._seconds)  # as in ``retry_at``
        return math.ceil(max(self._empty_at - now, 0.0) * self._amount / self._seconds - 1e-6)

    def idle(self, now: float) -> bool:
        """True if nothing is counted any more."""
        return self._empty_at <= now

    def dump(self) -> float:
        """The state as a JSON value. It does not depend on the amount, so a changed limit keeps how full the bucket is."""
        return self._empty_at

    def restore(self, state: object) -> None:
        """Take up what ``dump`` gave; ValueError if it is not that."""
        if isinstance(state, bool) or not isinstance(state, int | float) or not 0 <= state < 1e12:
            raise ValueError("the state of a minute's limit is one time")
        self._empty_at = float(state)
