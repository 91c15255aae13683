"""What a login has shown, and whether that may send: an application password may do less than its account, never more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from postlatch.model.address import Address
from postlatch.model.envelope import IPAddress
from postlatch.model.reply import Reply
from postlatch.model.verdict import Defer, Refuse
from postlatch.policy import replies
from postlatch.policy.match import permits
from postlatch.policy.networks import NetworkTable
from postlatch.policy.snapshot import Account, AppPassword, Snapshot

if TYPE_CHECKING:
    from postlatch.policy.facts import EnvelopeFacts
    from postlatch.policy.rules_message import Sealed

# What is neither a password of the account nor an application password. No application password can be named so.
CERTIFICATE: Final = "=certificate"
TOKEN: Final = "=token"  # noqa: S105 - the name of a kind
LOCAL: Final = "=local"  # the kernel's word, on the Unix socket of this machine; it counts nowhere else
PROVED_ELSEWHERE: Final = frozenset({CERTIFICATE, TOKEN, LOCAL})


class Fault(NamedTuple):
    """Why a credential may not send."""

    reply: Reply
    why: str


class Place(NamedTuple):
    """Where and when a credential is used. ``identity`` is False where the address is a proxy's."""

    address: IPAddress
    identity: bool
    now: float


def credential_fault(snapshot: Snapshot, account: Account, credential: str | None, place: Place) -> Fault | None:
    """Why what was shown for ``account`` may not send at this time from this place; None if it may."""
    if credential is None:
        if snapshot.main_password:
            return None
        return Fault(replies.MAIN_PASSWORD, f"the password of {account.login} itself may not send: main_password is none")
    if credential in PROVED_ELSEWHERE:
        return None
    found = account.app_passwords.get(credential)
    if found is None:
        return Fault(replies.APP_PASSWORD_OVER, f"{account.login} has no application password {credential} any more")
    if found.expires is not None and place.now >= found.expires:
        why = f"the application password {credential} of {account.login} expired at {replies.rfc3339(found.expires)}"
        return Fault(replies.APP_PASSWORD_OVER, why)
    if found.networks and not (place.identity and _inside(found, place.address)):
        why = f"the application password {credential} of {account.login} may not be used from {place.address}"
        return Fault(replies.APP_PASSWORD_PLACE, why)
    return None


def sender_fault(account: Account, credential: str | None, sender: Address | None) -> Fault | None:
    """Why an application password does not cover a sender that its account may use; None if it does."""
    found = account.app_passwords.get(credential) if credential is not None else None
    if found is None or permits(found.senders, sender):
        return None
    shown = "<>" if sender is None else sender.text
    why = f"the application password {credential} of {account.login} does not cover the sender {shown}"
    return Fault(replies.APP_PASSWORD_SENDER, why)


def may_send(facts: EnvelopeFacts, account: Account) -> bool:
    """True if nothing speaks against the credential, its place and the sender."""
    return _fault(facts, account) is None


def credential(facts: EnvelopeFacts) -> Refuse | None:
    """What the login has shown is still good, here and for this sender. Asked at MAIL and again at RCPT."""
    account = facts.snapshot.accounts.get(facts.account or "")
    fault = None if account is None else _fault(facts, account)
    return None if fault is None else Refuse(fault.reply, "credential", fault.why)


def header_credential(facts: Sealed) -> Refuse | Defer | None:
    """At the end of the message: what was shown still holds, else it waits; and From keeps to what it covers."""
    header = facts.header
    account = facts.snapshot.accounts.get(header.account or "")
    if account is None:
        return None
    gone = credential_fault(facts.snapshot, account, header.credential, Place(facts.client.address, True, facts.now))
    if gone is not None:
        return Defer(replies.CHANGED, "header credential", gone.why)
    other = [address for field in header.named for address in field.addresses or ()]
    for address in (*(header.header_from or ()), *other):
        fault = sender_fault(account, header.credential, address)
        if fault is not None:
            return Refuse(replies.HEADER_NOT_OWNED, "header credential", f"{fault.why}, which the header names")
    return None


def _fault(facts: EnvelopeFacts, account: Account) -> Fault | None:
    place = Place(facts.client.address, facts.identity, facts.now)
    fault = credential_fault(facts.snapshot, account, facts.credential, place)
    return fault or sender_fault(account, facts.credential, facts.sender)


def _inside(found: AppPassword, address: IPAddress) -> bool:
    return bool(NetworkTable((network, None) for network in found.networks).find(address))
