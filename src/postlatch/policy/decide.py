"""The four decisions: pure functions from facts to a verdict. Everything that is unknown or broken is "later"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from postlatch.model.envelope import Destination, GrantReason
from postlatch.model.reply import Reply
from postlatch.model.verdict import Accept, Defer, Refuse, set_once
from postlatch.policy import rules_connection, rules_message, rules_recipient, rules_sender
from postlatch.policy.aliases import expand
from postlatch.policy.facts import ConnectionFacts, MessageFacts, RecipientFacts, SenderFacts
from postlatch.policy.grant import RelayGrant, mint_grant
from postlatch.policy.mailboxes import locate, needs_callout
from postlatch.policy.replies import CHANGED, UNDECIDED
from postlatch.policy.rules import Permit, name_of, run
from postlatch.policy.snapshot import Snapshot

__all__ = [
    "AcceptRecipient",
    "decide_connection",
    "decide_message",
    "decide_recipient",
    "decide_sender",
    "expand",
    "locate",
    "needs_callout",
    "recheck",
]

_RELAY: Final = name_of(rules_recipient.relay)


@dataclass(frozen=True, slots=True, init=False)
class AcceptRecipient:
    """RCPT is accepted. ``grant`` is None, and ``ref`` empty, only for a stranger's mail to a mailbox of ours."""

    rule: str
    why: str
    destination: Destination
    grant: RelayGrant | None
    ref: str

    def __init__(self, rule: str, why: str, destination: Destination, grant: RelayGrant | None, ref: str) -> None:
        set_once(self, "rule", rule)
        set_once(self, "why", why)
        set_once(self, "destination", destination)
        set_once(self, "grant", grant)
        set_once(self, "ref", ref)


def decide_connection(facts: ConnectionFacts) -> Refuse | Defer | Accept:
    """May this client speak? What is undecided is told as 421, the only temporary greeting."""
    verdict = run(rules_connection.RULES, facts)
    if isinstance(verdict, Defer) and verdict.reply.code != 421:
        return replace(verdict, reply=Reply(421, verdict.reply.enhanced, verdict.reply.text), close=True)
    return verdict


def decide_sender(facts: SenderFacts) -> Refuse | Defer | Accept:
    """May this sender start a transaction?"""
    return run(rules_sender.RULES, facts)


def decide_recipient(facts: RecipientFacts) -> Refuse | Defer | AcceptRecipient:
    """May this transaction send to this recipient? The only decision that gives a grant."""
    verdict = run(rules_recipient.RULES, facts)
    return _seal(facts, verdict) if isinstance(verdict, Permit) else verdict


def decide_message(facts: MessageFacts, grants: Sequence[RelayGrant | None]) -> Refuse | Defer | Accept:
    """Does the header speak against it? ``grants`` holds one entry for each accepted recipient."""
    return run(rules_message.RULES, rules_message.Sealed(facts, grants))


def recheck(grant: RelayGrant, snapshot: Snapshot, now: float) -> Accept | Defer:
    """At commit: what the grant rests on is still there under the policy of this moment. Else the whole message waits."""
    holds = False
    match grant.reason:
        case GrantReason.ACCOUNT:
            account = snapshot.accounts.get(grant.ref)
            holds = account is not None and not account.suspended
        case GrantReason.NETWORK:
            right = snapshot.right(grant.ref)
            holds = right is not None and not right.suspended and now < right.expires
        case GrantReason.RELAY_DOMAIN:
            domain = snapshot.relay_domains.get(grant.ref)
            holds = domain is not None and now < domain.expires
        case GrantReason.NOTIFICATION:
            holds = True
    if holds:
        return Accept("recheck", f"{grant.reason} {grant.ref} still holds")
    return Defer(CHANGED, "recheck", f"{grant.reason} {grant.ref} has expired, or was revoked or suspended meanwhile")


def _seal(facts: RecipientFacts, permit: Permit) -> Defer | AcceptRecipient:
    """Turn a permit into an acceptance, whichever rule it came from: nothing leaves without ``relay`` and a reason."""
    destination = locate(facts.snapshot, facts.recipient)
    leaves = destination is not Destination.LOCAL
    if destination is not permit.destination or (leaves and (permit.rule != _RELAY or permit.reason is None)):
        return Defer(UNDECIDED, permit.rule, "a rule tried to let mail out that only the last rule may let out")
    if permit.reason is not None and not permit.ref:
        return Defer(UNDECIDED, permit.rule, "nobody is named who answers for this recipient")
    if permit.reason is None:
        return AcceptRecipient(permit.rule, permit.why, destination, None, "")
    grant = mint_grant(permit.reason, permit.ref, facts.transaction, facts.recipient, facts.snapshot.version)
    return AcceptRecipient(permit.rule, permit.why, destination, grant, permit.ref)
