"""The classes of client, account and sender that the proof goes through. Members of a class differ in nothing a rule reads."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from postlatch.model.address import Address
from postlatch.model.envelope import IPAddress
from postlatch.policy.forms import Names, parsed
from postlatch.policy.networks import IPNetwork
from postlatch.policy.snapshot import Account, AppPassword, Right, Snapshot

USER = "victim"
GHOST = "ghost@nowhere.invalid"  # a login whose account is gone
LOST = "no-longer-there"  # an application password that was revoked
_PER_CLASS = 2

# Public strangers in both families and in the mapped form, loopback, and the usual gateways of containers and offices.
STRANGERS: tuple[IPAddress, ...] = tuple(map(ip_address, ("198.51.100.7", "2a0e:1234::7", "::ffff:198.51.100.7")))
_LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
_GATEWAYS = ("172.17.0.1", "10.88.0.1", "10.0.2.2", "192.168.65.1", "10.42.0.1", "10.244.0.1", "10.0.0.1", "::ffff:10.0.0.1")
SUSPECTS: tuple[IPAddress, ...] = tuple(map(ip_address, _LOOPBACK + _GATEWAYS))


def foreign_domain(snapshot: Snapshot) -> str:
    """A domain that the snapshot does not name: neither ours, nor relayed to, nor in a pattern."""
    named = {*snapshot.local_domains, *snapshot.relay_domains, *_pattern_domains(snapshot)}
    candidates = ("elsewhere.example", *(f"elsewhere{number}.example" for number in range(len(named) + 1)))
    return next(domain for domain in candidates if domain not in named)


def names_for(snapshot: Snapshot, domain: str) -> Names:
    """The placeholders of the address forms for one domain of ours or relay domain, with a mailbox that it lists."""
    local, relayed = snapshot.local_domains.get(domain), snapshot.relay_domains.get(domain)
    listed = (local.recipients if local is not None else relayed.recipients if relayed is not None else None) or ()
    literal = next((a[1:-1] for a in sorted(snapshot.own_addresses) if ":" not in a), "192.0.2.1")
    return Names(foreign_domain(snapshot), USER, domain, min(listed, default="alice"), snapshot.hostname, literal)


def domain_samples(snapshot: Snapshot, now: float) -> list[str]:
    """Two domains of each class: ours or relayed to; listed or by call-out; with aliases or catch-all; by date."""
    seen: dict[tuple[object, ...], int] = {}
    samples = []
    for name, shape in _domain_shapes(snapshot, now):
        seen[shape] = seen.get(shape, 0) + 1
        if seen[shape] <= _PER_CLASS:
            samples.append(name)
    return samples


def account_samples(snapshot: Snapshot) -> list[str]:
    """Two logins of each class of account: suspended or not, and what kinds of pattern it may send as."""
    seen: dict[tuple[object, ...], int] = {}
    # Whose delegation ends first, and last: one that has lapsed is among them if there is one.
    ends = sorted((one for one in snapshot.delegations if one.login in snapshot.accounts), key=lambda one: one.expires)
    samples = list(dict.fromkeys(one.login for one in (*ends[:1], *ends[-1:])))
    for login, account in snapshot.accounts.items():
        shape = _account_shape(snapshot, account)
        seen[shape] = seen.get(shape, 0) + 1
        if seen[shape] <= _PER_CLASS and login not in samples:
            samples.append(login)
    return samples


def credentials(snapshot: Snapshot, login: str | None) -> list[AppPassword]:
    """The first and the last to expire of each class of application password: with senders, networks, an end, or without."""
    account = snapshot.accounts.get(login or "")
    classes: dict[tuple[bool, bool, bool], list[AppPassword]] = {}
    for one in account.app_passwords.values() if account is not None else ():
        classes.setdefault(_credential_shape(one), []).append(one)
    ordered = [sorted(found, key=lambda one: one.expires or 0) for found in classes.values()]
    return [one for found in ordered for one in {found[0].name: found[0], found[-1].name: found[-1]}.values()]


def credential_clients(one: AppPassword) -> list[IPAddress]:
    """A stranger; one address before, in and after the first network of each family, and it in other clothes."""
    found = [STRANGERS[0]]
    for network in {network.version: network for network in reversed(one.networks)}.values():
        first, last = int(network.network_address), int(network.broadcast_address)
        found += [_address(network, number) for number in (first - 1, first, last, last + 1) if 0 <= number < _top(network)]
        if network.version == 4:
            found += disguises(IPv4Address(first))
    return found


def _top(network: IPNetwork) -> int:
    return int(2**network.max_prefixlen)


def _credential_shape(one: AppPassword) -> tuple[bool, bool, bool]:
    return bool(one.senders), bool(one.networks), one.expires is not None


def account_senders(snapshot: Snapshot, login: str | None) -> list[Address | None]:
    """One sender for each kind of pattern of the account, and one that is another account's."""
    account = snapshot.accounts.get(login or "")
    own = sorted(account.send_as) if account is not None else []
    other = next((sorted(a.send_as) for a in snapshot.accounts.values() if a.login != login and a.send_as), [])
    texts = [*own[:3], *[pattern for pattern in own if pattern.startswith("@")][:1], *other[:1], *_lent(snapshot, login or "")]
    return [address for address in map(member, texts) if address is not None]


def _lent(snapshot: Snapshot, login: str) -> list[str]:
    """What was delegated to the login (to end first, and last) and to somebody else; each class of alias around its mailbox."""
    lent = sorted(snapshot.delegations_of(login), key=lambda one: one.expires)
    others = [one for one in snapshot.delegations if one.login != login][:1]
    found = [one.address for one in (*lent[:2], *lent[-2:], *others)]
    classes: dict[tuple[bool, bool], str] = {}
    for domain in snapshot.local_domains.values():
        for name, targets in domain.aliases.items():
            keys = {target.key for target in targets}
            classes.setdefault((login in keys, len(keys) == 1), f"{name}@{domain.name}")
    return [*dict.fromkeys(found), *classes.values()]


def right_senders(right: Right) -> list[Address | None]:
    """Senders inside the right's scope: one for each of its first patterns."""
    return [None if pattern == "<>" else member(pattern) for pattern in right.senders[:2]]


def member(pattern: str) -> Address | None:
    """An address that ``user@domain`` or ``@domain`` names; None if there is none."""
    return parsed(f"someone{pattern}" if pattern.startswith("@") else pattern)


def boundaries(right: Right) -> Iterator[IPAddress]:
    """Of each network: one before, the first, the last, one after; and its first address in other clothes."""
    for network in right.networks:
        first, last = int(network.network_address), int(network.broadcast_address)
        top = 2**network.max_prefixlen - 1
        for number in (first - 1, first, last, last + 1):
            if 0 <= number <= top:
                yield _address(network, number)
        if network.version == 4:
            yield from disguises(IPv4Address(first))


def inside(right: Right) -> IPAddress:
    """The first address of the right's first network. IndexError if it has none."""
    return right.networks[0].network_address


def disguises(address: IPv4Address) -> Iterator[IPv6Address]:
    """An IPv4 address as IPv4-mapped (the same client), and inside NAT64, 6to4 and IPv4-compatible (never the same)."""
    for base in ("::ffff:0:0", "64:ff9b::", "::"):
        yield IPv6Address(int(IPv6Address(base)) | int(address))
    yield IPv6Address(0x2002 << 112 | int(address) << 80 | 1)


def _address(network: IPNetwork, number: int) -> IPAddress:
    return IPv4Address(number) if network.version == 4 else IPv6Address(number)


def _pattern_domains(snapshot: Snapshot) -> Iterator[str]:
    for right in snapshot.rights:
        yield from (pattern.rpartition("@")[2].lower() for pattern in (*right.senders, *right.recipients))
    for account in snapshot.accounts.values():
        yield from (pattern.rpartition("@")[2] for pattern in account.send_as)
    yield from (one.address.rpartition("@")[2] for one in snapshot.delegations)


def _domain_shapes(snapshot: Snapshot, now: float) -> Iterator[tuple[str, tuple[object, ...]]]:
    for name, local in snapshot.local_domains.items():
        recipients, aliases = local.recipients, bool(local.aliases)
        yield name, ("local", recipients is None, not recipients, aliases, bool(local.catch_all))
    for name, relayed in snapshot.relay_domains.items():
        yield name, ("relay", relayed.recipients is None, not relayed.recipients, now < relayed.expires)


def _account_shape(snapshot: Snapshot, account: Account) -> tuple[object, ...]:
    kinds = {(pattern.startswith("@"), snapshot.classify(pattern.rpartition("@")[2])) for pattern in account.send_as}
    shown = frozenset(map(_credential_shape, account.app_passwords.values()))
    return account.suspended, "<>" in account.send_as, frozenset(kinds), shown, account.source != "command"
