"""Everything that a relay, or a command without one, works with: opened once, closed in order."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from postlatch.accounts.authenticator import Authenticator, AuthSettings
from postlatch.accounts.book import AccountBook
from postlatch.accounts.known import KnownRecipients
from postlatch.accounts.passwords import HashSettings
from postlatch.app import masks
from postlatch.app.ban_book import BanBook
from postlatch.app.clock import SystemClock
from postlatch.app.policy import PolicyHolder
from postlatch.journal.counters import Counters
from postlatch.journal.seal import Sealer
from postlatch.limits.limiter import Limiter
from postlatch.model.clock import Clock
from postlatch.model.events import Event
from postlatch.model.ids import IdSource
from postlatch.policy.reminders import Remembered
from postlatch.server.bans import BanList
from postlatch.settings.tree import Settings
from postlatch.spool.spool import Spool
from postlatch.store import counters, delegations, meta, right_life, rights
from postlatch.store.database import open_database
from postlatch.store.reader import Reader
from postlatch.store.writer import Writer

WRITER = "embedded"  # the name of the one chain of an embedded journal


@dataclass(slots=True)
class World:
    """The parts, joined. ``relay`` is set in the process that serves."""

    settings: Settings
    clock: Clock
    writer: Writer
    reader: Reader
    counters: Counters
    book: AccountBook
    authenticator: Authenticator
    known: KnownRecipients
    spool: Spool
    limiter: Limiter
    ban_book: BanBook
    policy: PolicyHolder
    run: meta.Run
    relay: Any = None
    right_usage: dict[str, float] = field(default_factory=dict)
    lost_counts: list[str] = field(default_factory=list)  # keys of the limiter whose rows could not be read
    right_life: dict[tuple[str, str], Remembered] = field(default_factory=dict)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while the policy changes

    def now(self) -> float:
        """Seconds since 1970."""
        return self.clock.now()

    async def submit(self, operations: Sequence[Any], *events: Event) -> list[Any]:
        """Run operations and events in one durable transaction."""
        if self.relay is not None:
            return list(await self.relay.submit(operations, events))
        return await self.writer.submit(operations, events)

    @property
    def bans(self) -> BanList:
        """The bans in force."""
        return self.ban_book.bans

    async def close(self) -> None:
        """Write all that was submitted and close the database."""
        self.authenticator.close()
        self.reader.close()
        await self.writer.close()  # last: only a connection that writes can bring the WAL into the file
        self.spool.close()


def prepare_directory(settings: Settings) -> None:
    """Make the data directory, private to its user."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


async def open_world(settings: Settings, *, serving: bool, on_store_change: Any = None) -> World:
    """Open the database and load everything; StoreError says what to do. ``serving`` starts a new run of the relay."""
    clock = SystemClock()
    path = settings.database
    sealer = Sealer(WRITER, clock)
    counts = Counters()

    def committed(seconds: float, submissions: int) -> None:
        counts.observe("postlatch_commit_seconds", seconds)
        counts.observe("postlatch_commit_batch_size", submissions)

    writer = Writer(
        lambda: open_database(path, create=True),
        sealer.seal,
        on_change=on_store_change or (lambda *_: None),
        on_commit=committed,
        monotonic=clock.monotonic,
    )
    writer.start()
    reader = Reader(path, monotonic=clock.monotonic)
    run, secret = await writer.submit([meta.begin_run if serving else _no_run, _secret])
    book = AccountBook()
    await reader.read(book.load)
    ids = IdSource(clock.now, secrets.randbits(22))
    policy = PolicyHolder(
        settings, book, clock, stored=await reader.read(rights.load), suspended=await reader.read(suspended_rights)
    )
    world = World(
        settings=settings,
        clock=clock,
        writer=writer,
        reader=reader,
        counters=counts,
        book=book,
        authenticator=_authenticator(settings, book, clock, secret),
        known=KnownRecipients(reader.read, secret),
        spool=Spool(bodies_of(settings), policy.classify, ids, run.epoch, now=clock.now, reader=reader),
        limiter=Limiter(),
        ban_book=BanBook(settings, book, clock),
        policy=policy,
        run=run,
        right_usage=await reader.read(rights.load_usage),
        right_life=await reader.read(right_life.load),
    )
    policy.masks = await reader.read(masks.load)
    policy.delegations = await reader.read(delegations.load)
    world.lost_counts = world.limiter.load(await reader.read(counters.load), clock.now())
    await reader.read(world.ban_book.load)
    return world


def bodies_of(settings: Settings) -> Path:
    """The folder of large bodies."""
    return settings.data_dir / "bodies"


def _authenticator(settings: Settings, book: AccountBook, clock: Clock, secret: bytes) -> Authenticator:
    chosen = settings.accounts
    hashing = HashSettings(
        memory=chosen.argon2.memory // 1024,
        passes=chosen.argon2.time,
        lanes=chosen.argon2.parallelism,
        iterations=chosen.scram_iterations,
    )
    main = chosen.main_password == "relay"  # noqa: S105 - whether it may send, and no password
    auth = AuthSettings(hashing=hashing, cache_seconds=chosen.cache_seconds, main_password=main)
    return Authenticator(book, auth, clock=clock, random=secrets.token_bytes, salt_secret=secret)


def _no_run(connection: sqlite3.Connection) -> meta.Run:
    return meta.Run(int(meta.get(connection, "epoch") or 0), clean=True)


def _secret(connection: sqlite3.Connection) -> bytes:
    """The key of false salts and of digests: made once, and the same after every restart."""
    stored = meta.get(connection, "salt_secret")
    if stored is None:
        stored = secrets.token_hex(32)
        meta.put("salt_secret", stored)(connection)
    return bytes.fromhex(stored)


def suspended_rights(connection: sqlite3.Connection) -> frozenset[str]:
    """Names of rights that are suspended."""
    return frozenset(filter(None, (meta.get(connection, "suspended_rights") or "").split("\n")))
