"""The listening sockets of the relay, and the sessions on them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence

from postlatch.model.reply import Reply
from postlatch.server.acceptor import Acceptor, Spare
from postlatch.server.connection import Connection, ListenerPort
from postlatch.server.keeper import Keeper
from postlatch.server.local import LocalAcceptor
from postlatch.server.services import Services

_BACKLOG = 1024
BANNED_NOW = Reply(421, "4.7.0", "Your address was banned; closing")


class BindError(Exception):
    """An address cannot be bound; the message names the listener, the address and the cause."""


def bind(name: str, address: str) -> socket.socket:
    """A listening TCP socket for ``host:port`` or ``[v6]:port``. IPv6 sockets are IPv6 only: no mapped surprises."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, int(port)))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise BindError(f"listener {name}: cannot bind {address}: {error.strerror}") from error
    sock.setblocking(False)
    return sock


def bound_address(sock: socket.socket) -> str:
    """``host:port`` as bound, with the real port where 0 was asked for."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{host}:{port}"


class SmtpServer:
    """Serves listeners on sockets that are already bound."""

    def __init__(self, services: Services, ports: Mapping[str, ListenerPort]) -> None:
        self._services = services
        self._ports = ports
        self._acceptors: list[Acceptor | LocalAcceptor] = []
        self._connections: dict[str, set[Connection]] = {name: set() for name in ports}
        self._keeper: Keeper | None = None

    async def start(self, sockets: Mapping[str, Sequence[socket.socket]]) -> None:
        """Begin to accept. ``sockets`` are by listener name."""
        spare = Spare()
        for name, port in self._ports.items():
            for sock in sockets[name]:
                sock.setblocking(False)
                acceptor = (
                    LocalAcceptor(self._services, port, self._connections[name], sock)
                    if port.local
                    else Acceptor(self._services, port, self._connections[name], sock, spare)
                )
                self._acceptors.append(acceptor)
                acceptor.start()
        self._keeper = Keeper(self._services, self._connections)
        self._keeper.start()

    def open_connections(self) -> dict[str, int]:
        """Live connections by listener."""
        return {name: len(registry) for name, registry in self._connections.items()}

    def end_banned(self) -> None:
        """End the running sessions of those who are banned now."""
        bans, now = self._services.bans, self._services.clock.now()
        for connection in self._all():
            if not connection.made or connection.closing or bans.until(connection.client.address, now) is None:
                continue
            connection.ended("banned")
            if connection.upgrading:
                connection.abort()
            else:
                connection.close(BANNED_NOW)

    async def stop(self, grace: float) -> None:
        """Stop accepting, end idle sessions with 421, and give messages on their way in ``grace`` seconds to finish."""
        self._services.draining = True
        for acceptor in self._acceptors:
            acceptor.stop()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        while any(self._connections.values()) and loop.time() < deadline:
            for connection in self._all():
                connection.drain()
            await asyncio.sleep(0.05)
        for connection in self._all():
            connection.abort()
        if self._keeper is not None:
            self._keeper.stop()

    def _all(self) -> list[Connection]:
        return [connection for registry in self._connections.values() for connection in registry]
