"""Opening: refuses what it does not know, says what to do, never begins afresh by itself."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from postlatch.store import schema
from postlatch.store.database import StoreError, check_whole, open_database, open_reader, rest, shrink


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "postlatch.db"


def make(path: Path) -> None:
    open_database(path, create=True).close()


def test_a_new_database_has_every_table_and_is_marked_as_ours(path: Path) -> None:
    with closing(open_database(path, create=True)) as connection:
        assert schema.found(connection) >= schema.expected()
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
        assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    names = {name for _, name in schema.expected()}
    assert {"messages", "bodies", "recipients", "meta", "rights", "right_usage", "bans", "counters"} <= names


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("auto_vacuum", 2),
        ("page_size", 4096),
        ("foreign_keys", 0),
        ("wal_autocheckpoint", 4000),
        ("journal_size_limit", 67108864),
        ("secure_delete", 2),
        ("busy_timeout", 5000),
    ],
)
def test_a_writing_connection_is_set_up_to_lose_nothing(path: Path, pragma: str, value: object) -> None:
    with closing(open_database(path, create=True)) as connection:
        assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    with closing(open_database(path, create=True)) as connection:
        connection.execute("INSERT INTO meta VALUES ('a', 'b')")
        for suffix in ("", "-wal", "-shm"):
            assert path.with_name(path.name + suffix).stat().st_mode & 0o077 == 0


def test_opening_again_keeps_what_was_there(path: Path) -> None:
    with closing(open_database(path, create=True)) as connection:
        connection.execute("INSERT INTO meta VALUES ('a', 'b')")
    for create in (True, False):
        with closing(open_database(path, create=create)) as connection:
            assert connection.execute("SELECT value FROM meta").fetchall() == [("b",)]


def test_a_missing_file_is_made_only_on_demand(path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist; put a backup back with `postlatch restore FILE`"):
        open_database(path, create=False)
    assert not path.exists()


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"plain text, not a database" * 400])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes, create: bool) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is not a database"):
        open_database(path, create=create)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE moz_places (id INTEGER)")
    with pytest.raises(StoreError, match="another program's database"):
        open_database(path, create=True)


def test_a_schema_that_nobody_wrote_is_refused(path: Path) -> None:
    make(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")
    with pytest.raises(StoreError, match="has schema 0, which no version of Postlatch writes"):
        open_database(path, create=False)


@pytest.mark.parametrize("name", ["TABLE recipients", "INDEX recipients_due", "TABLE bans"])
def test_a_lost_table_or_index_is_named(path: Path, name: str) -> None:
    make(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"DROP {name}")
    with pytest.raises(StoreError, match=f"has lost its {name.split()[1]}"):
        open_database(path, create=False)


@pytest.mark.parametrize("keep", [100, 4096, 8192])
def test_a_truncated_file_is_refused(path: Path, keep: int) -> None:
    make(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match="cut short"):
        open_database(path, create=False)


@pytest.mark.parametrize("offset", [0, 18, 60, 68, 100])
def test_a_damaged_header_is_refused(path: Path, offset: int) -> None:
    make(path)
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(StoreError, match="postlatch"):
        open_database(path, create=False)


@pytest.mark.parametrize("create", [True, False])
def test_a_database_that_is_gone_while_its_wal_is_there_is_not_begun_afresh(path: Path, create: bool) -> None:
    path.with_name("postlatch.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(StoreError, match="postlatch restore"):
        open_database(path, create=create)
    assert not path.exists()


def test_a_directory_that_is_not_there_or_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "absent" / "postlatch.db", tmp_path / "file" / "postlatch.db"):
        with pytest.raises(StoreError, match=r"cannot be created .*check data_dir"):
            open_database(path, create=True)
    with pytest.raises(StoreError, match="cannot be read"):
        open_database(tmp_path, create=False)


def test_what_a_killed_creation_left_behind_is_in_nobodys_way(path: Path) -> None:
    path.with_name(".postlatch.db.new").write_bytes(b"half")
    make(path)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["postlatch.db"]


def test_a_path_with_signs_of_its_own_meaning_in_an_address_works(tmp_path: Path) -> None:
    path = tmp_path / "50% of #mail?mode=memory.db"
    make(path)
    assert path.stat().st_size > 0
    open_reader(path).close()


def test_a_reader_cannot_write(path: Path) -> None:
    make(path)
    with closing(open_reader(path)) as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("INSERT INTO meta VALUES ('a', 'b')")


def test_the_whole_file_is_checked_in_the_background(path: Path) -> None:
    with closing(open_database(path, create=True)) as connection:
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [(str(n), "x" * 1000) for n in range(200)])
    assert check_whole(path) == []
    content = bytearray(path.read_bytes())
    content[-4096 * 20 : -4096 * 10] = b"\xa5" * 40960
    path.write_bytes(content)
    open_database(path, create=False).close()  # the damage is not where a start looks
    assert check_whole(path)
    assert check_whole(path.with_name("absent.db"))


@pytest.mark.soak
def test_the_file_shrinks_after_a_flood_but_keeps_room_for_the_next_mail(path: Path) -> None:
    with closing(open_database(path, create=True)) as connection:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO bodies VALUES (?, ?)", ((n, b"x" * 100_000) for n in range(600)))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = path.stat().st_size
        connection.execute("DELETE FROM bodies WHERE message % 50 <> 0")
        steps = []
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        while freed := shrink(connection):
            steps.append(freed)
            assert sum(steps) <= pages - connection.execute("PRAGMA page_count").fetchone()[0] <= sum(steps) + 30
        assert max(steps) == 250, "in steps, with mail between them"
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert 16 * 1024 * 1024 < path.stat().st_size < before / 3
        assert connection.execute("PRAGMA freelist_count").fetchone()[0] >= 4096
        assert connection.execute("SELECT count(*), sum(length(data)) FROM bodies").fetchone() == (12, 1_200_000)
    assert check_whole(path) == []


def test_a_database_that_is_a_quarter_empty_is_left_alone(path: Path) -> None:
    with closing(open_database(path, create=True)) as connection:
        connection.executemany("INSERT INTO bodies VALUES (?, ?)", ((n, b"x" * 100_000) for n in range(10)))
        connection.execute("DELETE FROM bodies")
        assert connection.execute("PRAGMA freelist_count").fetchone()[0] > 200
        assert shrink(connection) == 0


def test_the_wal_of_an_idle_database_goes_into_its_file_while_others_have_it_open(path: Path) -> None:
    wal = path.with_name(path.name + "-wal")
    with closing(open_database(path, create=True)) as connection, closing(open_reader(path)):
        assert not rest(path, time.time() + 60), "it is too small to matter"
        connection.executemany("INSERT INTO bodies VALUES (?, ?)", ((n, b"x" * 100_000) for n in range(20)))
        assert wal.stat().st_size > 2_000_000
        assert not rest(path, time.time()), "it is not idle"
        assert rest(path, time.time() + 60)
        assert wal.stat().st_size == 0
        connection.execute("DELETE FROM bodies")
        assert connection.execute("SELECT count(*) FROM bodies").fetchone() == (0,)
    assert not rest(path.with_name("absent.db"), time.time())


def test_a_reader_in_the_middle_of_a_transaction_makes_the_rest_wait_for_another_time(path: Path) -> None:
    with closing(open_database(path, create=True)) as connection, closing(open_reader(path)) as reader:
        connection.executemany("INSERT INTO bodies VALUES (?, ?)", ((n, b"x" * 100_000) for n in range(20)))
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM bodies").fetchone()
        connection.execute("DELETE FROM bodies WHERE message = 1")
        assert not rest(path, time.time() + 60)
        connection.execute("DELETE FROM bodies WHERE message = 2")
        assert reader.execute("SELECT count(*) FROM bodies").fetchone() == (20,)
