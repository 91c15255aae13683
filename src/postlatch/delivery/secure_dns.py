"""DNS answers with how far they are proved by DNSSEC: what DANE asks for beyond `model.dns.Resolver`."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Proven(NamedTuple):
    """An answer. ``records`` as in a zone file; ``exists`` is False for NXDOMAIN; ``name`` is where the aliases led.

    ``secure``: all of it, aliases and absence too, is validated by a resolver that the configuration trusts (RFC 4035
    section 3.2.3). What is bogus never gets here: a validating resolver answers SERVFAIL, which is a DnsError.
    """

    records: tuple[str, ...]
    secure: bool
    exists: bool = True
    name: str = ""


class SecureResolver(Protocol):
    """Asks the DNS, and says what is proved."""

    async def proven(self, name: str, kind: str) -> Proven:
        """Records of any type; DnsError if there is no usable answer."""
        ...
