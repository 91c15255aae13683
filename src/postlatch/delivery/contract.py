"""What passes between routing (where to), sessions (how) and the dispatcher (when)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from postlatch.delivery.tls_demand import Demand
from postlatch.model.address import Address
from postlatch.model.envelope import RecipientParams, SenderParams
from postlatch.spool.bodies import Body as Body  # noqa: PLC0414 - part of the contract


class TlsPolicy(StrEnum):
    """TLS towards one next hop. ``opportunistic``: if offered, unverified; ``required``: or defer; ``verify``: and its name."""

    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Target:
    """One place to connect to. ``path`` is a Unix socket and then ``host`` and ``port`` are unused.

    ``address`` is the numeric address; ``host`` the name for SNI and verification; ``username`` needs ``tls`` verify.
    ``demand`` is what DANE or MTA-STS add to ``tls``; ``source`` our address to connect from. Targets are compared by value:
    the pool keys its connections with them.
    """

    address: str = ""
    port: int = 25
    host: str = ""
    path: str = ""
    lmtp: bool = False
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    username: str = ""
    password: str = ""
    connections: int = 0  # at most so many at once; 0: as the pool has it for all
    per_connection: int = 0  # messages until one is given up; 0: no bound
    demand: Demand | None = None
    source: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.host or self.address}[{self.address}]:{self.port}"

    def __repr__(self) -> str:
        # The password must not reach a log by way of a traceback or an assertion.
        return f"Target({self})"


@dataclass(init=False, slots=True, unsafe_hash=True)
class OutboundRecipient:
    """One RCPT. ``number`` is the caller's own key and comes back in the outcome."""

    number: int
    address: Address
    params: RecipientParams

    def __init__(self, number: int, address: Address, params: RecipientParams = RecipientParams()) -> None:
        self.number = number
        self.address = address
        self.params = params


@dataclass(init=False, slots=True, unsafe_hash=True)
class OutboundMessage:
    """One transaction for one target. ``mx_domain``: whose mail it is, if the target is that domain's mail host by the DNS."""

    sender: Address | None
    params: SenderParams
    recipients: tuple[OutboundRecipient, ...]
    body: Body
    eight_bit: bool  # the body holds octets above 127
    utf8_headers: Final[bool]  # the header block does
    mx_domain: str

    def __init__(
        self,
        sender: Address | None,
        params: SenderParams,
        recipients: tuple[OutboundRecipient, ...],
        body: Body,
        eight_bit: bool = False,
        utf8_headers: bool = False,
        mx_domain: str = "",
    ) -> None:
        self.sender = sender
        self.params = params
        self.recipients = recipients
        self.body = body
        self.eight_bit = eight_bit
        self.utf8_headers = utf8_headers
        self.mx_domain = mx_domain


class AttemptStatus(StrEnum):
    """What the next hop said of one recipient."""

    DELIVERED = "delivered"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


@dataclass(init=False, slots=True, unsafe_hash=True)
class Attempt:
    """The next hop's word on one recipient. ``reply`` is printable ASCII of at most 500 characters, remote text escaped.

    ``enhanced`` is the RFC 3463 code (from the reply, or ours where it gave none); ``remote`` names the host for people.
    ``dsn_passed``: the next hop offered DSN and took the NOTIFY parameter over. ``doubtful``: the connection was lost behind
    the final dot, so that it may have the message (RFC 1047). ``signed``: the selectors of our signatures in it.
    """

    number: int
    status: AttemptStatus
    reply: str
    enhanced: str
    remote: str
    dsn_passed: bool
    doubtful: bool
    signed: tuple[str, ...]

    def __init__(
        self,
        number: int,
        status: AttemptStatus,
        reply: str,
        enhanced: str,
        remote: str,
        dsn_passed: bool = False,
        doubtful: bool = False,
        signed: tuple[str, ...] = (),
    ) -> None:
        self.number = number
        self.status = status
        self.reply = reply
        self.enhanced = enhanced
        self.remote = remote
        self.dsn_passed = dsn_passed
        self.doubtful = doubtful
        self.signed = signed


class ConnectFailed(Exception):
    """No transaction took place: try the next host, else defer. ``reply`` as in Attempt; ``tls`` true if TLS was the cause.

    ``silent``: nothing came back at all, not even a refusal, so that it may be the network that is down.
    """

    def __init__(self, reply: str, *, tls: bool = False, silent: bool = False) -> None:
        super().__init__(reply)
        self.reply = reply
        self.tls = tls
        self.silent = silent


class CutOff(asyncio.CancelledError):
    """Cancelled behind a final dot: the next hop may have the message (RFC 1047), and nobody will read its reply."""
