"""A world for posture tests: a zone as a resolver, with what DNSSEC proves, and a web with one page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, NamedTuple

from postlatch.audit.posture.hosts import find_hosts
from postlatch.audit.posture.subject import Request, Subject, Tools
from postlatch.audit.posture.values import Check, State
from postlatch.audit.posture.wire.sightings import Sightings
from postlatch.model.dns import DnsError
from postlatch.model.envelope import IPAddress
from postlatch.model.fetch import Fetched, FetchError
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

DOMAIN = "example.com"
HOST = "mx.example.com"
MAIL: dict[str, dict[str, Any]] = {
    DOMAIN: {"MX": ["10 mx.example.com."], "SOA": ["ns.example.com. root.example.com. 1 1 1 1 1"]},
    HOST: {"A": ["11.22.33.44"], "AAAA": ["2a99::25"], "SOA": []},
}


class Proof(NamedTuple):
    """An answer, and whether it is proved."""

    records: tuple[str, ...]
    secure: bool
    exists: bool = True


class World(FakeResolver):
    """``signed`` are zones whose answers are proved; the root is ``""``."""

    def __init__(self, zone: Mapping[str, Mapping[str, Any]], signed: tuple[str, ...] = ()) -> None:
        super().__init__(zone)
        self._signed = signed

    async def proven(self, name: str, kind: str) -> Proof:
        """As a validating resolver answers."""
        secure = any(name == zone or (zone and name.endswith(f".{zone}")) for zone in self._signed)
        try:
            return Proof(tuple(await self.records(name, kind)), secure)
        except DnsError as error:
            if error.temporary:
                raise
            return Proof((), secure, exists=False)


class Web:
    """Every URL has this page; None: no server answers."""

    def __init__(self, page: Fetched | None) -> None:
        self.urls: list[str] = []
        self._page = page

    async def get(self, url: str, **_: object) -> Fetched:
        """The page."""
        self.urls.append(url)
        if self._page is None:
            raise FetchError("no connection to the server")
        return self._page

    async def post(self, url: str, body: bytes, **_: object) -> Fetched:
        """Nobody posts here."""
        raise AssertionError((url, body))


def with_mail(*extra: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The zone of a domain with one mail host, and these names added to it."""
    zone = {name: dict(types) for name, types in MAIL.items()}
    for names in extra:
        for name, types in names.items():
            zone.setdefault(name, {}).update(types)
    return zone


def anywhere(_: IPAddress) -> bool:
    """All addresses may be connected to."""
    return True


def tools(resolver: World, *, web: Web | None = None, sightings: Sightings | None = None) -> Tools:
    """All that a family needs, without a network unless there are ``sightings``."""
    return Tools(resolver, resolver, web, FakeClock(), Random(7), sightings, anywhere)


Family = Callable[[Subject, Tools], Awaitable[list[Check]]]


def look(
    family: Family,
    zone: Mapping[str, Mapping[str, Any]],
    *,
    signed: tuple[str, ...] = (),
    web: Web | None = None,
    **request: Any,
) -> dict[str, Check]:
    """The checks of one family, by their ids."""

    async def run() -> list[Check]:
        world = World(zone, signed)
        subject = Subject(Request(DOMAIN, **request), await find_hosts(world, DOMAIN))
        return await family(subject, tools(world, web=web))

    checks = asyncio.run(run())
    assert len({check.id for check in checks}) == len(checks)
    for check in checks:
        assert check.detail
        assert check.state is not State.BAD or any(finding.fix and finding.why for finding in check.findings)
    return {check.id: check for check in checks}


def found(check: Check) -> set[str]:
    """The ids of its findings."""
    return {finding.id for finding in check.findings}
