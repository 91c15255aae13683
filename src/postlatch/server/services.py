"""What a connection needs from the rest of the relay. One object, so that a reload swaps what is in it for everyone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from postlatch.accounts.authenticator import Authenticator
from postlatch.accounts.book import AccountBook
from postlatch.accounts.known import KnownRecipients
from postlatch.limits.limiter import Limiter
from postlatch.model.address import Address
from postlatch.model.clock import Clock
from postlatch.model.envelope import IPAddress
from postlatch.model.events import Event
from postlatch.model.sighting import Sighting
from postlatch.policy.snapshot import Snapshot
from postlatch.senderauth.results import Authentication
from postlatch.server.attempts import Attempts
from postlatch.server.bans import BanList
from postlatch.server.limit_news import LimitNews
from postlatch.server.limit_rules import LimitRules
from postlatch.server.load import Load
from postlatch.server.local_rules import LocalRules
from postlatch.server.metering import Count
from postlatch.server.proofs import Proofs
from postlatch.server.refused import Refusals
from postlatch.server.replays import Replay, Replays
from postlatch.server.reputation import Strangers
from postlatch.server.senders import Senders
from postlatch.spool.spool import Spool


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The bounds of one session (the ``[session]`` table). Times in seconds, sizes in octets, ``data_rate`` octets a second."""

    line: int = 4096
    size: int = 52_428_800
    recipients: int = 1000
    transactions: int = 10_000
    errors: int = 10
    commands: int = 100
    idle: float = 300.0
    total: float = 3600.0
    data_rate: int = 500
    greeting_delay: float = 0.1
    auth_failures: int = 3
    auth_failure_delay: float = 5.0


@dataclass(slots=True)
class Services:
    """Live parts. ``snapshot``, ``session``, ``rules``, ``bans``, ``proofs``
    are replaced on reload; connections read them each time.
    """

    clock: Clock
    snapshot: Snapshot
    session: SessionLimits
    rules: LimitRules
    limiter: Limiter
    bans: BanList
    spool: Spool
    authenticator: Authenticator
    known_recipients: KnownRecipients
    book: AccountBook
    submit: Callable[[Sequence[Callable[..., Any]], Sequence[Event]], asyncio.Future[list[Any]]]
    record: Callable[[Event], None]
    count: Count
    callout: Callable[[Address], Any]  # -> Awaitable[bool | None]
    wake_delivery: Callable[[], None]
    right_used: Callable[[str, float], None]
    store_healthy: Callable[[], bool]
    free_space: Callable[[int], bool]  # is there room for a message of this many octets?
    refusals: Refusals
    draining: bool = False
    local: LocalRules = field(default_factory=LocalRules)
    attempts: Attempts = field(default_factory=Attempts)
    load: Load = field(default_factory=Load)
    proofs: Proofs = field(default_factory=Proofs)  # beside passwords
    senders: Senders | None = None  # None: nobody is checked
    strangers: Strangers | None = None  # None: nobody is judged
    replays: Replays | None = None
    replayed: Callable[[Replay], None] = lambda _: None  # told once of each signature that comes too often
    limit_news: LimitNews | None = None  # told of what is nearly spent, and of what is held
    seen: Callable[[Sighting], None] | None = None  # told of every session at its end
    noted: Callable[[Authentication, IPAddress, str, bool], None] | None = None  # results, client, what was done, by a sealer?


__all__ = ["Count", "LimitRules", "Services", "SessionLimits"]
