"""Mail on its way in: how much of it is in memory and not yet on the disk, and may there be more? Pure counting."""

from __future__ import annotations

from typing import Final

from postlatch.server.caps import Caps

# Octets: a longer body is written to a file as it comes, and only what is being read stays in memory.
INLINE: Final = 256 * 1024
_FLOOR: Final = 16 * 1024  # what a message counts at least, and what is left of it once it is a file
_HARD: Final = 1.25  # of the budget: messages that were begun within it may grow to this


class Held:
    """What one message holds."""

    __slots__ = ("committing", "octets", "stranger")

    def __init__(self, octets: int, *, stranger: bool) -> None:
        self.octets = octets
        self.stranger = stranger
        self.committing = False


class Flight:
    """Counts of the whole relay, held against the caps and the number of messages that may wait for the disk."""

    def __init__(self, caps: Caps, uncommitted: int) -> None:
        self.caps = caps
        self.uncommitted = uncommitted
        self.octets = 0
        self.bodies = 0
        self.committing = 0
        self._bodies_of_strangers = 0

    def shortage(self, size: int, *, stranger: bool) -> str:
        """Why a message of ``size`` octets (0: not said) may not begin now; empty if it may."""
        octets, bodies = self.caps.octets, self.caps.bodies
        if self.octets + _estimate(size) > (octets.strangers if stranger else octets.most):
            return f"{self.octets} octets of mail are in memory, of {octets.most}"
        if self.bodies >= bodies.most or (stranger and self._bodies_of_strangers >= bodies.strangers):
            return f"{self.bodies} messages are being received at once, of {bodies.most}"
        return ""

    @property
    def backlog(self) -> str:
        """Why the disk cannot take more; empty if it can."""
        return f"{self.committing} messages wait for the disk" if self.committing >= self.uncommitted else ""

    def begin(self, size: int, *, stranger: bool) -> Held:
        """A body begins. Every one needs exactly one ``end``."""
        held = Held(_estimate(size), stranger=stranger)
        self.octets += held.octets
        self.bodies += 1
        self._bodies_of_strangers += stranger
        return held

    def grow(self, held: Held, octets: int) -> bool:
        """So much of the body has come in all. False: there is no memory for it, so the session must end."""
        wanted = octets if octets <= INLINE else _FLOOR
        if wanted > held.octets or octets > INLINE:
            self.octets += wanted - held.octets
            held.octets = wanted
        return not held.stranger or self.octets <= self.caps.octets.most * _HARD

    def commit(self, held: Held) -> None:
        """The body is whole and waits for the disk."""
        held.committing = True
        self.committing += 1

    def end(self, held: Held) -> None:
        """It is on the disk, or nothing came of it."""
        self.octets -= held.octets
        self.bodies -= 1
        self._bodies_of_strangers -= held.stranger
        self.committing -= held.committing

    def fullest(self) -> float:
        """The used share of the budget, from 0."""
        cap = self.caps
        return max(
            self.octets / cap.octets.most, self._bodies_of_strangers / cap.bodies.strangers, self.bodies / cap.bodies.most
        )


def _estimate(size: int) -> int:
    return min(max(size, _FLOOR), INLINE)
