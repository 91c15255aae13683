"""Random senders, clients and zones to compare SPF with: every mechanism, modifier, macro and limit, and errors in all."""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

CLIENTS = ("192.0.2.1", "192.0.2.130", "198.51.100.7", "2001:db8::1", "2001:db8:0:1::cb01", "::ffff:192.0.2.1")
DOMAINS = ("example.org", "a.example.org", "b.example.net", "mail.example.org", "c.b.example.net")
LOCAL_PARTS = ("alice", "strong-bad", "a+b.c", "jack&jill=up", "", "x_y")
NOW = 1_767_225_600
_QUALIFIERS = ("", "", "", "+", "-", "~", "?")
_ADDRESSES = ("192.0.2.1", "192.0.2.0", "192.0.2.130", "198.51.100.0", "203.0.113.5", "0.0.0.0")  # noqa: S104 - a network
_ADDRESSES6 = ("2001:db8::1", "2001:db8::", "2001:db8:0:1::", "::", "::192.0.2.1", "2001:DB8::CB01")
_TRANSFORMERS = ("", "", "", "1", "2", "3", "r", "1r", "2r", "12r")
_DELIMITERS = ("", "", "", "-", "+", "-+", "=&", "_", ".-")
_TAILS = ("", "", ".example.org", ".b.example.net", ".spf.example.org")
_SPOILT = (
    *(
        "moo",
        "a:",
        "a/33",
        "a//129",
        "ip4:192.0.2",
        "ip4:192.0.2.1/33",
        "ip6:192.0.2.1",
        "include",
        "exists",
        "all:x",
        "ptr/24",
    ),
    *(
        "mx:example",
        "a:example.1",
        "a:%{x}.example.org",
        "a:%{d0}.example.org",
        "exists:%{c}",
        "redirect=",
        "exp=",
        "x=%",
        "1x=y",
    ),
    *("a:example.org,", "=", "-", "++all", "a:%(d).example.org", "a:%{d.example.org", "exists:%{dr1}.org", "a:b..example.org"),
    *("ip4:192.0.2.01", "ip6:2001:db8:::1", "a/024", "a:\u00e9.example.org", "a\ttab", "x=%{r}", "a:%%%x.example.org"),
    *("a:" + "x" * 64 + ".example.org", "exists:" + "%{s}." * 12 + "%{d}", "a:%{d}.", "A:EXAMPLE.ORG", "-ALL", "All"),
)


@dataclass(frozen=True)
class Case:
    """One check. The zone is in the form of a ZONEFILE."""

    seed: int
    client: IPv4Address | IPv6Address
    helo: str
    sender: str
    zone: dict[str, dict[str, Any]]

    @property
    def records(self) -> tuple[str, ...]:
        """All SPF records in the zone."""
        return tuple(
            text
            for types in self.zone.values()
            if isinstance(types.get("TXT"), list)
            for text in types["TXT"]
            if "v=spf1" in text
        )


def make(seed: int) -> Case:
    """The case of a seed, always the same."""
    chance = random.Random(seed)  # noqa: S311 - the same numbers again is what is wanted
    client = ip_address(chance.choice(CLIENTS))
    assert isinstance(client, IPv4Address | IPv6Address)
    helo = chance.choice((*DOMAINS, "localhost", "[192.0.2.1]"))
    local_part, domain = chance.choice(LOCAL_PARTS), chance.choice(DOMAINS)
    sender = "" if chance.random() < 0.08 else f"{local_part}@{domain}"
    known = sorted(_expansions(client, helo, sender or f"postmaster@{helo}"))
    zone = {name: _plain(chance) for name in known if chance.random() < 0.5}
    zone |= {name: _types(chance) for name in DOMAINS}
    zone |= {f"why.{name}": {"TXT": _explanations(chance)} for name in DOMAINS if chance.random() < 0.8}
    pointer = (getattr(client, "ipv4_mapped", None) or client).reverse_pointer
    if chance.random() < 0.7:
        count = chance.choice((1, 1, 2, 3, 12))
        zone[pointer] = {
            "PTR": [chance.choice((*DOMAINS, "gone.example", f"h{number}.example.org")) for number in range(count)]
        }
    elif chance.random() < 0.2:
        zone[pointer] = {"PTR": chance.choice(("SERVFAIL", "TIMEOUT"))}
    return Case(seed, client, helo, sender, zone)


def _types(chance: random.Random) -> dict[str, Any]:
    """What a name of the zone has."""
    types = _plain(chance)
    count = chance.choice((0, 1, 1, 1, 2, 2, 3, 12))
    types["MX"] = [f"{chance.randrange(30)} {chance.choice((*DOMAINS, '', 'gone.example'))}" for _ in range(count)]
    texts = [_record(chance)] if chance.random() < 0.93 else []
    if chance.random() < 0.15:
        texts.insert(0, chance.choice(("hello", "v=spf10 -all", "v=DKIM1; p=", "V=spf1 ?all", "v=spf1")))
    types["TXT"] = texts
    for kind in types:
        if chance.random() < 0.02:
            types[kind] = chance.choice(("SERVFAIL", "TIMEOUT"))
    return types


def _plain(chance: random.Random) -> dict[str, Any]:
    types: dict[str, Any] = {}
    if chance.random() < 0.75:
        types["A"] = [chance.choice(_ADDRESSES) for _ in range(chance.choice((1, 1, 2)))]
    if chance.random() < 0.6:
        types["AAAA"] = [chance.choice(_ADDRESSES6) for _ in range(chance.choice((1, 1, 2)))]
    return types


def _record(chance: random.Random) -> str:
    count = chance.choice((0, 1, 2, 2, 3, 3, 4, 5, 12))
    terms = [_term(chance) for _ in range(count)]
    if chance.random() < 0.6:
        terms.append(chance.choice(("-", "-", "-", "~", "?", "")) + "all")
    if chance.random() < 0.25:
        terms.insert(chance.randrange(len(terms) + 1), f"redirect={_name(chance)}")
    if chance.random() < 0.4:
        terms.insert(chance.randrange(len(terms) + 1), f"exp=why.{chance.choice((*DOMAINS, '%{d}', '%{o}'))}")
    if chance.random() < 0.05:
        terms.append(
            chance.choice(("x=y", "x=%{d}", "moo.cow-far_out=man:dog/cat", "exp=why.example.org", "redirect=example.org"))
        )
    if chance.random() < 0.1:
        terms.insert(chance.randrange(len(terms) + 1), chance.choice(_SPOILT))
    return " ".join(["v=spf1", *terms]) + (" " if chance.random() < 0.05 else "")


def _term(chance: random.Random) -> str:
    kind = chance.choice(("a", "a", "mx", "ptr", "ip4", "ip4", "ip6", "ip6", "include", "include", "exists", "exists"))
    qualifier = chance.choice(_QUALIFIERS)
    if kind == "ip4":
        return f"{qualifier}ip4:{chance.choice(_ADDRESSES)}{chance.choice(('', '', '/24', '/25', '/32', '/0'))}"
    if kind == "ip6":
        return f"{qualifier}ip6:{chance.choice(_ADDRESSES6)}{chance.choice(('', '', '/64', '/32', '/128', '/0'))}"
    if kind in {"include", "exists"}:
        return f"{qualifier}{kind}:{_name(chance)}"
    name = f":{_name(chance)}" if chance.random() < 0.5 else ""
    prefix = chance.choice(("", "", "/24", "//64", "/24//64", "/0", "//0")) if kind != "ptr" else ""
    return f"{qualifier}{kind}{name}{prefix}"


def _name(chance: random.Random) -> str:
    """A domain-spec, more often than not one that is in the zone."""
    if chance.random() < 0.6:
        return chance.choice((*DOMAINS, *DOMAINS, "gone.example", "example.org.", "B.Example.NET"))
    macros = ".".join(_macro(chance) for _ in range(chance.choice((1, 1, 2))))
    return macros + chance.choice(_TAILS)


def _macro(chance: random.Random, letters: str = "sllooddddiipvhh") -> str:
    letter = chance.choice(letters)
    if chance.random() < 0.1:
        letter = letter.upper()
    delimiters = chance.choice(_DELIMITERS) if letter in "slSL" or chance.random() < 0.02 else ""
    return f"%{{{letter}{chance.choice(_TRANSFORMERS)}{delimiters.replace('&', '')}}}"


def _explanations(chance: random.Random) -> list[str]:
    texts = []
    for _ in range(chance.choice((0, 1, 1, 1, 1, 1, 1, 2))):
        macros = " ".join(_macro(chance, "slodipvhcrt") for _ in range(chance.randrange(4)))
        texts.append(
            chance.choice(("not you: ", "See http://example.org/?q=", "100%% sure%_", "%x ", "caf\u00e9 ", "a%-b ")) + macros
        )
    return texts


def _expansions(client: IPv4Address | IPv6Address, helo: str, sender: str) -> set[str]:
    """Names that macros like those above often come to, worked out without either implementation."""
    local_part, _, domain = sender.partition("@")
    local_part = local_part or "postmaster"
    mapped = getattr(client, "ipv4_mapped", None) or client
    dotted = str(mapped) if mapped.version == 4 else ".".join(f"{int(mapped):032X}")
    values = {
        domain,
        helo,
        local_part,
        dotted,
        ".".join(reversed(dotted.split("."))),
        *domain.split("."),
        *local_part.split("-"),
    }
    values |= {".".join(domain.split(".")[-2:]), "in-addr", "ip6", "unknown", f"{local_part}@{domain}"}
    values |= {".".join(reversed(local_part.split("-"))), ".".join(reversed(domain.split(".")))}
    return {f"{value}{tail}".lower() for value in sorted(values) for tail in _TAILS if "." in value + tail}
