"""Everything that an SPF record leads to, followed without asking for one client: RFC 7208 sections 4.6.4, 5 and 6.1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from postlatch.audit.posture.asking import Asked, ask
from postlatch.model.dns import Resolver
from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.macro import DomainSpec
from postlatch.senderauth.spf.names import can_be_asked
from postlatch.senderauth.spf.parse import parse_record, spf_records
from postlatch.senderauth.spf.problem import RecordError
from postlatch.senderauth.spf.record import Kind, Mechanism, Record

MAX_TERMS: Final = 10
MAX_VOIDS: Final = 2
_MOST_TERMS: Final = 40  # that are followed: far beyond what any receiver does
_MOST_HOSTS: Final = 10  # of one mx term
_COSTS: Final = frozenset({Kind.INCLUDE, Kind.A, Kind.MX, Kind.PTR, Kind.EXISTS})

Network = IPv4Network | IPv6Network


@dataclass(slots=True)
class Tree:
    """What was found on the way. ``problems`` make the record invalid; ``failed`` was not answered; ``dynamic`` depends on the
    message, so it could not be followed."""

    terms: int = 0
    voids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    dynamic: list[str] = field(default_factory=list)
    includes: list[str] = field(default_factory=list)
    pointers: list[str] = field(default_factory=list)
    everybody: list[str] = field(default_factory=list)
    networks: set[Network] = field(default_factory=set)
    ending: Mechanism | None = None  # the all that decides for the domain itself
    cut: bool = False


class Walker:
    """One walk."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.tree = Tree()

    async def walk(self, domain: str, record: Record, chain: tuple[str, ...] = (), *, passes: bool = True) -> None:
        """``passes``: who matches in this record may send. ``chain`` are the domains whose records led here."""
        chain = (*chain, domain)
        for mechanism in record.mechanisms:
            counts = passes and mechanism.result is Result.PASS
            if mechanism.kind is Kind.ALL:
                self._all(mechanism, domain, counts=counts, own=len(chain) == 1)
                return  # what follows is never looked at (section 5.1)
            await self._mechanism(mechanism, domain, chain, counts=counts)
        if record.redirect is not None:
            self.tree.terms += 1
            await self._redirect(record.redirect, record.redirect_text, chain, passes=passes)

    def _all(self, mechanism: Mechanism, domain: str, *, counts: bool, own: bool) -> None:
        if own:
            self.tree.ending = mechanism
        if counts:
            self.tree.everybody.append(f"{mechanism.text} of {domain}")

    async def _mechanism(self, one: Mechanism, domain: str, chain: tuple[str, ...], *, counts: bool) -> None:
        tree = self.tree
        if one.kind not in _COSTS:
            tree.networks |= {_network(one)} if counts else set()
            return
        tree.terms += 1
        if tree.terms > _MOST_TERMS:
            tree.cut = True
            return
        if one.kind is Kind.PTR:
            tree.pointers.append(f"{one.text} of {domain}")
            return
        target = domain if one.spec is None else _fixed(one.spec)
        if target is None or one.kind is Kind.EXISTS:
            tree.dynamic.append(one.text)
        elif one.kind is Kind.INCLUDE:
            tree.includes.append(target)
            await self._follow(target, one.text, chain, passes=counts)
        else:
            await self._addresses(one, target, counts=counts)

    async def _redirect(self, spec: DomainSpec, text: str, chain: tuple[str, ...], *, passes: bool) -> None:
        target = _fixed(spec)
        if target is None:
            self.tree.dynamic.append(text)
        elif self.tree.terms <= _MOST_TERMS:
            await self._follow(target, text, chain[:-1], passes=passes)

    async def _follow(self, target: str, text: str, chain: tuple[str, ...], *, passes: bool) -> None:
        tree = self.tree
        if target in chain:
            tree.problems.append(f"{text} leads back to where it came from")
            return
        found = await ask(self._resolver.txt(target)) if can_be_asked(target) else Asked()
        if found.failed:
            tree.failed.append(target)
            return
        if not found.records:
            tree.voids.append(text)
        records = spf_records(found.records)
        if len(records) != 1:
            tree.problems.append(f"{target}, named by {text}, has {'several SPF records' if records else 'no SPF record'}")
            return
        try:
            record = parse_record(records[0])
        except RecordError as error:
            tree.problems.append(f"the record of {target}, named by {text}, is malformed: {error}")
            return
        await self.walk(target, record, chain, passes=passes)

    async def _addresses(self, one: Mechanism, target: str, *, counts: bool) -> None:
        hosts, failed = [target], ""
        if one.kind is Kind.MX:
            exchanges = await ask(self._resolver.mx(target))
            hosts, failed = [record.host for record in sorted(exchanges.records) if record.host], exchanges.failed
            if len(hosts) > _MOST_HOSTS:
                self.tree.problems.append(f"{one.text} names more than {_MOST_HOSTS} hosts")
        found: set[IPv4Address | IPv6Address] = set()
        for host in hosts[:_MOST_HOSTS]:
            answer = await ask(self._resolver.addresses(host))
            found.update(answer.records)
            failed = failed or answer.failed
        if failed:
            self.tree.failed.append(target)
        elif not found:
            self.tree.voids.append(one.text)
        if counts:
            self.tree.networks |= {_around(address, one) for address in found}


def _fixed(spec: DomainSpec) -> str | None:
    """The name, if no macro is in it."""
    if any(not isinstance(part, str) for part in spec.parts):
        return None
    return "".join(part for part in spec.parts if isinstance(part, str)).lower().removesuffix(".")


def _network(one: Mechanism) -> Network:
    if one.kind is Kind.IP4:
        return IPv4Network((one.network, one.prefix4), strict=False)
    return IPv6Network((one.network, one.prefix6), strict=False)


def _around(address: IPv4Address | IPv6Address, one: Mechanism) -> Network:
    if isinstance(address, IPv4Address):
        return IPv4Network((int(address), one.prefix4), strict=False)
    return IPv6Network((int(address), one.prefix6), strict=False)


def count_v4(networks: Iterable[Network]) -> int:
    """How many IPv4 addresses are in any of them: each counts once."""
    spans = sorted((int(n.network_address), int(n.broadcast_address)) for n in networks if isinstance(n, IPv4Network))
    total, end = 0, -1
    for first, last in spans:
        total += max(0, last - max(first, end + 1) + 1)
        end = max(end, last)
    return total
