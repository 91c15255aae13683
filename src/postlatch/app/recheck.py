"""Does what let this recipient in still hold? Asked at each delivery attempt; a reason means: hold, and tell an operator."""

from __future__ import annotations

from postlatch.model.envelope import GrantReason
from postlatch.policy.snapshot import Snapshot
from postlatch.spool.contract import QueuedRecipient, StoredMessage


def reason_to_hold(snapshot: Snapshot, recipient: QueuedRecipient, _message: StoredMessage, now: float) -> str | None:
    """A sentence, or None. An account or right that is gone holds its mail as well as one that is suspended."""
    match recipient.grant_reason:
        case GrantReason.ACCOUNT:
            account = snapshot.accounts.get(recipient.grant_ref)
            if account is None:
                return f"the account {recipient.grant_ref} no longer exists"
            return f"the account {recipient.grant_ref} is suspended" if account.suspended else None
        case GrantReason.NETWORK:
            right = snapshot.right(recipient.grant_ref)
            if right is None:
                return f"the right {recipient.grant_ref} was revoked"
            return f"the right {recipient.grant_ref} is suspended" if right.suspended else None
        case GrantReason.RELAY_DOMAIN:
            domain = snapshot.relay_domains.get(recipient.grant_ref)
            if domain is None or now >= domain.expires:
                return f"{recipient.grant_ref} is no longer relayed to"
            return None
        case _:
            return None
