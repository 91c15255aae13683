"""Can the relay take a message just now? Asked at MAIL and before each body, before the policy; every no is a 4xx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postlatch.model.reply import Reply
from postlatch.model.verdict import Defer
from postlatch.server.turns import TRUSTED

if TYPE_CHECKING:
    from postlatch.server.connection import Connection

UNDECIDED: Final = Reply(451, "4.3.0", "Cannot decide now; try again later")
NO_SPACE: Final = Reply(452, "4.3.1", "Not enough disk space; try again later")
_NO_MEMORY: Final = Reply(452, "4.3.1", "Too much mail at once; try again later")
_SLOW_DISK: Final = Reply(451, "4.3.0", "The disk does not keep up; try again later")
_SHUTTING_DOWN: Final = Reply(421, "4.3.2", "Shutting down; try again soon")
MEMORY_GONE: Final = Reply(421, "4.3.1", "Too much mail at once; try again later")


def unready(connection: Connection, size: int) -> Defer | None:
    """Why a message of ``size`` octets (0: not said) must wait, or None."""
    services = connection.services
    if services.draining:
        return Defer(_SHUTTING_DOWN, "draining", "the relay is shutting down", close=True)
    if not services.free_space(size):
        return Defer(NO_SPACE, "disk space", "the disk is nearly full")
    if not services.store_healthy():
        return Defer(UNDECIDED, "store", "the database does not write")
    if why := services.load.backlog:
        connection.shed("store")
        return Defer(_SLOW_DISK, "store", why)
    if why := services.load.flight.shortage(size, stranger=connection.kind != TRUSTED):
        connection.shed("memory")
        return Defer(_NO_MEMORY, "memory", why)
    return None
