"""The rules at the end of the message, when its header can be seen. They only tighten what RCPT has permitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from postlatch.model.address import Address
from postlatch.model.envelope import Client, GrantReason, Role
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy import replies
from postlatch.policy.credentials import header_credential
from postlatch.policy.dmarc import REJECT, decide_disposition
from postlatch.policy.facts import MessageFacts
from postlatch.policy.grant import RelayGrant
from postlatch.policy.match import permits
from postlatch.policy.rules import Rule, Tightening, Unknown
from postlatch.policy.rules_party import SUBMISSION_ROLES, named, role_of
from postlatch.policy.rules_party import listener as known_listener
from postlatch.policy.snapshot import Snapshot
from postlatch.policy.ties import may_send_as

SENDER: Final = "Sender"
MAX_HOPS: Final = 100  # Received fields, RFC 5321 section 6.3


@dataclass(init=False, slots=True, unsafe_hash=True)
class Sealed:
    """The header facts together with what RCPT has granted: one entry a recipient, None for a stranger's mail to us."""

    header: MessageFacts
    grants: Sequence[RelayGrant | None]

    def __init__(self, header: MessageFacts, grants: Sequence[RelayGrant | None]) -> None:
        self.header = header
        self.grants = grants

    @property
    def snapshot(self) -> Snapshot:
        """As in the header facts."""
        return self.header.snapshot

    @property
    def listener(self) -> str:
        """As in the header facts."""
        return self.header.listener

    @property
    def client(self) -> Client:
        """As in the header facts."""
        return self.header.client

    @property
    def now(self) -> float:
        """As in the header facts."""
        return self.header.now


def granted(facts: Sealed) -> Unknown | None:
    """Every recipient has the grant that this listener gives. Anything else is a fault of ours, so it is not accepted."""
    if facts.grants and all(_fits(role_of(facts), facts.header.account, grant) for grant in facts.grants):
        return None
    return Unknown("a recipient does not have the grant that this listener gives")


def loop(facts: Sealed) -> Refuse | None:
    """Too many hops. RFC 5321 section 6.3."""
    if facts.header.received_count <= MAX_HOPS:
        return None
    return Refuse(replies.LOOP, "loop", f"{facts.header.received_count} Received fields")


def one_from(facts: Sealed) -> Refuse | None:
    """Never two From fields, which readers show differently; on submission exactly one, and readable. RFC 5322 section 3.6."""
    count = facts.header.from_count
    unreadable = role_of(facts) in SUBMISSION_ROLES and (count != 1 or not facts.header.header_from)
    if count <= 1 and not unreadable:
        return None
    return Refuse(replies.ONE_FROM, "one from", f"{count} From fields" if count != 1 else "From cannot be read")


def one_sender(facts: Sealed) -> Refuse | None:
    """Where senders are tied: one Sender at most, and one if From has several mailboxes; all readable. RFC 5322 3.6.2."""
    if not _is_tied(facts):
        return None
    senders = [field.addresses for field in facts.header.named if field.name == SENDER]
    if len(senders) > 1 or any(addresses is None or len(addresses) > 1 for addresses in senders):
        return Refuse(replies.ONE_SENDER, "one sender", "Sender does not name exactly one mailbox")
    if len(facts.header.header_from or ()) > 1 and not senders:
        return Refuse(replies.ONE_SENDER, "one sender", "From names several mailboxes and there is no Sender")
    unreadable = next((field.name for field in facts.header.named if not field.addresses), None)
    if unreadable is not None:
        return Refuse(replies.ONE_SENDER, "one sender", f"{unreadable} cannot be read")
    return None


def header_owned(facts: Sealed) -> Refuse | Defer | None:
    """On submission, each address that names a sender belongs to the account, at this moment. RFC 6409 section 6.1."""
    if role_of(facts) not in SUBMISSION_ROLES:
        return None
    header, snapshot = facts.header, facts.snapshot
    account = snapshot.accounts.get(header.account or "")
    if account is None or account.suspended:
        return Defer(replies.CHANGED, "header owned", f"the account {header.account} is no longer active")
    for field, address in _names(header):
        if not may_send_as(snapshot, account, address, facts.now):
            return _not_owned("header owned", f"the account {account.login}", field, address)
    if may_send_as(snapshot, account, header.sender, facts.now):
        return None
    why = f"the account {account.login} may not send as {named(header.sender)} any more"
    return Defer(replies.CHANGED, "header owned", why)


def header_scope(facts: Sealed) -> Refuse | Defer | None:
    """On ``relay``, what names a sender keeps to the senders of each right that was used; one for anybody asks nothing."""
    for name in _rights(facts):
        right = facts.snapshot.right(name)
        if right is None:
            return Defer(replies.CHANGED, "header scope", f"the right {name} is gone")
        if right.sender_keys and not facts.header.header_from:
            return Refuse(replies.ONE_FROM, "header scope", f"the right {name} names senders, and From cannot be read")
        for field, address in _names(facts.header):
            if not permits(right.sender_keys, address):
                return _not_owned("header scope", f"the right {name}", field, address)
        if not permits(right.sender_keys, facts.header.sender):
            return Defer(replies.CHANGED, "header scope", f"the right {name} does not cover the sender any more")
    return None


def dmarc(facts: Sealed) -> Refuse | Defer | None:
    """On ``mx``, what the author's domain asks for. A DNS that does not answer is no pass and no fail. RFC 9989."""
    found = facts.header.dmarc
    if found is None or role_of(facts) is not Role.MX:
        return None
    if found.result == "temperror" and facts.snapshot.dmarc.enforce:
        return Defer(replies.DMARC_UNKNOWN, "dmarc", f"the DNS of {found.from_domain} gave no usable answer")
    decision = decide_disposition(facts.snapshot.dmarc, found, facts.client.address, facts.now)
    return Refuse(replies.DMARC_REJECT, "dmarc", decision.why) if decision.disposition == REJECT else None


def message(facts: Sealed) -> Accept:
    """Nothing in the header speaks against what RCPT has permitted."""
    return Accept("message", f"accepted for {len(facts.grants)} recipients")


def _fits(role: Role, account: str | None, grant: RelayGrant | None) -> bool:
    if role is Role.MX:
        return grant is None or grant.reason is GrantReason.RELAY_DOMAIN
    if grant is None:
        return False
    if role is Role.RELAY:
        return grant.reason is GrantReason.NETWORK
    return grant.reason is GrantReason.ACCOUNT and grant.ref == account


def _is_tied(facts: Sealed) -> bool:
    """Somebody with addresses of its own sends: an account, or a right that names its senders."""
    if role_of(facts) in SUBMISSION_ROLES:
        return True
    found = (facts.snapshot.right(name) for name in _rights(facts))
    return any(right is not None and right.sender_keys for right in found)


def _rights(facts: Sealed) -> set[str]:
    return {grant.ref for grant in facts.grants if grant is not None and grant.reason is GrantReason.NETWORK}


def _names(header: MessageFacts) -> Iterator[tuple[str, Address]]:
    """Every address that the header names as a sender, with its field."""
    for address in header.header_from or ():
        yield "From", address
    for field in header.named:
        for address in field.addresses or ():
            yield field.name, address


def _not_owned(rule: str, who: str, field: str, address: Address) -> Refuse:
    reply = replies.HEADER_NOT_OWNED if field == "From" else replies.FIELD_NOT_OWNED
    return Refuse(reply, rule, f"{who} may not send as {address.text}, which {field} names")


TIGHTENING: Final[tuple[Tightening[Sealed], ...]] = (
    known_listener,
    granted,
    loop,
    one_from,
    header_owned,
    header_credential,
    header_scope,
    one_sender,
    dmarc,
)
RULES: Final[tuple[Rule[Sealed, Accept], ...]] = (*TIGHTENING, message)
