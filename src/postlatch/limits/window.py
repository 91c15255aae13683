"""Hours and days: a sliding window that never admits more than its amount in any hour or day, wherever the hour starts.

It is a log of when how much was counted. The first ``EXACT`` entries are exact; beyond them what falls within a sixty-fourth
of the window joins the newest entry, whose time moves forward. So the log is bounded whatever the amount, and where it is
coarse it errs towards refusing, by 1.6 % of the window at most, never towards admitting one too many.
"""

from __future__ import annotations

import base64
import math
import struct
from itertools import pairwise
from typing import Final

from postlatch.limits.limit import Limit

EXACT: Final = 64
COARSE: Final = 64
MAX_ENTRIES: Final = EXACT + COARSE + 2

WindowState = list[str | list[int]]


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
        if now == self._newest or (len(self._times) >= EXACT and now - self._opened < self.limit.seconds / COARSE):
            # Joined, the newest entry leaves the window with the latest of its counts.
            self._times[-1] = now
            self._counts[-1] += cost
            self._newest = now
        else:
            self._append(now, cost)

    def idle(self, now: float) -> bool:
        """True if nothing is counted any more."""
        return not self._times or self._times[-1] + self.limit.seconds <= now

    def dump(self) -> WindowState:
        """The state as a JSON value. It does not depend on the amount, so a changed limit keeps what was counted.

        The times are packed (little-endian doubles in base64, the opening time of the newest entry last): a busy account is
        stored each second, and writing floats as decimals would take five times as long.
        """
        times = [*self._times, self._opened] if self._times else []
        return [base64.b64encode(struct.pack(f"<{len(times)}d", *times)).decode("ascii"), self._counts]

    def restore(self, state: object) -> None:
        """Take up what ``dump`` gave; ValueError if it is not that."""
        self._times, self._opened, self._counts = _unpacked(state)
        self._total = sum(self._counts)
        self._mark_ends()

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
        if future and self._times and self._times[-1] == now:
            self._counts[-1] += future
            self._opened = now
        elif future:
            self._append(now, future)
        self._mark_ends()

    def _append(self, now: float, count: int) -> None:
        self._times.append(now)
        self._counts.append(count)
        self._opened = now
        self._mark_ends()

    def _mark_ends(self) -> None:
        if self._times:
            self._newest = self._times[-1]
            self._leaves = self._times[0] + self.limit.seconds
        else:
            self._newest, self._leaves = -math.inf, math.inf


def _unpacked(state: object) -> tuple[list[float], float, list[int]]:
    """Times, opening time and counts of a state that ``dump`` could have given."""
    match state:
        case [str(packed), list(counts)] if len(counts) <= MAX_ENTRIES:
            pass
        case _:
            raise ValueError("the state of an hour's or a day's limit is packed times and counts")
    if not all(type(count) is int and 0 < count < 1 << 53 for count in counts):
        raise ValueError("the counts of a limit's state must be positive")
    raw = base64.b64decode(packed, validate=True)
    if len(raw) != (8 * (len(counts) + 1) if counts else 0):
        raise ValueError("a limit's state has as many times as counts")
    if not counts:
        return [], -math.inf, []
    *times, opened = struct.unpack(f"<{len(counts) + 1}d", raw)
    if not all(0 <= time < 1e12 for time in (*times, opened)) or any(a >= b for a, b in pairwise(times)) or opened > times[-1]:
        raise ValueError("the times of a limit's state must grow")
    return times, opened, list(counts)
