"""The envelope of one message: who sent it, to whom, by which way in. RFC 5321 section 2.3.1, RFC 3461."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from postlatch.model.address import Address

IPAddress = IPv4Address | IPv6Address


REQUIRED: Final = "required"
NOT_REQUIRED: Final = "no"


class Role(StrEnum):
    """What a listener is for (DESIGN section 9)."""

    MX = "mx"
    SUBMISSION = "submission"
    SUBMISSIONS = "submissions"
    RELAY = "relay"


class Destination(StrEnum):
    """Whose domain a recipient is in, by the current configuration."""

    LOCAL = "local"
    RELAY = "relay"
    FOREIGN = "foreign"


class GrantReason(StrEnum):
    """The closed list of reasons for which mail may leave for a domain that is not ours."""

    ACCOUNT = "ACCOUNT"
    NETWORK = "NETWORK"
    RELAY_DOMAIN = "RELAY_DOMAIN"
    NOTIFICATION = "NOTIFICATION"


@dataclass(init=False, slots=True, unsafe_hash=True)
class Client:
    """The peer of a connection. IPv4-mapped IPv6 addresses are unmapped before this is made."""

    address: IPAddress
    port: int

    def __init__(self, address: IPAddress, port: int) -> None:
        self.address = address
        self.port = port


@dataclass(init=False, slots=True, unsafe_hash=True)
class SenderParams:
    """The ESMTP parameters of MAIL. ``size`` in octets, 0 if not given; ``ret`` is ``FULL``, ``HDRS`` or empty (RFC 3461).

    ``require_tls`` is `REQUIRED` by the parameter REQUIRETLS, `NOT_REQUIRED` by the field ``TLS-Required: No`` (RFC 8689).
    """

    size: int
    body: str  # 7BIT, 8BITMIME or BINARYMIME
    smtputf8: Final[bool]
    ret: str
    envid: str  # xtext as received
    require_tls: str

    def __init__(
        self,
        size: int = 0,
        body: str = "7BIT",
        smtputf8: bool = False,
        ret: str = "",
        envid: str = "",
        require_tls: str = "",
    ) -> None:
        self.size = size
        self.body = body
        self.smtputf8 = smtputf8
        self.ret = ret
        self.envid = envid
        self.require_tls = require_tls


@dataclass(init=False, slots=True, unsafe_hash=True)
class RecipientParams:
    """The ESMTP parameters of RCPT (RFC 3461). ``notify`` is empty if not given, else NEVER or of SUCCESS, FAILURE, DELAY."""

    notify: frozenset[str]
    orcpt: str  # ``type;xtext`` as received

    def __init__(self, notify: frozenset[str] = frozenset(), orcpt: str = "") -> None:
        self.notify = notify
        self.orcpt = orcpt


@dataclass(init=False, slots=True, unsafe_hash=True)
class EnvelopeRecipient:
    """One accepted recipient, after alias expansion. ``original`` is what the client named, for DSNs."""

    address: Address
    destination: Destination
    grant_reason: GrantReason | None
    grant_ref: str
    params: RecipientParams
    original: Address | None

    def __init__(
        self,
        address: Address,
        destination: Destination,
        grant_reason: GrantReason | None,
        grant_ref: str,
        params: RecipientParams = RecipientParams(),
        original: Address | None = None,
    ) -> None:
        self.address = address
        self.destination = destination
        self.grant_reason = grant_reason
        self.grant_ref = grant_ref
        self.params = params
        self.original = original


@dataclass(init=False, slots=True, unsafe_hash=True)
class Envelope:
    """What is stored beside a body. ``sender`` is None for the null reverse-path. Times are seconds since 1970, UTC."""

    sender: Address | None
    recipients: tuple[EnvelopeRecipient, ...]
    received_at: float
    listener: str
    role: Role | None
    client: IPAddress | None
    helo: str
    account: str
    params: SenderParams
    header_message_id: str
    quarantined: bool  # the author's domain asks to set it apart
    verified: bool  # the sender is who it says: a report to it is no backscatter

    def __init__(
        self,
        sender: Address | None,
        recipients: tuple[EnvelopeRecipient, ...],
        received_at: float,
        listener: str = "",
        role: Role | None = None,
        client: IPAddress | None = None,
        helo: str = "",
        account: str = "",
        params: SenderParams = SenderParams(),
        header_message_id: str = "",
        quarantined: bool = False,
        verified: bool = False,
    ) -> None:
        self.sender = sender
        self.recipients = recipients
        self.received_at = received_at
        self.listener = listener
        self.role = role
        self.client = client
        self.helo = helo
        self.account = account
        self.params = params
        self.header_message_id = header_message_id
        self.quarantined = quarantined
        self.verified = verified
