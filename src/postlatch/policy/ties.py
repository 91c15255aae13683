"""The tie between a login and the addresses that it may send as. One function, asked at MAIL, RCPT, the header and DKIM."""

from __future__ import annotations

from postlatch.model.address import Address
from postlatch.policy.match import lists
from postlatch.policy.sending import NO_ALIASES, OWN_ALIASES, Delegation
from postlatch.policy.snapshot import Account, Snapshot


def may_send_as(snapshot: Snapshot, account: Account, address: Address | None, now: float) -> bool:
    """True if ``address`` (None: the null reverse-path) belongs to ``account`` at ``now``. Says nothing of a suspension."""
    if lists(account.send_as, address):
        return True
    if address is None:
        return False
    return delegation_of(snapshot, account.login, address, now) is not None or _by_alias(snapshot, account, address)


def delegation_of(snapshot: Snapshot, login: str, address: Address, now: float) -> Delegation | None:
    """The delegation in force by which ``login`` may send as ``address``."""
    for delegation in snapshot.delegations_of(login):
        if delegation.address == address.key and now < delegation.expires:
            return delegation
    return None


def _by_alias(snapshot: Snapshot, account: Account, address: Address) -> bool:
    """The alias names the account's mailbox itself: an alias of an alias, a catch-all or a tag is not read into it."""
    rule = snapshot.submission.aliases
    domain = snapshot.local_domains.get(address.domain)
    if rule == NO_ALIASES or domain is None:
        return False
    targets = {target.key for target in domain.aliases.get(address.local.lower(), ())}
    return targets == {account.login} if rule == OWN_ALIASES else account.login in targets
