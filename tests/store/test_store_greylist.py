"""What the greylist keeps on disk, and what it forgets."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from postlatch.store import greylist
from postlatch.store.database import open_database
from postlatch.store.greylist import Changes, Group, Triplet

NOW = 1_767_225_600.0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(tmp_path / "postlatch.db", create=True)) as opened:
        yield opened


def triplet(number: int, last_at: float = NOW, *, passed: bool = False) -> Triplet:
    return Triplet("192.0.2.0/24", f"a{number}@b.example", "alice@example.com", last_at, last_at, passed)


def test_what_is_saved_is_loaded_with_the_least_recently_used_first(connection: sqlite3.Connection) -> None:
    ones = (triplet(1, NOW + 2), triplet(2, NOW + 1, passed=True))
    groups = (Group("192.0.2.0/24", 3, NOW, NOW), Group("spf:b.example", 1, NOW - 5, NOW - 5))
    greylist.save(Changes(ones, groups))(connection)
    kept = greylist.load(connection, 100)
    assert kept.triplets == [ones[1], ones[0]]
    assert kept.groups == [groups[1], groups[0]]
    assert greylist.load(connection, 1).triplets == [ones[0]], "the most recent are loaded"


def test_saving_replaces_and_forgets(connection: sqlite3.Connection) -> None:
    greylist.save(Changes((triplet(1), triplet(2)), (Group("g", 1, NOW, NOW),)))(connection)
    changed = triplet(1)._replace(passed=True)
    greylist.save(Changes((changed,), (), (triplet(2).key,), ("g",)))(connection)
    assert greylist.load(connection, 100) == ([changed], [])


def test_what_has_lapsed_goes_in_steps(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    waiting = tuple(triplet(number, NOW - 100) for number in range(1500))
    kept = (triplet(5000, NOW - 100, passed=True), triplet(5001, NOW))
    greylist.save(Changes((*waiting, *kept), (Group("old", 9, NOW - 999, NOW - 999), Group("new", 1, NOW, NOW))))(connection)
    steps = []
    while gone := greylist.prune(NOW - 50, NOW - 500)(connection):
        steps.append(gone)
    assert steps == [1000, 500]
    assert {one.sender for one in greylist.load(connection, 9).triplets} == {"a5000@b.example", "a5001@b.example"}
    assert [group.group for group in greylist.load(connection, 9).groups] == ["new"]
