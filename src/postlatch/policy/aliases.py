"""From the recipient that a client names to the mailboxes of ours that get the message."""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.model.address import Address
from postlatch.model.envelope import Destination
from postlatch.policy.snapshot import LocalDomain, Snapshot

POSTMASTER: Final = "postmaster"
_SPECIAL: Final = frozenset(' ()<>[]:;@\\,"')


def base_name(name: str) -> str:
    """``alice`` of ``alice+tag``; a name without a tag, or that is nothing but one, is its own."""
    base, plus, _ = name.partition("+")
    return base if plus and base else name


def is_postmaster(snapshot: Snapshot, recipient: Address) -> bool:
    """True for ``postmaster``, in any case, of a domain of ours, of a literal of ours, or alone. RFC 5321 section 4.5.1."""
    if recipient.local.lower() != POSTMASTER or not snapshot.first_domain:
        return False
    domain = recipient.domain
    return not domain or domain in snapshot.own_addresses or snapshot.classify(domain) is Destination.LOCAL


def mailbox(local: str, domain: str) -> Address:
    """The address of a mailbox, its local part quoted where the grammar needs it (RFC 5321 section 4.1.2)."""
    if _SPECIAL.isdisjoint(local) and not local.startswith(".") and not local.endswith(".") and ".." not in local and local:
        return Address(local, domain, f"{local}@{domain}")
    quoted = local.replace("\\", "\\\\").replace('"', '\\"')
    return Address(local, domain, f'"{quoted}"@{domain}')


def expand(snapshot: Snapshot, recipient: Address) -> tuple[Address, ...]:
    """The mailboxes that ``recipient`` stands for, each once: aliases, catch-all, ``+tag`` and ``postmaster`` resolved.

    A recipient that is not ours comes back unchanged. Nothing else that is not ours ever does: a target in a foreign or relay
    domain is dropped. Empty if nothing remains; no configuration makes this run for ever.
    """
    if is_postmaster(snapshot, recipient):
        return _postmaster(snapshot, recipient)
    if snapshot.classify(recipient.domain) is not Destination.LOCAL:
        return (recipient,)
    return _resolve(snapshot, recipient)


def _postmaster(snapshot: Snapshot, recipient: Address) -> tuple[Address, ...]:
    """Its alias or mailbox in the domain it was sent to, else in the first domain of ours, where it is never missing."""
    first = mailbox(POSTMASTER, snapshot.first_domain)
    asked = mailbox(POSTMASTER, recipient.domain) if recipient.domain in snapshot.local_domains else first
    for candidate in (asked, first):
        domain = snapshot.local_domains[candidate.domain]
        if POSTMASTER in domain.aliases or (domain.recipients is not None and POSTMASTER in domain.recipients):
            found = _resolve(snapshot, candidate)
            if found:
                return found
    return (first,)


class _Detour(NamedTuple):
    """An alias or catch-all on the way: its name (``info@example.com``) and where it leads."""

    name: str
    targets: tuple[Address, ...]


def _resolve(snapshot: Snapshot, start: Address) -> tuple[Address, ...]:
    found: dict[str, Address] = {}
    done: set[str] = set()
    waiting: list[tuple[Address, frozenset[str]]] = [(start, frozenset())]
    while waiting:
        address, path = waiting.pop()
        domain = snapshot.local_domains.get(address.domain)
        step = None if domain is None else _step(domain, address, path)
        if isinstance(step, Address):
            found.setdefault(step.key, step)
        elif step is not None and step.name not in done:
            done.add(step.name)
            waiting.extend((target, path | {step.name}) for target in reversed(step.targets))
    return tuple(found.values())


def _step(domain: LocalDomain, address: Address, path: frozenset[str]) -> Address | _Detour | None:
    """One step from ``address``. ``path``: the aliases that led here; one that leads back to itself means its own mailbox."""
    name = address.local.lower()
    alias = _alias_name(domain, name)
    if alias is not None and (key := f"{alias}@{address.domain}") not in path:
        return _Detour(key, domain.aliases[alias])
    if domain.recipients is None:
        return address  # only the next hop knows its names and their case
    if name in domain.recipients:
        return _canonical(address, name)
    if base_name(name) in domain.recipients:
        return mailbox(base_name(name), address.domain)
    return _Detour(f"*@{address.domain}", domain.catch_all) if alias is None else None


def _alias_name(domain: LocalDomain, name: str) -> str | None:
    """The alias that applies: the full name first; ``info+x`` by ``info`` only if ``info+x`` is not a mailbox itself."""
    if name in domain.aliases:
        return name
    base = base_name(name)
    is_mailbox = domain.recipients is not None and name in domain.recipients
    return base if base in domain.aliases and not is_mailbox else None


def _canonical(address: Address, name: str) -> Address:
    # One mailbox, one spelling: ``Alice`` and ``alice`` must not become two folders.
    plain = mailbox(name, address.domain)
    return address if address == plain else plain
