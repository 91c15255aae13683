"""May one more client come in? Counts of what is open, held against the caps. Pure: no clock, no I/O.

Whoever is turned away is told so at once, with 421 and a reason (RFC 5321 section 4.2 permits it as a greeting): a client that
is left waiting in a queue holds what the next one needs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.limits.clients import client_prefixes
from postlatch.limits.gauge import Gauge
from postlatch.model.envelope import IPAddress, Role
from postlatch.model.reply import Reply
from postlatch.policy.replies import BUSY
from postlatch.server.caps import Caps

_NETWORK: Final = Reply(421, "4.7.0", "too many connections from your network, try again later")
FULL: Final = Reply(421, "4.3.2", "too many connections here, try again later")
NO_DESCRIPTOR: Final = Reply(421, "4.3.2", "out of system resources, try again later")


class Shed(NamedTuple):
    """Somebody who is turned away: ``reason`` for the metrics, ``why`` for the journal."""

    reason: str
    reply: Reply
    why: str

    @property
    def rule(self) -> str:
        """The name of the rule, for the journal."""
        return "connection limit" if self.reason in {"client", "network"} else "overload"


class Ticket:
    """One admitted client: what it holds until ``Admission.release``."""

    __slots__ = ("listener", "network", "prefix", "released", "stranger", "tls")

    def __init__(self, listener: str, prefix: str, network: str, *, stranger: bool) -> None:
        self.listener = listener
        self.prefix = prefix
        self.network = network
        self.stranger = stranger
        self.tls = False
        self.released = False


class Admission:
    """Counts of the whole relay. ``caps`` may be replaced at any time; nobody is put out by that."""

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self.admitted = 0  # since the start
        self.open = 0
        self.strangers = 0  # on `mx` listeners
        self.tls = 0
        self.by_listener: dict[str, int] = {}
        self._tls_by_strangers = 0
        self._clients = Gauge()

    def admit(self, listener: str, role: Role, address: IPAddress, *, client: int, network: int) -> Ticket | Shed:
        """A ticket, or why not. ``client`` and ``network`` are the caps of ``[limits.client]``."""
        cap = self.caps.connections
        stranger = role is Role.MX
        here = self.by_listener.get(listener, 0)
        if self.open >= cap.most:
            return Shed("total", FULL, f"{self.open} connections are open, of {cap.most} in all")
        if here >= cap.strangers:
            return Shed("listener", FULL, f"{here} connections are open on {listener}, of {cap.strangers} for one listener")
        if stranger and self.strangers >= cap.strangers:
            return Shed("strangers", FULL, f"{self.strangers} connections of strangers are open, of {cap.strangers}")
        (prefix, _), (wide, _) = client_prefixes(address)
        if not self._clients.acquire(prefix, client):
            return Shed("client", BUSY, f"client connections {client} at once is reached by {prefix}")
        if not self._clients.acquire(wide, network):
            self._clients.release(prefix)
            return Shed("network", _NETWORK, f"client network_connections {network} at once is reached by {wide}")
        self.admitted += 1
        self.open += 1
        self.by_listener[listener] = here + 1
        self.strangers += stranger
        return Ticket(listener, prefix, wide, stranger=stranger)

    def take_tls(self, ticket: Ticket) -> Shed | None:
        """Count a TLS session on a ticket; given back with it."""
        cap = self.caps.tls
        if self.tls >= cap.most or (ticket.stranger and self._tls_by_strangers >= cap.strangers):
            return Shed("tls", FULL, f"{self.tls} TLS sessions are open, of {cap.most}")
        ticket.tls = True
        self.tls += 1
        self._tls_by_strangers += ticket.stranger
        return None

    def release(self, ticket: Ticket) -> None:
        """The client is gone. May be called more than once."""
        if ticket.released:
            return
        ticket.released = True
        self._clients.release(ticket.prefix)
        self._clients.release(ticket.network)
        self.open -= 1
        self.by_listener[ticket.listener] -= 1
        self.strangers -= ticket.stranger
        if ticket.tls:
            self.tls -= 1
            self._tls_by_strangers -= ticket.stranger

    def fullest(self) -> float:
        """The greatest used share of any cap on connections, from 0 to 1."""
        cap = self.caps.connections
        here = max(self.by_listener.values(), default=0)
        return max(self.open / cap.most, here / cap.strangers, self.strangers / cap.strangers)
