"""What an answer to a recipient means. A 250 is no proof of a relay, and not every refusal is one."""

from __future__ import annotations

from typing import Final

from postlatch.audit.probes.conversation import Reply
from postlatch.audit.probes.values import Stand
from postlatch.audit.probes.vectors import Whose

# A refusal for good that is sent as one for now: Postfix's defer_unauth_destination, and whoever says so in words.
_RELAY_WORDS: Final = ("relay access denied", "relaying denied", "relay not permitted", "unable to relay", "relay not allowed")
# Unknown sender's domain, unknown local mailbox (RFC 3463 section 3.2).
_SENDER: Final = frozenset({"4.1.7", "4.1.8"})
_UNKNOWN_USER: Final = "4.1.1"
_CLOSING: Final = 421


def refused_for_now(reply: Reply, whose: Whose) -> tuple[Stand, str]:
    """What a 4xx means: is it a refusal, or did the server only not decide?"""
    text = reply.text
    if reply.code != _CLOSING and any(words in text.lower() for words in _RELAY_WORDS):
        return Stand.HELD, text
    if reply.enhanced in _SENDER:
        return Stand.HELD, text
    if reply.enhanced == _UNKNOWN_USER and whose is not Whose.FOREIGN:
        return Stand.HELD, text
    return Stand.UNDECIDED, f"the server did not decide: {text}"


def judge(reply: Reply, whose: Whose) -> tuple[Stand, str]:
    """How the server stood a MAIL or RCPT that it should refuse, and why we think so."""
    if reply.taken:
        return Stand.TAKEN, reply.text
    if reply.later:
        return refused_for_now(reply, whose)
    return Stand.HELD, reply.text
