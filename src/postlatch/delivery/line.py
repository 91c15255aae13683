"""Three classes of mail in one line: urgent before normal before bulk, and yet none of them stands still.

Of 21 turns urgent mail has 16, normal mail four and bulk one. Turns that a class does not use go to the others, so that the
shares matter only while there is too much of everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from postlatch.spool.priority import BULK, NORMAL, URGENT

T = TypeVar("T")

SHARES: Final = (16, 4, 1)


class Turns:
    """Whose turn it is. Each of three has its share of the turns; who is not ready leaves them to the others."""

    __slots__ = ("_bulk", "_normal", "_urgent")

    def __init__(self) -> None:
        self._urgent, self._normal, self._bulk = SHARES

    def pick(self, urgent: bool, normal: bool, bulk: bool) -> int:
        """0, 1 or 2, of those that are ready; -1 if none is."""
        if urgent and self._urgent:
            self._urgent -= 1
            return URGENT
        if normal and self._normal:
            self._normal -= 1
            return NORMAL
        if bulk and self._bulk:
            self._bulk -= 1
            return BULK
        if not (urgent or normal or bulk):
            return -1
        self._urgent, self._normal, self._bulk = SHARES
        return self.pick(urgent, normal, bulk)


class Line(Generic[T]):
    """Things that wait, first come first served within their class. Every step costs the same, however many wait.

    ``size``: how many.
    """

    __slots__ = ("_bulk", "_normal", "_turns", "_urgent", "size")

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._normal: deque[T] = deque()
        self._bulk: deque[T] = deque()
        self._turns = Turns()
        self.size = 0

    def __iter__(self) -> Iterator[T]:
        yield from self._urgent
        yield from self._normal
        yield from self._bulk

    def put(self, thing: T, urgency: int) -> None:
        """To the end of its class."""
        self.size += 1
        if urgency == NORMAL:
            self._normal.append(thing)
        elif urgency < NORMAL:
            self._urgent.append(thing)
        else:
            self._bulk.append(thing)

    def first(self) -> int:
        """The most urgent class of which something waits; -1 if nothing does."""
        if self._urgent:
            return URGENT
        if self._normal:
            return NORMAL
        return BULK if self._bulk else -1

    def take(self, least: int = BULK) -> T | None:
        """The next whose turn it is, of the classes down to ``least``; None if none of these waits."""
        if self._normal and not self._urgent and not self._bulk and least >= NORMAL:  # the usual case
            self.size -= 1
            return self._normal.popleft()
        index = self._turns.pick(bool(self._urgent), least >= NORMAL and bool(self._normal), least >= BULK and bool(self._bulk))
        if index < 0:
            return None
        self.size -= 1
        if index == NORMAL:
            return self._normal.popleft()
        return self._urgent.popleft() if index == URGENT else self._bulk.popleft()

    def take_all(self) -> list[T]:
        """All that wait, the most urgent first; nothing waits any more."""
        things = list(self)
        self._urgent.clear()
        self._normal.clear()
        self._bulk.clear()
        self.size = 0
        return things

    def sizes(self) -> tuple[int, int, int]:
        """How many of each class wait."""
        return len(self._urgent), len(self._normal), len(self._bulk)
