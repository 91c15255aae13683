"""TLS handshakes are the dearest thing that a stranger can ask for: only so many at once, and no client may hold them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

PATIENCE: Final = 5.0  # seconds that a handshake may take while others wait; else the transport's own time-out ends it
WAITING: Final = 16  # times the slots: more would wait longer than clients do
_SHARE: Final = 4  # one client may have this part of the slots
_SCANNED: Final = 256  # waiting ones that are looked at for one whose client has a share left


class Slot(NamedTuple):
    """One handshake under way. ``cancel`` ends it."""

    prefix: str
    since: float
    cancel: Callable[[], object]


class _Waiter(NamedTuple):
    prefix: str
    turn: asyncio.Future[None]


class HandshakeGate:
    """For one class of listeners. ``enter`` and ``leave`` embrace a handshake."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._active: set[Slot] = set()
        self._taken = 0  # slots, with those that were promised to somebody who waited
        self._by_prefix: dict[str, int] = {}
        self._waiting: list[_Waiter] = []

    def __len__(self) -> int:
        return len(self._active)

    @property
    def full(self) -> bool:
        """So many wait that another would wait in vain."""
        return len(self._waiting) >= self.slots * WAITING

    async def enter(self, prefix: str, since: Callable[[], float], cancel: Callable[[], object]) -> Slot:
        """Wait for a slot. ``since`` gives the time at which it was got."""
        if not self._fits(prefix):
            waiter = _Waiter(prefix, asyncio.get_running_loop().create_future())
            self._waiting.append(waiter)
            try:
                await waiter.turn
            except asyncio.CancelledError:
                if waiter.turn.done() and not waiter.turn.cancelled():
                    self._give_back(prefix)
                else:
                    self._waiting.remove(waiter)
                raise
        else:
            self._take(prefix)
        slot = Slot(prefix, since(), cancel)
        self._active.add(slot)
        return slot

    def leave(self, slot: Slot) -> None:
        """The handshake is over."""
        self._active.discard(slot)
        self._give_back(slot.prefix)

    def expire(self, now: float) -> int:
        """End what holds others up, the longest first, one for each that waits; how many were ended."""
        slow = sorted((slot for slot in self._active if now - slot.since > PATIENCE), key=lambda slot: slot.since)
        slow = slow[: len(self._waiting)]
        for slot in slow:
            slot.cancel()
        return len(slow)

    def _fits(self, prefix: str) -> bool:
        return self._taken < self.slots and self._by_prefix.get(prefix, 0) < max(1, self.slots // _SHARE)

    def _take(self, prefix: str) -> None:
        self._taken += 1
        self._by_prefix[prefix] = self._by_prefix.get(prefix, 0) + 1

    def _give_back(self, prefix: str) -> None:
        self._taken -= 1
        left = self._by_prefix[prefix] - 1
        if left:
            self._by_prefix[prefix] = left
        else:
            del self._by_prefix[prefix]
        for number, waiter in enumerate(self._waiting[:_SCANNED]):
            if self._fits(waiter.prefix):
                del self._waiting[number]
                self._take(waiter.prefix)
                waiter.turn.set_result(None)
                return
