"""Where a server is spoken to."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Tls(StrEnum):
    """When the conversation is encrypted."""

    NEVER = "never"
    STARTTLS = "starttls"
    FIRST = "first"  # from the first octet (RFC 8314)


class Place(NamedTuple):
    """One address, port and way of TLS of a target. ``host`` is the name that TLS asks for; ``address`` a number."""

    host: str
    address: str
    port: int
    tls: Tls = Tls.NEVER

    @property
    def socket(self) -> str:
        """As it is written: ``192.0.2.1:25``, ``[2001:db8::1]:25``."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def __str__(self) -> str:
        """For a sentence."""
        return self.socket + {Tls.NEVER: "", Tls.STARTTLS: " after STARTTLS", Tls.FIRST: " over TLS"}[self.tls]
