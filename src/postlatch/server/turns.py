"""Whose turn is it? Work is cut into small pieces, and each class of clients has its own part of every turn of the loop.

A turn of the loop should take some milliseconds, whatever the clients send: a message of somebody who logged in waits for at
most a turn at each of its commands. So a session is worked on for some commands and then waits behind the others of its class.
While there is little to do nobody waits: what comes is worked on at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

TRUSTED, SUBMITTER, STRANGER = 0, 1, 2  # logged in or with a network right; on a submission listener; anybody else
QUANTUM: Final = 25  # commands (or pieces of a body) of one session, then it is somebody else's turn
BUDGETS: Final[tuple[int, ...]] = (200, 100, 60)  # commands of one turn of the loop, by class: about 100 µs each
_SLOWED: Final = 5  # of strangers, while the disk does not keep up


class Waiting(Protocol):
    """A session that waits for its turn."""

    def take_turn(self) -> None:
        """Go on; may ask for another turn."""
        ...


class Turns:
    """One for the relay. ``call_soon`` runs its argument in the next turn of the loop."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._spent = [0, 0, 0]
        self._queues: tuple[deque[Waiting], ...] = (deque(), deque(), deque())
        self._scheduled = False
        self.slowed = False  # strangers get less, since the disk is behind

    def may_go(self, kind: int) -> bool:
        """May a session of this class be worked on at once? Else it must ``wait``."""
        return not self._queues[kind] and self._spent[kind] < self._budget(kind)

    def spend(self, kind: int, commands: int) -> None:
        """So much was just done."""
        self._spent[kind] += commands
        if not self._scheduled:
            self._schedule()

    def wait(self, session: Waiting, kind: int) -> None:
        """``session.take_turn`` will be called once, when it is its turn."""
        self._queues[kind].append(session)
        if not self._scheduled:
            self._schedule()

    def waiting(self, kind: int) -> int:
        """How many sessions of this class wait."""
        return len(self._queues[kind])

    def _budget(self, kind: int) -> int:
        return _SLOWED if kind == STRANGER and self.slowed else BUDGETS[kind]

    def _schedule(self) -> None:
        self._scheduled = True
        self._call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._scheduled = False
        self._spent = [0, 0, 0]
        for kind, queue in enumerate(self._queues):
            # Only those that wait now: who asks again in its turn has had it.
            for _ in range(len(queue)):
                if self._spent[kind] >= self._budget(kind):
                    break
                queue.popleft().take_turn()
        if any(self._queues) and not self._scheduled:
            self._schedule()
