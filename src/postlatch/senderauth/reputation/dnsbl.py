"""Lists of addresses and domains in the DNS, with which one blocks or allows. RFC 5782.

An answer is a listing only if it is one for certain: an address in 127.0.0.0/8, and none of those by which lists say "you may
not ask me" or "not by way of this resolver". Everything else counts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.spf.names import can_be_asked
from postlatch.senderauth.spf.text import printable

MAX_TEXT: Final = 200  # characters of what a list says about an entry
_MAX_CODES: Final = 16  # addresses of one answer that are looked at
_LISTED: Final = ip_network("127.0.0.0/8")
# 127.255.255.252 to .255 are how Spamhaus and others say: a typing error, a public resolver, too many queries.
_ERRORS: Final = ip_network("127.255.255.0/24")
# By these some lists say the same (URIBL, DNSWL); others mean a listing, so they count where the configuration names them.
_DOUBTFUL: Final = frozenset({ip_address("127.0.0.1"), ip_address("127.0.0.255")})

# RFC 5782 section 5: entries that each list has, and such as no list has.
_LISTED_V4: Final = ip_address("127.0.0.2")
_UNLISTED_V4: Final = ip_address("127.0.0.1")
_UNLISTED_V6: Final = ip_address("::ffff:127.0.0.1")
_LISTED_NAME: Final = "test"
_UNLISTED_NAME: Final = "invalid"


@dataclass(frozen=True, slots=True)
class DnsList:
    """One list. ``domains``: of domains, not addresses. ``codes``: answers that count; none: all. ``weight`` below 0 allows."""

    zone: str
    weight: int
    domains: bool = False
    codes: tuple[IPv4Network | IPv6Network, ...] = ()


class Said(StrEnum):
    """What a list says of one entry. ``error``: of itself; ``unknown``: nothing that could be used, for now."""

    LISTED = "listed"
    UNLISTED = "not listed"
    ERROR = "error"
    UNKNOWN = "no answer"


class ListAnswer(NamedTuple):
    """``codes`` are the addresses that were answered, ``about`` what was asked for, ``text`` what the list says, printable."""

    said: Said
    about: str = ""
    codes: tuple[str, ...] = ()
    text: str = ""
    why: str = ""


class Health(NamedTuple):
    """What a test of a list found. ``usable`` None: the DNS did not answer, so nothing is known."""

    usable: bool | None
    why: str


def reversed_name(address: IPAddress) -> str:
    """The address as lists have it (RFC 5782 sections 2.1 and 2.4): octets, or nibbles, the last one first."""
    return address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


async def ask_address(resolver: Resolver, one: DnsList, address: IPAddress) -> ListAnswer:
    """Is the address in the list?"""
    return await _ask(resolver, one, reversed_name(address), str(address))


async def ask_domain(resolver: Resolver, one: DnsList, domain: str) -> ListAnswer:
    """Is the domain (lower-case A-labels) in the list? One that cannot be asked for is not."""
    return await _ask(resolver, one, domain, domain)


async def examine(resolver: Resolver, one: DnsList) -> Health:
    """RFC 5782 section 5: a list that is gone answers nothing, or everything. Both is worse than no list."""
    if one.domains:
        points = [(_LISTED_NAME, True), (_UNLISTED_NAME, False)]
    else:
        points = [
            (reversed_name(a), listed) for a, listed in ((_LISTED_V4, True), (_UNLISTED_V4, False), (_UNLISTED_V6, False))
        ]
    for name, listed in points:
        answer = await _ask(resolver, one, name, name, text=False)
        if answer.said is Said.UNKNOWN:
            return Health(None, answer.why)
        if answer.said is Said.ERROR:
            return Health(False, answer.why)
        # An answer of any code: a domain that was sold leads everything to its new owner.
        if bool(answer.codes) is not listed:
            what = "lists what no list has" if answer.codes else "does not list its test entry"
            return Health(False, f"{one.zone} {what}, {name} (RFC 5782 section 5)")
    return Health(True, "")


async def _ask(resolver: Resolver, one: DnsList, name: str, about: str, *, text: bool = True) -> ListAnswer:
    full = f"{name}.{one.zone}"
    if not can_be_asked(full):
        return ListAnswer(Said.UNLISTED, about)
    try:
        found = await resolver.a(full)
    except DnsError as error:
        if error.temporary:
            return ListAnswer(Said.UNKNOWN, about, why=f"{one.zone} did not answer")
        return ListAnswer(Said.UNLISTED, about)
    answer = judge(one, found, about)
    if answer.said is not Said.LISTED or not text:
        return answer
    return answer._replace(text=await _text(resolver, full))


def judge(one: DnsList, found: Sequence[IPAddress], about: str) -> ListAnswer:
    """What the addresses of an answer mean."""
    codes = tuple(map(str, sorted(found, key=int)[:_MAX_CODES]))
    if not found:
        return ListAnswer(Said.UNLISTED, about)
    for address in found[:_MAX_CODES]:
        if (why := _fault(one, address)) is not None:
            return ListAnswer(Said.ERROR, about, codes, why=f"{one.zone} answers {address}: {why}")
    listed = not one.codes or any(address in network for address in found[:_MAX_CODES] for network in one.codes)
    return ListAnswer(Said.LISTED if listed else Said.UNLISTED, about, codes)


def _fault(one: DnsList, address: IPAddress) -> str | None:
    if isinstance(address, IPv6Address) or address not in _LISTED:
        return "that is no answer of a list (RFC 5782 section 2.3)"
    if address in _ERRORS:
        return "it refuses to answer this resolver, or has had too many questions"
    if address in _DOUBTFUL and not any(n.prefixlen == 32 and address in n for n in one.codes):
        return "by that some lists refuse to answer; name it in codes if it is a listing here"
    return None


async def _text(resolver: Resolver, name: str) -> str:
    """What the list says of the entry (RFC 5782 section 2.1): for the journal; it decides nothing."""
    try:
        found = await resolver.txt(name)
    except DnsError:
        return ""
    return printable(found[0][: 4 * MAX_TEXT].decode("utf-8", "replace"), MAX_TEXT) if found else ""
