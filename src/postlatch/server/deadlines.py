"""When a client has had its time: idle, endless, trickling, deaf. Pure: the loop's time is an argument.

Time runs until a *whole* command has come. A client that sends one octet every ten seconds moves nothing, and is idle.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

WINDOW: Final = 30.0  # seconds over which the pace of a body is measured: an average over its whole length could be saved up
HURRIED_WINDOW: Final = 10.0  # under stress
DEAF: Final = 60.0  # seconds for a client to make room for our replies
LINGER: Final = 10.0  # seconds from our last words to the end of the connection, whether they were read or not


class Late(Enum):
    """What time it is for."""

    IDLE = "idle"
    TOTAL = "session time"
    SLOW_BODY = "slow body"
    SLOW_READER = "slow reader"
    LINGERS = "lingers"


class Timed(Protocol):
    """What is looked at of a connection. Times are the loop's."""

    started: float
    last_read: float  # a whole command, or a piece of a body
    body_started: float
    body_octets: int

    @property
    def in_body(self) -> bool:
        """The next octets belong to a body."""
        ...

    @property
    def in_transaction(self) -> bool:
        """A message is on its way in."""
        ...


class Deadlines:
    """Of one connection. The owner tells it of the moments that it cannot see in a ``Timed``."""

    __slots__ = ("_window_octets", "_window_start", "closed_at", "deaf_since")

    def __init__(self) -> None:
        self.closed_at: float | None = None
        self.deaf_since: float | None = None
        self._window_start = 0.0
        self._window_octets = 0

    def excuse(self, connection: Timed, now: float) -> None:
        """It is we who are slow: neither the wait nor the pace counts."""
        connection.last_read = now
        self._window_start, self._window_octets = now, connection.body_octets

    def look(self, connection: Timed, now: float, *, idle: float, total: float, rate: int, hurried: bool) -> Late | None:
        """What the connection is late for, or None. ``idle`` is what holds for it now; ``hurried``: under stress."""
        if self.closed_at is not None:
            return Late.LINGERS if now - self.closed_at > LINGER else None
        if self.deaf_since is not None and now - self.deaf_since > min(idle, DEAF):
            return Late.SLOW_READER
        if now - connection.last_read > idle:
            return Late.IDLE
        age = now - connection.started
        if age > 2 * total or (age > total and not connection.in_transaction):
            return Late.TOTAL
        if connection.in_body and self._trickles(connection, now, rate, HURRIED_WINDOW if hurried else WINDOW):
            return Late.SLOW_BODY
        return None

    def _trickles(self, connection: Timed, now: float, rate: int, window: float) -> bool:
        if self._window_start < connection.body_started:
            self._window_start, self._window_octets = connection.body_started, 0
        elapsed = now - self._window_start
        if elapsed <= window:
            return False
        came = connection.body_octets - self._window_octets
        self._window_start, self._window_octets = now, connection.body_octets
        return came < rate * elapsed
