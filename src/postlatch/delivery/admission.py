"""How fast what has come due is taken from the queue. Time is an argument.

After an outage, or at a start with a great backlog, everything is due at the same moment. It is let in at a rate that doubles
each second while deliveries succeed and falls while they fail, so that a backlog is a slope for us and for the next hops, and
never a wall. Fresh mail does not pass here.
"""

from __future__ import annotations

from typing import Final

FLOOR: Final = 20.0  # messages a second
START: Final = 500.0
MOST: Final = 50_000.0
BURST: Final = 1000.0  # messages that may come at once after a quiet time
_SHRINK: Final = 0.9


class Admission:
    """A bucket of turns that fills at ``rate``."""

    def __init__(self, now: float) -> None:
        self.rate = START
        self._turns = BURST
        self._at = now

    def room(self, now: float) -> int:
        """How many may be taken now."""
        self._turns = min(self._turns + max(now - self._at, 0.0) * self.rate, max(BURST, self.rate))
        self._at = now
        return int(self._turns)

    def took(self, number: int) -> None:
        """So many were."""
        self._turns -= number

    def good(self) -> None:
        """A delivery succeeded."""
        if self.rate < MOST:
            self.rate += 1.0

    def bad(self) -> None:
        """A next hop could not be reached."""
        self.rate = max(FLOOR, self.rate * _SHRINK)

    def stall(self) -> None:
        """Nothing can be delivered: begin anew, slowly."""
        self.rate = FLOOR
        self._turns = 0.0
