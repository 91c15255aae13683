"""The forms of address by which relays have been tricked: AUDIT A (senders) and B to D (recipients), as text.

``{T}`` is a third party's domain, ``{U}`` a user there, ``{L}`` a domain of ours, ``{R}`` a mailbox of it, ``{H}`` our host
name, ``{IP}`` an address of ours. What does not parse never reaches the policy, and stays so that the list is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from postlatch.model.address import POSTMASTER, Address, AddressError, parse_address

# fmt: off
SENDER_FORMS: tuple[str, ...] = (
    "x@{T}", "x@other.{T}", "x@{H}", "x@{L}", "{R}@{L}", "postmaster@{H}", "postmaster@{L}", "x@localhost", "x", "x@[{IP}]",
    "x@[127.0.0.1]", "x@[IPv6:::1]", "x@localhost.localdomain", "x@rand.{T}", "x@nonexistent.invalid", "MAILER-DAEMON",
    "@{T}:x@{L}", "{R}@{L}.", '"{R}@{L}"@{T}', "{R}%{L}@{T}",
)
RECIPIENT_FORMS: tuple[str, ...] = (
    # Plain (AUDIT A)
    "{U}@{T}", "{R}@{L}", "nobody-{U}@{L}", "{R}+tag@{L}", "{R}@{H}",
    # Percent, bang, double @, quoting (B)
    "{U}%{T}@[{IP}]", "{U}%{T}@{H}", "{U}%{T}@{L}", "{U}%{T}", "{U}%{T}%{L}@{L}", "{U}%%{T}@{L}", "{U}%{T}@127.0.0.1",
    "{U}%{T}@localhost", '"{U}@{T}"', '"{U}%{T}"', "{U}@{T}@[{IP}]", '"{U}@{T}"@[{IP}]', "{U}@{T}@{H}", "{U}@{T}@{L}",
    '"{U}@{T}"@{L}', '"{U}%{T}"@{L}', '"{T}!{U}"@{L}', "{U}\\@{T}@{L}", '"{U}\\@{T}"@{L}', "{U}@{T}@", "{U}@{L}@{T}", "{T}!{U}",
    "{T}!{U}@[{IP}]", "{T}!{U}@{H}", "{T}!{U}@{L}", "{L}!{T}!{U}", "{H}!{T}!{U}@{L}", "{T}!{U}%{L}@{H}", "{T}!{U}%{L}",
    "{U}@{T}%{L}", "{T}@{U}!{L}", "{U}+x%{T}@{L}", "{R}+x%{T}@{L}", "{U}={T}@{L}", "SRS0=hash=tt={T}={U}@{L}",
    "SRS1=hash={L}==hash=tt={T}={U}@{L}", "prvs=0000000000={U}@{L}", '"{U}@{T}> ORCPT=x@y"@{L}', '"{U}@{T} x"@{L}',
    # Source routes (C)
    "@[{IP}]:{U}@{T}", "@{H}:{U}@{T}", "@{L}:{U}@{T}", "@{H},@{T}:{U}@{T}", "@a.{T},@b.{T},@c.{T}:{U}@{T}",
    "@{L}:{U}%{T}@{L}", '@{L}:"{U}@{T}"@{L}', "@{L}:{T}!{U}", "@{T}:{R}@{L}", "@:{U}@{T}", "@{L},{U}@{T}", '"@{T}:{U}"@{L}',
    # Domain forms (D)
    "{U}@{T}.", "{U}@{L}.", "{U}@{T}..", "{U}@[203.0.113.9]", "{U}@[IPv6:2001:db8::9]", "{U}@[ipv6:2001:db8::9]",
    "{U}@203.0.113.9", "{U}@[0x7f.1]", "{U}@[2130706433]", "{U}@[321.1.2.3]", "{U}@[127.0.0.1]", "{R}@[127.0.0.1]",
    "{R}@[{IP}]", "{U}%{T}@[127.0.0.1]", "{U}@[::1]", "{U}@[IPv6:::1]", "{R}@rand.{L}", "{R}@evil{L}", "{R}@{L}.{T}",
    "{R}@x{L}", "{R}@{X}", "{U}@{TU}", "{R}@{LU}", "{R}@{L2}", "{R}@{L3}", "{R}@b\u00fccher.example", "j\u00fcrgen@{T}",
    "j\u00fcrgen@{L}", "{U}@{T}\x00@{L}", "{U}@{T}\t@{L}", "{U}@{T}\r@{L}", "{U}@{T}:25", "{U}@{T}/..", "{U}@{T}|cmd", "|cmd",
    "/etc/x", '"|cmd"@{L}', "|cmd@{L}", "/etc/x@{L}", '"../x"@{L}', "-{R}@{L}", '"{U}:{T}"@{L}', '"{T}\\\\{U}"@{L}', '""@{L}',
    '"."@{L}', '".."@{L}', "+{T}@{L}", "*@{L}", "{U}(c)@{T}", "<{U}@{T}>", "", "@", "@@", "!", "%", "postmaster@{T}",
    "postmaster@{L}", "POSTMASTER@{L}", "postmaster@[{IP}]", "postmaster@[203.0.113.9]", "postmaster@rand.{L}",
)
# fmt: on


class Names(NamedTuple):
    """What the placeholders stand for. ``domain`` is the domain of ours or relay domain that the forms play with."""

    foreign: str
    user: str
    domain: str
    mailbox: str
    hostname: str
    address: str


def senders(names: Names) -> list[Address | None]:
    """``<>`` and every sender form that parses."""
    return [None, *some(SENDER_FORMS, names)]


def recipients(names: Names) -> list[Address]:
    """Every recipient form that parses, and the bare ``postmaster``."""
    return [POSTMASTER, *some(RECIPIENT_FORMS, names)]


def some(forms: Iterable[str], names: Names) -> Iterator[Address]:
    """Those of ``forms`` that parse, each once."""
    seen = set()
    for text in (form.format_map(_placeholders(names)) for form in forms):
        address = parsed(text)
        if address is not None and address.text not in seen:
            seen.add(address.text)
            yield address


def parsed(text: str) -> Address | None:
    """The address as the server would hand it to the policy, in an SMTPUTF8 session; None if it would refuse it."""
    try:
        return parse_address(text, smtputf8=True)
    except AddressError:
        return None


def _placeholders(names: Names) -> dict[str, str]:
    domain = names.domain
    return {
        "T": names.foreign,
        "U": names.user,
        "L": domain,
        "R": names.mailbox,
        "H": names.hostname,
        "IP": names.address,
        "X": domain.replace(".", "x"),
        "TU": names.foreign.upper(),
        "LU": domain.upper(),
        "L2": domain.replace(".", "\uff0e"),
        "L3": domain.replace(".", "\u3002"),
    }
