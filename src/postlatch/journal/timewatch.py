"""Judging the times of the journal: order is by number, and ``at`` may not run backwards without a reason on record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from postlatch.journal.times import when

MAX_REVERSAL = 60.0  # seconds that `at` may go back without a clock.jumped event
# The relay journals a jump when it notices it, so that some events stand between the two, on either side.
JUMP_WINDOW = 120.0  # seconds of journal time


class _Reversal(NamedTuple):
    seq: int
    before: float
    after: float

    def __str__(self) -> str:
        return f"The clock went back from {when(self.before)} to {when(self.after)} at event {self.seq}, and no event says why."


class TimeWatch:
    """Fed with every event in order; collects what the report says about time."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self.failures: list[str] = []
        self._last = float("-inf")
        self._open: list[_Reversal] = []
        self._explained_until = float("-inf")

    def feed(self, seq: int, at: float, name: str) -> None:
        """The next event: its number, time and name."""
        reversed_ = at < self._last - MAX_REVERSAL
        if name == "clock.jumped":
            self.findings.append(f"The clock was moved before event {seq} ({when(at)}); the journal says so.")
            self._open.clear()
            self._explained_until = at + JUMP_WINDOW
        elif reversed_ and self._last <= self._explained_until:
            self._explained_until = float("-inf")  # one event explains one reversal
        elif reversed_:
            self._open.append(_Reversal(seq, self._last, at))
        elif self._open:
            self._give_up(at)
        self._last = at

    def _give_up(self, at: float) -> None:
        late = [reversal for reversal in self._open if at > reversal.after + JUMP_WINDOW]
        self.failures.extend(map(str, late))
        self._open = [reversal for reversal in self._open if reversal not in late]

    def end(self) -> Iterator[str]:
        """Call last: the failures, with the reversals that nothing explained to the end."""
        yield from self.failures
        yield from map(str, self._open)
