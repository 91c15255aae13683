"""Hours and days: a sliding window that never admits more than its amount in any hour or day, wherever the hour starts.

It is a log of when how much was counted. The first ``EXACT`` entries are exact; beyond them what falls within a sixty-fourth
of the window joins the newest entry, whose time moves forward. So the log is bounded whatever the amount, and where it is coarse it errs
towards refusing: by 1.6 % of the window at most, never by admitting one too many.
"""

from __future__ import annotations

import math
from itertools import pairwise

from postlatch.limits.limit import Limit

EXACT = 64
COARSE = 64
MAX_ENTRIES = EXACT + COARSE + 2

WindowState = list[list[float] | list[int] | float]


class Window:
    """The state of one limit of one key."""

    __slots__ = ("_counts", "_leaves", "_newest", "_opened", "_times", "_total", "limit")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._times: list[float] = []
        self._counts: list[int] = []
        self._total = 0
        self._opened = -math.inf  # when the newest entry counted its first
        # Copies of the ends, so that the common call compares two numbers and touches no list.
        self._newest = -math.inf
        self._leaves = math.inf

    def retry_at(self, now: float, cost: int) -> float:
        """0.0 if ``cost`` more fit at ``now``, else the first time at which they will.

        A cost above the whole amount never fits; its answer is a window from now, when a smaller one surely does.
        """
        if now >= self._leaves or now < self._newest:
            self._settle(now)
        excess = self._total + cost - self.limit.amount
        return 0.0 if excess <= 0 else self._freed_at(excess, now)

    def add(self, now: float, cost: int) -> None:
        """Count ``cost``, even past the limit."""
        if now >= self._leaves or now < self._newest:
            self._settle(now)
        self._total += cost
        if self._joins(now):
            self._times[-1] = now
            self._counts[-1] += cost
        else:
            self._times.append(now)
            self._counts.append(cost)
            self._opened = now
        self._mark_ends()

    def idle(self, now: float) -> bool:
        """True if nothing is counted any more."""
        return not self._times or self._times[-1] + self.limit.seconds <= now

    def dump(self) -> WindowState:
        """The state as a JSON value. It does not depend on the amount, so a changed limit keeps what was counted."""
        return [list(self._times), list(self._counts), self._opened if self._times else 0.0]

    def restore(self, state: object) -> None:
        """Take up what ``dump`` gave; ValueError if it is not that."""
        times, counts, opened = _checked(state)
        self._times, self._counts, self._total = times, counts, sum(counts)
        self._opened = opened if times else -math.inf
        self._mark_ends()

    def _joins(self, now: float) -> bool:
        """Whether a count at ``now`` joins the newest entry. Whenever it does, that entry leaves with its latest count."""
        if not self._times:
            return False
        if now == self._newest:
            return True
        return len(self._times) >= EXACT and now - self._opened < self.limit.seconds / COARSE

    def _freed_at(self, excess: int, now: float) -> float:
        for time, count in zip(self._times, self._counts, strict=True):
            excess -= count
            if excess <= 0:
                return time + self.limit.seconds
        return now + self.limit.seconds

    def _settle(self, now: float) -> None:
        """Drop what has left the window; what lies in the future (the clock went back) happened now, at the latest."""
        gone = 0
        while gone < len(self._times) and self._times[gone] + self.limit.seconds <= now:
            self._total -= self._counts[gone]
            gone += 1
        del self._times[:gone], self._counts[:gone]
        future = 0
        while self._times and self._times[-1] > now:
            self._times.pop()
            future += self._counts.pop()
        if future:
            self._times.append(now)
            self._counts.append(future)
            self._opened = now
        self._mark_ends()

    def _mark_ends(self) -> None:
        if self._times:
            self._newest = self._times[-1]
            self._leaves = self._times[0] + self.limit.seconds
        else:
            self._newest, self._leaves = -math.inf, math.inf


def _checked(state: object) -> tuple[list[float], list[int], float]:
    """The parts of a state that ``dump`` could have given."""
    match state:
        case [list(times), list(counts), int() | float() as opened] if len(times) == len(counts) <= MAX_ENTRIES:
            pass
        case _:
            raise ValueError("the state of an hour's or a day's limit is times, counts and an opening time")
    if not all(_is_time(time) for time in [*times, opened]) or any(a > b for a, b in pairwise(times)):
        raise ValueError("the times of a limit's state must grow")
    if not all(isinstance(count, int) and not isinstance(count, bool) and count > 0 for count in counts):
        raise ValueError("the counts of a limit's state must be positive")
    return [float(time) for time in times], list(counts), float(opened)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
