"""Replies of ours where no next hop has said anything."""

from __future__ import annotations

import re
from typing import Final

from postlatch.delivery.contract import Attempt, AttemptStatus
from postlatch.delivery.dsn_fields import escaped
from postlatch.spool.contract import QueuedRecipient

_ENHANCED: Final = re.compile(r"[245][0-9]{2}[ -]([245]\.[0-9]{1,3}\.[0-9]{1,3})\b")

MAX_REPLY: Final = 500  # characters (`spool.contract.Outcome`)
BUSY: Final = "451 4.4.5 too many messages wait for this destination"
STOPPED: Final = "451 4.3.2 this relay stopped during the attempt"
NETWORK: Final = "451 4.4.1 no host can be reached: the network of this relay seems to be down"
BROKEN: Final = "451 4.3.0 this relay could not make the attempt"
UNSIGNED: Final = "451 4.7.5 the keys that sign this mail cannot be used now"


def enhanced_of(reply: str, default: str) -> str:
    """The RFC 3463 code in a reply's text, else ``default``."""
    match = _ENHANCED.match(reply)
    return match[1] if match else default


def held(why: str) -> str:
    """The reply of what is held, for the queue's listing. ``why`` may hold names from the configuration."""
    return f"451 4.7.0 held: {escaped(why)}"[:MAX_REPLY]


def no_word(recipient: QueuedRecipient, reply: str) -> Attempt:
    """An attempt that ended before a next hop could answer for this recipient."""
    return Attempt(recipient.number, AttemptStatus.TEMPORARY, reply, enhanced_of(reply, "4.4.1"), "")
