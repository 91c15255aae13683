"""Maildir delivery for the dispatcher: files are written in a few threads, and what waits meanwhile goes in one batch."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from postlatch.delivery.contract import Attempt, AttemptStatus, Body
from postlatch.delivery.mailbox import REMOTE, file_name, mailbox_path
from postlatch.delivery.maildir import FULL, Letter, abandon, append, open_staged, store
from postlatch.spool.contract import QueuedRecipient, StoredMessage

# Threads, because fsync waits: file systems merge what several threads sync at once into one journal commit.
THREADS = 4
BATCH = 32  # letters in one thread's turn, each with an open file


class MaildirStore:
    """Writes messages into Maildirs. One object a process; ``hostname`` becomes part of file names."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="maildir")
        self._pending: list[tuple[Letter, asyncio.Future[None]]] = []
        self._jobs = 0

    async def deliver(
        self, root: str, message: StoredMessage, recipients: Sequence[QueuedRecipient], body: Body
    ) -> list[Attempt]:
        """One file for each recipient under ``root``. Returns once all are on the disk, or have failed for now."""
        data = body.data
        # The Unix convention for Maildir is LF. Bare CR or LF cannot occur: they are refused before the 250.
        content = data.replace(b"\r\n", b"\n") if data is not None else None
        letters = [self._letter(root, message, recipient, content) for recipient in recipients]
        if content is None:
            await self._stage_all(letters, body)
        await asyncio.gather(*(self._store(letter) for letter in letters))
        return [_attempt(recipient.number, letter.error) for recipient, letter in zip(recipients, letters, strict=True)]

    def close(self) -> None:
        """Wait for the files that are being written, and end the threads."""
        self._pool.shutdown(wait=True)

    def _letter(self, root: str, message: StoredMessage, recipient: QueuedRecipient, content: bytes | None) -> Letter:
        sender = message.sender.text if message.sender is not None else ""
        return Letter(
            mailbox=mailbox_path(root, recipient.address),
            name=file_name(message.message_id, recipient.number, message.received_at, self._hostname),
            head=f"Return-Path: <{sender}>\nDelivered-To: {recipient.address.text}\n".encode(),
            content=content,
            repeated=recipient.possible_duplicate or recipient.attempts > 0,
        )

    async def _stage_all(self, letters: Sequence[Letter], body: Body) -> None:
        try:
            for letter in letters:
                await self._stage(letter, body)
        except BaseException:
            for letter in letters:
                abandon(letter)
            raise

    async def _stage(self, letter: Letter, body: Body) -> None:
        try:
            await self._in_thread(open_staged, letter)
            async for piece in _with_lf(body.chunks()):
                await self._in_thread(append, letter, piece)
        except OSError as error:
            letter.error = error

    async def _in_thread(self, call: Callable[..., None], *arguments: object) -> None:
        """Like `asyncio.to_thread`, but a cancelled caller leaves only when the thread has let go of the file.

        Otherwise its descriptor would be closed under the thread, which might then write into somebody else's file.
        """
        job = asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *arguments))
        try:
            await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait([job])
            raise

    def _store(self, letter: Letter) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        self._pending.append((letter, done))
        self._start()
        return done

    def _start(self) -> None:
        while self._pending and self._jobs < THREADS:
            batch, self._pending = self._pending[:BATCH], self._pending[BATCH:]
            self._jobs += 1
            letters = [letter for letter, _ in batch]
            job = asyncio.get_running_loop().run_in_executor(self._pool, store, letters)
            job.add_done_callback(partial(self._stored, batch))

    def _stored(self, batch: Sequence[tuple[Letter, asyncio.Future[None]]], job: asyncio.Future[None]) -> None:
        self._jobs -= 1
        failure = job.exception()
        for _, done in batch:
            if done.done():  # whoever waited was cancelled
                continue
            if failure is not None:
                done.set_exception(failure)
            else:
                done.set_result(None)
        self._start()


async def _with_lf(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """CRLF to LF where a pair may be split between two chunks."""
    held = b""
    async for chunk in chunks:
        piece = held + chunk
        held = b"\r" if piece.endswith(b"\r") else b""
        yield piece.removesuffix(held).replace(b"\r\n", b"\n") if held else piece.replace(b"\r\n", b"\n")
    if held:
        yield held


def _attempt(number: int, error: OSError | None) -> Attempt:
    if error is None:
        return Attempt(number, AttemptStatus.DELIVERED, "250 2.0.0 delivered to the mailbox", "2.0.0", REMOTE)
    if error.errno in FULL:
        return Attempt(number, AttemptStatus.TEMPORARY, "452 4.3.1 the mail store is full", "4.3.1", REMOTE)
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    reply = f"451 4.3.0 the mailbox cannot be written ({name})"
    return Attempt(number, AttemptStatus.TEMPORARY, reply, "4.3.0", REMOTE)
