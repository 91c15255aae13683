"""The real queue, writer and connections while next hops are slow, paused or cut off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from delivery_fakes import MAIL, address
from test_delivery_whole import Relay, Sink, eventually

from postlatch.delivery.config import parse_route
from postlatch.delivery.pauses import LOOK_SECONDS, Pause, reply_of
from postlatch.spool.returns import waiting_by_domain, wake
from postlatch.store import paused
from postlatch.store.database import open_database
from postlatch.store.paused import Paused
from postlatch.store.reader import Reader

ALICE = address("alice@example.com")
PAUSE = Pause("elsewhere.example", 0.0)


class SlowSink(Sink):
    """Takes the message and never says so."""

    def answer(self, line: bytes) -> bytes:
        said = super().answer(line)
        return b"" if said == b"250 2.0.0 taken\r\n" else said


@asynccontextmanager
async def relaying(folder: Path) -> AsyncIterator[tuple[Relay, list[bytes], list[bytes]]]:
    """A relay whose mail for quick.example and for slow.example has next hops of its own."""
    quick: list[bytes] = []
    slow: list[bytes] = []
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: Sink(quick), "127.0.0.1", 0),
        await loop.create_server(lambda: SlowSink(slow), "127.0.0.1", 0),
    ]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    relay = Relay(folder, ports[0])
    routes = {
        f"{name}.example": parse_route(f"smtp://127.0.0.1:{port}") for name, port in zip(("quick", "slow"), ports, strict=True)
    }
    object.__setattr__(relay.config, "outbound", routes)
    async with relay.running():
        yield relay, quick, slow
    for server in servers:
        server.close()


def rows(relay: Relay, columns: str) -> list[tuple[object, ...]]:
    connection = open_database(relay.folder / "db", create=False)
    try:
        return connection.execute(f"SELECT {columns} FROM recipients ORDER BY message, number").fetchall()
    finally:
        connection.close()


def test_ten_thousand_messages_for_a_slow_hop_do_not_delay_a_quick_one(tmp_path: Path) -> None:
    async def scenario() -> list[float]:
        async with relaying(tmp_path) as (relay, quick, _slow):
            for start in range(0, 10_000, 500):
                some = [relay.submit(ALICE, [address(f"u{n}@slow.example")]) for n in range(start, start + 500)]
                await asyncio.gather(*some)
            took = []
            for number in range(100):
                began = time.monotonic()
                await relay.submit(ALICE, [address(f"u{number}@quick.example")])
                await eventually(lambda count=number: len(quick) > count)  # type: ignore[misc]
                took.append(time.monotonic() - began)
            return sorted(took)

    took = asyncio.run(scenario())
    assert took[50] < 0.1
    assert took[-2] < 1.0


def test_a_pause_is_kept_in_rows_and_a_resume_spreads_what_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with relaying(tmp_path) as (relay, quick, _slow):
            now = relay.clock.now()
            await relay.writer.submit([paused.add(Paused("quick.example", "moved", "root", now))])
            pause = Pause("quick.example", now)
            await relay.dispatcher.pause([pause])
            for number in range(20):
                await relay.submit(ALICE, [address(f"u{number}@quick.example")])
            await eventually(lambda: all(due for (due,) in rows(relay, "due")))
            found = rows(relay, "attempts, last_reply, state, due")
            assert {row[:3] for row in found} == {(0, reply_of("quick.example"), "queued")}
            assert all(now + LOOK_SECONDS <= float(str(row[3])) <= now + 2 * LOOK_SECONDS for row in found)
            assert quick == []
            reader = Reader(tmp_path / "db", monotonic=relay.clock.monotonic)
            assert [(w.domain, w.recipients) for w in await reader.read(waiting_by_domain)] == [("quick.example", 20)]
            assert [row.name for row in await reader.read(paused.load)] == ["quick.example"]
            reader.close()
            await relay.dispatcher.pause([])
            assert await relay.writer.submit([paused.remove("quick.example")]) == [True]
            last, woken = 0, 0
            while True:
                [step] = await relay.writer.submit([wake(reply_of("quick.example"), last, now, now, 10.0, limit=7)])
                woken += step.recipients
                if step.last is None:
                    break
                last = step.last
            assert woken == 20
            dues = [float(str(due)) for (due,) in rows(relay, "due")]
            assert all(now <= due <= now + 10.01 for due in dues)
            assert len(set(dues)) > 10
            relay.clock.advance(11)
            relay.dispatcher.wake(due=True)
            await eventually(lambda: len(quick) == 20)
            await eventually(lambda: {state for (state,) in rows(relay, "state")} == {"delivered"})
            assert {row[0] for row in rows(relay, "attempts")} == {1}

    asyncio.run(scenario())


def test_a_wake_leaves_all_else_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with relaying(tmp_path) as (relay, _quick, _slow):
            await relay.dispatcher.pause([Pause("quick.example", 0.0), Pause("slow.example", 0.0)])
            for name in ("quick", "slow"):
                await relay.submit(ALICE, [address(f"u@{name}.example")])
            await eventually(lambda: all(due for (due,) in rows(relay, "due")))
            before = rows(relay, "due")
            now = relay.clock.now()
            [step] = await relay.writer.submit([wake(reply_of("quick.example"), 0, now, now, 0.0)])
            assert step == (None, 1)
            after = rows(relay, "due")
            assert after[0] == (now,)
            assert after[1] == before[1]

    asyncio.run(scenario())


def test_a_stop_in_the_dot_phase_marks_what_may_arrive_twice_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> Relay:
        async with relaying(tmp_path) as (relay, _quick, slow):
            await relay.submit(ALICE, [address("a@quick.example")])
            await relay.submit(ALICE, [address("b@slow.example"), address("c@slow.example")])
            await eventually(lambda: slow == [MAIL] and ("a@quick.example", "delivered") in relay.states())
            await relay.dispatcher.stop(0.2)
        return relay

    relay = asyncio.run(scenario())
    assert rows(relay, "address, state, possible_duplicate") == [
        ("a@quick.example", "delivered", 0),
        ("b@slow.example", "deferred", 1),
        ("c@slow.example", "deferred", 1),
    ]
    stopped = [event for event in relay.events if event.name == "delivery.deferred"]
    assert {str(event.fields["reply"]) for event in stopped} == {"451 4.3.2 this relay stopped during the attempt"}
