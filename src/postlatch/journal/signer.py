"""Signing where the chain ends: every hour, when a segment closes, at a start and at a clean stop.

It reads a handful of rows by their keys, whatever the journal's size, and appends a line to a file. It never signs over a
break: if the journal does not hold what the last head says, that is told, and nothing is signed until a person has looked.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from postlatch.journal.chain import Head
from postlatch.journal.heads import SignedHead, parse, sign
from postlatch.journal.keys import HEADS_FILE, KeyProblem, load_private
from postlatch.journal.read import head
from postlatch.store.files import sync_directory

HOUR = 3600.0
_TAIL = 4096  # octets: more than the longest line

_UP_TO = "SELECT last_seq, lower(hex(hash)) FROM journal_batches WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1"
_PRUNED = """
SELECT last_seq, lower(hex(head)) FROM journal_segments
WHERE last_seq >= ? AND pruned_at IS NOT NULL ORDER BY segment LIMIT 1
"""
_CLOSED = """
SELECT last_seq, lower(hex(head)), last_batch, segment, writer, last_at FROM journal_segments
WHERE last_seq > ? ORDER BY segment LIMIT 100
"""


class JournalChanged(Exception):
    """The journal no longer holds what was signed: run ``postlatch journal verify``."""


class Due(NamedTuple):
    """A head that is to be signed, and why."""

    head: Head
    reason: str


def last_signed(directory: Path) -> SignedHead | None:
    """The newest signed head; None if there is none. KeyProblem if the file cannot be read, or ends in something else.

    A line without an end was being written when the power failed: it does not count, and the next one takes its place.
    """
    path = directory / HEADS_FILE
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * _TAIL))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyProblem(f"{path} cannot be read ({error.strerror})") from None
    if not lines:
        return None
    try:
        return parse(lines[-1])
    except ValueError as error:
        raise KeyProblem(f"the last line of {path} is damaged ({error}): put the file back from a copy") from None


def due(connection: sqlite3.Connection, last: SignedHead | None, key: str, now: float, reason: str = "") -> list[Due]:
    """The heads to sign now: of each segment that was closed since, and of the end, if an hour began or ``reason`` asks.

    JournalChanged if the journal does not hold the head that was signed last. Only a new ``key`` (its name) goes on even so:
    an operator made it, and whoever verifies still sees that the heads of the old one do not match.
    """
    end = head(connection)
    if last is not None and last.key != key:
        return [] if end is None else [Due(end, reason or "hourly")]
    if last is not None:
        _compare(connection, last)
    signed = 0 if last is None else last.seq
    found = [Due(Head(*row), "segment") for row in connection.execute(_CLOSED, (signed,))]
    wanted = reason or ("hourly" if last is None or now // HOUR != last.signed_at // HOUR else "")
    if wanted and end is not None and end.seq > max([signed, *(item.head.seq for item in found)]):
        found.append(Due(end, wanted))
    return found


def _compare(connection: sqlite3.Connection, last: SignedHead) -> None:
    found = connection.execute(_UP_TO, (last.seq,)).fetchone()
    if found is not None and tuple(found) == (last.seq, last.hash):
        return
    pruned = connection.execute(_PRUNED, (last.seq,)).fetchone()
    if pruned is not None and (pruned[0] > last.seq or pruned[1] == last.hash):
        return
    raise JournalChanged(f"the journal does not hold event {last.seq} as it was signed")


def append(directory: Path, last: SignedHead | None, items: Iterable[Due], now: float) -> list[SignedHead]:
    """Sign and write, durably; KeyProblem if that cannot be. ``last`` is what ``last_signed`` says. Blocks for the disk."""
    key = load_private(directory)
    number = 0 if last is None else last.number
    signed = [sign(key, item.head, number + place, now, item.reason) for place, item in enumerate(items, 1)]
    path = directory / HEADS_FILE
    try:
        new = not path.exists()
        with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:  # noqa: PTH123 - a descriptor
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            if last_signed(directory) != last:
                return []  # somebody signed meanwhile: the next time will find what is left
            file.seek(_end_of_lines(file.fileno()))
            file.truncate()
            file.write(b"".join(item.line() for item in signed))
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_directory(directory)
    except OSError as error:
        raise KeyProblem(f"{path} cannot be written ({error.strerror})") from None
    return signed


def _end_of_lines(descriptor: int) -> int:
    """The offset behind the last whole line."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - 2 * _TAIL)
    return start + os.pread(descriptor, 2 * _TAIL, start).rfind(b"\n") + 1
