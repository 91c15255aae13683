"""The queue as an operator sees it, and what may be done to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from spool_contract import LARGE
from spool_tools import BODY, Relay, bounced, deferred, delivered, held, in_loop

from postlatch.model.ids import format_id
from postlatch.spool import admin, queue
from postlatch.spool.admin import AdminResult
from postlatch.spool.contract import RecipientState, SpoolError
from postlatch.spool.queue import QueueFilter, QueueRow


@asynccontextmanager
async def sample(folder: Path) -> AsyncIterator[tuple[Relay, dict[str, int]]]:
    """One message in each state: ids by state, ``mixed`` with two recipients, delivered and deferred."""
    async with Relay(folder / "data") as relay:
        ids: dict[str, int] = {}
        until = relay.clock.now() + 600
        for name, outcome in (
            ("deferred", deferred(0, until)),
            ("held", held(0)),
            ("delivered", delivered(0)),
            ("bounced", bounced(0)),
        ):
            ids[name] = await relay.accept(f"{name}@elsewhere.example")
            [claim] = relay.spool.take(1)
            await relay.finish(claim, outcome)
        ids["mixed"] = await relay.accept("bob@example.com", "m@mixed.example")
        [claim] = relay.spool.take(1)
        await relay.finish(claim, delivered(0), deferred(1, until))
        ids["active"] = await relay.accept("bob@example.com", account=None, sender=None)
        yield relay, ids


async def listed(relay: Relay, limit: int = 100, after: str = "", **filters: Any) -> list[QueueRow]:
    page = await relay.read(lambda connection: queue.list_page(connection, QueueFilter(**filters), limit=limit, after=after))
    return page.rows


def names(rows: list[QueueRow] | tuple[QueueRow, ...], ids: dict[str, int]) -> list[str]:
    by_id = {number: name for name, number in ids.items()}
    return [f"{by_id[row.message_id]}.{row.number}" for row in rows]


def test_a_row_has_exactly_the_fields_of_the_contract(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with sample(tmp_path) as (relay, ids):
            name = format_id(ids["deferred"])
            [row] = await listed(relay, ids=(name,))
            assert row.as_json() == {
                "id": f"{name}.0",
                "message_id": name,
                "recipient": "deferred@elsewhere.example",
                "sender": "alice@example.com",
                "state": "deferred",
                "attempts": 1,
                "next_attempt": "2026-01-01T00:10:00Z",
                "last_reply": "451 4.3.0 later",
                "grant": "ACCOUNT",
                "size": len(BODY),
                "priority": "normal",
            }
            [row] = await listed(relay, ids=(format_id(ids["active"]),))
            short = row.as_json()
            assert (short["sender"], short["state"], short["grant"]) == ("<>", "active", None)
            assert (short["next_attempt"], short["last_reply"]) == (None, "")

    scenario()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["deferred.0", "held.0", "mixed.1", "active.0"]),
        ({"state": RecipientState.DEFERRED}, ["deferred.0", "mixed.1"]),
        ({"state": RecipientState.ACTIVE}, ["active.0"]),
        ({"state": RecipientState.HELD}, ["held.0"]),
        ({"state": RecipientState.DELIVERED}, ["delivered.0", "mixed.0"]),
        ({"state": RecipientState.QUEUED}, []),
        ({"sender": "<>"}, ["active.0"]),
        ({"sender": "ALICE@example.com"}, ["deferred.0", "held.0", "mixed.1"]),
        ({"recipient": "Deferred@Elsewhere.Example"}, ["deferred.0"]),
        ({"domain": "MIXED.example"}, ["mixed.1"]),
        ({"domain": "example"}, []),
        ({"account": "alice@example.com", "domain": "elsewhere.example"}, ["deferred.0", "held.0"]),
        ({"account": "' OR 1=1 --"}, []),
    ],
    ids=str,
)
def test_filters_narrow_the_list_and_without_one_only_open_recipients_are_meant(
    tmp_path: Path, filters: dict[str, Any], expected: list[str]
) -> None:
    @in_loop
    async def scenario() -> None:
        async with sample(tmp_path) as (relay, ids):
            assert names(await listed(relay, **filters), ids) == expected

    scenario()


def test_ids_name_messages_or_single_recipients_final_ones_too(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with sample(tmp_path) as (relay, ids):
            mixed, gone = format_id(ids["mixed"]), format_id(ids["delivered"])
            assert names(await listed(relay, ids=(mixed,)), ids) == ["mixed.0", "mixed.1"]
            assert names(await listed(relay, ids=(f"{mixed.lower()}.1", gone)), ids) == ["delivered.0", "mixed.1"]
            assert await listed(relay, ids=(f"{mixed}.7",)) == []
            for bad in ("", "nonsense", f"{mixed}.", f"{mixed}.x", f"{mixed}.1.2", f"{mixed}.-1", f"{mixed}.²", "U" * 13):
                with pytest.raises(SpoolError):
                    await listed(relay, ids=(bad,))

    scenario()


def test_pages_follow_each_other_without_gap_or_overlap(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data") as relay:
            for _ in range(5):
                await relay.accept("bob@example.com", "carol@example.com", "x@elsewhere.example")
            whole = await listed(relay)
            assert len(whole) == 15
            for size in (1, 2, 4, 7):
                pages: list[QueueRow] = []
                while page := await listed(relay, limit=size, after=pages[-1].id if pages else ""):
                    pages += page
                assert pages == whole

    scenario()


def test_show_tells_a_message_and_all_its_recipients(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with sample(tmp_path) as (relay, ids):
            shown = await relay.read(partial(queue.show, message_id=ids["mixed"]))
            assert shown is not None
            assert shown.message.account == "alice@example.com"
            assert [row.state for row in shown.recipients] == [RecipientState.DELIVERED, RecipientState.DEFERRED]
            assert shown.recipients[0].last_remote == "mx.elsewhere.example"
            assert await relay.read(partial(queue.show, message_id=1)) is None

    scenario()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (BODY, b"Subject: test\r\nFrom: alice@example.com\r\n"),
        (LARGE, b"Subject: large\r\n"),
        (b"Subject: only\r\n", b"Subject: only\r\n"),
        (b"\r\nno header\r\n", b""),
        (b"", b""),
        (b"X: " + b"x" * 100_000 + b"\r\n\r\n", b"X: " + b"x" * 65533),
        (b"X: " + b"x" * 300_000 + b"\r\n\r\n", b"X: " + b"x" * 65533),
    ],
    ids=["usual", "file", "no body", "no header", "empty", "long", "long in a file"],
)
def test_the_header_can_be_looked_at_without_the_body(tmp_path: Path, body: bytes, expected: bytes) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data") as relay:
            message = await relay.accept(body=body)
            assert await relay.read(partial(queue.header, message_id=message, bodies=relay.bodies)) == expected
            [claim] = relay.spool.take(1)
            paths = await relay.do(relay.spool.finish(claim, [delivered(0)]))
            for path in paths:
                path.unlink()
            assert await relay.read(partial(queue.header, message_id=message, bodies=relay.bodies)) == b""

    scenario()


def test_the_tally_counts_open_recipients(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with sample(tmp_path) as (relay, _):
            assert await relay.read(queue.tally) == {
                RecipientState.QUEUED: 0,
                RecipientState.DEFERRED: 2,
                RecipientState.ACTIVE: 1,
                RecipientState.HELD: 1,
            }

    scenario()


def test_hold_and_release(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with sample(tmp_path) as (relay, ids):
            result = await relay.do(admin.hold(QueueFilter()))
            assert names(result.changed, ids) == ["deferred.0", "mixed.1"]
            assert {row.state for row in result.changed} == {RecipientState.HELD}
            assert names(result.active, ids) == ["active.0"], "it is being delivered: try again"
            relay.clock.advance(10_000)
            assert await relay.due() == []
            assert (await relay.do(admin.hold(QueueFilter()))).changed == ()
            result = await relay.do(admin.release(QueueFilter(domain="mixed.example"), relay.clock.now()))
            assert names(result.changed, ids) == ["mixed.1"]
            assert result.changed[0].state is RecipientState.DEFERRED
            assert result.changed[0].next_attempt == relay.clock.now()
            assert [c.message.message_id for c in await relay.due()] == [ids["mixed"]]

    scenario()


def test_a_recipient_that_was_never_tried_is_queued_again_when_released(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data", waiting_messages=0) as relay:
            await relay.accept()
            await relay.do(admin.hold(QueueFilter()))
            result = await relay.do(admin.release(QueueFilter(), relay.clock.now()))
            assert [row.state for row in result.changed] == [RecipientState.QUEUED]

    scenario()


def test_retry_makes_waiting_recipients_due_and_no_others(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with sample(tmp_path) as (relay, ids):
            result = await relay.do(admin.retry(QueueFilter(), relay.clock.now()))
            assert names(result.changed, ids) == ["deferred.0", "mixed.1"]
            assert (await relay.do(admin.retry(QueueFilter(), relay.clock.now()))).changed == (), "due already"
            assert len(await relay.due()) == 2

    scenario()


@pytest.mark.parametrize("action", ["hold", "release", "retry", "bounce", "delete"])
def test_final_and_active_recipients_are_never_changed(tmp_path: Path, action: str) -> None:
    @in_loop
    async def scenario() -> None:
        async with sample(tmp_path) as (relay, ids):
            named = QueueFilter(ids=tuple(format_id(ids[name]) for name in ("delivered", "bounced", "active")))
            before = relay.sql("SELECT * FROM recipients")
            now, bodies = relay.clock.now(), relay.bodies
            operation = {
                "hold": admin.hold(named),
                "release": admin.release(named, now),
                "retry": admin.retry(named, now),
                "bounce": admin.bounce(named, now, bodies, reply="no"),
                "delete": admin.delete(named, now, bodies),
            }[action]
            result: AdminResult = await relay.do(operation)
            assert result.changed == ()
            assert names(result.active, ids) == ["active.0"]
            assert relay.sql("SELECT * FROM recipients") == before

    scenario()


def test_deleting_the_last_open_recipient_finishes_the_message(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with sample(tmp_path) as (relay, ids):
            mixed = format_id(ids["mixed"])
            result = await relay.do(admin.delete(QueueFilter(ids=(f"{mixed}.1",)), relay.clock.now(), relay.bodies))
            assert [row.state for row in result.changed] == [RecipientState.DELETED]
            assert result.changed[0].last_reply == "451 4.3.0 later", "why it was waiting is still told"
            assert relay.sql("SELECT count(*) FROM bodies WHERE message = ?", ids["mixed"]) == [(0,)]
            shown = await relay.read(partial(queue.show, message_id=ids["mixed"]))
            assert shown is not None
            assert all(row.finished_at is not None for row in shown.recipients)

    scenario()


def test_bouncing_gives_what_a_report_is_made_of(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data", waiting_messages=0) as relay:
            small = await relay.accept("bob@example.com", "x@elsewhere.example")
            large = await relay.accept("y@elsewhere.example", body=LARGE)
            result = await relay.do(admin.bounce(QueueFilter(), relay.clock.now(), relay.bodies, reply="5.0.0 by the operator"))
            assert [row.state for row in result.changed] == [RecipientState.BOUNCED] * 3
            assert {row.last_reply for row in result.changed} == {"5.0.0 by the operator"}
            first, second = result.claims
            assert (first.message.message_id, first.body, len(first.recipients)) == (small, BODY, 2)
            assert (second.message.message_id, second.body, len(second.recipients)) == (large, None, 1)
            [path] = result.paths
            assert path.read_bytes() == LARGE, "still there for the report"
            relay.spool.cleanup(result.paths)
            relay.spool.close()
            assert not path.exists()

    scenario()


def test_a_large_queue_is_changed_in_steps(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data", waiting_messages=0) as relay:
            for _ in range(7):
                await relay.accept()
            steps = []
            while (result := await relay.do(admin.hold(QueueFilter(), limit=3))).changed:
                steps.append(len(result.changed))
            assert steps == [3, 3, 1]

    scenario()


def test_an_empty_filter_knows_that_it_means_everything() -> None:
    assert QueueFilter().empty
    assert not QueueFilter(account="alice").empty
