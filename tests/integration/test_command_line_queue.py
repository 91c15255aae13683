"""The queue and the journal by command, beside a running relay and without one."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from furnished_office import BOB, CAROL, ELSEWHERE, STRANGER, WAYS, Office, running_office
from running_support import (
    events,
    eventually,
    rows,
    states,
)

from postlatch.testing.peers.ports import end, wait_until
from postlatch.testing.running import ACCOUNT, RunningRelay

Row = dict[str, Any]

RECIPIENT = {"id", "message_id", "recipient", "sender", "state", "attempts", "next_attempt", "last_reply", "grant", "size"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A relay of the test's own, running."""
    with running_office(tmp_path) as office:
        yield office


@pytest.fixture(scope="module", params=[WAYS[0], pytest.param(WAYS[1], marks=pytest.mark.soak)])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One for all tests that only look."""
    with running_office(tmp_path_factory.mktemp("office"), request.param) as office:
        yield office


# The queue


def free(relay: RunningRelay, *words: str) -> list[Row]:
    """Repeat a queue command until no attempt is in its way; what it changed."""
    changed: list[Row] = []

    def done() -> bool:
        changed.extend(relay.json("queue", *words)["changed"])
        return bool(changed)

    eventually(done, f"queue {words[0]} to take effect")
    return changed


def test_queue_list_filters(shared: Office) -> None:
    relay, everything = shared.relay, {shared.waiting, shared.mine, shared.kept}

    def ids(*filters: str) -> set[str]:
        return {row["message_id"] for row in rows(relay, *filters)}

    assert ids() == everything
    assert (
        ids("--sender", STRANGER)
        == ids("--recipient", CAROL)
        == ids("--domain", "late.example")
        == {shared.waiting, shared.kept}
    )
    assert ids("--account", ACCOUNT) == ids("--recipient", ELSEWHERE.upper()) == {shared.mine}
    assert ids("--state", "held") == {shared.kept}
    assert ids("--state", "held", "--account", ACCOUNT) == set()
    [delivered] = [row for row in rows(relay, "--state", "delivered") if row["recipient"] == BOB]
    assert delivered["last_reply"].startswith("250")
    first = relay.json("queue", "list", "--limit", "1")
    assert len(first["recipients"]) == 1
    rest = relay.json("queue", "list", "--after", first["next"])["recipients"]
    assert {row["message_id"] for row in [*first["recipients"], *rest]} == everything


def test_queue_show_tells_envelope_header_and_history(shared: Office) -> None:
    [message] = shared.relay.json("queue", "show", shared.mine)["messages"]
    assert (message["sender"], message["account"], message["listener"]) == (ACCOUNT, ACCOUNT, "submission")
    [recipient] = message["recipients"]
    assert RECIPIENT | {"destination", "grant_ref", "possible_duplicate", "finished_at"} <= set(recipient)
    assert (recipient["grant"], recipient["grant_ref"], recipient["destination"]) == ("ACCOUNT", ACCOUNT, "foreign")
    assert "Subject: mine" in message["header"]
    assert message["header"].startswith("Received: ")
    assert [row["event"] for row in message["history"]][:1] == ["message.accepted"]


@pytest.mark.parametrize(
    "running",
    [pytest.param(True, id="beside a running relay"), pytest.param(False, id="without one", marks=pytest.mark.soak)],
)
def test_queue_actions_do_what_they_say_and_are_journalled(office: Office, running: bool) -> None:
    relay = office.relay
    if not running:
        relay.stop()
    [held] = free(relay, "hold", f"{office.waiting}.0")
    assert (held["state"], held["next_attempt"]) == ("held", None)
    assert relay.json("queue", "hold", office.waiting) == {
        "schema": "postlatch.queue.hold/1",
        "changed": [],
        "active": [],
        "changed_count": 0,
        "next": None,
    }
    [released] = free(relay, "release", office.waiting)
    assert released["state"] == "deferred"
    assert {row["message_id"] for row in free(relay, "hold", "--sender", STRANGER, "--state", "deferred")} == {office.waiting}
    assert {row["message_id"] for row in free(relay, "delete", "--recipient", CAROL)} == {office.waiting, office.kept}
    assert rows(relay, "--recipient", CAROL) == []
    [bounced] = free(relay, "bounce", "--account", ACCOUNT)
    assert (bounced["message_id"], bounced["state"]) == (office.mine, "bounced")
    assert states(relay, office.mine) == ["bounced"]
    if not running:
        relay.start()
    wait_until(
        lambda: any(office.mine.encode() in path.read_bytes() for path in relay.maildir(ACCOUNT)), 15, "the report to alice"
    )
    for name, count in {"queue.held": 3, "queue.released": 1, "queue.deleted": 2, "queue.bounced": 1}.items():
        found = events(relay, name)
        assert len(found) == count, name
        assert all(row["operator"] for row in found)


def test_bouncing_a_stranger_s_mail_tells_the_stranger_nothing(office: Office) -> None:
    relay = office.relay
    [bounced] = free(relay, "bounce", office.kept)
    assert bounced["state"] == "bounced"
    assert rows(relay, "--recipient", STRANGER) == []
    assert [row for row in events(relay, "message.generated") if row.get("kind") == "dsn"] == []


# The journal


def test_the_journal_can_be_searched_by_everything_that_it_knows(shared: Office) -> None:
    def found(*words: str) -> set[str]:
        done = shared.relay.run("journal", "search", "--limit", "1000", "--json", *words)
        return {row["event"] for row in json.loads(done.stdout)["events"]}

    assert {"message.accepted", "delivery.deferred"} <= found("--message", shared.mine)
    assert {"account.added", "auth.succeeded", "message.accepted"} <= found("--account", ACCOUNT)
    assert {"message.accepted", "delivery.deferred"} <= found("--address", CAROL)
    assert "message.accepted" in found("--client", "127.0.0.0/8")
    assert found("--event", "delivery") >= {"delivery.deferred", "delivery.delivered"}
    assert found("not yet") >= {"account.suspended"}  # a part of the text
    assert found("--since", "2099-01-01") == set()
    assert found("--until", "2000-01-01") == set()
    assert found("--since", "2000-01-01", "--event", "right.added") == {"right.added"}


def test_tail_and_export_are_a_record_a_line(shared: Office) -> None:
    tail = shared.relay.run("journal", "tail", "--lines", "3", "--json").stdout.splitlines()
    assert [set(json.loads(line)) >= {"seq", "at", "event"} for line in tail] == [True] * 3
    exported = [json.loads(line) for line in shared.relay.run("journal", "export").stdout.splitlines()]
    assert [record["seq"] for record in exported] == list(range(1, len(exported) + 1))
    assert exported[0]["event"] == "relay.started"
    assert shared.relay.run("journal", "export", "--since", "2099-01-01").stdout == ""


def test_tail_follows_what_happens(office: Office) -> None:
    command = [
        sys.executable,
        "-m",
        "postlatch",
        "--config",
        str(office.relay.config),
        "journal",
        "tail",
        "--lines",
        "1",
        "--follow",
    ]
    follower = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True)
    try:
        assert follower.stdout is not None
        follower.stdout.readline()
        assert office.relay.run("ban", "add", "192.0.2.7").returncode == 0
        names = (json.loads(line)["event"] for line in follower.stdout)
        assert "ban.added" in names
    finally:
        end(follower)


def tampered(database: Path, sql: str) -> None:
    """Change the journal as somebody would who can write the file: past the triggers, which are put back."""
    with closing(sqlite3.connect(database)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        assert connection.execute(sql).rowcount > 0
        for _, text in triggers:
            connection.execute(text)
        connection.commit()


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param(
            "UPDATE journal_batches SET first_at = first_at - 60, last_at = last_at - 60 WHERE batch = 3",
            marks=pytest.mark.soak,
        ),
        pytest.param(
            "UPDATE journal_batches SET payload = (SELECT payload FROM journal_batches WHERE batch = 2) WHERE batch = 3",
            marks=pytest.mark.soak,
        ),
        pytest.param("UPDATE journal_batches SET hash = zeroblob(32) WHERE batch = 3", marks=pytest.mark.soak),
        pytest.param("DELETE FROM journal_batches WHERE batch = 3", marks=pytest.mark.soak),
        "DELETE FROM journal_batches WHERE batch = 1",
    ],
    ids=["times", "content", "hash", "one removed", "the first removed"],
)
def test_verify_finds_what_was_changed_behind_the_relay_s_back(office: Office, sql: str) -> None:
    relay = office.relay
    assert relay.run("journal", "verify").returncode == 0
    relay.stop()
    assert relay.json("journal", "verify")["ok"] is True
    tampered(relay.data / "postlatch.db", sql)
    found = relay.json("journal", "verify")
    assert found["ok"] is False
    assert found["failures"]
    assert relay.run("journal", "verify").returncode == 1
    relay.start()
    assert relay.run("journal", "verify").returncode == 1
