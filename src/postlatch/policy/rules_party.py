"""Rules about who is sending, asked at MAIL and again at RCPT: nothing is remembered between the two."""

from __future__ import annotations

from typing import Final

from postlatch.model.address import Address
from postlatch.model.envelope import Role
from postlatch.model.verdict import Defer, Refuse
from postlatch.policy import replies
from postlatch.policy.credentials import LOCAL, may_send
from postlatch.policy.facts import AnyFacts, EnvelopeFacts, LimitReached
from postlatch.policy.match import permits
from postlatch.policy.rules import Unknown
from postlatch.policy.snapshot import Account, Right
from postlatch.policy.ties import may_send_as

SUBMISSION_ROLES: Final = (Role.SUBMISSION, Role.SUBMISSIONS)


def role_of(facts: AnyFacts) -> Role:
    """The role of the listener. KeyError, and so a deferral, if there is no such listener."""
    return facts.snapshot.listeners[facts.listener].role


def is_logged_in(facts: EnvelopeFacts) -> bool:
    """A login over TLS; or, on the Unix socket and nowhere else, the kernel's word for who speaks."""
    if facts.account is None:
        return False
    if facts.snapshot.listeners[facts.listener].local:
        return facts.credential == LOCAL
    return facts.tls and facts.credential != LOCAL


def active_account(facts: EnvelopeFacts) -> Account | None:
    """The account that is logged in, exists, is not suspended, owns the sender address and may use what it showed."""
    if facts.account is None or not is_logged_in(facts):
        return None
    account = facts.snapshot.accounts.get(facts.account)
    if account is None or account.suspended or not may_send_as(facts.snapshot, account, facts.sender, facts.now):
        return None
    return account if may_send(facts, account) else None


def active_right(facts: EnvelopeFacts, recipient: Address) -> Right | None:
    """The first right in force that covers the client on this listener, the sender and the recipient."""
    for right in _covering(facts):
        in_scope = permits(right.sender_keys, facts.sender) and permits(right.recipient_keys, recipient)
        if in_scope and _in_force(right, facts.now):
            return right
    return None


def listener(facts: AnyFacts) -> Unknown | None:
    """A listener that the policy does not know decides nothing."""
    return None if facts.listener in facts.snapshot.listeners else Unknown("the listener is not in the policy")


def authentication(facts: EnvelopeFacts) -> Refuse | None:
    """Submission needs TLS and a login. RFC 4954 section 6, RFC 6409 section 4.3."""
    if role_of(facts) not in SUBMISSION_ROLES or is_logged_in(facts):
        return None
    why = "not logged in" if facts.tls or facts.account is None else "the connection has no TLS"
    return Refuse(replies.AUTH_REQUIRED, "authentication", why)


def account(facts: EnvelopeFacts) -> Refuse | None:
    """The account still exists and is not suspended."""
    if role_of(facts) not in SUBMISSION_ROLES:
        return None
    known = facts.snapshot.accounts.get(facts.account or "")
    if known is None:
        return Refuse(replies.NO_ACCOUNT, "account", f"there is no account {facts.account}")
    if known.suspended:
        return Refuse(replies.ACCOUNT_SUSPENDED, "account", f"the account {known.login} is suspended")
    return None


def sender_owned(facts: EnvelopeFacts) -> Refuse | None:
    """An account sends only as what it owns; ``<>`` only if it is listed."""
    if role_of(facts) not in SUBMISSION_ROLES:
        return None
    known = facts.snapshot.accounts[facts.account or ""]
    if may_send_as(facts.snapshot, known, facts.sender, facts.now):
        return None
    return Refuse(replies.NOT_OWNED, "sender owned", f"the account {known.login} may not send as {named(facts.sender)}")


def right(facts: EnvelopeFacts) -> Refuse | None:
    """On ``relay``, a right in force covers the client's address and the sender."""
    if role_of(facts) is not Role.RELAY:
        return None
    covering = _covering(facts)
    for candidate in covering:
        if _in_force(candidate, facts.now) and permits(candidate.sender_keys, facts.sender):
            return None
    return _no_right(facts, covering)


def limit(facts: EnvelopeFacts) -> Refuse | Defer | None:
    """A limit that is reached: later today, or not before the day is over. Held mail is none of this rule's."""
    return limit_verdict(facts.limit) if facts.limit is not None else None


def named(sender: Address | None) -> str:
    """The sender for ``why``: as received, or ``<>``."""
    return "<>" if sender is None else sender.text


def _covering(facts: EnvelopeFacts) -> list[Right]:
    # PROXY LOCAL and UNKNOWN give the proxy's own address: that is nobody's right.
    return facts.snapshot.rights_of(facts.listener, facts.client.address) if facts.identity else []


def _in_force(candidate: Right, now: float) -> bool:
    return not candidate.suspended and now < candidate.expires


def _no_right(facts: EnvelopeFacts, covering: list[Right]) -> Refuse:
    """Why none of the rights that cover the client's address lets this sender in."""
    if not covering:
        why = "no right covers this address" if facts.identity else "behind the proxy the client has no address of its own"
        return Refuse(replies.NO_RIGHT, "right", why)
    valid = next((candidate for candidate in covering if _in_force(candidate, facts.now)), None)
    if valid is not None:
        why = f"the right {valid.name} does not cover the sender {named(facts.sender)}"
        return Refuse(replies.SENDER_SCOPE, "right", why)
    suspended = next((candidate for candidate in covering if candidate.suspended), None)
    if suspended is not None:
        return Refuse(replies.RIGHT_SUSPENDED, "right", f"the right {suspended.name} is suspended")
    why = f"the right {covering[0].name} expired at {replies.rfc3339(covering[0].expires)}"
    return Refuse(replies.RIGHT_EXPIRED, "right", why)


def limit_verdict(reached: LimitReached) -> Refuse | Defer | None:
    """What a limit in the way comes to; None where its mail is accepted and held."""
    if reached.unknown:
        return Defer(replies.UNDECIDED, "limit", f"the count of {reached.name} is not known now")
    if reached.hold:
        return None
    reply = replies.limit_reply(reached)
    why = f"{reached.name} is reached until {replies.rfc3339(reached.retry_at)}"
    return Refuse(reply, "limit", why) if reached.day_spent else Defer(reply, "limit", why)
