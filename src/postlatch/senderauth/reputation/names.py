"""The names of a client: those that its address claims (forward-confirmed reverse DNS), and the one that it says in EHLO."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.spf.names import can_be_asked
from postlatch.senderauth.spf.text import short

MAX_NAMES: Final = 10  # PTR records that are followed, as in RFC 7208 section 4.6.4
_NUMBERS: Final = re.compile(r"[0-9]+")
_WORDS: Final = re.compile(r"[a-z]+")
_DYNAMIC: Final = frozenset(
    {
        *("adsl", "cable", "cpe", "dial", "dialin", "dialup", "dhcp", "dsl", "dyn", "dynamic", "dynip", "fibre", "ftth"),
        *("gprs", "mobile", "nat", "pool", "ppp", "pppoe", "vdsl", "wifi"),
    }
)
_STATIC: Final = frozenset({"mail", "mta", "mx", "smtp", "static"})


class Names(NamedTuple):
    """``claimed`` by PTR; ``confirmed`` lead back to the address. ``known`` False: the DNS did not answer."""

    claimed: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    known: bool = True


class Ourselves(NamedTuple):
    """What nobody else may call himself: names of this server and its domains in lower case, and its addresses."""

    names: frozenset[str] = frozenset()
    addresses: frozenset[IPAddress] = frozenset()


async def names_of(resolver: Resolver, address: IPAddress) -> Names:
    """RFC 8601 section 2.7.3. A failure while asking for one name only leaves that name out, but then nothing is certain."""
    try:
        claimed = [name for name in await resolver.ptr(address) if can_be_asked(name)][:MAX_NAMES]
    except DnsError as error:
        return Names(known=not error.temporary)
    confirmed, known = [], True
    for name in claimed:
        try:
            found = await (resolver.a(name) if address.version == 4 else resolver.aaaa(name))
        except DnsError as error:
            known = known and not error.temporary
            continue
        if address in found:
            confirmed.append(name)
    return Names(tuple(map(short, claimed)), tuple(map(short, confirmed)), known or bool(confirmed))


def looks_dynamic(name: str, address: IPAddress) -> bool:
    """Does the name look as providers name all addresses of a range? One that says that it is a mail server does not."""
    words = frozenset(_WORDS.findall(name))
    if words & _STATIC:
        return False
    if isinstance(address, IPv6Address):
        return address.exploded.replace(":", "")[16:] in re.sub(r"[.:-]", "", name)
    numbers = [text.lstrip("0") or "0" for text in _NUMBERS.findall(name)[:32]]
    octets = str(address).split(".")
    if all(octet in numbers for octet in octets):
        return True
    own = frozenset(octets[2:])
    return bool(words & _DYNAMIC) and own <= frozenset(numbers)


async def judge_helo(resolver: Resolver, helo: str, address: IPAddress, ourselves: Ourselves) -> tuple[str, str] | None:
    """(sign, why) of what is wrong with the name; None if nothing is, or nothing is certain.

    RFC 5321 section 4.1.4 forbids to refuse mail because the name does not lead to the client: it is not asked whether it does.
    """
    if helo.startswith("["):
        return _judge_literal(helo, address, ourselves)
    name = helo.lower().removesuffix(".")
    if name in ourselves.names:
        return "helo_own", "EHLO is a name of ours"
    if _is_address(name):
        return "helo_literal", "EHLO is an address without the brackets of a literal (RFC 5321 section 4.1.3)"
    if "." not in name:
        return "helo_bare", "EHLO is a bare word, no name of a host (RFC 5321 section 4.1.1.1)"
    if not can_be_asked(name):
        return "helo_unknown", "EHLO is no name that could exist"
    try:
        found = await resolver.addresses(name)
    except DnsError as error:
        found = []
        if error.temporary:
            return None
    return None if found else ("helo_unknown", "the name in EHLO has no address")


def _judge_literal(helo: str, address: IPAddress, ourselves: Ourselves) -> tuple[str, str] | None:
    text = helo[1:].removesuffix("]")
    text = text[5:] if text[:5].lower() == "ipv6:" else text
    try:
        literal = ip_address(text)
    except ValueError:
        return "helo_literal", "the literal in EHLO is no address (RFC 5321 section 4.1.3)"
    mapped = literal.ipv4_mapped if isinstance(literal, IPv6Address) else None
    literal = mapped or literal
    if literal == address:
        return None
    if literal in ourselves.addresses:
        return "helo_own", "EHLO is an address of ours"
    return "helo_literal", "the address in EHLO is not that of the client"


def _is_address(name: str) -> bool:
    try:
        return isinstance(ip_address(name), IPv4Address | IPv6Address)
    except ValueError:
        return False
