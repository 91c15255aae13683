"""Fair service: whose turn it is, and who may shake hands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from postlatch.server.handshakes import PATIENCE, HandshakeGate, Slot
from postlatch.server.turns import BUDGETS, QUANTUM, STRANGER, SUBMITTER, TRUSTED, Turns


class Session:
    """Has so many commands to work off, a quantum in each turn."""

    def __init__(self, turns: Turns, kind: int, commands: int, done: list[tuple[str, int]], name: str) -> None:
        self.turns, self.kind, self.commands, self.done, self.name = turns, kind, commands, done, name

    def take_turn(self) -> None:
        """As a connection would."""
        now = min(QUANTUM, self.commands)
        self.commands -= now
        self.done.append((self.name, now))
        self.turns.spend(self.kind, now)
        if self.commands:
            self.turns.wait(self, self.kind)


class Loop:
    """Turns of a loop, run by hand."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        """For the next turn."""
        self.waiting.append(callback)

    def turn(self) -> None:
        """One turn."""
        due, self.waiting = self.waiting, []
        for callback in due:
            callback()


def test_while_there_is_little_to_do_nobody_waits_and_nothing_is_left_running() -> None:
    loop = Loop()
    turns = Turns(loop.call_soon)
    assert turns.may_go(STRANGER)
    turns.spend(STRANGER, 5)
    assert turns.may_go(STRANGER)
    loop.turn()
    assert loop.waiting == []


def test_a_class_that_has_spent_its_part_waits_for_the_next_turn_and_the_others_do_not() -> None:
    loop = Loop()
    turns = Turns(loop.call_soon)
    turns.spend(STRANGER, BUDGETS[STRANGER])
    assert [turns.may_go(kind) for kind in (TRUSTED, SUBMITTER, STRANGER)] == [True, True, False]
    loop.turn()
    assert turns.may_go(STRANGER)


def test_ten_thousand_commands_of_one_session_take_many_turns_and_each_of_the_others_gets_its_own() -> None:
    loop, done = Loop(), list[tuple[str, int]]()
    turns = Turns(loop.call_soon)
    turns.wait(Session(turns, STRANGER, 10_000, done, "flood"), STRANGER)
    loop.turn()
    assert done == [("flood", QUANTUM)]
    assert not turns.may_go(STRANGER), "whoever comes now must not overtake those that wait"
    turns.wait(Session(turns, STRANGER, 3, done, "honest"), STRANGER)
    turns.wait(Session(turns, TRUSTED, 3, done, "user"), TRUSTED)
    loop.turn()
    assert done[1:] == [("user", 3), ("flood", QUANTUM), ("honest", 3)]
    turned = 0
    while loop.waiting:
        before = sum(count for name, count in done if name == "flood")
        loop.turn()
        turned += 1
        assert sum(count for name, count in done if name == "flood") - before <= BUDGETS[STRANGER] + QUANTUM
    assert turned > 10_000 // (BUDGETS[STRANGER] + QUANTUM)
    assert sum(count for name, count in done if name == "flood") == 10_000


def test_a_thousand_sessions_are_served_in_order_within_the_budget_of_each_turn() -> None:
    loop, done = Loop(), list[tuple[str, int]]()
    turns = Turns(loop.call_soon)
    for number in range(1000):
        turns.wait(Session(turns, STRANGER, 10, done, str(number)), STRANGER)
    while loop.waiting:
        before = len(done)
        loop.turn()
        assert (len(done) - before) * 10 <= BUDGETS[STRANGER] + 10
    assert [name for name, _ in done] == [str(number) for number in range(1000)]


def test_strangers_get_less_while_the_disk_is_behind_and_users_do_not() -> None:
    turns = Turns(Loop().call_soon)
    turns.slowed = True
    turns.spend(STRANGER, 10)
    turns.spend(SUBMITTER, 10)
    assert not turns.may_go(STRANGER)
    assert turns.may_go(SUBMITTER)


# Handshakes


class Hands:
    """Handshakes at a gate, on one loop."""

    def __init__(self, slots: int) -> None:
        self.gate = HandshakeGate(slots)
        self.inside: dict[str, Slot] = {}
        self.cancelled: list[str] = []
        self.now = 100.0

    async def enter(self, name: str, prefix: str) -> None:
        """One handshake; stays inside."""
        self.inside[name] = await self.gate.enter(prefix, lambda: self.now, lambda: self.cancelled.append(name))

    async def begin(self, name: str, prefix: str) -> asyncio.Task[None]:
        """The same, as far as it gets."""
        task = asyncio.get_running_loop().create_task(self.enter(name, prefix))
        await asyncio.sleep(0)
        return task


def test_so_many_handshakes_at_once_and_the_others_in_their_order() -> None:
    async def scenario() -> None:
        hands = Hands(4)
        for number in range(6):
            await hands.begin(str(number), f"192.0.2.{number}")
        assert list(hands.inside) == ["0", "1", "2", "3"]
        hands.gate.leave(hands.inside["2"])
        await asyncio.sleep(0)
        assert list(hands.inside) == ["0", "1", "2", "3", "4"]
        assert len(hands.gate) == 4

    asyncio.run(scenario())


def test_one_client_cannot_hold_all_slots_nor_keep_others_behind_it() -> None:
    async def scenario() -> None:
        hands = Hands(8)
        for number in range(20):
            await hands.begin(f"greedy {number}", "192.0.2.1")
        await hands.begin("honest", "198.51.100.1")
        assert list(hands.inside) == ["greedy 0", "greedy 1", "honest"]
        hands.gate.leave(hands.inside["greedy 0"])
        await asyncio.sleep(0)
        assert list(hands.inside)[-1] == "greedy 2"

    asyncio.run(scenario())


def test_a_silent_handshake_is_ended_when_others_wait_and_only_then() -> None:
    async def scenario() -> None:
        hands = Hands(4)
        for number in range(4):
            await hands.begin(str(number), f"192.0.2.{number}")
            hands.now += 1
        assert hands.gate.expire(100 + 60) == 0
        await hands.begin("waiting", "198.51.100.1")
        await hands.begin("waiting too", "198.51.100.2")
        assert hands.gate.expire(100 + PATIENCE) == 0
        assert hands.gate.expire(101 + PATIENCE) == 1
        assert hands.gate.expire(160) == 2
        assert hands.cancelled == ["0", "0", "1"]

    asyncio.run(scenario())


def test_whoever_goes_away_while_waiting_or_just_when_it_is_its_turn_takes_no_slot_along() -> None:
    async def scenario() -> None:
        hands = Hands(4)
        for number in range(4):
            await hands.begin(str(number), f"192.0.2.{number}")
        first = await hands.begin("gone", "198.51.100.1")
        second = await hands.begin("gone at its turn", "198.51.100.2")
        first.cancel()
        await asyncio.sleep(0)
        hands.gate.leave(hands.inside["0"])  # now it is the second one's turn…
        second.cancel()  # …and it has not run yet
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await hands.begin("next", "198.51.100.3")
        assert "next" in hands.inside
        for name in ("1", "2", "3", "next"):
            hands.gate.leave(hands.inside[name])
        for number in range(4):
            await hands.begin(f"again {number}", f"203.0.113.{number}")
        assert sum(name.startswith("again") for name in hands.inside) == 4

    asyncio.run(scenario())
