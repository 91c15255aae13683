"""Dangers in the networks of rights: too wide, unowned, or not what they seem (AUDIT I04 to I09)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Network, ip_address, ip_network

from postlatch.model.envelope import IPAddress
from postlatch.policy.danger_context import Danger, DangerContext, quoted
from postlatch.policy.networks import IPNetwork, is_private, normalise, overlaps, union
from postlatch.policy.snapshot import Right, Snapshot

MAX_V4 = 256  # one /24, for all rights of a listener together
MAX_V6 = 2**64  # one /64

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

# Where container engines put their gateway: whoever comes through one of these has its address. The host's own interfaces
# are in the context; these are for ``check`` on another machine.
GATEWAYS: dict[IPAddress, str] = {
    ip_address("172.17.0.1"): "Docker's docker0",
    **{IPv4Address(f"172.{number}.0.1"): "a Docker network" for number in range(18, 32)},
    ip_address("192.168.65.1"): "Docker Desktop",
    ip_address("10.88.0.1"): "Podman",
    ip_address("10.0.2.2"): "slirp4netns, rootless containers",
    ip_address("10.42.0.1"): "k3s",
    ip_address("10.244.0.1"): "flannel",
    ip_address("fe80::1"): "a container bridge",
}

# Whoever runs or reaches the translator has an address in these: RFC 6052, RFC 8215, RFC 3056, RFC 4380.
_TRANSLATED: tuple[tuple[IPv6Network, str], ...] = (
    (IPv6Network("64:ff9b::/96"), "NAT64 (64:ff9b::/96)"),
    (IPv6Network("64:ff9b:1::/48"), "local-use NAT64 (64:ff9b:1::/48)"),
    (IPv6Network("2002::/16"), "6to4 (2002::/16)"),
    (IPv6Network("2001::/32"), "Teredo (2001::/32)"),
)


def everyone(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """A right over the whole Internet, which no reason makes right."""
    for right in snapshot.rights:
        covered = union(right.networks)
        for family, networks in (("0.0.0.0/0, every IPv4 address", covered.v4), ("::/0, every IPv6 address", covered.v6)):
            if any(network.prefixlen == 0 for network in networks):
                message = f"the right {right.name} covers {family}: that is an open relay; list the addresses that may send"
                yield Danger(_key(right), message)


def too_many(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """More addresses on one listener than a /24 or a /64, all rights without ``wide`` taken together."""
    for listener in snapshot.listeners:
        rights = [right for right in snapshot.rights if listener in right.listeners and not right.wide]
        covered = union(network for right in rights for network in right.networks)
        names = ", ".join(right.name for right in rights)
        if covered.v4_addresses > MAX_V4:
            message = (
                f"the rights {names} cover {covered.v4_addresses} IPv4 addresses on listener {listener}, more than one /24"
                ' (256): list fewer, or say why in wide = "…"'
            )
            yield Danger(_key(rights[0]), message)
        if covered.v6_addresses > MAX_V6:
            message = (
                f"the rights {names} cover more IPv6 addresses on listener {listener} than one /64:"
                ' list fewer, or say why in wide = "…"'
            )
            yield Danger(_key(rights[0]), message)


def unowned(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """A right that nobody answers for; worse if strangers could hold one of its addresses next year."""
    for right in snapshot.rights:
        if right.owner.strip():
            continue
        public = next((network for network in map(normalise, right.networks) if not is_private(network)), None)
        if public is not None:
            message = f"the right {right.name} covers the public network {public} and has no owner: name who answers for it"
        else:
            message = f'the right {right.name} has no owner: write owner = "ADDRESS" of who answers for it'
        yield Danger(f"rights.{quoted(right.name)}.owner", message)


def loopback(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """Loopback is not trusted by default: a web form on the same machine is the commonest spammer."""
    for right, network in _unmasked(snapshot):
        if any(overlaps(network, known) for known in _LOOPBACK):
            message = (
                f"the right {right.name} covers loopback ({network}), where every program and web form of this machine is:"
                ' let local programs log in on a submission listener, or say why in masked = "…"'
            )
            yield Danger(_key(right), message)


def gateway(snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """A container gateway stands for everybody who is forwarded through it."""
    known = {**dict.fromkeys(context.container_gateways, "a bridge of this host"), **GATEWAYS}
    for right, network in _unmasked(snapshot):
        hidden = next((address for address in sorted(known, key=str) if address in network), None)
        if hidden is not None:
            message = (
                f"the right {right.name} covers the container gateway {hidden} ({known[hidden]}), behind which every client"
                ' looks the same: list the true addresses, or say why in masked = "…"'
            )
            yield Danger(_key(right), message)


def translated(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """An address that a translator makes up is no identity."""
    for right in snapshot.rights:
        for network, (known, name) in ((n, t) for n in _narrow(right.networks) for t in _TRANSLATED):
            if overlaps(network, known):
                message = (
                    f"the right {right.name} covers {network}, inside {name}: those addresses belong to whoever uses the"
                    " translator; list native addresses"
                )
                yield Danger(_key(right), message)


def _unmasked(snapshot: Snapshot) -> Iterator[tuple[Right, IPNetwork]]:
    for right in snapshot.rights:
        if not right.masked:
            yield from ((right, network) for network in _narrow(right.networks))


def _narrow(networks: Iterable[IPNetwork]) -> Iterator[IPNetwork]:
    # A network of everything has a sentence of its own; to say that it also covers each of these would hide that.
    return (network for network in map(normalise, networks) if network.prefixlen)


def _key(right: Right) -> str:
    return f"rights.{quoted(right.name)}.networks"


NETWORK_CHECKS = (everyone, too_many, unowned, loopback, gateway, translated)
