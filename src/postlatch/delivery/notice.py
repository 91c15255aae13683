"""Who is told what of a delivery. A report goes only to a sender whom we know; to nobody else, ever (backscatter).

RFC 3461 section 5 (NOTIFY), RFC 5321 section 6.1 (no bounce of a bounce).
"""

from __future__ import annotations

from dataclasses import dataclass

from postlatch.model.address import Address
from postlatch.model.envelope import GrantReason, RecipientParams
from postlatch.spool.contract import QueuedRecipient, StoredMessage

# With these an account or a listed right vouches for the sender. A stranger's MAIL FROM is a claim, often a lie.
_VOUCHED = frozenset({GrantReason.ACCOUNT, GrantReason.NETWORK})
_STRANGERS = frozenset({None, GrantReason.RELAY_DOMAIN})


@dataclass(frozen=True, slots=True)
class Notice:
    """A report to the sender of a message, to be queued with the null sender.

    ``kind`` is the notification kind, ``dsn`` or ``delay``. ``grant_reason`` and ``grant_ref`` are those of the mail that
    it reports on. ``content`` is the whole message with CRLF; ``smtputf8`` if the next hop must take UTF-8 in headers.
    ``numbers``: the recipients reported on. ``verified``: of a stranger, whose domain vouched for the sender (DMARC).
    """

    kind: str
    recipient: Address
    message_id: int
    account: str
    grant_reason: GrantReason | None
    grant_ref: str
    numbers: tuple[int, ...]
    content: bytes
    smtputf8: bool
    verified: bool = False
    require_tls: str = ""  # as of the mail that it reports on (RFC 8689 section 5)


def sender_is_known(message: StoredMessage, recipient: QueuedRecipient) -> bool:
    """True if mail of an account or of a network right is concerned, and not a notification of our own."""
    return recipient.grant_reason in _VOUCHED and not message.kind


def may_tell(message: StoredMessage, recipient: QueuedRecipient) -> bool:
    """True if the sender may get a report at all: known, and not the null sender."""
    return message.sender is not None and sender_is_known(message, recipient)


def is_verified_stranger(message: StoredMessage, recipient: QueuedRecipient) -> bool:
    """True if a stranger sent it, and DMARC passed for MAIL FROM's own domain: a failure report to it is no backscatter."""
    stranger = recipient.grant_reason in _STRANGERS and not message.kind
    return stranger and message.verified and message.sender is not None


def may_tell_failure(message: StoredMessage, recipient: QueuedRecipient) -> bool:
    """True if the sender may be told that it failed. Other news is for senders whom we know."""
    return may_tell(message, recipient) or is_verified_stranger(message, recipient)


def wants_failure(params: RecipientParams) -> bool:
    """RFC 3461 section 4.1: failures are reported unless NOTIFY leaves them out."""
    return not params.notify or "FAILURE" in params.notify


def wants_delay(params: RecipientParams) -> bool:
    """Delays are reported if asked for, or if nothing was said."""
    return not params.notify or "DELAY" in params.notify


def wants_success(params: RecipientParams) -> bool:
    """Successes are reported only if asked for."""
    return "SUCCESS" in params.notify
