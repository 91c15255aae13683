"""An older database is brought up to date, whole or not at all (RELIABILITY case 9)."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from postlatch.store import migrate, schema
from postlatch.store.database import StoreError, check_whole, examine, open_database
from postlatch.store.migrate import copy_path
from postlatch.store.migrations import LATEST, steps

HERE = Path(__file__).parent
STATES = [("queued", 100.0, None), ("deferred", 200.0, None), ("queued", None, None), ("held", None, None)]
FINAL = [("delivered", None, 50.0), ("bounced", None, 50.0)]


def make_old(path: Path, messages: int = 60) -> None:
    """A database as version 1 made it, with a full queue: every state, two recipients a message."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((HERE / "schemas" / "1.sql").read_text("utf-8"))
        connection.executescript(f"PRAGMA user_version = 1; PRAGMA application_id = {schema.APPLICATION_ID}; BEGIN")
        for number in range(messages):
            fill(connection, number)
        connection.execute("COMMIT")


def fill(connection: sqlite3.Connection, number: int) -> None:
    done = number % 6 >= 4
    connection.execute(
        "INSERT INTO messages VALUES (?, 'a@b.example', 'a', 'b.example', 1.0, 9, 'inline', ?, 0, 0, 9, '', 0, '', '', "
        "'mx', 'mx', '192.0.2.1', 'h', '', '', '', ?)",
        (number, b"d" * 16, 50.0 if done else None),
    )
    if not done:
        connection.execute("INSERT INTO bodies VALUES (?, ?)", (number, b"x" * 500))
    for place in (0, 1):
        state, due, finished = (STATES + FINAL)[number % 6]
        connection.execute(
            "INSERT INTO recipients VALUES (?, ?, 'r@c.example', 'r', 'c.example', 'foreign', 'ACCOUNT', 'a', '', '', NULL, "
            "'', '', ?, 3, ?, '451 later', 'mx.c.example', ?, 1, 0)",
            (number, place, state, due, finished),
        )


def content(path: Path) -> dict[str, list[Any]]:
    """Everything of the queue that version 1 knew."""
    with closing(sqlite3.connect(path)) as connection:
        recipients = "message, number, address, destination, grant_reason, state, attempts, due, last_reply, finished_at"
        return {
            "messages": connection.execute("SELECT id, sender, size, finished_at FROM messages ORDER BY id").fetchall(),
            "bodies": connection.execute("SELECT * FROM bodies ORDER BY message").fetchall(),
            "recipients": connection.execute(f"SELECT {recipients} FROM recipients ORDER BY message, number").fetchall(),
        }


def shape(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """The schema as SQLite keeps it, without comments and spacing; and each column as SQLite understands it."""
    kept = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    found = {(kind, name): plain(sql) for kind, name, sql in kept}
    for kind, name, _ in kept:
        if kind == "table":
            found["columns", name] = str(connection.execute(f"PRAGMA table_xinfo({name})").fetchall())
    return found


def plain(sql: str) -> str:
    return re.sub(r"\s*([(),])\s*", r"\1", re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", sql))).strip()


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "postlatch.db"
    make_old(path)
    return path


def test_a_fresh_database_and_an_upgraded_one_have_the_same_schema(old: Path, tmp_path: Path) -> None:
    open_database(old, create=False).close()
    with closing(open_database(tmp_path / "fresh.db", create=True)) as fresh, closing(sqlite3.connect(old)) as upgraded:
        difference = shape(fresh).items() ^ shape(upgraded).items()
        assert not difference, "a change in schema/ needs its way there in migrations/"


def test_the_steps_are_numbered_without_a_gap() -> None:
    assert [step.version for step in steps()] == list(range(2, LATEST + 1))
    assert schema.SCHEMA_VERSION == LATEST


def test_a_full_queue_is_upgraded_with_nothing_lost(old: Path) -> None:
    before = content(old)
    with closing(open_database(old, create=False)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (LATEST,)
        counts = dict(connection.execute("SELECT state, recipients FROM queue_counts"))
        assert counts == {"queued": 20, "deferred": 20, "held": 20}
        assert connection.execute("SELECT DISTINCT priority FROM recipients").fetchall() == [(1,)]
        connection.execute("UPDATE recipients SET state = 'held', due = NULL WHERE message = 0")
        assert dict(connection.execute("SELECT state, recipients FROM queue_counts"))["held"] == 22, "and it is counted on"
        connection.execute("UPDATE recipients SET state = 'queued', due = 100.0 WHERE message = 0")
    assert content(old) == before
    assert check_whole(old) == []


def test_the_database_as_it_was_is_kept_beside_it_private_and_whole(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(old)
    open_database(old, create=False).close()
    kept = copy_path(old, 1)
    assert kept.stat().st_mode & 0o077 == 0
    assert version_of(kept) == 1
    assert content(kept) == before
    assert "is kept as postlatch.db.schema-1" in capsys.readouterr().err
    stray = {entry.name for entry in old.parent.iterdir()} - {old.name, kept.name}
    assert stray <= {"postlatch.db-wal", "postlatch.db-shm"}


def test_without_room_for_a_copy_it_says_so_and_goes_on(old: Path) -> None:
    said: list[str] = []
    before = content(old)
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        migrate.migrate(connection, old, 1, keep=True, say=said.append, room=lambda _folder: 1_000_000)
    assert re.search(r"no room for a copy before the upgrade \(\d+ MiB needed, 0 MiB free\)", said[0])
    assert "can only be gone back to with a backup" in said[0]
    assert not copy_path(old, 1).exists()
    assert content(old) == before
    assert version_of(old) == LATEST


class Stop(NamedTuple):
    """Where an upgrade was stopped, and what is then in the file."""

    thousands: int
    version: int


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_the_old_schema_or_the_new_one(tmp_path: Path) -> None:
    made = tmp_path / "made.db"
    make_old(made, 6000)
    before = content(made)
    stops: list[Stop] = []
    for thousands in (1, 40, 150, 300, 500, 700, 900, 1200, 1_000_000):
        path = tmp_path / f"{thousands}" / "postlatch.db"
        path.parent.mkdir()
        shutil.copy(made, path)
        child = subprocess.run([sys.executable, HERE / "migration_child.py", path, str(thousands)], check=False, timeout=60)
        assert child.returncode in {0, -9}
        version = version_of(path)
        stops.append(Stop(thousands, version))
        assert version == (LATEST if child.returncode == 0 else version)
        with closing(sqlite3.connect(path)) as connection:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(recipients)")]
        assert ("priority" in columns) == (version == LATEST), "never half of it"
        open_database(path, create=False, keep=False).close()
        assert content(path) == before, "the next start brings it to its end"
        assert check_whole(path) == []
    assert {stop.version for stop in stops} == {1, LATEST}, stops


@pytest.mark.parametrize("version", [LATEST + 1, 99])
def test_a_newer_schema_is_refused_by_its_number_and_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "postlatch.db"
    open_database(path, create=True).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    use: Callable[[], object]
    for use in (lambda: open_database(path, create=False), lambda: examine(path)):
        with pytest.raises(StoreError, match=f"has schema {version}, which a newer version of Postlatch wrote.*restore FILE"):
            use()
    assert version_of(path) == version
    assert not copy_path(path, version).exists()


def test_an_older_schema_passes_the_look_before_a_start_which_changes_nothing(old: Path) -> None:
    examine(old)
    assert version_of(old) == 1
