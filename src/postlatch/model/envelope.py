"""The envelope of one message: who sent it, to whom, by which way in. RFC 5321 section 2.3.1, RFC 3461."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from postlatch.model.address import Address

IPAddress = IPv4Address | IPv6Address


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


@dataclass(frozen=True, slots=True)
class Client:
    """The peer of a connection. IPv4-mapped IPv6 addresses are unmapped before this is made."""

    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True)
class SenderParams:
    """The ESMTP parameters of MAIL. ``size`` in octets, 0 if not given; ``ret`` is ``FULL``, ``HDRS`` or empty (RFC 3461)."""

    size: int = 0
    body: str = "7BIT"  # 7BIT, 8BITMIME or BINARYMIME
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""  # xtext as received


@dataclass(frozen=True, slots=True)
class RecipientParams:
    """The ESMTP parameters of RCPT (RFC 3461). ``notify`` is empty if not given, else NEVER or of SUCCESS, FAILURE, DELAY."""

    notify: frozenset[str] = frozenset()
    orcpt: str = ""  # ``type;xtext`` as received


@dataclass(frozen=True, slots=True)
class EnvelopeRecipient:
    """One accepted recipient, after alias expansion. ``original`` is what the client named, for DSNs."""

    address: Address
    destination: Destination
    grant_reason: GrantReason | None
    grant_ref: str
    params: RecipientParams = RecipientParams()
    original: Address | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is stored beside a body. ``sender`` is None for the null reverse-path. Times are seconds since 1970, UTC."""

    sender: Address | None
    recipients: tuple[EnvelopeRecipient, ...]
    received_at: float
    listener: str = ""
    role: Role | None = None
    client: IPAddress | None = None
    helo: str = ""
    account: str = ""
    params: SenderParams = field(default_factory=SenderParams)
    header_message_id: str = ""
