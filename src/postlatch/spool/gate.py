"""The queue's own door. The policy has decided already; here nothing of that is believed.

Each recipient's domain is classified again, and mail for a domain that is not ours passes only with a grant made for exactly
that recipient, which is used up here. The schema checks once more (spool.sql).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from postlatch.model.address import POSTMASTER, Address
from postlatch.model.envelope import Destination, EnvelopeRecipient, GrantReason
from postlatch.policy.grant import GrantError, RelayGrant
from postlatch.spool.contract import SpoolError

Classify = Callable[[str], Destination]


def admit(
    recipients: Sequence[EnvelopeRecipient],
    grants: Sequence[RelayGrant | None],
    originals: Sequence[Address],
    transaction: object,
    classify: Classify,
) -> None:
    """Check all recipients, then redeem each distinct grant once. SpoolError if anything is not as it must be.

    ``grants[i]`` belongs to ``recipients[i]``; several that an alias stands for share the grant of ``originals[i]``, the very
    address object that the client's RCPT made.
    """
    if not recipients or not len(recipients) == len(grants) == len(originals):
        raise SpoolError("a message has recipients, and each its grant and the address that the client named")
    for recipient, grant in zip(recipients, grants, strict=True):
        _check(recipient, grant, classify)
    _redeem(grants, originals, transaction)


def _check(recipient: EnvelopeRecipient, grant: RelayGrant | None, classify: Classify) -> None:
    destination = _destination(recipient.address, classify)
    if destination is not recipient.destination:
        raise SpoolError(f"a recipient was accepted as {recipient.destination} and is {destination} now")
    if grant is None:
        if destination is not Destination.LOCAL:
            raise SpoolError(f"a {destination} recipient has no grant")
        if recipient.grant_reason is not None or recipient.grant_ref:
            raise SpoolError("a recipient names a grant that it does not have")
        return
    if (grant.reason, grant.ref) != (recipient.grant_reason, recipient.grant_ref):
        raise SpoolError("a recipient names another grant than the one it has")
    if destination is not Destination.LOCAL and grant.recipient != recipient.address:
        raise SpoolError("a grant is for another recipient: an alias leads to our own domains only")
    if grant.reason is GrantReason.RELAY_DOMAIN and destination is not Destination.RELAY:
        raise SpoolError("a relay domain's grant is for that domain only")


def _destination(address: Address, classify: Classify) -> Destination:
    if not address.domain:
        return Destination.LOCAL if address.key == POSTMASTER.key else Destination.FOREIGN
    return classify(address.domain)


def _redeem(grants: Sequence[RelayGrant | None], originals: Sequence[Address], transaction: object) -> None:
    redeemed: set[RelayGrant] = set()
    for grant, original in zip(grants, originals, strict=True):
        if grant is None or grant in redeemed:
            continue
        try:
            grant.redeem(transaction, original)
        except GrantError as error:
            raise SpoolError(str(error)) from error
        redeemed.add(grant)
