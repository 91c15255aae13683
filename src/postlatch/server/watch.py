"""The once-a-second look at a connection: is it late, is it idle, what is it doing?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from postlatch.model.reply import Reply
from postlatch.server.deadlines import Late
from postlatch.server.turns import TRUSTED

if TYPE_CHECKING:
    from postlatch.server.connection import Connection

_LATE = {
    Late.IDLE: Reply(421, "4.4.2", "Idle for too long; closing"),
    Late.TOTAL: Reply(421, "4.4.2", "Session lasted too long; closing"),
    Late.SLOW_BODY: Reply(421, "4.4.2", "Too slow; closing"),
}
_MAKES_ROOM = Reply(421, "4.3.2", "Too many connections here and yours is idle; try again later")


class Idler(NamedTuple):
    """A connection that can make room for others (``overload.Candidate``)."""

    connection: Connection
    idle_since: float
    vouched: bool


def check_time(connection: Connection, now: float) -> None:
    """Cut it off if it is late. ``now`` is the loop's time."""
    services, deadlines = connection.services, connection.deadlines
    limits, load = services.session, services.load
    ours = connection.queued or connection.session.waiting  # it is we who are slow
    if ours and deadlines.closed_at is None and not connection.upgrading:
        deadlines.excuse(connection, now)
    hurried = load.stress.active and connection.kind != TRUSTED
    idle = min(limits.idle, load.rules.idle) if hurried and not connection.mail.vouched else limits.idle
    late = deadlines.look(connection, now, idle=idle, total=limits.total, rate=limits.data_rate, hurried=hurried)
    if late is not None:
        _time_out(connection, late, hurried=hurried)


def _time_out(connection: Connection, late: Late, *, hurried: bool) -> None:
    if late is Late.SLOW_READER or (hurried and late is not Late.LINGERS):
        connection.shed(late.value.replace(" ", "_"))
    if connection.upgrading or late in {Late.SLOW_READER, Late.LINGERS}:
        connection.abort()  # what we would say is not read
    else:
        connection.close(_LATE[late])


def idler(connection: Connection) -> Idler | None:
    """None if it need not make room: accounts, clients with a right, messages on their way, and whoever waits for us."""
    if connection.kind == TRUSTED or connection.closing or connection.queued or connection.session.in_body:
        return None
    if connection.session.waiting and not connection.upgrading:
        return None
    return Idler(connection, connection.last_read, connection.mail.vouched)


def make_room(connection: Connection) -> None:
    """The relay is full, and this one is idle."""
    connection.shed("idle")
    if connection.upgrading:
        connection.abort()
        return
    connection.ended("made room for others under stress")
    connection.close(_MAKES_ROOM)


def state_of(connection: Connection) -> str:
    """What it is doing, for the metrics."""
    if connection.closing:
        return "closing"
    if connection.upgrading:
        return "handshake"
    if connection.queued:
        return "queued"
    session = connection.session
    if session.waiting:
        return "answering"
    return "body" if session.in_body else "transaction" if session.in_transaction else "idle"
