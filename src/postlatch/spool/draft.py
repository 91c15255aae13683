"""A message that is being received: opened, written, then committed or aborted."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import cast

from postlatch.model.address import Address
from postlatch.model.envelope import Envelope
from postlatch.policy.grant import RelayGrant
from postlatch.spool.bodies import INLINE_LIMIT, BodyWriter, digest_of
from postlatch.spool.contract import Claim, SpoolError, StoredMessage
from postlatch.spool.fastpath import RECIPIENT_WEIGHT, FastPath
from postlatch.spool.gate import Classify, admit
from postlatch.spool.priority import NO_MARKS, HeaderMarks, decide
from postlatch.spool.rows import (
    BODY_VALUES,
    INSERT_BODY,
    INSERT_MESSAGE,
    INSERT_RECIPIENT,
    MESSAGE_VALUES,
    RECIPIENT_VALUES,
    message_row,
    queued_recipients,
    recipient_row,
)
from postlatch.store.merging import insert_rows
from postlatch.store.writer import Operation


@dataclass(frozen=True, slots=True)
class Intake:
    """What every draft of a spool shares. ``threads`` wait for the disk."""

    bodies: Path
    classify: Classify
    epoch: int
    fast: FastPath
    threads: Executor


class _State(Enum):
    OPEN = auto()
    PREPARING = auto()
    PREPARED = auto()
    COMMITTING = auto()
    CLOSED = auto()


class Draft:
    """One message on its way in. Used on the loop's thread.

    ``write`` any number of times; ``await prepare()`` if ``in_file``; ``commit`` gives the operation to submit; once that is
    durable ``Spool.committed``, if it fails or nothing comes of it ``abort``. ``utf8_headers``, ``marks``, ``held_because`` and
    ``prefix`` are for the server to set, the last with header fields that are known at the end only, and go in front of what
    was written.
    """

    __slots__ = (
        "_chunks",
        "_digest",
        "_file",
        "_intake",
        "_state",
        "eight_bit",
        "held_because",
        "marks",
        "message_id",
        "opened_at",
        "prefix",
        "size",
        "utf8_headers",
    )

    def __init__(self, intake: Intake, message_id: int, opened_at: float) -> None:
        self._intake = intake
        self._chunks: list[bytes] = []
        self._file: BodyWriter | None = None
        self._digest = b""
        self._state = _State.OPEN
        self.message_id = message_id
        self.opened_at = opened_at
        self.size = 0
        self.eight_bit = False
        self.utf8_headers = False
        self.marks: HeaderMarks = NO_MARKS
        self.prefix = b""  # ASCII
        self.held_because = ""  # printable ASCII; then nothing of it is delivered until an operator releases it

    @property
    def in_file(self) -> bool:
        """True once the body has outgrown memory: then ``prepare`` before ``commit``."""
        return self._file is not None

    def write(self, chunk: bytes) -> None:
        """Append octets of the body. Never raises for the disk's sake: ``prepare`` does."""
        self.size += len(chunk)
        if not self.eight_bit:
            self.eight_bit = not chunk.isascii()
        if self._file is not None:
            self._file.write(chunk)
            return
        self._chunks.append(chunk)
        if self.size > INLINE_LIMIT:
            self._file = BodyWriter(self._intake.bodies, self.message_id)
            self._file.write(b"".join(self._chunks))
            self._chunks.clear()

    async def prepare(self) -> None:
        """Make a body file durable; nothing to do for a body in memory. OSError (ENOSPC: the disk is full), SpoolError."""
        if self._state is not _State.OPEN:
            raise SpoolError("this draft is not open")
        if self._file is None:
            self._state = _State.PREPARED
            return
        self._state = _State.PREPARING
        digest = await asyncio.get_running_loop().run_in_executor(self._intake.threads, self._file.finish)
        if self._closed():  # aborted meanwhile: the file is being removed
            raise SpoolError("this draft was aborted")
        self._digest = digest
        self._state = _State.PREPARED

    def _closed(self) -> bool:
        return self._state is _State.CLOSED

    def commit(
        self,
        envelope: Envelope,
        grants: Sequence[RelayGrant | None],
        transaction: object,
        originals: Sequence[Address],
        kind: str = "",
    ) -> Operation[int]:
        """The operation that stores the message; its result is the message id. SpoolError if it must not be stored.

        ``grants[i]`` and ``originals[i]`` (the address object of the client's RCPT) belong to ``envelope.recipients[i]``.
        ``kind`` names the notification, for mail of our own.
        """
        if self._state is not _State.PREPARED and (self._file is not None or self._state is not _State.OPEN):
            raise SpoolError("this draft cannot be committed now")
        admit(envelope.recipients, grants, originals, transaction, self._intake.classify)
        claim = self._make_claim(envelope, kind)
        self._chunks.clear()
        self._state = _State.COMMITTING
        due = None if not self.held_because and self._intake.fast.reserve(claim) else self.opened_at
        digest = self._digest if claim.body is None else digest_of(claim.body)
        commit = _Commit(
            message_row(claim.message, "file" if claim.body is None else "inline", digest),
            claim.body,
            [recipient_row(self.message_id, recipient, due, claim.message.priority) for recipient in claim.recipients],
        )
        return _HeldCommit(commit, self.message_id, self.held_because) if self.held_because else commit

    def _make_claim(self, envelope: Envelope, kind: str) -> Claim:
        if self.prefix and self._file is None:
            self._chunks.insert(0, self.prefix)
            self.size += len(self.prefix)
            self.prefix = b""
        message = StoredMessage(
            self.message_id,
            envelope.sender,
            envelope.received_at,
            self.size,
            envelope.params,
            envelope.listener,
            envelope.role,
            envelope.client,
            envelope.helo,
            envelope.account,
            envelope.header_message_id,
            kind,
            self.eight_bit,
            self.utf8_headers,
            decide(kind, self.marks, envelope.recipients, self.size),
            self.prefix,
            envelope.quarantined,
            envelope.verified,
        )
        body = None if self._file is not None else self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        return Claim(message, queued_recipients(envelope.recipients), self._intake.epoch, body)

    def settle(self) -> None:
        """For `Spool.committed`: the message is durable, and there for the delivery."""
        if self._state is not _State.COMMITTING:
            raise SpoolError("this draft has not been committed")
        self._state = _State.CLOSED
        self._intake.fast.settle(self.message_id)

    def abort(self, *, unknown: bool = False) -> None:
        """Forget the draft and its file. May be called more than once.

        ``unknown``: the commit failed without saying whether the message is stored (`WriteFailed.unknown`). Its file is left
        then, and the sweep of the next start finds out whether anything refers to it.
        """
        if self._state is _State.CLOSED:
            return
        self._state = _State.CLOSED
        self._chunks.clear()
        self._intake.fast.release(self.message_id)
        if self._file is not None and not unknown:
            self._intake.threads.submit(self._file.discard)


class _Commit:
    """Stores one message. ``weight`` tells the writer how much memory it holds."""

    __slots__ = ("_body", "_message", "_recipients", "weight")

    def __init__(self, message: tuple[object, ...], body: bytes | None, recipients: list[tuple[object, ...]]) -> None:
        self._message = message
        self._body = body
        self._recipients = recipients
        self.weight = len(body or b"") + RECIPIENT_WEIGHT * len(recipients)

    def __call__(self, connection: sqlite3.Connection) -> int:
        return self.run_all(connection, [self])[0]

    @staticmethod
    def run_all(connection: sqlite3.Connection, operations: Sequence[_Commit]) -> list[int]:
        """Store several messages (`store.merging`)."""
        insert_rows(connection, INSERT_MESSAGE, MESSAGE_VALUES, [operation._message for operation in operations])
        bodies = [(operation._message[0], operation._body) for operation in operations if operation._body is not None]
        insert_rows(connection, INSERT_BODY, BODY_VALUES, bodies)
        recipients = [row for operation in operations for row in operation._recipients]
        insert_rows(connection, INSERT_RECIPIENT, RECIPIENT_VALUES, recipients)
        return [cast("int", operation._message[0]) for operation in operations]


class _HeldCommit:
    """Stores one message and holds all of it, in one transaction: nobody can claim it in between."""

    __slots__ = ("_commit", "_message_id", "_why", "weight")

    def __init__(self, commit: _Commit, message_id: int, why: str) -> None:
        self._commit = commit
        self._message_id = message_id
        self._why = why
        self.weight = commit.weight

    def __call__(self, connection: sqlite3.Connection) -> int:
        stored = self._commit(connection)
        hold = "UPDATE recipients SET state = 'held', due = NULL, last_reply = ? WHERE message = ?"
        connection.execute(hold, (self._why, self._message_id))
        return stored
