"""What the queue stores and hands out. One contract for SQLite and, later, PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One accepted message without its body. ``kind`` names the notification kind of mail of our own, else it is empty."""

    message_id: int
    sender: Address | None
    received_at: float
    size: int
    params: SenderParams
    listener: str = ""
    role: Role | None = None
    client: IPAddress | None = None
    helo: str = ""
    account: str = ""
    header_message_id: str = ""
    kind: str = ""
    eight_bit: bool = False  # the body holds octets above 127
    utf8_headers: bool = False  # the header block does
    priority: int = NORMAL  # or URGENT or BULK (`spool.priority`)


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """One recipient of a claim. ``number`` counts from 0 within its message; ``warned``: a delay notice was sent."""

    number: int
    address: Address
    destination: Destination
    grant_reason: GrantReason | None
    grant_ref: str
    params: RecipientParams
    original: Address | None
    attempts: int = 0
    last_reply: str = ""
    possible_duplicate: bool = False
    warned: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """Recipients of one message that this process alone may attempt now. ``body`` is set when it is still in memory."""

    message: StoredMessage
    recipients: tuple[QueuedRecipient, ...]
    epoch: int
    body: bytes | None = None


class OutcomeKind(StrEnum):
    """How an attempt ended for one recipient."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt. ``reply`` is printable ASCII, at most 500 characters; ``next_attempt`` only when deferred."""

    number: int
    kind: OutcomeKind
    reply: str
    remote: str = ""
    next_attempt: float | None = None
    warned: bool = False
