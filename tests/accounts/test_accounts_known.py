"""Whom an account has written to: new once, known for ever, and bounded in memory."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable

import pytest
from accounts_support import NOW, SECRET, Desk, run

from postlatch.accounts.known import KnownRecipients
from postlatch.model.address import Address, parse_address

ALICE, BOB = "alice@example.com", "bob@example.com"
Query = Callable[[sqlite3.Connection], set[bytes]]


def to(*texts: str) -> list[Address]:
    return [parse_address(text, smtputf8=True) for text in texts]


class FakeReader:
    """Reads at once, or when told."""

    def __init__(self) -> None:
        self.connection = Desk().connection
        self.reads = 0
        self.gate: asyncio.Event | None = None
        self.fails = False

    async def read(self, query: Query) -> set[bytes]:
        """As the store's Reader."""
        self.reads += 1
        result = query(self.connection)
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise OSError("the disk is gone")
        return result


def test_a_recipient_is_new_once_and_known_after_a_restart() -> None:
    async def scenario() -> None:
        reader = FakeReader()
        known = KnownRecipients(reader.read, SECRET)
        await known.load(ALICE)
        carol, dave = to("Carol@Partner.example", "dave@partner.example")
        assert known.is_new(ALICE, carol)
        operation = known.remember(ALICE, [carol], NOW)
        assert not known.is_new(ALICE, carol)
        assert not known.is_new(ALICE, to("carol@partner.example")[0])
        assert known.is_new(ALICE, dave)
        operation(reader.connection)
        operation(reader.connection)  # the writer may
        known.remember(ALICE, [carol, dave], NOW + 1)(reader.connection)
        restarted = KnownRecipients(reader.read, SECRET)
        assert restarted.is_new(ALICE, carol), "unknown counts as new until it is loaded"
        await restarted.load(ALICE)
        assert not restarted.is_new(ALICE, carol)
        assert not restarted.is_new(ALICE, dave)
        first = reader.connection.execute("SELECT first_at FROM known_recipients ORDER BY first_at").fetchall()
        assert first == [(NOW,), (NOW + 1,)]

    run(scenario())


def test_accounts_do_not_share_recipients_and_digests_say_nothing() -> None:
    async def scenario() -> None:
        reader = FakeReader()
        known = KnownRecipients(reader.read, SECRET)
        await known.load(ALICE)
        await known.load(BOB)
        carol = to("carol@partner.example")
        for account in (ALICE, BOB):
            assert known.is_new(account, carol[0])
            known.remember(account, carol, NOW)(reader.connection)
        KnownRecipients(reader.read, SECRET[::-1]).remember(ALICE, carol, NOW)(reader.connection)
        digests = reader.connection.execute("SELECT digest FROM known_recipients").fetchall()
        assert len(set(digests)) == 3

    run(scenario())


def test_a_load_reads_once_however_many_wait() -> None:
    async def scenario() -> None:
        reader = FakeReader()
        reader.gate = asyncio.Event()
        known = KnownRecipients(reader.read, SECRET)
        loads = [asyncio.create_task(known.load(ALICE)) for _ in range(5)]
        await asyncio.sleep(0)
        operation = known.remember(ALICE, to("carol@partner.example"), NOW)  # committed after the read began
        reader.gate.set()
        await asyncio.gather(*loads)
        operation(reader.connection)
        assert reader.reads == 1
        assert not known.is_new(ALICE, to("carol@partner.example")[0])

    run(scenario())


def test_a_failed_read_is_an_error_and_everyone_stays_new() -> None:
    async def scenario() -> None:
        reader = FakeReader()
        reader.fails = True
        known = KnownRecipients(reader.read, SECRET)
        results = await asyncio.gather(*(known.load(ALICE) for _ in range(2)), return_exceptions=True)
        assert [type(result) for result in results] == [OSError, OSError]
        assert known.is_new(ALICE, to("carol@partner.example")[0])
        reader.fails = False
        await known.load(ALICE)
        known.remember(ALICE, to("carol@partner.example"), NOW)
        assert not known.is_new(ALICE, to("carol@partner.example")[0])

    run(scenario())


def test_who_stops_waiting_does_not_stop_the_others() -> None:
    async def scenario() -> None:
        reader = FakeReader()
        reader.gate = asyncio.Event()
        known = KnownRecipients(reader.read, SECRET)
        first, second = (asyncio.create_task(known.load(ALICE)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        reader.gate.set()
        await second
        assert first.cancelled() or first.cancelling()
        known.remember(ALICE, to("carol@partner.example"), NOW)
        assert not known.is_new(ALICE, to("carol@partner.example")[0])

    run(scenario())


@pytest.mark.parametrize(("max_accounts", "max_digests"), [(2, 1000), (1000, 5)])
def test_memory_is_bounded_and_the_longest_unused_account_goes_first(max_accounts: int, max_digests: int) -> None:
    async def scenario() -> None:
        reader = FakeReader()
        known = KnownRecipients(reader.read, SECRET, max_accounts, max_digests)
        pair = to("carol@partner.example", "dave@partner.example")
        for account in ("a", "b"):
            await known.load(account)
            known.remember(account, pair, NOW)(reader.connection)
        await known.load("a")  # used again
        await known.load("c")
        known.remember("c", pair, NOW)(reader.connection)
        assert [known.is_new(account, pair[0]) for account in ("a", "b", "c")] == [False, True, False]
        await known.load("b")
        assert not known.is_new("b", pair[0])

    run(scenario())


def test_a_deleted_account_is_forgotten() -> None:
    async def scenario() -> None:
        reader = FakeReader()
        known = KnownRecipients(reader.read, SECRET)
        await known.load(ALICE)
        known.remember(ALICE, to("carol@partner.example"), NOW)
        known.forget(ALICE)
        known.forget(ALICE)
        await known.load(ALICE)
        assert known.is_new(ALICE, to("carol@partner.example")[0])

    run(scenario())
