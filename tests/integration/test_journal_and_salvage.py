"""The running program: signed heads, a journal that somebody edits, a flood of refusals, a damaged database (cases 8, 45)."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from running_support import CAROL, LATE, SAFE, STRANGER, client, events, eventually, queue_id, submit, told, with_ports

from postlatch.store.database import open_database
from postlatch.testing.running import RunningRelay


@pytest.fixture
def relay(tmp_path: Path) -> Any:
    with RunningRelay(tmp_path, with_ports(SAFE + LATE)[0]) as running:
        yield running


def verified(relay: RunningRelay, *more: str) -> tuple[int, dict[str, Any]]:
    done = relay.run("journal", "verify", *more, "--json")
    return done.returncode, json.loads(done.stdout)


def heads(relay: RunningRelay) -> list[dict[str, Any]]:
    return [json.loads(line) for line in relay.run("journal", "export", "--heads").stdout.splitlines()]


def tamper(relay: RunningRelay, sql: str) -> None:
    """As somebody does who owns the file: the triggers go, and come back."""
    with closing(open_database(relay.data / "postlatch.db", create=False)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(sql)
        for _, statement in triggers:
            connection.execute(statement)


def test_heads_are_signed_at_start_and_stop_and_checked_with_a_copy_elsewhere(relay: RunningRelay, tmp_path: Path) -> None:
    eventually(lambda: len(heads(relay)) == 1, "the head of the start")
    assert (relay.data / "journal.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "relay.pem").write_text(relay.run("journal", "key").stdout)
    relay.stop()
    assert [head["reason"] for head in heads(relay)] == ["start", "stop"]
    (tmp_path / "heads").write_text(relay.run("journal", "export", "--heads").stdout)
    elsewhere = ("--heads", str(tmp_path / "heads"), "--public-key", str(tmp_path / "relay.pem"))
    status, report = verified(relay, *elsewhere)
    assert (status, report["failures"], report["findings"]) == (0, [], [])
    tamper(relay, "DELETE FROM journal_batches WHERE first_seq = (SELECT max(first_seq) FROM journal_batches)")
    for name in ("journal.heads", "journal.key", "journal.keys"):
        (relay.data / name).unlink()
    status, report = verified(relay, *elsewhere)
    assert status == 1
    assert any("its end was cut off" in failure for failure in report["failures"])


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE journal_batches SET payload = CAST(replace(payload, 'closed', 'opened') AS BLOB)",
        pytest.param(
            "DELETE FROM journal_batches WHERE first_seq = (SELECT max(first_seq) FROM journal_batches)", marks=pytest.mark.soak
        ),
        pytest.param("UPDATE journal_batches SET first_at = first_at - 86400 WHERE first_seq = 1", marks=pytest.mark.soak),
    ],
    ids=["edited", "cut off", "another time"],
)
def test_a_journal_that_was_changed_fails_to_verify_and_raises_an_alert(relay: RunningRelay, sql: str) -> None:
    eventually(lambda: bool(heads(relay)), "the first head")
    relay.stop()
    tamper(relay, sql)
    assert verified(relay)[0] == 1
    relay.start()
    eventually(lambda: told(relay, "the journal was changed or damaged"), "the alert")


def test_a_key_that_is_gone_is_told_and_never_made_anew_by_itself(relay: RunningRelay) -> None:
    eventually(lambda: bool(heads(relay)), "the first head")
    relay.stop()
    (relay.data / "journal.key").unlink()
    relay.start()
    eventually(lambda: told(relay, "heads are not signed"), "the alert")
    assert not (relay.data / "journal.key").exists()
    status, report = verified(relay)
    assert status == 0
    assert any("is missing" in finding for finding in report["findings"])
    assert relay.run("journal", "key", "--new").returncode == 0
    relay.stop()
    assert len({head["key"] for head in heads(relay)}) == 2
    status, report = verified(relay)
    assert (status, report["failures"]) == (0, [])


def test_of_a_flood_every_refusal_is_counted(relay: RunningRelay) -> None:
    eventually(lambda: len(events(relay, "relay.probed")) == 3, "the probes, which are refused as well")
    before = refusals(relay).total()
    flood(relay, 3000)
    relay.stop()
    found = refusals(relay)
    assert found.total() == before + 3000
    assert found["refusals.aggregated"] > 0
    assert verified(relay)[0] == 0


def refusals(relay: RunningRelay) -> Counter[str]:
    """How many refused recipients there were, by the event that tells of them."""
    found: Counter[str] = Counter()
    for line in relay.run("journal", "export").stdout.splitlines():
        event = json.loads(line)
        if "recipient.refused" in {event["event"], event.get("refusal")}:
            found[event["event"]] += event.get("count", 1)
    return found


def flood(relay: RunningRelay, wanted: int) -> None:
    """So many relay attempts, in one pipeline after another."""
    refused = 0
    while refused < wanted:
        with client(relay.port("mx")) as session:
            count = min(9, wanted - refused)
            session.send("MAIL FROM:<s@other.example>\r\n" + "RCPT TO:<x@elsewhere.example>\r\n" * count)
            assert session.getreply()[0] == 250
            for _ in range(count):
                assert session.getreply()[0] == 550
            refused += count


def test_salvage_refuses_while_the_relay_runs(relay: RunningRelay) -> None:
    done = relay.run("salvage")
    assert done.returncode == 2
    assert "is in use by" in done.stderr


def test_a_destroyed_database_is_named_with_what_to_do_salvaged_and_served_again(relay: RunningRelay) -> None:
    relay.add_account()
    with client(relay.port("mx")) as session:
        ids = [queue_id(submit(session, f"kept-{number}", STRANGER, CAROL)) for number in range(20)]
    relay.stop()
    database = relay.data / "postlatch.db"
    content = b"\0" * 4096 + database.read_bytes()[4096:]
    database.write_bytes(content)
    check = relay.run("check")
    assert check.returncode == 2
    assert "postlatch salvage" in check.stdout
    assert "postlatch restore" in check.stdout
    done = relay.run("salvage")
    assert done.returncode == 1, "the first page was lost"
    assert "20 messages in the queue, 20 recipients of them held now" in done.stdout
    assert "1 account" in done.stdout
    assert database.read_bytes() == content
    again = relay.run("salvage")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    database.rename(relay.data / "postlatch.db.damaged")
    (relay.data / "postlatch.db.salvaged").rename(database)
    relay.start()
    listed = json.loads(relay.run("queue", "list", "--state", "held", "--json").stdout)["recipients"]
    assert {row["message_id"] for row in listed} == set(ids)
    assert verified(relay)[0] == 0
    assert "store.salvaged" in relay.run("journal", "search", "--event", "store.salvaged").stdout


def test_of_what_is_no_database_nothing_fresh_is_made(relay: RunningRelay) -> None:
    relay.stop()
    database = relay.data / "postlatch.db"
    database.write_bytes(b"\xff" * 100_000)
    done = relay.run("salvage")
    assert done.returncode == 2
    assert "nothing can be read" in done.stderr
    assert not [path.name for path in relay.data.iterdir() if "salvage" in path.name]
    assert database.read_bytes() == b"\xff" * 100_000
