"""The names that questions are made of: the placeholders of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Names(NamedTuple):
    """Who is who in one audit. Domains are lower-case; what is not known is empty.

    ``canary``: a mailbox of the auditor, at ``canary_domain``; ``other_domain`` is a second domain of the auditor.
    ``local_domain`` is one that the target takes mail for, ``mailbox`` the local part of a mailbox that exists there.
    ``hostname`` is what the target calls itself in its banner; ``unknown`` a local part that nobody has.
    """

    canary: str
    canary_domain: str
    other_domain: str
    helo: str
    address: str
    hostname: str = ""
    local_domain: str = ""
    mailbox: str = ""
    unknown: str = "nobody"
    port: int = 25
    nobody: str = "relaytest"  # local part of senders at the auditor's domains

    @property
    def placeholders(self) -> Mapping[str, str]:
        """As templates name them; what is missing is not known here, and such templates do not apply."""
        literal = f"IPv6:{self.address}" if ":" in self.address else self.address
        known = {
            "U": self.canary,
            "T": self.canary_domain,
            "T2": self.other_domain,
            "L": self.local_domain,
            "R": self.mailbox,
            "H": self.hostname,
            "IP": literal,
            "X": self.nobody,
            "RAND": self.unknown,
        }
        return {name: value for name, value in known.items() if value}

    @property
    def known_mailbox(self) -> str:
        """A recipient that the target must take: the mailbox that was named, else postmaster (RFC 5321 section 4.5.1)."""
        return f"{self.mailbox}@{self.local_domain}" if self.mailbox else "postmaster"

    @property
    def unknown_mailbox(self) -> str:
        """A recipient of the target that nobody has; empty if its domain is not known."""
        return f"{self.unknown}@{self.local_domain}" if self.local_domain else ""
