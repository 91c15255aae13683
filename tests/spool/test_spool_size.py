"""A long queue costs no more than a short one: nothing reads it whole, and everything is done in steps."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spool_tools import Parcel, Relay, bounced, deferred, delivered, held, in_loop

from postlatch.spool import admin, claims, queue
from postlatch.spool.contract import RecipientState
from postlatch.spool.queue import QueueFilter, QueueRow, list_page, tally
from postlatch.spool.sweep import find_bodiless
from postlatch.store import schema
from postlatch.testing.clock import FakeClock

MIB = 1024 * 1024
COUNTED = f"""
SELECT CASE WHEN {claims.IN_HAND} THEN 'active' ELSE state END, count(*) FROM recipients WHERE finished_at IS NULL GROUP BY 1
"""


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    return Relay(tmp_path / "data")


async def fill(relay: Relay, messages: int, state: str = "deferred", due: float | None = 1e9, recipients: int = 1) -> None:
    """Rows behind everybody's back, as a long history would have left them."""
    relay.sql(
        "INSERT INTO messages (id, sender, sender_local, sender_domain, received_at, size, body_kind, body_digest, eight_bit, "
        "utf8_headers, declared_size, body_type, smtputf8, ret, envid, listener, helo, account, header_message_id, kind) "
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "SELECT i, 'a' || (i % 10) || '@b.example', "
        "'a', 'b.example', i, 10, 'inline', zeroblob(16), 0, 0, 10, '', 0, '', '', 'mx', 'h', '', '', '' FROM n",
        messages,
    )
    relay.sql("INSERT INTO bodies SELECT id, x'00' FROM messages")
    relay.sql(
        "INSERT INTO recipients (message, number, address, local, domain, destination, grant_reason, grant_ref, notify, orcpt, "
        "due, state, attempts, last_reply, last_remote, possible_duplicate, warned) "
        "WITH RECURSIVE k(j) AS (SELECT 0 UNION ALL SELECT j + 1 FROM k WHERE j < ? - 1) SELECT id, j, 'x@d' || (id % 1000) || "
        "'.example', 'x', 'd' || (id % 1000) || '.example', 'foreign', 'ACCOUNT', 'a', '', '', ?, ?, 1, '', '', 0, 0 "
        "FROM messages, k",
        recipients,
        due,
        state,
    )


async def pages(relay: Relay, filters: QueueFilter, limit: int = 100) -> tuple[list[QueueRow], int]:
    """All rows, page by page, and how many pages it took."""
    rows: list[QueueRow] = []
    after: str | None = ""
    count = 0
    while after is not None:
        page = await relay.read(partial(list_page, filters=filters, limit=limit, after=after))
        rows += page.rows
        after = page.next
        count += 1
    return rows, count


STEPS = ["accept", "take", "claim", "finish", "hold", "release", "retry", "delete", "restart", "kill", "recover", "purge"]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(history=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), min_size=5, max_size=40))
def test_the_counts_are_exact_after_any_history(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int]]
) -> None:
    folder, clock = tmp_path_factory.mktemp("counts") / "data", FakeClock()

    @in_loop
    async def scenario() -> None:
        relay = await Relay(folder, clock, waiting_messages=2).__aenter__()
        hand: list[Any] = []
        for step, number in history:
            now = clock.now()
            if step == "accept":
                await relay.accept(*["x@elsewhere.example", "bob@example.com"][: number % 2 + 1])
            elif step == "take":
                hand += relay.spool.take(number)
            elif step == "claim":
                hand += await relay.due(number)
            elif step == "finish" and hand:
                claim = hand.pop()
                ways = [delivered, bounced, held, partial(deferred, until=now + number)]
                outcomes = [ways[(number + r.number) % 4](r.number) for r in claim.recipients]
                await relay.finish(claim, *outcomes)
            elif step in {"hold", "release", "retry", "delete"}:
                make = {
                    "hold": admin.hold(QueueFilter(), limit=number),
                    "release": admin.release(QueueFilter(), now, limit=number),
                    "retry": admin.retry(QueueFilter(), now, limit=number),
                    "delete": admin.delete(QueueFilter(), now, relay.bodies, limit=number),
                }
                await relay.do(make[step])
            elif step in {"restart", "kill"}:
                await (relay.__aexit__() if step == "restart" else relay.kill())
                hand.clear()
                relay = await Relay(folder, clock, waiting_messages=2).__aenter__()
            elif step == "recover":
                hand = hand[:number]
                await relay.do(relay.spool.recover(hand))
            else:
                await relay.do(claims.purge(now + 1, number))
            clock.advance(1)
            counted = await relay.read(tally)
            exact = dict.fromkeys(map(str, counted), 0) | dict(relay.sql(COUNTED))
            assert {str(state): count for state, count in counted.items()} == exact, step
        await relay.kill()

    scenario()


def test_no_query_of_the_running_queue_reads_it_whole(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            for sql in (
                claims._DUE.replace("?", "1"),
                claims._CLAIM.format("1, 2, 3").replace("?", "1"),
                claims._GIVE_BACK.replace("?", "1"),
                f"SELECT count(*) FROM recipients WHERE {claims.IN_HAND}",
                f"UPDATE recipients SET due = 1 WHERE {claims.IN_HAND}",
                "SELECT min(due) FROM recipients WHERE priority = 1 AND due IS NOT NULL",
                "SELECT id FROM messages WHERE finished_at IS NULL AND body_kind = 'file'",
                "SELECT id FROM messages WHERE finished_at < 1 LIMIT 5",
            ):
                steps = [row[3] for row in relay.sql(f"EXPLAIN QUERY PLAN {sql}")]
                scans = [step for step in steps if step.startswith("SCAN") and not step.startswith("SCAN (")]
                assert not scans, (sql, steps)

    scenario()


def steps_of(relay: Relay, operation: Any) -> int:
    """How many hundreds of steps of SQLite's virtual machine an operation or query takes: its cost, without a clock."""
    count = [0]

    def tick() -> int:
        count[0] += 1
        return 0

    connection = sqlite3.connect(relay.path, isolation_level=None)
    try:
        connection.set_progress_handler(tick, 100)
        connection.execute("BEGIN")
        operation(connection)
        connection.execute("ROLLBACK")
    finally:
        connection.set_progress_handler(None, 0)
        connection.close()
    return count[0]


def test_what_runs_all_the_time_costs_the_same_in_a_queue_a_hundred_times_as_long(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        costs: list[dict[str, int]] = []
        for number, length in enumerate((300, 30_000)):
            async with Relay(tmp_path / str(number)) as relay:
                await fill(relay, length)
                relay.sql("UPDATE recipients SET due = 1.0 WHERE message <= 64")
                operations = {
                    "claim": relay.spool.claim_due(64, 10.0),
                    "next due": claims.next_due,
                    "counts": tally,
                    "recover": relay.spool.recover([]),
                    "sweep": relay.spool.sweep(10.0, clean=False),
                    "page": partial(list_page, filters=QueueFilter(), limit=50),
                    "page in the middle": partial(list_page, filters=QueueFilter(), limit=50, after="00000000004Z7.0"),
                    "rare domain": partial(list_page, filters=QueueFilter(domain="nowhere.example"), limit=50),
                    "bodies": partial(find_bodiless, after=0),
                }
                costs.append({name: steps_of(relay, operation) for name, operation in operations.items()})
        short, long = costs
        flat = {"claim", "next due", "counts", "recover", "sweep"}
        assert {name: (short[name], long[name]) for name in flat if long[name] > short[name] * 1.5 + 5} == {}
        # The others look at a window of the queue, which the short one does not fill.
        assert {name: cost for name, cost in long.items() if name not in flat and cost > 4000} == {}

    scenario()


def test_a_listing_is_searched_in_windows_and_says_where_to_go_on(relay: Relay) -> None:
    length = 3 * queue.WINDOW - 10

    @in_loop
    async def scenario() -> None:
        async with relay:
            await fill(relay, length)
            page = await relay.read(partial(list_page, filters=QueueFilter(domain="nowhere.example"), limit=10))
            assert page.rows == []
            assert page.next is not None, "there is more to look at"
            rows, count = await pages(relay, QueueFilter(domain="nowhere.example"))
            assert (len(rows), count) == (0, 3)
            rows, _ = await pages(relay, QueueFilter(domain="d7.example"), limit=4)
            assert [row.message_id for row in rows] == list(range(7, length + 1, 1000))
            rows, _ = await pages(relay, QueueFilter(sender="a3@b.example"), limit=999)
            assert len(rows) == length // 10
            everything, _ = await pages(relay, QueueFilter(), limit=777)
            assert [row.message_id for row in everything] == list(range(1, length + 1))

    scenario()


@pytest.mark.parametrize("state", [RecipientState.HELD, RecipientState.ACTIVE])
def test_held_and_active_recipients_are_found_among_very_many_others(relay: Relay, state: RecipientState) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            await fill(relay, 20_000)
            mark = "state = 'held', due = NULL" if state is RecipientState.HELD else "due = NULL"
            relay.sql(f"UPDATE recipients SET {mark} WHERE message % 5000 = 17")
            query = partial(list_page, filters=QueueFilter(state=state), limit=100)
            page = await relay.read(query)
            assert [row.message_id for row in page.rows] == [17, 5017, 10017, 15017]
            assert page.next is None
            assert steps_of(relay, query) < 20, "not one of the others was looked at"

    scenario()


def test_old_messages_are_forgotten_in_steps_that_count_recipients(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            await fill(relay, 40, recipients=1000)
            relay.sql("DELETE FROM bodies")
            relay.sql("UPDATE recipients SET state = 'delivered', due = NULL, finished_at = 5.0")
            relay.sql("UPDATE messages SET finished_at = 5.0")
            steps = []
            while gone := await relay.do(claims.purge(10.0, 1000)):
                steps.append(gone)
            assert steps == [5] * 8
            assert relay.sql("SELECT count(*) FROM recipients") == [(0,)]

    scenario()


@pytest.mark.soak
def test_a_claim_of_messages_with_a_thousand_recipients_stays_small(relay: Relay) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            await fill(relay, 100, due=1.0, recipients=1000)
            seen = 0
            while found := await relay.due(256):
                taken = sum(len(claim.recipients) for claim in found)
                assert all(len(claim.recipients) == 1000 for claim in found), "whole messages"
                assert taken <= claims.CLAIM_RECIPIENTS + 32 * 1000
                seen += taken
            assert seen == 100_000

    scenario()


@contextmanager
def memory() -> Iterator[list[int]]:
    """The most octets of Python's memory that the block added, when it has ended."""
    tracemalloc.start()
    peak: list[int] = []
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1024, 4 * MIB, 50 * MIB])
def test_a_message_of_any_size_passes_in_bounded_memory(relay: Relay, size: int) -> None:
    @in_loop
    async def scenario() -> None:
        async with relay:
            with memory() as received:
                draft = relay.spool.open(relay.clock.now())
                piece = b"0123456789abcdef" * 4096
                for start in range(0, size, len(piece)):
                    draft.write(piece[: size - start])
                await draft.prepare()
                await relay.do(Parcel(["x@elsewhere.example"], relay.clock.now()).commit(draft))
                relay.spool.committed(draft)
            [claim] = relay.spool.take(1)
            with memory() as sent:
                count = 0
                body = await relay.spool.body(claim)
                async for chunk in body.chunks():
                    count += len(chunk)
            assert count == size
            assert received[0] < 2 * MIB
            assert sent[0] < 2 * MIB

    scenario()


def test_a_thousand_recipients_count_against_the_memory_of_the_fast_path(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data", waiting_octets=2 * MIB) as relay:
            for _ in range(5):
                await relay.accept(*[f"r{n}@elsewhere.example" for n in range(1000)])
            assert 0 < relay.spool.pending() < 5
            assert relay.spool.pending() + len(await relay.due()) == 5, "the rest waits in the database"

    scenario()


def test_the_schema_is_not_larger_than_it_was_measured_with() -> None:
    """Each index costs every message: a new one wants a measurement first, and this line."""
    indexes = {name for kind, name in schema.expected() if kind == "index"}
    assert {name for name in indexes if name.startswith(("messages", "recipients"))} == {
        "messages_finished",
        "messages_in_files",
        "recipients_due",
        "recipients_at_hand",
    }
