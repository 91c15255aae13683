"""Judging what was read of a damaged database: every message is whole and held, or its parts are in quarantine."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from postlatch.model.ids import format_id
from postlatch.store.files import body_path
from postlatch.store.salvage_quarantine import Quarantine

_CHUNK = 1024 * 1024
_SALVAGED = "salvaged from a damaged database"
_NO_BODY = f"held: {_SALVAGED}, and the body of this message "

_LONE_RECIPIENTS = "SELECT * FROM recipients WHERE message NOT IN (SELECT id FROM messages)"
_LONE_MESSAGES = "SELECT * FROM messages WHERE finished_at IS NULL AND id NOT IN (SELECT message FROM recipients)"
# Only damage makes an open message without an open recipient: it would never end.
_ENDED = """
SELECT id FROM messages WHERE finished_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM recipients WHERE message = messages.id AND finished_at IS NULL)
"""
_LONE_BODIES = "SELECT message, data FROM bodies WHERE message NOT IN (SELECT id FROM messages WHERE finished_at IS NULL)"
_OPEN = """
SELECT id, size, body_kind, body_digest, (SELECT data FROM bodies WHERE message = id) FROM messages
WHERE finished_at IS NULL ORDER BY id
"""
_REOPEN = """
UPDATE messages SET finished_at = NULL WHERE finished_at IS NOT NULL
  AND id IN (SELECT message FROM recipients WHERE finished_at IS NULL)
"""
_HOLD = """
UPDATE recipients SET state = 'held', due = NULL, last_reply = ?, possible_duplicate = 1
WHERE state IN ('queued', 'deferred')
"""
_HOLD_ONE = f"{_HOLD} AND message = ?"
_MARK_ONE = "UPDATE recipients SET last_reply = ? WHERE state = 'held' AND message = ?"


class Judged(NamedTuple):
    """Recipients that are ``held`` now, and messages whose body is not what was stored."""

    held: int
    without_body: int


def judge(new: sqlite3.Connection, bodies: Path, quarantine: Quarantine) -> Judged:
    """Put into quarantine what has lost its other half, hold everything that is not finished, and say what has no body."""
    new.execute(_REOPEN)  # a finish that damage invented would drop what is still to be delivered
    _lone(new, "recipients", _LONE_RECIPIENTS, quarantine, "its message could not be read")
    new.execute("DELETE FROM recipients WHERE message NOT IN (SELECT id FROM messages)")
    _lone(new, "messages", _LONE_MESSAGES, quarantine, "its recipients could not be read")
    new.execute("DELETE FROM messages WHERE finished_at IS NULL AND id NOT IN (SELECT message FROM recipients)")
    _end(new, quarantine)
    without_body, held = _hold_without_body(new, bodies, quarantine)
    held += new.execute(_HOLD, (_SALVAGED,)).rowcount
    _keep_lone_bodies(new, quarantine)
    _keep_lone_files(new, bodies, quarantine)
    return Judged(held, without_body)


def _lone(new: sqlite3.Connection, table: str, sql: str, quarantine: Quarantine, why: str) -> None:
    cursor = new.execute(sql)
    columns = [column[0] for column in cursor.description]
    for row in cursor:
        quarantine.row(table, columns, row, why)


def _end(new: sqlite3.Connection, quarantine: Quarantine) -> None:
    """Messages of which every recipient that was found is finished: others may be lost, so their body is kept as well."""
    for (message,) in new.execute(_ENDED).fetchall():
        row = new.execute("SELECT max(finished_at) FROM recipients WHERE message = ?", (message,)).fetchone()
        quarantine.note(
            "messages", {"id": format_id(message)}, "some of its recipients could not be read, the others are finished"
        )
        new.execute("UPDATE messages SET finished_at = ? WHERE id = ?", (row[0], message))


def _hold_without_body(new: sqlite3.Connection, bodies: Path, quarantine: Quarantine) -> tuple[int, int]:
    """Hold the messages whose body is missing or changed, saying so; how many, and how many recipients."""
    messages = held = 0
    for message, size, kind, digest, data in new.execute(_OPEN):
        problem = _problem(size, digest, _chunks(kind, data, body_path(bodies, message)))
        if problem:
            messages += 1
            reply = _NO_BODY + problem
            quarantine.note("bodies", {"id": format_id(message)}, f"the body {problem}")
            held += new.execute(_HOLD_ONE, (reply, message)).rowcount
            new.execute(_MARK_ONE, (reply, message))
    return messages, held


def _chunks(kind: str, data: bytes | None, path: Path) -> Iterator[bytes]:
    if kind == "inline":
        if data is None:
            raise FileNotFoundError
        yield data
        return
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_CHUNK):
            yield piece


def _problem(size: int, digest: bytes, chunks: Iterator[bytes]) -> str:
    found, length = hashlib.sha256(), 0
    try:
        for piece in chunks:
            found.update(piece)
            length += len(piece)
    except FileNotFoundError:
        return "could not be read"
    except OSError as error:
        return f"could not be read ({error.strerror})"
    return "" if length == size and found.digest()[: len(digest)] == digest else "is damaged: it is not what was stored"


def _keep_lone_bodies(new: sqlite3.Connection, quarantine: Quarantine) -> None:
    for message, data in new.execute(_LONE_BODIES):
        name = format_id(message & (1 << 63) - 1)
        path = quarantine.body(name, data)
        quarantine.note(
            "bodies", {"id": name, "octets": len(data), "file": path.name}, "the message that it belongs to could not be read"
        )
    new.execute("DELETE FROM bodies WHERE message NOT IN (SELECT id FROM messages WHERE finished_at IS NULL)")


def _keep_lone_files(new: sqlite3.Connection, bodies: Path, quarantine: Quarantine) -> None:
    """Body files without a row: the sweep of the next start would take them for leftovers."""
    expected = {
        body_path(bodies, row[0])
        for row in new.execute("SELECT id FROM messages WHERE finished_at IS NULL AND body_kind = 'file'")
    }
    for path in sorted(bodies.glob("*/*")) if bodies.is_dir() else []:
        if path in expected or not path.is_file() or path.suffix == ".tmp":
            continue
        kept = quarantine.body_file(path.name, path)
        quarantine.note(
            "body files",
            {"id": path.name, "octets": path.stat().st_size, "file": kept.name},
            "no message that could be read refers to it",
        )
