"""The policy's public answers (DESIGN section 9, Replies): generic text; what happened goes into ``why``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from postlatch.model.reply import Reply
from postlatch.policy.facts import LimitReached

RELAY_DENIED: Final = Reply(550, "5.7.1", "relaying denied")
NO_RULE: Final = Reply(550, "5.7.1", "not permitted")
NO_RIGHT: Final = Reply(550, "5.7.1", "this address may not send here")
RIGHT_EXPIRED: Final = Reply(550, "5.7.1", "the right to relay has expired")
RIGHT_SUSPENDED: Final = Reply(550, "5.7.1", "the right to relay is suspended")
ROUTE_EXPIRED: Final = Reply(550, "5.7.1", "relaying to this domain has expired")
RECIPIENT_SCOPE: Final = Reply(550, "5.7.1", "this right does not cover the recipient")
AUTH_REQUIRED: Final = Reply(530, "5.7.0", "authentication required")
MAIN_PASSWORD: Final = Reply(550, "5.7.1", "this account sends only with an application password")
APP_PASSWORD_OVER: Final = Reply(550, "5.7.1", "this application password has expired or was revoked")
APP_PASSWORD_PLACE: Final = Reply(550, "5.7.1", "this application password may not be used from this address")
APP_PASSWORD_SENDER: Final = Reply(553, "5.7.1", "this application password does not cover the sender address")
NO_ACCOUNT: Final = Reply(550, "5.7.1", "this account may not send")
ACCOUNT_SUSPENDED: Final = Reply(550, "5.7.1", "this account is suspended")
NOT_OWNED: Final = Reply(553, "5.7.1", "the sender address does not belong to this account")
SENDER_SCOPE: Final = Reply(553, "5.7.1", "this right does not cover the sender address")
FORGED_SENDER: Final = Reply(550, "5.7.1", "our own domain may not be sent from there")
BAD_ADDRESS: Final = Reply(501, "5.1.3", "bad recipient address")
UNKNOWN_USER: Final = Reply(550, "5.1.1", "no such user here")
UNDECIDED: Final = Reply(451, "4.3.0", "cannot decide now, try again later")
CHANGED: Final = Reply(451, "4.7.1", "the permission to send has changed, try again later")
BANNED: Final = Reply(554, "5.7.1", "no service for this address")
BUSY: Final = Reply(421, "4.7.0", "too many connections, try again later")
LOOP: Final = Reply(554, "5.4.6", "too many hops: a mail loop")
ONE_FROM: Final = Reply(550, "5.7.1", "the message needs exactly one From field that can be read")
DMARC_REJECT: Final = Reply(550, "5.7.1", "the author's domain asks to reject this: DMARC does not pass")
DMARC_UNKNOWN: Final = Reply(451, "4.7.0", "the author's domain cannot be checked now, try again later")
ONE_SENDER: Final = Reply(550, "5.7.1", "the Sender and Resent fields must name one sender each, and be readable")
FIELD_NOT_OWNED: Final = Reply(553, "5.7.1", "the Sender or a Resent field names an address that may not be sent from here")
HEADER_NOT_OWNED: Final = Reply(553, "5.7.1", "the From field names an address that may not be sent from here")


_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the last that RFC 3339 can write


def rfc3339(seconds: float) -> str:
    """``seconds`` since 1970 as ``2026-01-01T00:00:00Z``, rounded down and kept within the years 1970 to 9999."""
    return datetime.fromtimestamp(int(min(max(seconds, 0), _LAST_SECOND)), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def limit_reply(limit: LimitReached) -> Reply:
    """450 with the time from which it may work again; 550 when the day is spent."""
    text = f"limit reached: {limit.name}; try again at {rfc3339(limit.retry_at)}"
    return Reply(550, "5.7.1", text) if limit.day_spent else Reply(450, "4.7.1", text)
