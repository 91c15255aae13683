"""Any history of the queue, against a model of it: no recipient is ever lost, claimed twice, or final and alive again."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spool_tools import Relay, bounced, deferred, delivered, held, in_loop

from postlatch.spool import admin
from postlatch.spool.contract import Claim
from postlatch.spool.queue import QueueFilter
from postlatch.testing.clock import FakeClock

ADDRESSES = ["bob@example.com", "x@elsewhere.example", "dave@branch.example"]
Key = tuple[int, int]


class Place(Enum):
    """Where a recipient is."""

    MEMORY = "accepted, in memory"
    HAND = "claimed"
    WAITING = "due at some time"
    HELD = "held"
    FINAL = "final"


class Model:
    """What must be true of every recipient. ``due`` is known while it waits."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.place: dict[Key, Place] = {}
        self.due: dict[Key, float] = {}
        self.hand: list[Claim] = []

    async def start(self) -> None:
        self.relay = await Relay(self.folder, self.clock, waiting_messages=3).__aenter__()

    def wait(self, key: Key, due: float) -> None:
        self.place[key] = Place.WAITING
        self.due[key] = due

    def take_in_hand(self, claim: Claim, came_from: Place) -> None:
        for recipient in claim.recipients:
            key = (claim.message.message_id, recipient.number)
            assert self.place[key] is came_from
            if came_from is Place.WAITING:
                assert self.due[key] <= self.clock.now()
            self.place[key] = Place.HAND
        self.hand.append(claim)

    async def accept(self, count: int, _: int) -> None:
        fast = self.relay.spool.pending() < 3
        message = await self.relay.accept(*ADDRESSES[: count % 3 + 1])
        for number in range(count % 3 + 1):
            if fast:
                self.place[message, number] = Place.MEMORY
            else:
                self.wait((message, number), self.clock.now())

    async def take(self, limit: int, _: int) -> None:
        for claim in self.relay.spool.take(limit):
            self.take_in_hand(claim, Place.MEMORY)

    async def claim(self, limit: int, _: int) -> None:
        ready = {m for (m, n), p in self.place.items() if p is Place.WAITING and self.due[m, n] <= self.clock.now()}
        claims = await self.relay.due(limit)
        assert len(claims) == min(limit, len(ready)), "what is due is claimed"
        for claim in claims:
            self.take_in_hand(claim, Place.WAITING)

    async def finish(self, which: int, how: int) -> None:
        if not self.hand:
            return
        claim = self.hand.pop(which % len(self.hand))
        outcomes = []
        for recipient in claim.recipients:
            key = (claim.message.message_id, recipient.number)
            kind = (how + recipient.number) % 4
            if kind == 0:
                self.wait(key, self.clock.now() + how)
                outcomes.append(deferred(recipient.number, self.due[key]))
            else:
                self.place[key] = (Place.FINAL, Place.FINAL, Place.HELD)[kind - 1]
                outcomes.append((delivered, bounced, held)[kind - 1](recipient.number))
        await self.relay.finish(claim, *outcomes)

    async def advance(self, tens: int, _: int) -> None:
        self.clock.advance(tens * 10)

    async def operate(self, action: int, which: int) -> None:
        domain = ADDRESSES[which % 3].partition("@")[2]
        filters, now = QueueFilter(domain=domain), self.clock.now()
        operations = [
            admin.hold(filters),
            admin.release(filters, now),
            admin.retry(filters, now),
            admin.bounce(filters, now, self.relay.bodies, reply="no"),
            admin.delete(filters, now, self.relay.bodies),
        ]
        result = await self.relay.do(operations[action % 5])
        for row in result.changed:
            key = (row.message_id, row.number)
            assert self.place[key] in {Place.WAITING, Place.HELD}
            if row.next_attempt is not None:
                self.wait(key, row.next_attempt)
            else:
                self.place[key] = Place.HELD if action % 5 == 0 else Place.FINAL

    async def die(self, clean: int, _: int) -> None:
        if clean % 2:
            await self.relay.__aexit__()
        else:
            await self.relay.kill()
        self.hand.clear()
        await self.start()
        for key, place in self.place.items():
            if place in {Place.MEMORY, Place.HAND}:
                self.wait(key, self.clock.now())

    def check(self) -> None:
        rows = self.relay.sql("SELECT message, number, state, due FROM recipients")
        assert {(message, number): place_of(state, due) for message, number, state, due in rows} == {
            key: Place.HAND if place is Place.MEMORY else place for key, place in self.place.items()
        }
        assert {(m, n): due for m, n, _, due in rows if due is not None} == {
            key: self.due[key] for key, place in self.place.items() if place is Place.WAITING
        }
        open_messages = {message for (message, _), place in self.place.items() if place is not Place.FINAL}
        assert {row[0] for row in self.relay.sql("SELECT id FROM messages WHERE finished_at IS NULL")} == open_messages
        assert {row[0] for row in self.relay.sql("SELECT message FROM bodies")} == open_messages


def place_of(state: str, due: float | None) -> Place:
    if state == "held":
        return Place.HELD
    if state in {"delivered", "bounced", "deleted"}:
        return Place.FINAL
    return Place.HAND if due is None else Place.WAITING


STEPS = ["accept", "accept", "take", "claim", "finish", "finish", "advance", "operate", "die"]
step = st.tuples(st.sampled_from(STEPS), st.integers(0, 6), st.integers(0, 6))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(history=st.lists(step, min_size=5, max_size=40))
def test_no_history_loses_or_doubles_a_recipient(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("model")

    @in_loop
    async def scenario() -> None:
        model = Model(folder / "data")
        await model.start()
        for name, first, second in history:
            action: Any = getattr(model, name)
            await action(first, second)
            model.check()
        await model.relay.kill()

    scenario()
