"""The mail hosts of a domain, in the order in which they are to be tried. RFC 5321 section 5.1, RFC 7505 (null MX)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from random import Random
from typing import NamedTuple

from postlatch.delivery.alias_loop import AliasLoop
from postlatch.delivery.guard import OwnAddresses, permitted
from postlatch.model.dns import DnsError, MxRecord, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.model.reply import Reply

SMTP_PORT = 25
MAX_HOSTS = 10  # a domain with a thousand MX records is an attack on our resolver, not a mail system

NULL_MX = Reply(556, "5.1.10", "recipient address has null MX")
NO_DOMAIN = Reply(550, "5.1.2", "the recipient's domain does not exist")
NO_HOST = Reply(550, "5.1.2", "the recipient's domain has no mail host")
BAD_HOSTS = Reply(550, "5.4.4", "the recipient's domain names mail hosts that do not exist")
NOT_PUBLIC = Reply(550, "5.4.4", "the mail hosts of the recipient's domain are not on the public internet")
ALIAS_LOOP = Reply(550, "5.4.4", "the DNS aliases of the recipient's domain lead round in a circle")
LOOP = Reply(550, "5.4.6", "mail for the recipient's domain loops back to this host")
DNS_FAILED = Reply(451, "4.4.3", "the DNS gave no answer for the recipient's domain")
HOST_DNS_FAILED = Reply(451, "4.4.3", "the DNS gave no answer for the mail hosts of the recipient's domain")


class RoutingFailed(Exception):
    """There is no host to connect to. ``reply`` says why, and whether that may heal."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class MailHost(NamedTuple):
    """One host with the addresses that may be connected to, never empty."""

    name: str
    addresses: tuple[IPAddress, ...]


class _Candidate(NamedTuple):
    record: MxRecord
    addresses: tuple[IPAddress, ...]
    failed: bool  # by a DNS failure that may heal


async def mail_hosts(resolver: Resolver, domain: str, *, hostname: str, own: OwnAddresses, random: Random) -> list[MailHost]:
    """The hosts of ``domain`` (a lower-case A-label name, or an address literal), best first; RoutingFailed if none.

    Hosts of equal preference are in random order, and so are the addresses of each within their family. A record that is
    this host (by ``hostname`` or address) ends the list: what comes after it would only send the mail back here.
    """
    if domain.startswith("["):
        return [_literal(domain, own)]
    records = await _records(resolver, domain)
    random.shuffle(records)
    records.sort(key=lambda record: record.preference)
    found = await asyncio.gather(*(_resolve(resolver, record) for record in records[:MAX_HOSTS]))
    usable = _before_ourselves(found, hostname, own)
    if not usable:
        raise RoutingFailed(LOOP)
    hosts = [MailHost(c.record.host, _in_order(_allowed(c.addresses, own), random)) for c in usable]
    hosts = [host for host in hosts if host.addresses]
    if not hosts:
        raise RoutingFailed(_why_none(usable, implicit=records[0].host == domain))
    return hosts


async def _records(resolver: Resolver, domain: str) -> list[MxRecord]:
    try:
        records = await resolver.mx(domain)
    except AliasLoop:
        raise RoutingFailed(ALIAS_LOOP) from None
    except DnsError as error:
        raise RoutingFailed(DNS_FAILED if error.temporary else NO_DOMAIN) from None
    if not records:
        return [MxRecord(0, domain)]  # the implicit MX
    # A null MX beside others breaks RFC 7505 section 3; the others are what the domain meant.
    hosts = [record for record in records if record.host]
    if not hosts:
        raise RoutingFailed(NULL_MX)
    return hosts


async def _resolve(resolver: Resolver, record: MxRecord) -> _Candidate:
    try:
        return _Candidate(record, tuple(await resolver.addresses(record.host)), failed=False)
    except DnsError as error:
        return _Candidate(record, (), failed=error.temporary)


def _before_ourselves(found: Sequence[_Candidate], hostname: str, own: OwnAddresses) -> list[_Candidate]:
    """RFC 5321 section 5.1: this host's record and every other of its preference or after it are not considered."""
    ours = [
        candidate.record.preference
        for candidate in found
        if candidate.record.host == hostname or any(own.is_host(address) for address in candidate.addresses)
    ]
    return [candidate for candidate in found if not ours or candidate.record.preference < min(ours)]


def _allowed(addresses: Sequence[IPAddress], own: OwnAddresses) -> list[IPAddress]:
    return [address for address in addresses if permitted(address, SMTP_PORT, explicit=False, own=own)]


def _in_order(addresses: Sequence[IPAddress], random: Random) -> tuple[IPAddress, ...]:
    """IPv6 and IPv4 in turn, so that a host without one of them costs a single failed connection."""
    six = [address for address in addresses if isinstance(address, IPv6Address)]
    four = [address for address in addresses if not isinstance(address, IPv6Address)]
    random.shuffle(six)
    random.shuffle(four)
    turns = [address for pair in zip(six, four, strict=False) for address in pair]
    return (*turns, *six[len(four) :], *four[len(six) :])


def _why_none(candidates: Sequence[_Candidate], *, implicit: bool) -> Reply:
    if any(candidate.failed for candidate in candidates):
        return HOST_DNS_FAILED
    if any(candidate.addresses for candidate in candidates):
        return NOT_PUBLIC
    return NO_HOST if implicit else BAD_HOSTS


def _literal(domain: str, own: OwnAddresses) -> MailHost:
    address = ip_address(domain[1:-1].removeprefix("IPv6:"))
    if own.is_host(address):
        raise RoutingFailed(LOOP)
    if not permitted(address, SMTP_PORT, explicit=False, own=own):
        raise RoutingFailed(NOT_PUBLIC)
    return MailHost(str(address), (address,))
