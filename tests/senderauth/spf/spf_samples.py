"""Checks of SPF in one line, and a resolver that answers with what no zone file can say."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any

from postlatch.model.dns import MxRecord
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.results import SpfResult
from postlatch.senderauth.spf.verify import check_helo, check_spf
from postlatch.testing.dns import FakeResolver, Zone

NOW = 1_767_225_600.9
CLIENT = "192.0.2.1"
HELO = "mail.example.org"


def record(text: str, **more: list[str] | str) -> dict[str, Any]:
    """The types of a name with this TXT record."""
    return {"TXT": [text], **more}


def checked(
    zone: Zone | FakeResolver,
    client: str = CLIENT,
    sender: str | None = "alice@example.org",
    helo: str = HELO,
    timeout: float = 20.0,
) -> SpfResult:
    """What MAIL FROM gives."""
    resolver = FakeResolver(zone) if not isinstance(zone, FakeResolver) else zone
    return asyncio.run(
        check_spf(
            resolver,
            client=ip_address(client),
            helo=helo,
            sender=sender,
            receiver="mx.example.com",
            now=NOW,
            timeout=timeout,
        )
    )


def checked_record(text: str, client: str = CLIENT, **names: dict[str, Any]) -> SpfResult:
    """What this record of example.org gives; further names have ``_`` for each dot."""
    zone = {name.replace("_", "."): types for name, types in names.items()}
    return checked({"example.org": record(text), **zone}, client)


def checked_helo(zone: Zone, helo: str, client: str = CLIENT) -> SpfResult:
    """What HELO gives."""
    return asyncio.run(check_helo(FakeResolver(zone), client=ip_address(client), helo=helo, receiver="mx.example.com", now=NOW))


class RawResolver:
    """Gives the same octets for every TXT question and the same for every other, and counts."""

    def __init__(self, texts: list[bytes], others: dict[str, Any] | None = None) -> None:
        self._texts = texts
        self._others = others or {}
        self.questions: list[tuple[str, str]] = []

    @property
    def asked(self) -> int:
        """How often."""
        return len(self.questions)

    async def mx(self, name: str) -> list[MxRecord]:
        """MX."""
        return [MxRecord(10, host) for host in self._other(name, "MX")]

    async def addresses(self, name: str) -> list[IPAddress]:
        """AAAA and A."""
        return self._other(name, "AAAA") + self._other(name, "A")

    async def a(self, name: str) -> list[IPAddress]:
        """A."""
        return self._other(name, "A")

    async def aaaa(self, name: str) -> list[IPAddress]:
        """AAAA."""
        return self._other(name, "AAAA")

    async def ptr(self, address: IPAddress) -> list[str]:
        """PTR."""
        return self._other(address.reverse_pointer, "PTR")

    async def txt(self, name: str) -> list[bytes]:
        """TXT."""
        self.questions.append((name, "TXT"))
        return list(self._texts)

    async def records(self, name: str, kind: str) -> list[str]:
        """Not asked for."""
        raise AssertionError((name, kind))

    def _other(self, name: str, kind: str) -> list[Any]:
        self.questions.append((name, kind))
        found = self._others.get(kind, [])
        if isinstance(found, Exception):
            raise found
        return list(found)
