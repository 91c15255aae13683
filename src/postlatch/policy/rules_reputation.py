"""Rules about how a stranger stands: on ``mx`` alone, and only to tighten. The best score in the world permits nothing."""

from __future__ import annotations

from postlatch.model.envelope import Role
from postlatch.model.reply import Reply
from postlatch.model.verdict import Defer, Refuse
from postlatch.policy import replies
from postlatch.policy.aliases import is_postmaster
from postlatch.policy.facts import RecipientFacts
from postlatch.policy.rules_party import role_of


def reputation(facts: RecipientFacts) -> Refuse | None:
    """A score that is too high. Postmaster can be written to all the same: who is refused must be able to say so."""
    most, standing = facts.snapshot.reputation.refuse, facts.standing
    if most is None or standing is None or standing.score < most or not _judged(facts):
        return None
    by = f": listed by {', '.join(standing.lists)}" if standing.lists else ""
    reply = Reply(550, "5.7.1", f"mail from this address is not taken{by}")
    why = f"the score {standing.score} reaches {most}: {standing.why}"
    return Refuse(reply, "reputation", why)


def greylist(facts: RecipientFacts) -> Defer | None:
    """A sender who is to come back later."""
    until = facts.standing.greylisted_until if facts.standing is not None else None
    if until is None or facts.now >= until or not _judged(facts):
        return None
    when = replies.rfc3339(until + 1)  # rounded down as it is, a second earlier would be too early
    reply = Reply(450, "4.7.1", f"greylisted: try again after {when}")
    return Defer(reply, "greylist", f"the first mail of this sender to this recipient; let in from {when} on")


def _judged(facts: RecipientFacts) -> bool:
    return role_of(facts) is Role.MX and not is_postmaster(facts.snapshot, facts.recipient)
