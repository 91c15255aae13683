"""The rules for RCPT, where relaying is decided. Every rule but the last two can only tighten; only ``relay`` lets mail out."""

from __future__ import annotations

from postlatch.model.envelope import Destination, GrantReason, Role
from postlatch.model.verdict import Refuse
from postlatch.policy import replies
from postlatch.policy.facts import RecipientFacts
from postlatch.policy.mailboxes import is_bad_form, is_listed, locate
from postlatch.policy.match import permits
from postlatch.policy.rules import Permit, Rule, Tightening, Unknown
from postlatch.policy.rules_party import (
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
    """On ``relay``, one and the same right covers client, sender and recipient."""
    if role_of(facts) is not Role.RELAY or active_right(facts, facts.recipient) is not None:
        return None
    return Refuse(replies.RECIPIENT_SCOPE, "recipient scope", "no right of this client and sender covers the recipient")


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
    reason, ref, why = _voucher(facts)
    return Permit(Destination.LOCAL, reason, ref, "local", f"a mailbox of ours; {why}") if reason is not None else None


def relay(facts: RecipientFacts) -> Permit | Refuse:
    """The only rule by which mail leaves for a domain that is not ours. It relies on no rule before it."""
    destination = locate(facts.snapshot, facts.recipient)
    domain = facts.recipient.domain
    reason, ref, why = _voucher(facts)
    if destination is not Destination.FOREIGN and _known(facts) is not True:
        reason = None
    elif role_of(facts) is Role.MX and destination is Destination.RELAY:
        if facts.now < facts.snapshot.relay_domains[domain].expires:
            reason, ref, why = GrantReason.RELAY_DOMAIN, domain, f"{domain} is a relay domain, with its own route"
    if reason is None or destination is Destination.LOCAL:
        return Refuse(replies.RELAY_DENIED, "relay", f"{why}, and {domain or 'no domain'} is not ours")
    return Permit(destination, reason, ref, "relay", why)


def _voucher(facts: RecipientFacts) -> tuple[GrantReason | None, str, str]:
    """Who answers for this sender here: an account on submission, a right on ``relay``, nobody on ``mx``."""
    role = role_of(facts)
    if role is Role.RELAY:
        found = active_right(facts, facts.recipient)
        if found is not None:
            return GrantReason.NETWORK, found.name, f"the right {found.name} covers {facts.client.address}"
        return None, "", f"no right covers {facts.client.address}"
    if role is not Role.MX:
        owner = active_account(facts)
        if owner is not None:
            return GrantReason.ACCOUNT, owner.login, f"the account {owner.login} is logged in"
        return None, "", "no account is logged in"
    return None, "", f"{facts.client.address} is a stranger on {facts.listener}"


def _known(facts: RecipientFacts) -> bool | None:
    listed = is_listed(facts.snapshot, facts.recipient)
    return facts.known if listed is None else listed


TIGHTENING: tuple[Tightening[RecipientFacts], ...] = (
    address_form,
    listener,
    bare_postmaster,
    authentication,
    account,
    sender_owned,
    right,
    recipient_scope,
    route_expired,
    recipient_known,
    limit,
)
RULES: tuple[Rule[RecipientFacts, Permit], ...] = (*TIGHTENING, local, relay)
