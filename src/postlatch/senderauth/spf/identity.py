"""Who asks to send: what one check is about, and what the macro letters stand for in it (RFC 7208 sections 2.4, 4.1, 7.2)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from postlatch.model.envelope import IPAddress

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Identity:
    """The arguments of check_host() but for its domain. ``domain`` is that of the sender, as A-labels."""

    client: IPAddress  # never an IPv4-mapped one
    local_part: str
    domain: str
    helo: str
    receiver: str
    now: float

    @property
    def is_ipv4(self) -> bool:
        """True if A records count and not AAAA records."""
        return isinstance(self.client, IPv4Address)


@dataclass(frozen=True, slots=True)
class Letters:
    """`macro.Values` of a check of ``domain``; ``validated`` is what %{p} found."""

    identity: Identity
    domain: str
    validated: str = UNKNOWN

    def value(self, letter: str) -> str:
        """The value of a lower-case letter."""
        who = self.identity
        match letter:
            case "s":
                return f"{who.local_part}@{who.domain}"
            case "l":
                return who.local_part
            case "o":
                return who.domain
            case "d":
                return self.domain
            case "i":
                return dotted(who.client)
            case "p":
                return self.validated
            case "v":
                return "in-addr" if who.is_ipv4 else "ip6"
            case "h":
                return who.helo
            case "c":
                return str(who.client)
            case "r":
                return who.receiver or UNKNOWN
        return str(int(who.now))


def dotted(address: IPAddress) -> str:
    """An address as %{i} writes it: IPv6 as its 32 digits, with dots between (section 7.3)."""
    if isinstance(address, IPv4Address):
        return str(address)
    return ".".join(f"{int(address):032X}")
