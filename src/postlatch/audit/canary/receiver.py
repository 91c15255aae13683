"""The built-in canary: an SMTP receiver for mail of an audit, with no relay and no spool, which forgets what it was sent."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import ip_address
from typing import Final, cast

from postlatch.audit.canary.session import Limits, Message, Session
from postlatch.audit.canary.tokens import Envelope, read_message
from postlatch.audit.canary.values import Arrival, CanaryError
from postlatch.audit.printable import printable
from postlatch.model.clock import Clock

_BUSY: Final = b"421 4.7.0 Too many connections\r\n"
_LATE: Final = b"421 4.4.2 Too slow\r\n"
_MISTAKES: Final = {
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE: use a higher port, or give it that right",
    errno.EADDRINUSE: "something else listens there: end it, or use another port",
    errno.EADDRNOTAVAIL: "this machine does not have that address: use one that `ip address` shows",
}


class Receiver:
    """Takes mail for ``domains``; for any domain if none is named, which is allowed on loopback alone.

    ``run``: keep only what carries a token of that audit; empty: keep all. ``told`` gets each arrival instead.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        run: str = "",
        domains: Iterable[str] = (),
        limits: Limits | None = None,
        told: Callable[[Arrival], None] | None = None,
    ) -> None:
        self.connections: set[_Connection] = set()
        self.clients: Counter[str] = Counter()
        self.limits = limits or Limits()
        self.host = ""
        self.port = 0
        self._clock = clock
        self._run = run
        self._domains = frozenset(domain.lower().strip(".") for domain in domains)
        self._told = told
        self._server: asyncio.Server | None = None
        self._arrivals: list[Arrival] = []

    @property
    def address(self) -> str:
        """Where it listens: ``127.0.0.1:2525``, ``[::1]:2525``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def start(self, host: str, port: int) -> None:
        """Listen on an address of this machine; port 0: any. CanaryError says why it cannot."""
        self.host, self.port = ("127.0.0.1" if host == "localhost" else host), port
        try:
            loopback = ip_address(self.host).is_loopback
        except ValueError:
            raise CanaryError(f"{printable(host)} is no address to listen on: use an IPv4 or IPv6 address") from None
        if not loopback and not self._domains:
            raise CanaryError(
                f"The canary must not take mail for anybody at {self.address}, where others reach it: name its domain"
            )
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Connection(self), self.host, port)
        except (OSError, OverflowError) as error:
            raise CanaryError(f"The canary cannot listen on {self.address}: {_mistake(error)}") from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def arrivals(self) -> list[Arrival]:
        """All so far, oldest first."""
        return list(self._arrivals)

    async def stop(self) -> None:
        """Listen no more, and hang up on whoever is there."""
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.hang_up()
            await self._server.wait_closed()
            self._server = None

    def session(self, client: str) -> Session:
        """A new conversation with a client."""
        return Session(self._domains, self.limits, partial(self._take, client))

    def _take(self, client: str, message: Message) -> None:
        envelope = Envelope(message.sender, message.recipient, client)
        arrival = read_message(message.octets, self._clock.now(), self._run, envelope)
        if self._run and not arrival.token:
            return
        if self._told is not None:
            self._told(arrival)
        elif len(self._arrivals) < self.limits.arrivals:
            self._arrivals.append(arrival)


class _Connection(asyncio.Protocol):
    """Octets between a client and its session, and the time that it has."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._ends = self._loop.time() + receiver.limits.session
        self._seen = 0  # octets since the last look, and progress then
        self._progress = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        receiver = self._receiver
        self._session = receiver.session(self._client)
        receiver.connections.add(self)
        receiver.clients[self._client] += 1
        self._timer = self._loop.call_later(receiver.limits.idle, self._look)
        if (
            len(receiver.connections) > receiver.limits.connections
            or receiver.clients[self._client] > receiver.limits.of_one_client
        ):
            self._say_last(_BUSY)
            return
        self._transport.write(self._session.greet())

    def data_received(self, data: bytes) -> None:
        self._seen += len(data)
        if self._transport.is_closing():
            return
        answers = self._session.feed(data)
        if self._session.closed:
            self._say_last(answers)
        else:
            self._transport.write(answers)

    def pause_writing(self) -> None:
        """It asks without listening: then it is not heard either."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ends
        self._timer.cancel()
        self._receiver.connections.discard(self)
        self._receiver.clients[self._client] -= 1
        if self._receiver.clients[self._client] <= 0:
            del self._receiver.clients[self._client]

    def hang_up(self) -> None:
        """At once."""
        self._transport.abort()

    def _look(self) -> None:
        """Was there a command since the last look, or a good part of a message?"""
        idle = self._session.progress == self._progress and self._seen < 1024
        if self._transport.is_closing() or self._loop.time() >= self._ends:
            self.hang_up()
            return
        self._timer = self._loop.call_later(self._receiver.limits.idle, self._look)
        if idle:
            self._say_last(_LATE)
        self._progress, self._seen = self._session.progress, 0

    def _say_last(self, octets: bytes) -> None:
        self._transport.write(octets)
        self._transport.close()  # what is not sent by the next look never will be


def _mistake(error: OSError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return "a port is a number from 1 to 65535"
    number = error.errno or 0
    return _MISTAKES.get(number, printable(error.strerror or str(error)))
