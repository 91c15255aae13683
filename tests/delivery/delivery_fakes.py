"""Peers in memory for the tests of this room: a queue, a pool, bodies, and short ways to make the values they handle."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from postlatch.delivery.contract import Attempt, AttemptStatus, Body, ConnectFailed, OutboundMessage, Target
from postlatch.delivery.ports import Returns
from postlatch.model.address import Address, parse_address
from postlatch.model.envelope import Destination, GrantReason, RecipientParams, SenderParams
from postlatch.model.events import Event, JsonValue
from postlatch.model.reply import Reply
from postlatch.spool.contract import Claim, Outcome, OutcomeKind, QueuedRecipient, SpoolError, StoredMessage
from postlatch.store.writer import Operation

NOW = 1_767_225_600.0
HEADER = b"Received: by mx.example.com; now\r\nFrom: alice@example.com\r\nSubject: hello\r\n"
MAIL = HEADER + b"\r\nThe body.\r\n"


@dataclass(frozen=True)
class MemoryBody:
    """A body in memory."""

    data: bytes | None = MAIL

    @property
    def size(self) -> int:
        return len(self.data or b"")

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.data or b""


@dataclass(frozen=True)
class StreamBody:
    """A body that comes in pieces. ``reading`` is set with the first of them."""

    pieces: Sequence[bytes]
    data: bytes | None = None
    fails: bool = False
    reading: asyncio.Event | None = None

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(0)
            if self.reading is not None:
                self.reading.set()
            yield piece
        if self.fails:
            raise ValueError("the body's digest is wrong")


def address(text: str) -> Address:
    return parse_address(text, smtputf8=True)


def message(
    number: int = 77,
    *,
    sender: str | None = "alice@example.com",
    received_at: float = NOW,
    kind: str = "",
    account: str = "alice@example.com",
    header_message_id: str = "<one@example.com>",
    params: SenderParams | None = None,
) -> StoredMessage:
    return StoredMessage(
        message_id=number,
        sender=address(sender) if sender is not None else None,
        received_at=received_at,
        size=len(MAIL),
        params=params or SenderParams(),
        account=account,
        header_message_id=header_message_id,
        kind=kind,
    )


def recipient(
    to: str = "bob@elsewhere.example",
    number: int = 0,
    *,
    destination: Destination = Destination.FOREIGN,
    reason: GrantReason | None = GrantReason.ACCOUNT,
    notify: Sequence[str] = (),
    orcpt: str = "",
    original: str | None = None,
    attempts: int = 0,
    warned: bool = False,
    possible_duplicate: bool = False,
) -> QueuedRecipient:
    return QueuedRecipient(
        number=number,
        address=address(to),
        destination=destination,
        grant_reason=reason,
        grant_ref="alice@example.com" if reason is not None else "",
        params=RecipientParams(frozenset(notify), orcpt),
        original=address(original) if original is not None else None,
        attempts=attempts,
        warned=warned,
        possible_duplicate=possible_duplicate,
    )


def local(to: str = "alice@example.com", number: int = 0, **rest: Any) -> QueuedRecipient:
    """A stranger's recipient in a domain of ours."""
    return recipient(to, number, destination=Destination.LOCAL, reason=None, **rest)


def claim(*recipients: QueuedRecipient, message: StoredMessage, body: bytes | None = MAIL) -> Claim:
    return Claim(message, recipients, epoch=1, body=body)


def delivered(number: int = 0, *, dsn_passed: bool = False) -> Attempt:
    return Attempt(number, AttemptStatus.DELIVERED, "250 2.0.0 taken", "2.0.0", "mx.elsewhere.example", dsn_passed)


def temporary(number: int = 0, reply: str = "451 4.2.0 busy", enhanced: str = "4.2.0") -> Attempt:
    return Attempt(number, AttemptStatus.TEMPORARY, reply, enhanced, "mx.elsewhere.example")


def permanent(number: int = 0, reply: str = "550 5.1.1 no such user", enhanced: str = "5.1.1") -> Attempt:
    return Attempt(number, AttemptStatus.PERMANENT, reply, enhanced, "mx.elsewhere.example")


class FakeSpool:
    """A queue whose operations note what they were asked to do when they are run."""

    def __init__(self, *fresh: Claim) -> None:
        self.fresh = list(fresh)
        self.due: list[Claim] = []
        self.finished: list[tuple[Claim, Sequence[Outcome]]] = []
        self.returned: list[tuple[Claim, Sequence[Outcome]]] = []  # uncounted
        self.doubted: list[tuple[int, int]] = []
        self.cleaned: list[Any] = []
        self.bodies: dict[int, Body | Exception] = {}
        self.polls: list[float] = []
        self.recovered: list[list[int]] = []
        self.refuses: set[int] = set()

    def take(self, limit: int) -> list[Claim]:
        taken, self.fresh = self.fresh[:limit], self.fresh[limit:]
        return taken

    def claim_due(self, limit: int, now: float) -> Operation[list[Claim]]:
        def operation(_connection: sqlite3.Connection) -> list[Claim]:
            self.polls.append(now)
            taken, self.due = self.due[:limit], self.due[limit:]
            return taken

        return operation

    def finish(self, claim: Claim, outcomes: Sequence[Outcome]) -> Operation[Any]:
        if claim.message.message_id in self.refuses:
            raise SpoolError("this outcome contradicts itself")

        def operation(_connection: sqlite3.Connection) -> list[str]:
            self.finished.append((claim, outcomes))
            return [f"body-of-{claim.message.message_id}"]

        return operation

    @property
    def returns(self) -> Returns:
        return Returns(self._put_back, self._doubt)

    def _put_back(self, claim: Claim, outcomes: Sequence[Outcome]) -> Operation[Any]:
        def operation(_connection: sqlite3.Connection) -> list[str]:
            self.returned.append((claim, outcomes))
            return []

        return operation

    def _doubt(self, claim: Claim, numbers: Sequence[int]) -> Operation[Any]:
        def operation(_connection: sqlite3.Connection) -> None:
            self.doubted += [(claim.message.message_id, number) for number in numbers]

        return operation

    def recover(self, in_hand: Iterable[Claim]) -> Operation[int]:
        kept = [claim.message.message_id for claim in in_hand]

        def operation(_connection: sqlite3.Connection) -> int:
            self.recovered.append(kept)
            return 0

        return operation

    def cleanup(self, paths: Any) -> None:
        self.cleaned += paths

    async def body(self, claim: Claim) -> Body:
        body = self.bodies.get(claim.message.message_id) or MemoryBody(claim.body or MAIL)
        if isinstance(body, Exception):
            raise body
        return body

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for _, outcomes in self.finished for outcome in outcomes]

    @property
    def kinds(self) -> list[OutcomeKind]:
        return [outcome.kind for outcome in self.outcomes]


class FakeWriter:
    """Runs operations at once; ``failures`` are what the next submissions end with instead."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failures: list[Exception] = []
        self.submissions = 0

    def submit(self, operations: Sequence[Operation[Any]], events: Sequence[Event] = ()) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.submissions += 1
        if self.failures:
            future.set_exception(self.failures.pop(0))
            return future
        connection: Any = None
        try:
            future.set_result([operation(connection) for operation in operations])
        except sqlite3.Error as error:
            future.set_exception(error)
            return future
        self.events += events
        return future

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


Script = Callable[[Target, OutboundMessage], Awaitable[list[Attempt]]]


async def take_all(_target: Target, outbound: OutboundMessage) -> list[Attempt]:
    """A next hop that takes everything."""
    return [delivered(one.number) for one in outbound.recipients]


async def refuse_connections(_target: Target, _outbound: OutboundMessage) -> list[Attempt]:
    raise ConnectFailed("421 4.4.1 connection refused")


class FakePool:
    """Next hops by their numeric address (or socket path); ``taken`` lists what was handed to each, in order."""

    def __init__(self, hops: Mapping[str, Script] | None = None, default: Script = take_all) -> None:
        self.hops = dict(hops or {})
        self.default = default
        self.taken: list[tuple[Target, OutboundMessage]] = []
        self.replies: dict[str, Reply | ConnectFailed] = {}
        self.probes: list[tuple[Target, Address]] = []

    async def deliver(self, target: Target, message: OutboundMessage) -> list[Attempt]:
        self.taken.append((target, message))
        return await self.hops.get(target.address or target.path, self.default)(target, message)

    async def probe(self, target: Target, recipient: Address) -> Reply:
        self.probes.append((target, recipient))
        await asyncio.sleep(0)
        reply = self.replies[recipient.key]
        if isinstance(reply, ConnectFailed):
            raise reply
        return reply

    @property
    def addresses(self) -> list[str]:
        return [target.address or target.path for target, _ in self.taken]


@dataclass
class Alerts:
    """What operators were told."""

    told: list[tuple[str, Mapping[str, JsonValue]]] = field(default_factory=list)

    def __call__(self, why: str, fields: Mapping[str, JsonValue]) -> None:
        self.told.append((why, fields))
