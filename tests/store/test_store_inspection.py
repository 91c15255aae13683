"""Damage anywhere in a table, an index or a long value is found, in small steps (RELIABILITY case 8)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from postlatch.store.database import open_database
from postlatch.store.inspection import inspect

PAGE = 4096
BODY = "INSERT INTO bodies SELECT ?, randomblob(?)"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "postlatch.db"
    with closing(open_database(path, create=True)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO known_recipients VALUES ('a@example.com', ?, 1.0)", [(n.to_bytes(8),) for n in range(2500)]
        )
        connection.executemany(BODY, [(n, 100 * n) for n in range(1, 200)])
        connection.executemany(
            "INSERT INTO messages SELECT ?, NULL, NULL, NULL, 1.0, 1, 'inline', zeroblob(16), 0, 0, 0, '', 0, '', '', 'mx',"
            " NULL, NULL, '', '', '', '', ?, 1, NULL, 0, 0, ''",
            [(n, float(n)) for n in range(1500)],
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return path


def pages(path: Path, name: str, kind: str) -> list[int]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        sql = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = ?"
        return [page for (page,) in connection.execute(sql, (name, kind))]


def test_a_whole_database_has_no_damage_and_makes_way_often(database: Path) -> None:
    pauses: list[None] = []
    assert inspect(database, lambda: pauses.append(None)) is None
    assert len(pauses) > (2500 + 1500) / 200 + 10


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("known_recipients", "leaf"),
        ("known_recipients", "internal"),
        ("messages", "leaf"),
        ("messages_finished", "leaf"),
        ("bodies", "leaf"),
        ("bodies", "internal"),
    ],
)
def test_a_damaged_page_is_found(database: Path, name: str, kind: str) -> None:
    whole = database.read_bytes()
    for page in pages(database, name, kind)[:5]:
        with database.open("r+b") as file:
            file.seek((page - 1) * PAGE)
            file.write(b"\x5a" * PAGE)
        assert "malformed" in (inspect(database, lambda: None) or ""), page
        database.write_bytes(whole)


def test_a_long_value_whose_chain_of_pages_is_broken_is_found(database: Path) -> None:
    whole = database.read_bytes()
    chained = [page for page in pages(database, "bodies", "overflow") if any(whole[(page - 1) * PAGE : (page - 1) * PAGE + 4])]
    page = chained[len(chained) // 2]  # not the last of its chain
    with database.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xff\xff\xff\xff")
    assert "malformed" in (inspect(database, lambda: None) or "")


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"x" * 10_000)
    assert inspect(tmp_path / "other", lambda: None)
    assert inspect(tmp_path / "absent", lambda: None)
