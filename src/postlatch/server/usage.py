"""What a message has used: rights, relay domains, accounts and delegations, by the names under which their last use is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postlatch.model.envelope import GrantReason
from postlatch.policy.match import lists
from postlatch.policy.snapshot import Snapshot
from postlatch.policy.ties import delegation_of
from postlatch.server.transaction import Transaction

_PREFIX: Final = {GrantReason.NETWORK: "", GrantReason.RELAY_DOMAIN: "relay domain:", GrantReason.ACCOUNT: "account:"}


def used_names(snapshot: Snapshot, transaction: Transaction) -> Iterator[str]:
    """A right's own name; the others behind their kind and a colon, which no right has in its name."""
    for reason, ref in transaction.payers:
        if reason in _PREFIX:
            yield _PREFIX[reason] + ref
    login = transaction.origin.account
    if login is None or not snapshot.delegations_of(login):
        return
    account = snapshot.accounts.get(login)
    authors = transaction.header.header_from if transaction.header is not None else None
    for address in {*(authors or ()), *([transaction.sender] if transaction.sender is not None else [])}:
        lent = delegation_of(snapshot, login, address, transaction.received_at)
        if lent is not None and account is not None and not lists(account.send_as, address):
            yield f"delegation:{lent.name}"
