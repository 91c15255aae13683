"""Actions on many recipients by command, on a queue that is longer than one step and one window."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from spool_tools import Relay, in_loop
from test_spool_size import fill

from postlatch.spool import queue
from postlatch.testing.running import BASE, RunningRelay

LENGTH = queue.WINDOW + 1500


@pytest.fixture
def office(tmp_path: Path) -> RunningRelay:
    """A stopped relay with a long queue: each command opens the database itself."""
    found = RunningRelay(tmp_path, BASE)
    found.data.mkdir(mode=0o700)

    @in_loop
    async def scenario() -> None:
        async with Relay(found.data) as relay:
            await fill(relay, LENGTH, due=4e9)

    scenario()
    return found


def sql(office: RunningRelay, statement: str) -> list[Any]:
    with closing(sqlite3.connect(office.data / "postlatch.db")) as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.soak
def test_an_action_meets_every_match_once_and_no_other_row(office: RunningRelay) -> None:
    answer = office.json("queue", "hold", "--sender", "a3@b.example")
    assert len(answer["changed"]) == LENGTH // 10
    assert (answer["next"], answer["changed_count"]) == (None, len(answer["changed"])), "it came to its end, and all are listed"
    assert len({row["id"] for row in answer["changed"]}) == LENGTH // 10
    assert {row["state"] for row in answer["changed"]} == {"held"}
    assert sql(office, "SELECT DISTINCT message % 10 FROM recipients WHERE state = 'held'") == [(3,)]
    assert office.json("queue", "hold", "--sender", "a3@b.example")["changed"] == []
    assert len(office.json("queue", "release", "--state", "held", "--domain", "d13.example")["changed"]) == LENGTH // 1000 + 1
    recorded = office.json("journal", "search", "--event", "queue.held", "--limit", "10000")["events"]
    assert len(recorded) == LENGTH // 10


@pytest.mark.slow
def test_an_action_goes_on_behind_an_id(office: RunningRelay) -> None:
    rows = office.json("queue", "list", "--domain", "d7.example")["recipients"]
    assert len(rows) == LENGTH // 1000 + 1
    answer = office.json("queue", "delete", "--domain", "d7.example", "--after", rows[2]["id"])
    assert [row["id"] for row in answer["changed"]] == [row["id"] for row in rows[3:]]
    assert {row["priority"] for row in answer["changed"]} == {"normal"}


@pytest.mark.soak
def test_very_many_are_counted_and_not_all_listed(tmp_path: Path) -> None:
    office = RunningRelay(tmp_path, BASE)
    office.data.mkdir(mode=0o700)

    @in_loop
    async def scenario() -> None:
        async with Relay(office.data) as relay:
            await fill(relay, 120, due=4e9, recipients=100)

    scenario()
    answer = office.json("queue", "hold", "--sender", "a3@b.example")
    assert len(answer["changed"]) == 1200
    answer = office.json("queue", "retry")
    assert (len(answer["changed"]), answer["changed_count"]) == (10_000, 10_800)
    assert sql(office, "SELECT count(*) FROM recipients WHERE due < 3e9 AND state = 'deferred'") == [(10_800,)]
