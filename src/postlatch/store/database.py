"""Opening the database: refuses what it does not know, and says what to do about it. SQLite in WAL mode."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from postlatch.store import schema
from postlatch.store.files import sync_directory
from postlatch.store.migrate import migrate

_MAGIC = b"SQLite format 3\x00"
_HEADER = 100  # octets, https://www.sqlite.org/fileformat.html section 1.3
_LEAST_SQLITE = (3, 37, 0)  # STRICT tables
_BUSY = 5.0  # seconds; the lock of the data directory keeps other writers out, so this is only met by hand-made sessions

# Measured with 4 KB messages, 50 to a commit, accept and finish: 4096-octet pages cost no more than 8192 (a typical body
# fills its pages better, and a commit of one message writes half as much); 4000 pages of WAL before a checkpoint take 5 to
# 10 % less than 1000, because the pages of bodies that come and go are copied once instead of four times, and 8000 gain
# nothing more; auto_vacuum costs 1 to 3 µs a message and lets the file shrink after a flood; foreign keys cost 2 to 3 µs.
PAGE_SIZE = 4096
_RESTORE = "put a backup back with `postlatch restore FILE`"
_RESCUE = f"save what can be read with `postlatch salvage`, or {_RESTORE}"
_SETTINGS = (
    "PRAGMA synchronous = FULL",  # a commit is on the disk before it returns: 250 means that
    "PRAGMA foreign_keys = OFF",  # spool.sql says why
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA secure_delete = FAST",  # builds differ in the default; ON writes every freed body once more, as zeros
    "PRAGMA cache_size = -65536",  # KiB: the working set of a busy queue
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",  # notices a damaged page when it is read
)


class StoreError(Exception):
    """The database cannot be used. The message names the file, what is wrong and what to do."""


def open_database(path: Path, *, create: bool, keep: bool = True) -> sqlite3.Connection:
    """A writing connection, in autocommit (transactions are the writer's), usable from any one thread at a time.

    ``create`` makes a new database where there is none; an existing file is never replaced. One with an older schema is
    upgraded; ``keep`` leaves a copy of it as it was. Raises StoreError.
    """
    _check_sqlite()
    if create and not path.exists():
        _create(path)
    _check_file(path)
    with _explained(path):
        connection = _connect(path, "rw")
        try:
            _prepare(connection, path, keep=keep)
        except BaseException:
            connection.close()
            raise
        return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises StoreError."""
    with _explained(path):
        connection = _connect(path, "ro")
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -8192")
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection


def examine(path: Path) -> None:
    """Raise StoreError for a file that `open_database` would refuse, without writing to it."""
    _check_sqlite()
    _check_file(path)
    with _explained(path), closing(_connect(path, "ro")) as connection:
        if _check_ours(connection, path) == schema.SCHEMA_VERSION:
            _check_complete(connection, path)


def check_whole(path: Path) -> list[str]:
    """Read the whole file and list what is wrong with it; empty if nothing is. Slow: for a thread in the background.

    Table by table, each in a transaction of its own: while one is being read the WAL cannot start over, and with a million
    messages in the queue all of them take many seconds.
    """
    found: list[str] = []
    try:
        with closing(open_reader(path)) as connection:
            for table in sorted(name for kind, name in schema.found(connection) if kind == "table"):
                found += [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({table})")]
    except (sqlite3.Error, StoreError) as error:
        return [str(error)]
    return [line for line in found if line != "ok"]


_SHRINK_PAGES = 250  # in one step: a few tens of milliseconds; mail waits for it
_KEPT_PAGES = 4096  # 16 MiB: less is not worth a step


def shrink(connection: sqlite3.Connection) -> int:
    """An operation: give up to 250 free pages back to the file system; returns how many. Repeat while it is not 0.

    Only what is beyond a quarter of the file, and beyond 16 MiB, goes: free pages are the room of the next messages.
    """
    free = int(connection.execute("PRAGMA freelist_count").fetchone()[0])
    total = int(connection.execute("PRAGMA page_count").fetchone()[0])
    for _ in range(min(_SHRINK_PAGES, free - max(total // 4, _KEPT_PAGES))):
        connection.execute("PRAGMA incremental_vacuum(1)")  # frees a page a step, and Python takes only one step
    return free - int(connection.execute("PRAGMA freelist_count").fetchone()[0])


_IDLE_WAL = 1024 * 1024  # octets; a smaller one is not worth the work
_IDLE_SECONDS = 10.0


def rest(path: Path, now: float) -> bool:
    """Bring an idle database's WAL into its file and cut it to nothing; True if that was done. For a thread: it syncs.

    Idle is a WAL that nobody has written to for 10 seconds (``now``: since 1970). While mail flows it is left alone: it starts
    over by itself. Without this it would stay as large as the last flood made it, and what `shrink` gave back would not show.
    """
    try:
        found = _wal(path).stat()
    except OSError:
        return False
    if found.st_size < _IDLE_WAL or now - found.st_mtime < _IDLE_SECONDS:
        return False
    with _explained(path), closing(_connect(path, "rw")) as connection:
        # First without keeping the writer out; then what is left to do with it waiting is short, unless somebody reads.
        connection.execute("PRAGMA busy_timeout = 100")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return not busy


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY,
        isolation_level=None,
        cached_statements=256,
        check_same_thread=False,
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what SQLite says about a file into what its administrator needs to hear."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be used ({error}); {_RESCUE}") from error


def _check_sqlite() -> None:
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed")


def _check_file(path: Path) -> None:
    """The checks that SQLite does not make, or makes only when it is too late to be clear about them."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist; {_RESTORE}, or begin anew with `postlatch init`") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None
    if not header.startswith(_MAGIC):
        raise StoreError(f"{path} is not a database, or its beginning is destroyed; {_RESCUE}")
    if size < _size_in_header(header) and not _has_content(_wal(path)):
        # With a WAL the file may be shorter for good reason: a checkpoint was cut off, and will be done again.
        raise StoreError(f"{path} is cut short ({size} octets); {_RESCUE}")


def _size_in_header(header: bytes) -> int:
    page_size = int.from_bytes(header[16:18], "big")
    return (65536 if page_size == 1 else page_size) * int.from_bytes(header[28:32], "big")


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _prepare(connection: sqlite3.Connection, path: Path, *, keep: bool) -> None:
    version = _check_ours(connection, path)
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreError(f"{path} is on a file system without shared memory: data_dir belongs on a local disk")
    for setting in _SETTINGS:
        connection.execute(setting)
    if version < schema.SCHEMA_VERSION:
        migrate(connection, path, version, keep=keep)
    _check_complete(connection, path)
    connection.execute("DELETE FROM meta WHERE key = ''")  # what is read-only shows here, not with the first message


def _check_ours(connection: sqlite3.Connection, path: Path) -> int:
    """The version of its schema, which is one that this program can use or upgrade."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != schema.APPLICATION_ID:
        raise StoreError(f"{path} is another program's database: name a file of Postlatch's own in [store] url")
    if version > schema.SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema {version}, which a newer version of Postlatch wrote; this one knows schemas up to "
            f"{schema.SCHEMA_VERSION}: run the version that wrote it, or {_RESTORE}"
        )
    if version < 1:
        raise StoreError(f"{path} has schema {version}, which no version of Postlatch writes; move it away and {_RESTORE}")
    return int(version)


def _check_complete(connection: sqlite3.Connection, path: Path) -> None:
    if missing := schema.expected() - schema.found(connection):
        names = ", ".join(sorted(name for _, name in missing))
        raise StoreError(f"{path} has lost its {names}; {_RESCUE}")


def _create(path: Path) -> None:
    """Make the database under another name and link it into place when it is whole: it exists entirely or not at all."""
    if _has_content(_wal(path)):
        raise StoreError(f"{path} is gone but its {_wal(path).name} is there: find the file again, or {_RESTORE}")
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))  # sqlite keeps this mode for -wal and -shm
        with _explained(path):
            _fill(fresh)
        os.link(fresh, path)  # unlike a rename, this never replaces a file
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path} cannot be created ({error.strerror}): check data_dir and its permissions") from None
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def _fill(path: Path) -> None:
    with closing(_connect(path, "rw")) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only before the first table
        schema.create(connection)
        connection.execute("PRAGMA journal_mode = WAL")
