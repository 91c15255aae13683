"""Where a recipient belongs, and whether it is known there. Exact domains; local parts of ours without case."""

from __future__ import annotations

from typing import Final

from postlatch.model.address import Address
from postlatch.model.envelope import Destination
from postlatch.policy.aliases import base_name, expand, is_postmaster
from postlatch.policy.snapshot import LocalDomain, RelayDomain, Snapshot

# A local part with one of these is how relays were tricked into routing by it (AUDIT B and D); ``|`` and ``-`` at its
# start have been taken for a program or an option by what stands behind a mail server.
_ROUTING: Final = frozenset("%!@:/\\")
_LEADING: Final = ("|", "-")
_NEVER: Final = ("", ".", "..")


def locate(snapshot: Snapshot, recipient: Address) -> Destination:
    """As ``Snapshot.classify``, and ``postmaster`` alone or at an address literal of this server is local."""
    if recipient.domain[:1] in ("", "["):
        return Destination.LOCAL if is_postmaster(snapshot, recipient) else Destination.FOREIGN
    return snapshot.classify(recipient.domain)


def is_bad_form(snapshot: Snapshot, recipient: Address) -> bool:
    """True for a local part of ours or of a relay domain that is never taken, unless it is listed letter for letter."""
    local = recipient.local
    if local not in _NEVER and _ROUTING.isdisjoint(local) and not local.startswith(_LEADING):
        return False
    domain = _domain_of(snapshot, recipient)
    return domain is not None and (local in _NEVER or not _is_literally_listed(domain, local.lower()))


def is_listed(snapshot: Snapshot, recipient: Address) -> bool | None:
    """Whether a recipient of ours or of a relay domain is known; None: only its next hop can tell (call-out)."""
    if is_postmaster(snapshot, recipient):
        return True
    domain = _domain_of(snapshot, recipient)
    if domain is None or is_bad_form(snapshot, recipient):
        return False
    if isinstance(domain, LocalDomain) and _is_alias(domain, recipient):
        return bool(expand(snapshot, recipient))
    if domain.recipients is None:
        return None
    name = recipient.local.lower()
    if name in domain.recipients or base_name(name) in domain.recipients:
        return True
    return isinstance(domain, LocalDomain) and bool(domain.catch_all) and bool(expand(snapshot, recipient))


def needs_callout(snapshot: Snapshot, recipient: Address) -> bool:
    """True if the server must ask the next hop and put its answer into ``RecipientFacts.known``."""
    return is_listed(snapshot, recipient) is None


def _domain_of(snapshot: Snapshot, recipient: Address) -> LocalDomain | RelayDomain | None:
    match snapshot.classify(recipient.domain):
        case Destination.LOCAL:
            return snapshot.local_domains[recipient.domain]
        case Destination.RELAY:
            return snapshot.relay_domains[recipient.domain]
    return None


def _is_literally_listed(domain: LocalDomain | RelayDomain, name: str) -> bool:
    listed = domain.recipients is not None and name in domain.recipients
    return listed or (isinstance(domain, LocalDomain) and name in domain.aliases)


def _is_alias(domain: LocalDomain, recipient: Address) -> bool:
    name = recipient.local.lower()
    return name in domain.aliases or base_name(name) in domain.aliases
