"""Limits of a relay that runs: what a crash may lose, what operators see, and how they let somebody go on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from running_support import client, events, eventually, submit, told

from postlatch.testing.running import BASE, LOOPBACK_RIGHT, RunningRelay

MOST = 40
RIGHT = LOOPBACK_RIGHT.replace('messages = ["1000000/minute"]', f'messages = ["{MOST}/day"]')
CONFIG = BASE + RIGHT + '\n[limits.right]\nwhen_unknown = "defer"\nwarn_at = 50\n'
KEY = "right messages loopback"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    with RunningRelay(tmp_path_factory.mktemp("limits"), CONFIG) as running:
        yield running


def send(relay: RunningRelay, most: int) -> tuple[int, str]:
    """Up to so many messages of the right; how many were taken, and what the last one was told."""
    answer = ""
    with client(relay.port("relay")) as session:
        for count in range(most):
            answer = submit(session, f"m{count}", "scan@example.com", "bob@example.com")
            if not answer.startswith("250"):
                return count, answer
    return most, answer


def usage(relay: RunningRelay, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = relay.json("limits", "list", *arguments)["limits"]
    return found


def in_store(relay: RunningRelay) -> int:
    """How many messages of the right the database knows of."""
    with closing(sqlite3.connect(relay.data / "postlatch.db")) as database:
        row = database.execute("SELECT state FROM counters WHERE key = ?", (KEY,)).fetchone()
    return 0 if row is None else sum(row_counts(row[0]))


def row_counts(state: str) -> list[int]:

    counts: list[int] = json.loads(state)["86400"][1]
    return counts


def test_a_crash_loses_what_was_counted_in_the_last_second_and_a_stop_nothing(relay: RunningRelay) -> None:
    assert send(relay, 20)[0] == 20
    eventually(lambda: in_store(relay) == 20, "the counts to be on the disk")
    newest = 10
    assert send(relay, newest)[0] == newest
    relay.kill()
    relay.start()
    [shown] = usage(relay, "--key", "loopback")
    kept = shown["used"]
    assert 20 <= kept <= 20 + newest
    admitted, answer = send(relay, MOST)
    assert admitted == MOST - kept, "at the limit of what is known, and not one beside it"
    assert answer.startswith(f"550 5.7.1 limit reached: right messages {MOST}/day")
    relay.stop()
    relay.start()
    assert send(relay, 1)[0] == 0
    assert usage(relay, "--key", "loopback")[0]["used"] == MOST


def test_an_operator_sees_who_is_at_a_limit_and_lets_them_go_on(relay: RunningRelay) -> None:
    [shown] = usage(relay, "--scope", "right")
    assert (shown["scope"], shown["key"], shown["kind"], shown["limit"], shown["warn"]) == (
        *("right", "loopback", "messages"),
        *(MOST, MOST // 2),
    )
    assert (shown["state"], shown["when_reached"]) == ("reached", "refuse")
    assert relay.json("rights")["rights"], "and the limits themselves are with the rights"
    text = relay.run("limits", "list").stdout
    assert "loopback" in text
    [warned] = events(relay, "limit.warned")
    assert (warned["scope"], warned["key"], warned["count"]) == ("right", "loopback", MOST // 2)
    assert told(relay, f"much is sent: right loopback, {MOST // 2} messages within this day")
    assert relay.json("limits", "reset", "right", "loopback")["forgotten"] == 1
    assert [event["key"] for event in events(relay, "limit.reset")] == ["loopback"]
    assert send(relay, 1)[0] == 1
    again = relay.run("limits", "reset", "right", "nobody")
    assert (again.returncode, "nothing is counted of right" in again.stderr) == (2, True)


def test_a_count_that_cannot_be_read_makes_a_limit_wait_if_it_says_so(relay: RunningRelay) -> None:
    relay.stop()
    assert [shown["used"] for shown in usage(relay, "--scope", "right")] == [1], "a stopped relay is looked at in the same way"
    with closing(sqlite3.connect(relay.data / "postlatch.db")) as database:
        database.execute("INSERT OR REPLACE INTO counters VALUES (?, 'spoiled')", (KEY,))
        database.commit()
    relay.start()
    assert send(relay, 1)[1].startswith("451 4.3.0")
    eventually(lambda: told(relay, "counts of limits could not be read and begin at nothing"), "the alert")
    assert relay.run("limits", "reset", "right", "loopback").returncode == 0
    assert send(relay, 1)[0] == 1
