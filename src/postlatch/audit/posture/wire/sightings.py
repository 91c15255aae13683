"""Who was looked at already: several families ask about the same place, and each place is asked once."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final

from postlatch.audit.posture.wire.line import Failure, Greeting, Place, connected
from postlatch.audit.posture.wire.scan import Scanner, contexts
from postlatch.audit.posture.wire.sight import Sight
from postlatch.model.clock import Clock
from postlatch.model.envelope import IPAddress

_AT_ONCE: Final = 3  # connections to one address: a server that counts them must not take us for an attack
_ONE: Final = 8.0  # seconds for one conversation
_SPEAK_FIRST: Final = frozenset({25, 587})
_TLS_FIRST: Final = frozenset({465})  # RFC 8314 section 7.3
_SILENT: Final = 3.0  # seconds


class Sightings:
    """``deadline`` (of the clock's ``monotonic``) is when the last conversation must have ended.

    On ports of ``speak_first`` a mail server greets; on others one that says nothing for ``silent`` seconds has TLS first.
    """

    def __init__(
        self,
        clock: Clock,
        dice: Random,
        *,
        helo: str,
        deadline: float,
        authorities: str | None = None,
        speak_first: frozenset[int] = _SPEAK_FIRST,
        silent: float = _SILENT,
    ) -> None:
        self._clock = clock
        self._dice = dice
        self._helo = helo
        self._deadline = deadline
        self._speak_first = speak_first
        self._silent = silent
        self._contexts = contexts(authorities)
        self._turns: dict[IPAddress, asyncio.Semaphore] = {}
        self._scans: dict[Place, asyncio.Task[Sight]] = {}

    async def see(self, place: Place) -> Sight:
        """All about TLS there."""
        if place not in self._scans:
            silent = None if place.port in self._speak_first else self._silent
            sight = Sight(place, Greeting(implicit=place.port in _TLS_FIRST))
            scanner = Scanner(sight, self._helo, silent, self._left, self._dice, *self._contexts, self._turn(place.address))
            self._scans[place] = asyncio.create_task(scanner.scan())
        return await asyncio.shield(self._scans[place])

    async def reach(self, place: Place) -> Failure | None:
        """Whether a connection is possible there; None if it is."""
        try:
            async with self._turn(place.address), connected(place, self._left):
                return None
        except Failure as failure:
            return failure

    async def close(self) -> None:
        """End what still runs."""
        running = [task for task in self._scans.values() if not task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _left(self) -> float:
        return max(0.001, min(_ONE, self._deadline - self._clock.monotonic()))

    def _turn(self, address: IPAddress) -> asyncio.Semaphore:
        return self._turns.setdefault(address, asyncio.Semaphore(_AT_ONCE))
