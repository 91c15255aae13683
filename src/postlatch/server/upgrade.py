"""STARTTLS on one connection: a TLS session and a turn at the gate first, then the handshake."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from postlatch.model.envelope import Role
from postlatch.model.reply import Reply
from postlatch.smtp import replies

if TYPE_CHECKING:
    from postlatch.server.connection import Connection

TLS_GOODBYE = 3.0  # seconds for a client to answer our close_notify; the loop's default of 30 would hold up every stop
HANDSHAKE_SECONDS = 30
_NO_TLS = Reply(421, "4.3.2", "Too many TLS sessions here; try again later")


def refused_tls(connection: Connection) -> bool:
    """True if there is no room for another TLS session: the client has been told, in the place of the 220.

    421 and not 454 (RFC 3207 section 4): mail must not go on in plaintext because we are busy.
    """
    load, ticket = connection.services.load, connection.ticket
    if ticket is None:
        return False
    full = load.gate(stranger=ticket.stranger).full
    if not full and load.admission.take_tls(ticket) is None:
        return False
    connection.shed("handshake" if full else "tls")
    # The 220 is in the engine's output, and nobody has seen it.
    output = connection.session.output().removesuffix(replies.READY_FOR_TLS.encode())
    connection.say(output + _NO_TLS.encode())
    connection.session.shutdown(_NO_TLS)
    return True


async def secure(connection: Connection, transport: asyncio.Transport, context: ssl.SSLContext) -> asyncio.Transport | None:
    """The encrypted transport, or None: then the connection has been cut."""
    gate = connection.services.load.gate(stranger=connection.port.role is Role.MX)

    def give_up() -> None:
        connection.shed("handshake")
        connection.abort()

    loop = asyncio.get_running_loop()
    slot = await gate.enter(connection.client_prefix, loop.time, give_up)
    try:
        if transport.is_closing():  # it went away while it waited for its turn
            connection.abort()
            return None
        secured = await loop.start_tls(
            transport,
            connection,
            context,
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=TLS_GOODBYE,
        )
    except (OSError, ssl.SSLError, TimeoutError):
        connection.ended("TLS handshake failed")
        connection.abort()
        return None
    finally:
        gate.leave(slot)
    if secured is None or connection.closing or secured.get_extra_info("cipher") is None:
        # uvloop's start_tls returns as if all were well when the connection is lost in the middle of the handshake.
        connection.abort()
        return None
    return secured
