"""What the queue stores and hands out. One contract for SQLite and, later, PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from postlatch.model.address import Address
from postlatch.model.envelope import Destination, GrantReason, IPAddress, RecipientParams, Role, SenderParams
from postlatch.spool.priority import NORMAL


class SpoolError(Exception):
    """The queue refuses: what it was given contradicts itself, or a stored body is not what was stored."""


class RecipientState(StrEnum):
    """Where a recipient stands. ``queued`` has had no attempt yet; the last three are final."""

    QUEUED = "queued"
    DEFERRED = "deferred"
    ACTIVE = "active"
    HELD = "held"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    DELETED = "deleted"


@dataclass(init=False, slots=True, unsafe_hash=True)
class StoredMessage:
    """One accepted message without its body. ``kind`` names the notification kind of mail of our own, else it is empty."""

    message_id: int
    sender: Address | None
    received_at: float
    size: int
    params: SenderParams
    listener: str
    role: Role | None
    client: IPAddress | None
    helo: str
    account: str
    header_message_id: str
    kind: str
    eight_bit: bool  # the body holds octets above 127
    utf8_headers: Final[bool]  # the header block does
    priority: int  # or URGENT or BULK (`spool.priority`)
    prefix: bytes  # header fields that belong in front of a body file
    quarantined: bool  # its author's domain asks to set it apart
    verified: bool  # the sender is who it says: a report to it is no backscatter

    def __init__(
        self,
        message_id: int,
        sender: Address | None,
        received_at: float,
        size: int,
        params: SenderParams,
        listener: str = "",
        role: Role | None = None,
        client: IPAddress | None = None,
        helo: str = "",
        account: str = "",
        header_message_id: str = "",
        kind: str = "",
        eight_bit: bool = False,
        utf8_headers: bool = False,
        priority: int = NORMAL,
        prefix: bytes = b"",
        quarantined: bool = False,
        verified: bool = False,
    ) -> None:
        self.message_id = message_id
        self.sender = sender
        self.received_at = received_at
        self.size = size
        self.params = params
        self.listener = listener
        self.role = role
        self.client = client
        self.helo = helo
        self.account = account
        self.header_message_id = header_message_id
        self.kind = kind
        self.eight_bit = eight_bit
        self.utf8_headers = utf8_headers
        self.priority = priority
        self.prefix = prefix
        self.quarantined = quarantined
        self.verified = verified


@dataclass(init=False, slots=True, unsafe_hash=True)
class QueuedRecipient:
    """One recipient of a claim. ``number`` counts from 0 within its message; ``warned``: a delay notice was sent."""

    number: int
    address: Address
    destination: Destination
    grant_reason: GrantReason | None
    grant_ref: str
    params: RecipientParams
    original: Address | None
    attempts: int
    last_reply: str
    possible_duplicate: bool
    warned: bool

    def __init__(
        self,
        number: int,
        address: Address,
        destination: Destination,
        grant_reason: GrantReason | None,
        grant_ref: str,
        params: RecipientParams,
        original: Address | None,
        attempts: int = 0,
        last_reply: str = "",
        possible_duplicate: bool = False,
        warned: bool = False,
    ) -> None:
        self.number = number
        self.address = address
        self.destination = destination
        self.grant_reason = grant_reason
        self.grant_ref = grant_ref
        self.params = params
        self.original = original
        self.attempts = attempts
        self.last_reply = last_reply
        self.possible_duplicate = possible_duplicate
        self.warned = warned


@dataclass(init=False, slots=True, unsafe_hash=True)
class Claim:
    """Recipients of one message that this process alone may attempt now. ``body`` is set when it is still in memory."""

    message: StoredMessage
    recipients: tuple[QueuedRecipient, ...]
    epoch: int
    body: bytes | None

    def __init__(
        self, message: StoredMessage, recipients: tuple[QueuedRecipient, ...], epoch: int, body: bytes | None = None
    ) -> None:
        self.message = message
        self.recipients = recipients
        self.epoch = epoch
        self.body = body


class OutcomeKind(StrEnum):
    """How an attempt ended for one recipient."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    HELD = "held"


@dataclass(init=False, slots=True, unsafe_hash=True)
class Outcome:
    """The end of one attempt. ``reply`` is printable ASCII, at most 500 characters; ``next_attempt`` only when deferred."""

    number: int
    kind: OutcomeKind
    reply: str
    remote: str
    next_attempt: float | None
    warned: bool

    def __init__(
        self,
        number: int,
        kind: OutcomeKind,
        reply: str,
        remote: str = "",
        next_attempt: float | None = None,
        warned: bool = False,
    ) -> None:
        self.number = number
        self.kind = kind
        self.reply = reply
        self.remote = remote
        self.next_attempt = next_attempt
        self.warned = warned
