"""DNS as an argument: what the rooms ask, and the two ways in which an answer can fail."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from postlatch.model.envelope import IPAddress


class DnsError(Exception):
    """No usable answer. ``temporary`` is False only for NXDOMAIN; every other failure may heal."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


class MxRecord(NamedTuple):
    """One MX record: lower preference first; ``host`` lower-case without final dot, ``""`` for a null MX (RFC 7505)."""

    preference: int
    host: str


class Resolver(Protocol):
    """Asks the DNS. An existing name without the type gives an empty list; NXDOMAIN and failures raise DnsError."""

    async def mx(self, name: str) -> list[MxRecord]:
        """MX records, in no order."""
        ...

    async def addresses(self, name: str) -> list[IPAddress]:
        """AAAA and A records together; empty only if both types are absent. One failing type with no other is an error."""
        ...

    async def a(self, name: str) -> list[IPAddress]:
        """A records alone: who must count look-ups asks for one type at a time (RFC 7208 section 4.6.4)."""
        ...

    async def aaaa(self, name: str) -> list[IPAddress]:
        """AAAA records alone."""
        ...

    async def ptr(self, address: IPAddress) -> list[str]:
        """The names of an address, lower-case without final dot, as its owner claims them: check each before use."""
        ...

    async def txt(self, name: str) -> list[bytes]:
        """TXT records, the strings of each joined."""
        ...

    async def records(self, name: str, kind: str) -> list[str]:
        """Records of any type (``NS``, ``CAA``, ``TLSA``, …) as in a zone file, names lower-case with their final dot."""
        ...
