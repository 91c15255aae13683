"""Is it them, or is it us? When host after host is silent and none answers, it is our own network that is down.

Then nothing but a few probes leaves until somebody answers: what waits keeps its attempts, and nobody's mail is late by hours
for an outage of minutes. A refused connection is an answer: it came over the network. Time and randomness are arguments.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

SILENT_HOSTS: Final = 8  # different next hops without an answer, and none with one
SILENT_SECONDS: Final = 5.0  # from the first of them to the last
PROBES: Final = 2  # attempts at a time while the network is down
HOPEFUL_WAIT: Final = (
    2.0  # seconds between attempts at next hops that have not failed yet: it may be all the others that are dead
)
WAITS: Final[tuple[float, ...]] = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)  # seconds between probes


class Outlook:
    """What the silence of next hops comes to. ``down`` while our own network seems to be."""

    def __init__(self) -> None:
        self.down = False
        self.down_since = 0.0
        self.silent = False  # somebody was, since the last answer: only then is an answer news
        self._silent: set[Hashable] = set()
        self._since = 0.0
        self._probed = 0
        self._left = 0
        self._next = 0.0
        self._next_hopeful = 0.0

    def silence(self, hop: Hashable, now: float) -> bool:
        """``hop`` gave no answer of any kind; True if the network has just been found to be down."""
        if not self.silent:
            self.silent, self._since = True, now
        if len(self._silent) < SILENT_HOSTS:
            self._silent.add(hop)
        if self.down or len(self._silent) < SILENT_HOSTS or now - self._since < SILENT_SECONDS:
            return False
        self.down, self.down_since = True, now
        self._probed, self._left, self._next = 0, 0, now + WAITS[0]
        return True

    def answer(self) -> bool:
        """Somebody answered; True if the network was down until now."""
        was_down, self.down = self.down, False
        self.silent = False
        self._silent.clear()
        return was_down

    def probe(self, now: float, *, hopeful: bool) -> bool:
        """True if one attempt may be made although the network is down. ``hopeful``: at a hop that has not failed yet."""
        if hopeful and now >= self._next_hopeful:
            self._next_hopeful = now + HOPEFUL_WAIT
            return True
        if now >= self._next:
            self._next = now + WAITS[min(self._probed, len(WAITS) - 1)]
            self._probed += 1
            self._left = PROBES
        if not self._left:
            return False
        self._left -= 1
        return True
