"""The rules for a new connection. A greeting is 220, 421 or 554 (RFC 5321 section 4.2), so every refusal closes."""

from __future__ import annotations

from typing import Final

from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy import replies
from postlatch.policy.facts import ConnectionFacts
from postlatch.policy.rules import Rule, Tightening
from postlatch.policy.rules_party import listener


def banned(facts: ConnectionFacts) -> Refuse | None:
    """A ban that has not run out."""
    if facts.banned_until is None or facts.now >= facts.banned_until:
        return None
    why = f"{facts.client.address} is banned until {replies.rfc3339(facts.banned_until)}"
    return Refuse(replies.BANNED, "banned", why, close=True)


def connection_limit(facts: ConnectionFacts) -> Defer | None:
    """Too many connections or commands from there; even a spent day is told as "later", before anybody has a name."""
    if facts.limit is None:
        return None
    why = f"{facts.limit.name} is reached until {replies.rfc3339(facts.limit.retry_at)}"
    return Defer(replies.BUSY, "connection limit", why, close=True)


def greeting(facts: ConnectionFacts) -> Accept:
    """Anybody may connect; that gives no right to send."""
    return Accept("greeting", f"{facts.client.address} may speak on {facts.listener}")


TIGHTENING: Final[tuple[Tightening[ConnectionFacts], ...]] = (listener, banned, connection_limit)
RULES: Final[tuple[Rule[ConnectionFacts, Accept], ...]] = (*TIGHTENING, greeting)
