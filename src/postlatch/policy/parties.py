"""What the proof goes through: parties (who, by which way in, as whom) and targets (to whom)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from postlatch.model.address import Address
from postlatch.model.envelope import Role
from postlatch.policy import cases, forms
from postlatch.policy.expect import Party, Place, place
from postlatch.policy.snapshot import Listener, Right, Snapshot

_SPF = (None, "pass", "fail", "temperror")
_FEW = ("{U}@{T}", "postmaster@{T}", "x-{U}@{L}", "{U}%{T}@{L}", "{R}@rand.{L}", "{R}@[127.0.0.1]")
_EACH = ("{R}@{L}",)  # for each class of domain


class Target(NamedTuple):
    """A recipient, what its next hop says of it, and where the second opinion places it."""

    address: Address
    known: bool | None
    place: Place


class Targets(NamedTuple):
    """``few`` are for every party; ``all`` adds every address form, for one party of each kind."""

    few: tuple[Target, ...]
    all: tuple[Target, ...]
    of_right: dict[str, tuple[Target, ...]]  # inside the recipients that a right is limited to


def all_targets(snapshot: Snapshot, now: float) -> Targets:
    """The recipients, in every address form, of a third party and of each class of domain."""
    domains = cases.domain_samples(snapshot, now) or [snapshot.hostname]
    names = {domain: cases.names_for(snapshot, domain) for domain in domains}
    each = (address for domain in domains for address in forms.some(_EACH, names[domain]))
    few = _placed(snapshot, now, (*forms.some(_FEW, names[domains[0]]), *each))
    every = _placed(snapshot, now, (a for domain in domains for a in forms.recipients(names[domain])))
    of_right = {
        right.name: _placed(snapshot, now, filter(None, map(cases.member, right.recipients[:2]))) for right in snapshot.rights
    }
    return Targets(few, every, of_right)


def parties(snapshot: Snapshot, listener: Listener, targets: Targets) -> Iterator[tuple[Party, tuple[Target, ...]]]:
    """Every class of party on one listener, each with the targets to try."""
    common = _common_senders(snapshot)
    for party in _strangers(snapshot, listener):
        yield party, targets.few
    for party in _logins(snapshot, listener, common):
        yield party, targets.few
    for right in (right for right in snapshot.rights if right.networks):
        for party in _by_right(listener, right, common):
            yield party, targets.few + targets.of_right[right.name]
    for party in _representatives(snapshot, listener, common):
        yield party, targets.all


def _placed(snapshot: Snapshot, now: float, addresses: Iterable[Address]) -> tuple[Target, ...]:
    unique = {address.text: address for address in addresses}
    return tuple(
        Target(address, known, place(snapshot, now, address, known=known))
        for address in unique.values()
        for known in _answers(snapshot, address)
    )


def _answers(snapshot: Snapshot, address: Address) -> tuple[bool | None, ...]:
    """All that a call-out may say. Where recipients are listed, a "yes" from elsewhere must change nothing."""
    domain = snapshot.local_domains.get(address.domain) or snapshot.relay_domains.get(address.domain)
    return (True, False, None) if domain is not None and domain.recipients is None else (True,)


def _common_senders(snapshot: Snapshot) -> list[Address | None]:
    names = cases.names_for(snapshot, snapshot.first_domain or snapshot.hostname)
    return [None, *forms.some(("{U}@{T}", "{R}@{L}", "x-{U}@{L}", "postmaster@{H}"), names)]


def _strangers(snapshot: Snapshot, listener: Listener) -> Iterator[Party]:
    """Nobody in particular, with every sender form, HELO name and SPF result that has ever been trusted."""
    names = cases.names_for(snapshot, snapshot.first_domain or snapshot.hostname)
    stranger = cases.STRANGERS[0]
    for sender in forms.senders(names):
        for spf in _SPF if listener.role is Role.MX else (None,):
            yield Party(listener.name, stranger, sender=sender, spf=spf)
        yield Party(listener.name, stranger, sender=sender, spf="pass", identity=False)
    for helo in (names.hostname, names.domain, "localhost", "[127.0.0.1]"):
        yield Party(listener.name, stranger, sender=None, helo=helo)


def _logins(snapshot: Snapshot, listener: Listener, common: list[Address | None]) -> Iterator[Party]:
    """Each class of account, with and without TLS, and nobody, from each class of client without a right."""
    for client in cases.STRANGERS + cases.SUSPECTS:
        for sender in common:
            yield Party(listener.name, client, sender=sender)
    for login in (*cases.account_samples(snapshot), cases.GHOST, ""):
        for sender in (*common, *cases.account_senders(snapshot, login)):
            for client in (cases.STRANGERS[0], cases.SUSPECTS[0]):
                yield Party(listener.name, client, login, sender)
            yield Party(listener.name, cases.STRANGERS[1], login, sender, tls=False)
        yield from _credentials(snapshot, listener, login)


def _credentials(snapshot: Snapshot, listener: Listener, login: str) -> Iterator[Party]:
    """What an account may show instead of its password: each class of application password, one that is gone, and others."""
    senders = cases.account_senders(snapshot, login)
    for shown in (cases.LOST, "", "=certificate", "=token"):
        yield Party(listener.name, cases.STRANGERS[0], login, senders[0] if senders else None, credential=shown)
    for sender in (*senders, None):  # the kernel's word, which counts on the Unix socket alone
        yield Party(listener.name, cases.SUSPECTS[0], login, sender, tls=False, credential="=local")
    for one in cases.credentials(snapshot, login):
        covered = [address for address in map(cases.member, sorted(one.senders)[:2]) if address is not None]
        for client in cases.credential_clients(one):
            for sender in (*senders, *covered, None):
                yield Party(listener.name, client, login, sender, credential=one.name)
            yield Party(listener.name, client, login, (*covered, *senders, None)[0], identity=False, credential=one.name)


def _by_right(listener: Listener, right: Right, common: list[Address | None]) -> Iterator[Party]:
    """The edges of a right's networks, on every listener: a right for one is none for another."""
    senders = [*common[:2], *cases.right_senders(right)]
    if listener.role is not Role.RELAY:
        # No right can hold here: one address and sender stand for the others.
        yield Party(listener.name, cases.inside(right), sender=senders[-1])
        return
    for client in cases.boundaries(right):
        for sender in senders:
            yield Party(listener.name, client, sender=sender)
        yield Party(listener.name, client, sender=senders[-1], identity=False)


def _representatives(snapshot: Snapshot, listener: Listener, common: list[Address | None]) -> Iterator[Party]:
    """One of each kind: a stranger, the holder of a right, and an account in good standing."""
    for sender in common[:3]:
        yield Party(listener.name, cases.STRANGERS[0], sender=sender)
    for right in [right for right in snapshot.rights if listener.name in right.listeners and right.networks][:1]:
        yield Party(listener.name, cases.inside(right), sender=(*cases.right_senders(right), common[1])[0])
    for login in [login for login in cases.account_samples(snapshot) if not snapshot.accounts[login].suspended][:1]:
        for sender in cases.account_senders(snapshot, login)[:1]:
            yield Party(listener.name, cases.STRANGERS[0], login, sender, credential="=local" if listener.local else None)
