"""The entrance of a listener with proxies: nobody else comes in, and a header comes before anything else, TLS too."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from postlatch.model.envelope import Client
from postlatch.model.events import JsonValue
from postlatch.model.reply import Reply
from postlatch.model.sighting import Header, Sighting
from postlatch.model.verdict import Refuse
from postlatch.server.proxy import Fault, Kind, ProxyHeader, ProxyParser, begins
from postlatch.server.proxy_arrival import HEADERS, RULE, Arrival, refuse_header
from postlatch.server.refusals import tell
from postlatch.server.services import Services

if TYPE_CHECKING:
    from postlatch.server.connection import ListenerPort

SECONDS: Final = 5.0  # for a header; a proxy sends it with its first packet
MOST: Final = 512  # connections that may wait for their header, for each socket
# For the journal alone: whoever is turned away at this door is told nothing, not even that mail is spoken here.
_CLOSED: Final = Reply(554, "5.7.1", "closed without a word")
_PEEK: Final = 16
_LOOKS, _PAUSE = 50, 0.02  # how often, and how far apart, the rest of a beginning is looked for


class ProxyEntry:
    """The entrance of one listener."""

    def __init__(self, services: Services, port: ListenerPort) -> None:
        self._services = services
        self._port = port
        self._loop = asyncio.get_running_loop()

    def lists(self, peer: Client) -> bool:
        """Is it one of the proxies? If not, that has been told."""
        if any(peer.address in network for network in self._port.proxies):
            return True
        self._refuse(peer, f"{peer.address} is none of the proxies of listener {self._port.name}, and nobody else may connect")
        self._count("unlisted")
        return False

    async def read(self, sock: socket.socket, peer: Client) -> Arrival | None:
        """Who the client is; None if there is none to be served, and why has been told. Reads not one octet too many."""
        parser, found = ProxyParser(), None
        try:
            async with asyncio.timeout(SECONDS):
                found = await self._header(sock, parser)
        except TimeoutError:
            found = Fault(f"it is not there within {SECONDS:g} seconds", absent=not parser.begun)
        except OSError:  # reset: a health check, or a proxy that gave up
            found = None
        if isinstance(found, ProxyHeader):
            self._count(found.kind.value)
            if found.kind is Kind.CLIENT and found.source is not None:
                return Arrival(found.source, str(peer.address))
            return Arrival(peer, str(peer.address), identity=False)
        if found is None:
            self._count("health_check")
        else:
            self._tell_fault(peer, found)
        return None

    async def _header(self, sock: socket.socket, parser: ProxyParser) -> ProxyHeader | Fault | None:
        """None if the proxy hung up without a word, as its health checks do."""
        while True:
            data = await self._loop.sock_recv(sock, parser.wanted)
            if not data:
                return Fault("it was cut off") if parser.begun else None
            if (found := parser.feed(data)) is not None:
                return found

    def _tell_fault(self, peer: Client, fault: Fault) -> None:
        self._count("missing" if fault.absent else "broken")
        what = "no PROXY header" if fault.absent else "not a valid PROXY header"
        self._refuse(peer, f"{what} from the proxy {peer.address}: {fault.why}", str(peer.address))
        if fault.absent and self._services.seen is not None:
            self._services.seen(Sighting(self._port.name, peer.address, header=Header.MISSING, proxy=str(peer.address)))

    def _refuse(self, peer: Client, why: str, proxy: str = "") -> None:
        where: dict[str, JsonValue] = {"listener": self._port.name, "client": str(peer.address), "helo": "", "account": ""}
        if proxy:
            where["proxy"] = proxy
        tell(self._services, "connection.refused", Refuse(_CLOSED, RULE, why, close=True), where)

    def _count(self, result: str) -> None:
        self._services.count.inc(HEADERS, (self._port.name, result))


async def header_before_tls(services: Services, port: ListenerPort, sock: socket.socket, came: Arrival) -> bool:
    """Where TLS is to begin, is there a PROXY header instead? It is not taken from the socket; True: it has been told."""
    for _ in range(_LOOKS):
        data = await _peek(sock)
        found = begins(data[:12]) if data else False
        if found:
            refuse_header(services, port, came.client, came.proxy)
        if found is not None:
            return found
        await asyncio.sleep(_PAUSE)  # no handshake begins with these octets, so nobody whom we serve waits here
    return False


async def _peek(sock: socket.socket) -> bytes:
    """What is there, without taking it; empty at the end of the connection."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return sock.recv(_PEEK, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            pass
        ready = loop.create_future()
        loop.add_reader(sock, _wake, ready)
        try:
            await ready
        finally:
            loop.remove_reader(sock)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
