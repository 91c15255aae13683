"""The queue's contract on SQLite, and what only SQLite's queue has to show."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from spool_contract import LARGE, SpoolContract
from spool_tools import BODY, Relay, deferred, in_loop

from postlatch.spool import claims
from postlatch.spool.contract import SpoolError
from postlatch.spool.sweep import find_bodiless, hold_bodiless
from postlatch.store.database import open_database
from postlatch.store.files import body_path
from postlatch.testing.clock import FakeClock


class TestSqliteSpool(SpoolContract):
    """The contract."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[..., Relay]:
        clock = FakeClock()
        return lambda **options: Relay(tmp_path / "data", clock, **options)


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    return Relay(tmp_path / "data")


def insert_recipient(connection: sqlite3.Connection, **changed: Any) -> None:
    values: dict[str, Any] = {
        "message": 1,
        "number": 0,
        "address": "x@elsewhere.example",
        "local": "x",
        "domain": "elsewhere.example",
        "destination": "foreign",
        "grant_reason": "ACCOUNT",
        "grant_ref": "alice",
        "notify": "",
        "orcpt": "",
        "state": "queued",
        "attempts": 0,
        "last_reply": "",
        "last_remote": "",
        "possible_duplicate": 0,
        "warned": 0,
    } | changed
    names = ", ".join(values)
    connection.execute(f"INSERT INTO recipients ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))


@pytest.mark.parametrize(
    "changed",
    [
        {"grant_reason": None},
        {"grant_ref": None},
        {"grant_ref": ""},
        {"grant_reason": None, "grant_ref": None},
        {"grant_reason": ""},
        {"grant_reason": "FRIEND"},
        {"grant_reason": "account"},
        {"destination": "relay", "grant_reason": None},
        {"destination": "elsewhere"},
        {"destination": None},
        {"destination": "LOCAL", "grant_reason": None},
        {"state": "active"},
        {"state": "lost"},
        {"state": "delivered"},
        {"finished_at": 1.0},
        {"state": "held", "due": 1.0},
        {"state": "bounced", "finished_at": 1.0, "due": 1.0},
        {"due": "soon"},
    ],
    ids=str,
)
def test_the_schema_itself_refuses_a_recipient_that_must_not_be(tmp_path: Path, changed: dict[str, Any]) -> None:
    with closing(open_database(tmp_path / "postlatch.db", create=True)) as connection:
        insert_recipient(connection)
        insert_recipient(connection, number=1, destination="local", grant_reason=None, grant_ref=None)
        with pytest.raises(sqlite3.IntegrityError):
            insert_recipient(connection, number=2, **changed)
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("UPDATE recipients SET grant_ref = NULL WHERE number = 0")


def plan(path: Path, sql: str, *params: Any) -> str:
    with closing(open_database(path, create=False)) as connection:
        return " ".join(str(r[3]) for r in connection.execute(f"EXPLAIN QUERY PLAN {sql}", params))


def test_the_next_due_recipient_is_found_by_its_index_and_listings_skip_history(tmp_path: Path) -> None:
    path = tmp_path / "postlatch.db"
    open_database(path, create=True).close()
    due = plan(path, claims._DUE, 1, 1.0, 5)
    assert "recipients_due (priority=? AND due<?)" in due
    assert "ORDER BY" not in due
    joined = "FROM messages m CROSS JOIN recipients r ON r.message = m.id WHERE m.finished_at IS NULL AND m.id >= ?"
    listing = plan(path, f"SELECT * {joined} ORDER BY m.id, r.number", 5)
    assert "messages_finished (finished_at=? AND rowid>?)" in listing
    assert "TEMP B-TREE" not in listing
    assert "messages_finished" in plan(path, "SELECT id FROM messages WHERE finished_at < ? LIMIT 10", 1.0)


def test_a_damaged_inline_body_is_noticed_when_it_is_claimed(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            message = await relay.accept()
            [claim] = relay.spool.take(1)
            await relay.finish(claim, deferred(0, relay.clock.now()))
            damaged = BODY.replace(b"hello", b"jello")
            relay.sql("UPDATE bodies SET data = ? WHERE message = ?", damaged, message)
            [claim] = await relay.due()
            with pytest.raises(SpoolError, match="damaged"):
                await relay.spool.body(claim)
            relay.sql("DELETE FROM bodies")
            with pytest.raises(SpoolError, match="damaged"):
                await relay.spool.body(claim)
            relay.sql("DELETE FROM messages")
            with pytest.raises(SpoolError, match="not in the database"):
                await relay.spool.body(claim)

    scenario()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(LARGE[:-1]), "damaged"),
        (lambda path: path.write_bytes(LARGE + b"x"), "damaged"),
        (lambda path: path.write_bytes(b"x" + LARGE[1:]), "damaged"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
    ids=["cut", "longer", "changed", "gone"],
)
def test_a_damaged_body_file_is_noticed_when_it_is_claimed(relay: Relay, damage: Callable[[Path], object], says: str) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            message = await relay.accept(body=LARGE)
            [claim] = relay.spool.take(1)
            damage(body_path(relay.bodies, message))
            with pytest.raises(SpoolError, match=says):
                await relay.spool.body(claim)

    scenario()


def test_a_body_file_that_shrinks_while_it_is_sent_stops_the_delivery(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            message = await relay.accept(body=LARGE)
            [claim] = relay.spool.take(1)
            body = await relay.spool.body(claim)
            path = body_path(relay.bodies, message)
            path.write_bytes(LARGE[:300_000])
            with pytest.raises(SpoolError, match="cut short"):
                [piece async for piece in body.chunks()]
            path.unlink()
            with pytest.raises(SpoolError, match="cannot be read"):
                [piece async for piece in body.chunks()]

    scenario()


def test_recipients_whose_message_is_lost_do_not_stop_all_other_mail(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            lost, kept = await relay.accept(), await relay.accept()
            for claim in relay.spool.take(2):
                await relay.finish(claim, deferred(0, relay.clock.now()))
            relay.sql("DELETE FROM messages WHERE id = ?", lost)
            assert [c.message.message_id for c in await relay.due()] == [kept]
            rows = relay.sql("SELECT state, last_reply FROM recipients WHERE message = ?", lost)
            assert rows == [("held", "the database has lost this message")]

    scenario()


def test_the_sweep_removes_stray_files_and_holds_messages_without_a_body(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            whole, gone = await relay.accept(body=LARGE), await relay.accept("bob@example.com", "x@a.example", body=LARGE)
            bare = await relay.accept()
            half = relay.spool.open(relay.clock.now())
            half.write(LARGE)
            orphan = relay.bodies / "ZZ" / "01K3F9Q2ZB7NM"
            orphan.parent.mkdir()
            orphan.write_bytes(b"x")
            body_path(relay.bodies, gone).unlink()
            relay.sql("DELETE FROM bodies WHERE message = ?", bare)
        async with Relay(relay.folder, relay.clock) as again:
            assert again.swept.held == (gone,)
            found = await again.read(partial(find_bodiless, after=0))
            assert found == ((bare,), None)
            assert await again.do(hold_bodiless([whole, bare])) == [bare]
            assert await again.do(hold_bodiless([whole, bare])) == [], "it is held already"
            assert {path.name for path in again.swept.stray} == {orphan.name, half_name(half.message_id)}
            assert [c.message.message_id for c in await again.due()] == [whole]
            rows = again.sql("SELECT message, state, last_reply FROM recipients WHERE state = 'held' ORDER BY message, number")
            assert [message for message, _, _ in rows] == [gone, gone, bare]
            assert {reply for _, _, reply in rows} == {"held: the body of this message is missing from the disk"}
        left = [path for path in relay.bodies.rglob("*") if path.is_file()]
        assert left == [body_path(relay.bodies, whole)]

    scenario()


def half_name(message: int) -> str:
    return body_path(Path(), message).name + ".tmp"
