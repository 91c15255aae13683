"""Reading beside the writer: one snapshot a read, no writing, no read that lasts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from store_tools import in_loop

from postlatch.store.database import StoreError, open_database
from postlatch.store.reader import Reader, ReadTimeout

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "postlatch.db"
    open_database(path, create=True).close()
    return path


@pytest.fixture
def reader(path: Path) -> Iterator[Reader]:
    reader = Reader(path, monotonic=time.monotonic, limit=0.1)
    yield reader
    reader.close()


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM meta").fetchone()[0])


def test_a_query_sees_what_was_committed_before_it_began(path: Path, reader: Reader) -> None:
    @in_loop
    async def scenario() -> None:
        with closing(open_database(path, create=False)) as connection:
            for expected in (1, 2):
                connection.execute("INSERT INTO meta VALUES (?, '')", (str(expected),))
                assert await reader.read(count) == expected

    scenario()


def test_a_query_sees_one_snapshot_whatever_is_written_meanwhile(path: Path, reader: Reader) -> None:
    def twice(connection: sqlite3.Connection) -> tuple[int, int]:
        first = count(connection)
        with closing(open_database(path, create=False)) as writing:
            writing.execute("INSERT INTO meta VALUES ('a', '')")
        return first, count(connection)

    assert reader.read_now(twice) == (0, 0)
    assert reader.read_now(count) == 1


def test_a_query_cannot_write(path: Path, reader: Reader) -> None:
    with pytest.raises(StoreError, match="readonly"):
        reader.read_now(lambda connection: connection.execute("INSERT INTO meta VALUES ('a', '')"))


def test_a_query_that_takes_too_long_is_cut_off_and_the_next_one_works(reader: Reader) -> None:
    with pytest.raises(ReadTimeout, match=r"longer than 0\.1 seconds"):
        reader.read_now(lambda connection: connection.execute(ENDLESS).fetchone())
    assert reader.read_now(count) == 0


def test_many_short_statements_are_one_transaction_with_one_limit(reader: Reader) -> None:
    def dawdle(connection: sqlite3.Connection) -> None:
        while True:
            connection.execute("SELECT sum(a.key) FROM sqlite_schema, (SELECT 1 AS key) a").fetchone()
            connection.execute(ENDLESS.replace("FROM n)", "FROM n WHERE i < 20000)")).fetchone()

    with pytest.raises(ReadTimeout):
        reader.read_now(dawdle)


def test_what_a_query_raises_comes_through(reader: Reader) -> None:
    def bad(_connection: sqlite3.Connection) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        reader.read_now(bad)
    assert reader.read_now(count) == 0


def test_a_database_that_is_not_there_is_an_error_each_time_and_no_new_file(tmp_path: Path) -> None:
    path = tmp_path / "absent.db"
    reader = Reader(path, monotonic=time.monotonic)
    for _ in range(2):
        with pytest.raises(StoreError, match="postlatch restore"):
            reader.read_now(count)
    assert not path.exists()
    reader.close()
