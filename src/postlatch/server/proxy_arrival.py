"""Who has come: the peer itself, or the client that a listed proxy speaks for. Also PROXY headers where none is expected."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from postlatch.model.envelope import Client
from postlatch.model.reply import Reply
from postlatch.model.sighting import Header, Sighting
from postlatch.model.verdict import Refuse
from postlatch.policy.networks import unmapped
from postlatch.server.proxy import SIGNATURE, begins
from postlatch.server.refusals import tell
from postlatch.server.services import Services

if TYPE_CHECKING:
    from postlatch.server.connection import Connection, ListenerPort

RULE: Final = "proxy"
HEADERS: Final = "postlatch_proxy_headers_total"
_NOT_LISTED: Final = Reply(554, "5.7.1", "PROXY header from an address that is not listed here")
_DOUBLED: Final = Reply(554, "5.7.1", "A second PROXY header is not permitted")


class Arrival(NamedTuple):
    """The client, and the proxy that speaks for it (empty: none). ``identity``: the address is the client's own."""

    client: Client
    proxy: str = ""
    identity: bool = True


def direct(transport: asyncio.BaseTransport) -> Arrival | None:
    """Whoever is at the other end of the connection; None if it is gone already."""
    peer = transport.get_extra_info("peername")
    if not peer:
        return None
    return Arrival(Client(unmapped(ip_address(peer[0].partition("%")[0])), peer[1]))


def is_header(connection: Connection, data: bytes) -> bool:
    """The first octets of a session; True if they are a PROXY header, and then the connection has been closed for it.

    Behind the one header that a proxy may send, another would be the client's own, and anywhere else it is not to be believed.
    """
    first = (connection.first_octets or b"") + data[: len(SIGNATURE)]
    found = begins(first[: len(SIGNATURE)])
    connection.first_octets = first if found is None else None
    if not found:
        return False
    refuse_header(connection.services, connection.port, connection.client, connection.proxy)
    connection.say((_DOUBLED if connection.proxy else _NOT_LISTED).encode())
    connection.hang_up()
    return True


def refuse_header(services: Services, port: ListenerPort, client: Client, proxy: str = "") -> None:
    """Tell of a header that nobody asked for."""
    if proxy:
        why = f"a second PROXY header, behind that of the proxy {proxy}: the client or another proxy has sent it"
    else:
        why = f"PROXY header from an address that is not listed: if {client.address} is your proxy, list it in {port.name}"
    reply = _DOUBLED if proxy else _NOT_LISTED
    where = {"listener": port.name, "client": str(client.address), "helo": "", "account": ""}
    tell(services, "connection.refused", Refuse(reply, RULE, why, close=True), {**where, **({"proxy": proxy} if proxy else {})})
    services.count.inc(HEADERS, (port.name, "doubled" if proxy else "unexpected"))
    if services.seen is not None and not proxy:
        services.seen(Sighting(port.name, client.address, header=Header.UNEXPECTED))


def departed(connection: Connection) -> None:
    """The session is over: what it showed, for the masking guard. Who said nothing (a health check, a scan) shows nothing."""
    helo, seen = connection.session.helo, connection.services.seen
    if not helo or seen is None or connection.port.local:
        return
    header = Header.NONE if not connection.proxy else Header.TRUSTED if connection.identity else Header.ANONYMOUS
    seen(Sighting(connection.port.name, connection.client.address, helo, connection.account or "", header, connection.proxy))
