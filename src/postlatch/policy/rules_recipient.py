"""The rules for RCPT, where relaying is decided. Every rule but the last two can only tighten; only ``relay`` lets mail out."""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.model.envelope import Destination, GrantReason, Role
from postlatch.model.verdict import Refuse
from postlatch.policy import replies
from postlatch.policy.credentials import credential
from postlatch.policy.facts import RecipientFacts
from postlatch.policy.mailboxes import is_bad_form, is_listed, locate
from postlatch.policy.rules import Permit, Rule, Tightening, Unknown
from postlatch.policy.rules_party import (
    SUBMISSION_ROLES,
    account,
    active_account,
    active_right,
    authentication,
    limit,
    listener,
    right,
    role_of,
    sender_owned,
)
from postlatch.policy.rules_reputation import greylist, reputation


def address_form(facts: RecipientFacts) -> Refuse | None:
    """No mailbox of ours or of a relay domain looks like a route, unless it is listed so. AUDIT B and D."""
    if not is_bad_form(facts.snapshot, facts.recipient):
        return None
    return Refuse(replies.BAD_ADDRESS, "address form", "the local part holds a routing character, and is not listed so")


def bare_postmaster(facts: RecipientFacts) -> Refuse | None:
    """``postmaster`` without a domain is an address only on ``mx``. RFC 5321 section 4.5.1."""
    if facts.recipient.domain or role_of(facts) is Role.MX:
        return None
    return Refuse(replies.BAD_ADDRESS, "bare postmaster", "the address has no domain")


def recipient_scope(facts: RecipientFacts) -> Refuse | None:
    """On ``relay``, one and the same right in force covers client, sender and recipient."""
    if role_of(facts) is not Role.RELAY or active_right(facts, facts.recipient) is not None:
        return None
    return right(facts) or Refuse(
        replies.RECIPIENT_SCOPE, "recipient scope", "no right of this client and sender covers the recipient"
    )


def foreign_on_mx(facts: RecipientFacts) -> Refuse | None:
    """Nothing goes from ``mx`` to a foreign domain. ``relay`` says so too; here it is said before any limit or look-up."""
    if role_of(facts) is not Role.MX or locate(facts.snapshot, facts.recipient) is not Destination.FOREIGN:
        return None
    return _denied("foreign on mx", facts)


def route_expired(facts: RecipientFacts) -> Refuse | None:
    """A relay domain is one only until its date, for everybody: its mail has no other way out."""
    domain = facts.snapshot.relay_domains.get(facts.recipient.domain)
    if domain is None or locate(facts.snapshot, facts.recipient) is not Destination.RELAY or facts.now < domain.expires:
        return None
    why = f"the relay domain {facts.recipient.domain} expired at {replies.rfc3339(domain.expires)}"
    return Refuse(replies.ROUTE_EXPIRED, "route expired", why)


def recipient_known(facts: RecipientFacts) -> Refuse | Unknown | None:
    """A mailbox of ours or of a relay domain exists. To find out later would mean a bounce to whoever was forged."""
    destination = locate(facts.snapshot, facts.recipient)
    if destination is Destination.FOREIGN:
        return None
    known = _known(facts)
    if known is None:
        return Unknown("the next hop has not said whether the mailbox exists")
    return None if known else Refuse(replies.UNKNOWN_USER, "recipient known", "there is no such mailbox")


def local(facts: RecipientFacts) -> Permit | None:
    """Known mailboxes of ours: from anybody on ``mx``, elsewhere by the account or the right."""
    if locate(facts.snapshot, facts.recipient) is not Destination.LOCAL or _known(facts) is not True:
        return None
    if role_of(facts) is Role.MX:
        return Permit(Destination.LOCAL, None, "", "local", "a mailbox of ours")
    by = _voucher(facts)
    return None if by is None else Permit(Destination.LOCAL, by.reason, by.ref, "local", f"a mailbox of ours; {by.why}")


def relay(facts: RecipientFacts) -> Permit | Refuse:
    """The only rule by which mail leaves for a domain that is not ours. It relies on no rule before it.

    To a relay domain: by anybody on ``mx``, by an account or a right elsewhere; to a mailbox that is known, while the date
    has not passed. To a foreign domain: by an account or a right, never on ``mx``.
    """
    destination = locate(facts.snapshot, facts.recipient)
    if destination is Destination.RELAY and _is_reachable(facts):
        by = _relay_domain(facts) if role_of(facts) is Role.MX else _voucher(facts)
    elif destination is Destination.FOREIGN and role_of(facts) is not Role.MX:
        by = _voucher(facts)
    else:
        by = None
    if by is None:
        return _denied("relay", facts)
    return Permit(destination, by.reason, by.ref, "relay", by.why)


def _denied(rule: str, facts: RecipientFacts) -> Refuse:
    why = f"{facts.client.address} has no right on {facts.listener} to send to {facts.recipient.domain or 'no domain'}"
    return Refuse(replies.RELAY_DENIED, rule, why)


class _By(NamedTuple):
    """Who answers for a recipient."""

    reason: GrantReason
    ref: str
    why: str


def _voucher(facts: RecipientFacts) -> _By | None:
    """An account on submission, a right on ``relay``; on ``mx`` nobody answers for a stranger."""
    role = role_of(facts)
    if role is Role.RELAY:
        found = active_right(facts, facts.recipient)
        why = f"the right {found.name} covers this client" if found else ""
        return None if found is None else _By(GrantReason.NETWORK, found.name, why)
    if role in SUBMISSION_ROLES:
        owner = active_account(facts)
        why = f"the account {owner.login} is logged in" if owner else ""
        return None if owner is None else _By(GrantReason.ACCOUNT, owner.login, why)
    return None


def _relay_domain(facts: RecipientFacts) -> _By:
    domain = facts.recipient.domain
    return _By(GrantReason.RELAY_DOMAIN, domain, f"{domain} is a relay domain, with its own route")


def _is_reachable(facts: RecipientFacts) -> bool:
    return facts.now < facts.snapshot.relay_domains[facts.recipient.domain].expires and _known(facts) is True


def _known(facts: RecipientFacts) -> bool | None:
    listed = is_listed(facts.snapshot, facts.recipient)
    return facts.known if listed is None else listed


TIGHTENING: Final[tuple[Tightening[RecipientFacts], ...]] = (
    address_form,
    listener,
    bare_postmaster,
    foreign_on_mx,
    authentication,
    account,
    sender_owned,
    credential,
    recipient_scope,
    route_expired,
    recipient_known,
    reputation,
    greylist,
    limit,
)
RULES: Final[tuple[Rule[RecipientFacts, Permit], ...]] = (*TIGHTENING, local, relay)
