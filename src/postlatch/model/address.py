"""Mail addresses: one strict parser for the wire, the configuration and the command line.

Grammar: RFC 5321 section 4.1.2, RFC 6531 section 3.3 (non-ASCII under SMTPUTF8). Deliberately narrower than RFC 5321 in
one place: source routes (``@a,@b:user@c``) are refused, as its appendix F.2 permits, because their only use left is abuse.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

import idna

MAX_LOCAL: Final = 64  # octets, RFC 5321 section 4.5.3.1.1
MAX_DOMAIN: Final = 255  # octets, section 4.5.3.1.2
MAX_PATH: Final = 254  # octets without the angle brackets, section 4.5.3.1.3

_ATEXT: Final = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_DOT_STRING: Final = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")
_DOT_STRING_UTF8: Final = re.compile(rf"[{_ATEXT}\x80-\U0010ffff]+(?:\.[{_ATEXT}\x80-\U0010ffff]+)*")
_QUOTED: Final = re.compile(r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\x20-\x7e])*"')
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*(?P<last>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)")
_IPV6_TAG: Final = re.compile(r"ipv6:", re.IGNORECASE)
# Code points that IDNA processing would turn into a full stop: never treated as one (DESIGN section 4).
_FALSE_DOTS: Final = "\u3002\uff0e\uff61"


class AddressError(ValueError):
    """An address that is refused before any rule sees it.

    ``non_ascii`` is true when the only fault is a non-ASCII character without SMTPUTF8 (553 5.6.7 instead of 501 5.1.3).
    The message is fixed text and holds nothing that the client sent.
    """

    def __init__(self, message: str, *, non_ascii: bool = False) -> None:
        super().__init__(message)
        self.non_ascii = non_ascii


@dataclass(init=False, slots=True, unsafe_hash=True)
class Address:
    """A mailbox.

    ``local`` is the local part without quoting, in the sender's case. ``domain`` is a lower-case A-label domain, an
    address literal as ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]`` (compressed form), or ``""`` for the bare ``postmaster``.
    ``text`` is the address exactly as it was received, for passing on. Compare mailboxes with ``key``.
    """

    local: str
    domain: str
    text: str

    def __init__(self, local: str, domain: str, text: str) -> None:
        self.local = local
        self.domain = domain
        self.text = text

    @property
    def is_literal(self) -> bool:
        """True if the domain is an address literal."""
        return self.domain.startswith("[")

    @property
    def key(self) -> str:
        """``local@domain`` in lower case: equal for the same mailbox of a domain of ours."""
        return f"{self.local.lower()}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """True if the next hop must offer SMTPUTF8 to take this address."""
        return not self.text.isascii()

    def __str__(self) -> str:
        return self.text


POSTMASTER: Final = Address("postmaster", "", "postmaster")


def parse_domain(text: str) -> str:
    """The lower-case A-label form of a domain name; AddressError if it is none.

    A final dot, U+3002, U+FF0E, an underscore, an all-digit last label (an address without brackets) and anything longer
    than 255 octets are refused.
    """
    name = text.lower() if text.isascii() else _to_alabels(text)
    if not name or len(name) > MAX_DOMAIN:
        raise AddressError("the domain is empty or longer than 255 octets")
    match = _HOST.fullmatch(name)
    if match is None:
        raise AddressError("the domain is not a valid host name")
    if match["last"].isdigit():
        raise AddressError("the domain ends in a number: an IP address belongs in brackets")
    return name


def _to_alabels(text: str) -> str:
    if any(dot in text for dot in _FALSE_DOTS):
        raise AddressError("the domain holds a character that only looks like a dot")
    try:
        return idna.encode(text, uts46=True, transitional=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise AddressError("the domain is not a valid internationalised name") from None


def parse_address(text: str, *, smtputf8: bool = False) -> Address:
    """Parse ``local@domain`` (no angle brackets); AddressError if it is not exactly one mailbox.

    ``smtputf8`` permits non-ASCII characters (RFC 6531). The bare ``postmaster`` is not handled here: it is only known at
    RCPT (RFC 5321 section 4.5.1).
    """
    if not text.isascii() and not smtputf8:
        raise AddressError("non-ASCII characters need SMTPUTF8", non_ascii=True)
    if _CONTROL.search(text):
        raise AddressError("the address holds a control character")
    if _octets(text) > MAX_PATH:
        raise AddressError("the address is longer than 254 octets")
    local_text, domain_text = _split(text)
    local = _parse_local(local_text, smtputf8=smtputf8)
    domain = _parse_literal(domain_text) if domain_text.startswith("[") else parse_domain(domain_text)
    return Address(local, domain, text)


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _split(text: str) -> tuple[str, str]:
    """At the first ``@`` outside quotes, so that the rest must be a domain and a second ``@`` is an error."""
    if text.startswith('"'):
        match = _QUOTED.match(text)
        if match is None:
            raise AddressError("the quoted local part is not closed")
        local, rest = match.group(), text[match.end() :]
        if not rest.startswith("@"):
            raise AddressError("the address has no @ after its local part")
        return local, rest[1:]
    local, at, domain = text.partition("@")
    if not at:
        raise AddressError("the address has no @ and domain")
    return local, domain


def _parse_local(text: str, *, smtputf8: bool) -> str:
    if _octets(text) > MAX_LOCAL:
        raise AddressError("the local part is longer than 64 octets")
    if text.startswith('"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    pattern = _DOT_STRING_UTF8 if smtputf8 else _DOT_STRING
    if not pattern.fullmatch(text):
        raise AddressError("the local part is not valid")
    return text


def _parse_literal(text: str) -> str:
    """RFC 5321 section 4.1.3; only IPv4 and IPv6, in their standard spelling."""
    if not text.endswith("]"):
        raise AddressError("the address literal is not closed")
    inner = text[1:-1]
    try:
        if _IPV6_TAG.match(inner):
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:]).compressed}]" if "%" not in inner else _bad_literal()
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        return _bad_literal()


def _bad_literal() -> str:
    raise AddressError("the address literal is not an IPv4 or IPv6: address")
