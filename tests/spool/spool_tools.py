"""A small relay without sockets: a store, a queue, a policy that mints real grants, and a clock that moves when told."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import time
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from postlatch.model.address import Address, parse_address
from postlatch.model.envelope import Client, Envelope, EnvelopeRecipient, RecipientParams, Role, SenderParams
from postlatch.model.events import Event
from postlatch.model.ids import IdSource
from postlatch.policy.decide import AcceptRecipient, decide_recipient
from postlatch.policy.facts import RecipientFacts
from postlatch.policy.grant import RelayGrant
from postlatch.policy.snapshot import Account, Listener, LocalDomain, RelayDomain, Snapshot
from postlatch.spool.contract import Claim, Outcome, OutcomeKind
from postlatch.spool.spool import Draft, Spool
from postlatch.store import meta
from postlatch.store.database import open_database
from postlatch.store.reader import Reader
from postlatch.store.writer import Operation, Writer
from postlatch.testing.clock import FakeClock

P = ParamSpec("P")
T = TypeVar("T")

LISTENERS = {"mx": Listener("mx", Role.MX, tls=True), "submission": Listener("submission", Role.SUBMISSION, tls=True)}
SNAPSHOT = Snapshot(
    version=1,
    hostname="mx.example.com",
    listeners=LISTENERS,
    local_domains={"example.com": LocalDomain("example.com", frozenset({"alice", "bob", "carol"}))},
    relay_domains={"branch.example": RelayDomain("branch.example", frozenset({"dave"}), "ops@example.com", 1e12)},
    rights=(),
    accounts={"alice@example.com": Account("alice@example.com", frozenset({"alice@example.com"}))},
)
CLIENT = ip_address("192.0.2.7")
BODY = b"Subject: test\r\nFrom: alice@example.com\r\n\r\nhello\r\n"
ALICE = parse_address("alice@example.com")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine test on a loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def accepted(address: Address, transaction: object, account: str | None = "alice@example.com") -> AcceptRecipient:
    """The policy's word on a recipient of alice's, or of a stranger's."""
    facts = RecipientFacts(
        snapshot=SNAPSHOT,
        listener="submission" if account else "mx",
        client=Client(CLIENT, 40000),
        now=1.0,
        tls=True,
        account=account,
        sender=ALICE if account else parse_address("x@elsewhere.example"),
        recipient=address,
        transaction=transaction,
        known=None,
    )
    verdict = decide_recipient(facts)
    assert isinstance(verdict, AcceptRecipient), verdict
    return verdict


def row(address: Address, verdict: AcceptRecipient, **more: Any) -> EnvelopeRecipient:
    """An envelope's recipient as the server makes it."""
    grant = verdict.grant
    reason, ref = (None, "") if grant is None else (grant.reason, grant.ref)
    return EnvelopeRecipient(address, verdict.destination, reason, ref, **more)


class Parcel:
    """An envelope with its grants, ready for `Draft.commit`."""

    def __init__(self, recipients: Sequence[str], now: float, account: str | None = "alice@example.com", **more: Any) -> None:
        self.transaction = object()
        self.originals = [parse_address(text, smtputf8=True) for text in recipients]
        verdicts = [accepted(address, self.transaction, account) for address in self.originals]
        self.grants: list[RelayGrant | None] = [verdict.grant for verdict in verdicts]
        fields: dict[str, Any] = {
            "sender": ALICE,
            "received_at": now,
            "listener": "submission" if account else "mx",
            "role": Role.SUBMISSION if account else Role.MX,
            "client": CLIENT,
            "helo": "client.example",
            "account": account or "",
            "params": SenderParams(100, "8BITMIME"),
            "header_message_id": "<1@example.com>",
        }
        rows = tuple(row(a, v) for a, v in zip(self.originals, verdicts, strict=True))
        self.envelope = Envelope(**{**fields, "recipients": rows, **more})

    def commit(self, draft: Draft, kind: str = "") -> Operation[int]:
        """The draft's operation."""
        return draft.commit(self.envelope, self.grants, self.transaction, self.originals, kind)


class Relay:
    """One run of a relay: start it with ``async with``; ``kill`` ends it without good order."""

    def __init__(self, folder: Path, clock: FakeClock | None = None, **options: Any) -> None:
        self.folder = folder
        self.path = folder / "postlatch.db"
        self.bodies = folder / "bodies"
        self.clock = clock or FakeClock()
        self.events: list[Event] = []
        self._options = options

    async def __aenter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        self.writer = Writer(lambda: open_database(self.path, create=True), self._seal, retry_after=0.02)
        self.writer.start()
        self.reader = Reader(self.path, monotonic=time.monotonic)
        self.run = await self.do(meta.begin_run)
        ids = IdSource(self.clock.now, self.run.epoch * 1000)
        self.spool = Spool(
            self.bodies, SNAPSHOT.classify, ids, self.run.epoch, now=self.clock.now, reader=self.reader, **self._options
        )
        self.swept = await self.do(self.spool.sweep(self.clock.now(), clean=self.run.clean))
        self.spool.cleanup(self.swept.stray)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.do(meta.end_run(self.run.epoch))
        await self.kill()

    async def kill(self) -> None:
        """Stop as if killed: what was committed is there, nothing says that the end was meant."""
        await self.writer.close()
        self.reader.close()
        self.spool.close()

    def _seal(self, _connection: sqlite3.Connection, events: Sequence[Event]) -> None:
        self.events += events

    async def do(self, operation: Operation[T]) -> T:
        """Run an operation and wait until it is durable."""
        [result] = await self.writer.submit([operation])
        return result  # type: ignore[no-any-return]

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query."""
        return await self.reader.read(query)

    async def accept(self, *recipients: str, body: bytes = BODY, kind: str = "", **more: Any) -> int:
        """Take one message in; its id."""
        parcel = Parcel(recipients or ["bob@example.com"], self.clock.now(), **more)
        draft = self.spool.open(self.clock.now())
        for start in range(0, len(body), 65536):
            draft.write(body[start : start + 65536])
        await draft.prepare()
        await self.do(parcel.commit(draft, kind))
        self.spool.committed(draft)
        return draft.message_id

    async def due(self, limit: int = 100) -> list[Claim]:
        """Claim what is due."""
        return await self.do(self.spool.claim_due(limit, self.clock.now()))

    async def finish(self, claim: Claim, *outcomes: Outcome) -> list[Path]:
        """Record outcomes and clean up; all delivered if none are given. What was cleaned up."""
        paths = await self.do(self.spool.finish(claim, outcomes or [delivered(r.number) for r in claim.recipients]))
        self.spool.cleanup(paths)
        return paths

    def sql(self, statement: str, *params: Any) -> list[Any]:
        """Look, or interfere, behind everybody's back."""
        connection = open_database(self.path, create=False)
        try:
            return connection.execute(statement, params).fetchall()
        finally:
            connection.close()


def delivered(number: int, reply: str = "250 2.0.0 ok") -> Outcome:
    """A success."""
    return Outcome(number, OutcomeKind.DELIVERED, reply, "mx.elsewhere.example")


def deferred(number: int, until: float, *, warned: bool = False) -> Outcome:
    """A failure for now."""
    return Outcome(number, OutcomeKind.DEFERRED, "451 4.3.0 later", "mx.elsewhere.example", until, warned)


def bounced(number: int) -> Outcome:
    """A failure for good."""
    return Outcome(number, OutcomeKind.BOUNCED, "550 5.1.1 no such user", "mx.elsewhere.example")


def held(number: int) -> Outcome:
    """Something for an operator."""
    return Outcome(number, OutcomeKind.HELD, "held: the account is suspended")


def with_params(envelope: Envelope, *params: RecipientParams) -> tuple[EnvelopeRecipient, ...]:
    """The recipients of an envelope with other RCPT parameters."""
    pairs = zip(envelope.recipients, params, strict=True)
    return tuple(EnvelopeRecipient(r.address, r.destination, r.grant_reason, r.grant_ref, p, r.original) for r, p in pairs)
