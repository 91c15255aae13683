"""What delivery asks of the rooms around it, and of the application: just what it uses, as protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from postlatch.delivery.contract import Attempt, Body, OutboundMessage, Target
from postlatch.delivery.notice import Notice
from postlatch.model.address import Address
from postlatch.model.events import Event, JsonValue
from postlatch.model.reply import Reply
from postlatch.spool import returns
from postlatch.spool.contract import Claim, Outcome
from postlatch.store.writer import Operation


class SpoolPort(Protocol):
    """The queue. A claim may be finished in parts: ``finish`` takes any of its recipients, each once."""

    def take(self, limit: int) -> list[Claim]:
        """Claims of what was just accepted, from memory; empty if there is none."""
        ...

    def claim_due(self, limit: int, now: float) -> Operation[list[Claim]]:
        """Claims of what has come due in the database."""
        ...

    def finish(self, claim: Claim, outcomes: Sequence[Outcome]) -> Operation[Any]:
        """Record outcomes. The result goes to ``cleanup`` after the commit."""
        ...

    def cleanup(self, paths: Any) -> None:
        """Remove the body files that nothing refers to any more."""
        ...

    def recover(self, in_hand: Iterable[Claim]) -> Operation[int]:
        """Make due what is claimed but is neither ``in_hand`` nor in the spool's memory."""
        ...

    async def body(self, claim: Claim) -> Body:
        """The body of a claim, from memory or disk. SpoolError if it is damaged or gone."""
        ...


class Returns(NamedTuple):
    """What leads back into the queue without an attempt (`spool.returns`).

    ``put_back`` makes recipients due again, uncounted; its result goes to ``cleanup`` like that of ``finish``. ``doubt`` notes
    recipients who may have the message already.
    """

    put_back: Callable[[Claim, Sequence[Outcome]], Operation[Any]] = returns.put_back
    doubt: Callable[[Claim, Sequence[int]], Operation[Any]] = returns.doubt


class PoolPort(Protocol):
    """Connections to next hops."""

    async def deliver(self, target: Target, message: OutboundMessage) -> list[Attempt]:
        """One transaction; ConnectFailed if none took place."""
        ...

    async def probe(self, target: Target, recipient: Address) -> Reply:
        """What ``target`` answers to a RCPT for ``recipient``; ConnectFailed if it could not be asked."""
        ...


class Submit(Protocol):
    """`store.writer.Writer.submit`."""

    def __call__(self, operations: Sequence[Operation[Any]], events: Sequence[Event] = ()) -> asyncio.Future[list[Any]]:
        """All in one transaction; the results in order, after the commit."""
        ...


class PreparedNotice(NamedTuple):
    """A notice that is ready to be queued in the same transaction as the outcome which it reports.

    ``operations`` may run again if a commit fails. ``committed`` is called with their results once they are on the disk,
    ``dropped`` if they never will be.
    """

    operations: Sequence[Operation[Any]]
    events: Sequence[Event]
    committed: Callable[[Sequence[Any]], None]
    dropped: Callable[[], None]


Notify = Callable[[Notice], Awaitable[PreparedNotice | None]]
"""Mints the NOTIFICATION grant and opens a draft. None: it may not be sent (the cap of the day, a guard)."""

Alert = Callable[[str, Mapping[str, JsonValue]], None]
"""Tell an operator: a sentence, and the fields of the event."""
