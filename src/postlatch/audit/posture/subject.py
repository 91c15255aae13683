"""What is examined, and with what."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple, Protocol

from postlatch.audit.posture.hosts import MailHosts
from postlatch.audit.posture.wire.sightings import Sightings
from postlatch.model.clock import Clock
from postlatch.model.dns import Resolver
from postlatch.model.envelope import IPAddress
from postlatch.model.fetch import Fetcher

SMTP: Final = 25
USUAL_PORTS: Final = (SMTP, 465, 587)


class ProvenAnswer(Protocol):
    """Records as in a zone file, and whether DNSSEC proves them (RFC 4035 section 3.2.3)."""

    @property
    def records(self) -> tuple[str, ...]:
        """As in a zone file."""
        ...

    @property
    def secure(self) -> bool:
        """Validated, absence too."""
        ...

    @property
    def exists(self) -> bool:
        """False for NXDOMAIN."""
        ...


class Prover(Protocol):
    """Asks the DNS, and says what is proved."""

    async def proven(self, name: str, kind: str) -> ProvenAnswer:
        """DnsError if there is no usable answer."""
        ...


class Request(NamedTuple):
    """What was asked for. ``smtp_port`` is where mail servers of this world listen; another one than 25 is for laboratories."""

    domain: str
    selectors: tuple[str, ...] = ()
    dnsbl: tuple[str, ...] = ()
    ports: tuple[int, ...] = USUAL_PORTS
    connect: bool = True
    smtp_port: int = SMTP


class Tools(NamedTuple):
    """The outside world. ``sightings`` is None where nothing may be connected to; ``may_reach`` judges addresses."""

    resolver: Resolver
    prover: Prover
    fetcher: Fetcher | None
    clock: Clock
    dice: Random
    sightings: Sightings | None
    may_reach: Callable[[IPAddress], bool]


class Subject(NamedTuple):
    """What was asked for, with the mail hosts of the domain, which most families need."""

    request: Request
    hosts: MailHosts

    @property
    def domain(self) -> str:
        """Lower-case A-labels."""
        return self.request.domain
