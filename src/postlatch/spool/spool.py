"""The queue's front: what the server, the delivery and the application call. One object a process, used on the loop's thread.

Fresh mail takes the fast path: its claim waits in memory with its body and goes to the delivery without being read back. When
too much waits there, mail is committed as due instead and comes up by way of ``claim_due``.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from postlatch.model.ids import IdSource
from postlatch.spool import claims
from postlatch.spool.bodies import FileBody, MemoryBody, PrefixedBody, check_file, digest_of, unlink_quietly
from postlatch.spool.contract import Claim, Outcome, SpoolError
from postlatch.spool.draft import Draft, Intake
from postlatch.spool.fastpath import WAITING_MESSAGES, WAITING_OCTETS, FastPath
from postlatch.spool.gate import Classify
from postlatch.spool.priority import Shares
from postlatch.spool.sweep import SweepReport, sweep
from postlatch.store.files import body_path
from postlatch.store.reader import Reader
from postlatch.store.writer import Operation

__all__ = ["Draft", "Spool", "SpoolError"]


class Spool:
    """The queue of one process.

    ``bodies`` is the folder of body files, made if it is missing. ``classify`` says whose a domain is by the configuration
    that is current at each call. ``now`` gives seconds since 1970 UTC. ``epoch`` is this run's (`store.meta.begin_run`).
    """

    def __init__(
        self,
        bodies: Path,
        classify: Classify,
        ids: IdSource,
        epoch: int,
        *,
        now: Callable[[], float],
        reader: Reader,
        waiting_messages: int = WAITING_MESSAGES,
        waiting_octets: int = WAITING_OCTETS,
    ) -> None:
        bodies.mkdir(mode=0o700, exist_ok=True)
        self._bodies = bodies
        self._ids = ids
        self._epoch = epoch
        self._now = now
        self._reader = reader
        self._fast = FastPath(waiting_messages, waiting_octets)
        self._shares = Shares()  # used on the writer's thread alone
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="postlatch-bodies")
        self._intake = Intake(bodies, classify, epoch, self._fast, self._threads)

    def open(self, now: float) -> Draft:
        """Begin a message that arrives at ``now``."""
        return Draft(self._intake, self._ids.next(), now)

    def committed(self, draft: Draft) -> None:
        """Call when the operation of ``draft.commit`` is durable: the message is there for the delivery from now on."""
        draft.settle()

    def take(self, limit: int) -> list[Claim]:
        """Up to ``limit`` claims of what was just accepted: each class of priority its share, of it the oldest first."""
        return self._fast.take(limit)

    def pending(self) -> int:
        """How many claims `take` would give."""
        return len(self._fast)

    def claim_due(self, limit: int, now: float) -> Operation[list[Claim]]:
        """Claim what has come due of up to ``limit`` messages, one claim a message: `claims.claim_due`."""
        return claims.claim_due(limit, now, self._epoch, self._shares)

    def finish(self, claim: Claim, outcomes: Sequence[Outcome]) -> Operation[list[Path]]:
        """Record outcomes of any of a claim's recipients; the result is for `cleanup`, after the commit.

        If the commit fails the outcomes must be submitted again once the writer is healthy: recording them twice does no
        harm. SpoolError if a deferred recipient has no time for its next attempt.
        """
        return claims.finish(claim, outcomes, self._now(), self._bodies)

    def cleanup(self, paths: Iterable[Path]) -> None:
        """Remove body files that nothing refers to any more, in a thread."""
        for path in paths:
            self._threads.submit(unlink_quietly, path)

    def recover(self, in_hand: Iterable[Claim]) -> Operation[int]:
        """Make due what is claimed but that nobody has: for when the writer recovers, since a failed commit may have taken.

        ``in_hand``: the claims that the caller works on. No `claim_due` of its may be under way.
        """
        kept = [(c.message.message_id, r.number) for c in (*in_hand, *self._fast.held()) for r in c.recipients]
        return claims.recover(self._now(), kept)

    def sweep(self, now: float, *, clean: bool) -> Operation[SweepReport]:
        """The first operation of a run, before any draft is opened. ``report.stray`` is for `cleanup`."""
        return sweep(now, clean=clean, bodies=self._bodies)

    async def body(self, claim: Claim) -> MemoryBody | FileBody | PrefixedBody:
        """The body of a claim, checked against its digest. SpoolError if it is damaged or gone: hold the recipients."""
        if claim.body is not None:
            return MemoryBody(claim.body)
        message_id, size = claim.message.message_id, claim.message.size
        digest, data = await self._reader.read(partial(_load_body, message_id=message_id))
        if data is not None:
            return MemoryBody(data)
        path = body_path(self._bodies, message_id)
        await asyncio.get_running_loop().run_in_executor(self._threads, check_file, path, size, digest)
        body = FileBody(path, size, self._threads)
        return PrefixedBody(claim.message.prefix, body) if claim.message.prefix else body

    def close(self) -> None:
        """Wait for the threads. Claims that were not finished come up again at the next start."""
        self._threads.shutdown()


def _load_body(connection: sqlite3.Connection, *, message_id: int) -> tuple[bytes, bytes | None]:
    """(digest, body), the body None if it is in a file. In the reader's thread, so that the digest costs the loop nothing."""
    row = connection.execute(
        "SELECT body_kind, body_digest, data FROM messages LEFT JOIN bodies ON message = id WHERE id = ?", (message_id,)
    ).fetchone()
    if row is None:
        raise SpoolError("the message is not in the database any more")
    kind, digest, data = row
    if kind == "file":
        return digest, None
    if data is None or digest_of(data) != digest:
        raise SpoolError("the body of this message is damaged: it is not what was stored")
    return digest, data
