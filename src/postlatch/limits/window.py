"""Hours and days: a sliding window that never admits more than its amount in any hour or day, wherever the hour starts.

It is a log of when how much was counted. The first ``EXACT`` entries are exact, so a limit of up to that many decides as if
every event were kept; beyond them what falls within a sixty-fourth of the window joins the newest entry, whose time moves
forward. So the log is bounded whatever the amount, and where it is coarse it errs towards refusing, by 1.6 % of the window at
most, never towards admitting one too many.
"""

from __future__ import annotations

import base64
import math
import sys
from array import array
from itertools import pairwise
from typing import Final

from postlatch.limits.limit import Limit

EXACT: Final = 1024
COARSE: Final = 64
MAX_ENTRIES: Final = EXACT + COARSE + 2

_NEVER: Final = 1 << 62  # more than any count comes to

WindowState = list[str | list[int]]


class Window:
    """The state of one limit of one key."""

    __slots__ = (
        *("_amount", "_counts", "_leaves", "_newest", "_opened", "_seconds", "_times", "_total", "_warn"),
        *("limit", "warned_at"),
    )

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._amount = limit.amount
        self._seconds = limit.seconds
        self._warn = limit.warn or _NEVER
        self.warned_at = 0.0  # when it last said that so many are counted
        self._times = array("d")  # a fifth of the memory of a list: there may be a thousand entries of each of many accounts
        self._counts = array("q")
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
        excess = self._total + cost - self._amount
        return 0.0 if excess <= 0 else self._freed_at(excess, now)

    def add(self, now: float, cost: int) -> bool:
        """Count ``cost``, even past the limit. True if it is time to warn: once a window."""
        newest, times = self._newest, self._times
        if now >= self._leaves or now < newest:
            self._settle(now)
            newest = self._newest
        self._total = total = self._total + cost
        if newest < now and (len(times) < EXACT or now - self._opened >= self._seconds / COARSE):
            times.append(now)
            self._counts.append(cost)
            self._opened = self._newest = now
            if total == cost:  # it is the first
                self._leaves = now + self._seconds
        else:
            # Joined, the newest entry leaves the window with the latest of its counts.
            times[-1] = self._newest = now
            self._counts[-1] += cost
        return total >= self._warn and self._warn_due(now)

    def holds(self, now: float, cost: int) -> bool:
        """Is ``cost`` within twice the amount? So much may be accepted and held where that is chosen."""
        self._settle(now)
        return self._total + cost <= 2 * self._amount

    def used(self, now: float) -> int:
        """How much is counted at ``now``."""
        self._settle(now)
        return self._total

    def _warn_due(self, now: float) -> bool:
        if self.warned_at <= now < self.warned_at + self._seconds:
            return False
        self.warned_at = now
        return True

    def idle(self, now: float) -> bool:
        """True if nothing is counted any more."""
        return not self._times or self._times[-1] + self._seconds <= now

    def dump(self) -> WindowState:
        """The state as a JSON value. It does not depend on the amount, so a changed limit keeps what was counted.

        The times are packed (little-endian doubles in base64, the opening time of the newest entry last): a busy account is
        stored each second, and writing floats as decimals would take five times as long.
        """
        times = array("d", self._times)
        if times:
            times.append(self._opened)
        return [base64.b64encode(_little(times).tobytes()).decode("ascii"), self._counts.tolist()]

    def restore(self, state: object) -> None:
        """Take up what ``dump`` gave; ValueError if it is not that."""
        times, self._opened, counts = _unpacked(state)
        self._times, self._counts = array("d", times), array("q", counts)
        self._total = sum(self._counts)
        self._mark_ends()

    def _freed_at(self, excess: int, now: float) -> float:
        for time, count in zip(self._times, self._counts, strict=True):
            excess -= count
            if excess <= 0:
                return time + self._seconds
        return now + self._seconds

    def _settle(self, now: float) -> None:
        """Drop what has left the window; what lies in the future (the clock went back) happened now, at the latest."""
        gone = 0
        while gone < len(self._times) and self._times[gone] + self._seconds <= now:
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
            self._leaves = self._times[0] + self._seconds
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
    *times, opened = _little(array("d", raw))
    if not all(0 <= time < 1e12 for time in (*times, opened)) or any(a >= b for a, b in pairwise(times)) or opened > times[-1]:
        raise ValueError("the times of a limit's state must grow")
    return times, opened, list(counts)


def _little(times: array[float]) -> array[float]:
    """To little-endian doubles, and back."""
    if sys.byteorder != "little":
        times.byteswap()
    return times
