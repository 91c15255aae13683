"""What an error of SQLite means for the connection that raised it."""

from __future__ import annotations

import sqlite3

# Codes after which nothing that this connection says about the file can be relied on. After a failed fsync the kernel
# forgets the pages that it could not write, and the next fsync succeeds over the hole (PostgreSQL's lesson of 2018).
_LOST = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,  # a file system that the kernel has remounted read-only after an error
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERNAL,
    }
)


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code of an error; 0 if it is not SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else 0


def is_disk_full(error: BaseException) -> bool:
    """No space left: the transaction is undone, and the connection is good."""
    return primary_code(error) == sqlite3.SQLITE_FULL


def is_busy(error: BaseException) -> bool:
    """Somebody else holds the lock for longer than we wait: nothing was written, and the connection is good."""
    return primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_lost(error: BaseException) -> bool:
    """The connection must not be used again."""
    return primary_code(error) in _LOST
