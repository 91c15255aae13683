from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from delivery_fakes import FakePool, address

from postlatch.delivery.callout import (
    KNOWN_SECONDS,
    MAX_PROBES,
    STALE_SECONDS,
    UNDECIDED_SECONDS,
    UNKNOWN_SECONDS,
    Callout,
)
from postlatch.delivery.config import DeliveryConfig, parse_route
from postlatch.delivery.contract import ConnectFailed
from postlatch.model.reply import Reply
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

CONFIG = DeliveryConfig(
    "mx.example.com",
    local={"example.com": parse_route("lmtp://127.0.0.1:24"), "files.example": parse_route("maildir:data")},
    relay={
        "branch.example": parse_route("smtp://hub.branch.example:25"),
        "lost.example": parse_route("smtp://missing.example:25"),
    },
)
DOWN = ConnectFailed("421 4.4.1 connection refused")
YES, NO, LATER = Reply(250, "2.1.5", "ok"), Reply(550, "5.1.1", "no such user"), Reply(451, "4.2.0", "later")


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pool = FakePool()
        dns = FakeResolver({"hub.branch.example": {"A": ["10.1.0.5", "10.1.0.6"]}})
        self.callout = Callout(CONFIG, pool=self.pool, resolver=dns, clock=self.clock, random=Random(1))

    async def ask(self, reply: Reply | ConnectFailed = LATER, to: str = "bob@example.com") -> bool | None:
        self.pool.replies[address(to).key] = reply
        return await self.callout.known(address(to))


def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario(Bench())

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("reply", "known"),
    [
        (YES, True),
        (Reply(251, "", "will forward"), True),
        (NO, False),
        (Reply(550, "5.1.10", "null MX"), False),
        (Reply(550, "5.2.1", "disabled"), False),
        (Reply(550, "", "no such user"), False),
        (Reply(551, "", "not here"), False),
        (Reply(553, "", "bad mailbox"), False),
        (LATER, None),
        (Reply(452, "4.2.2", "full"), None),
        (Reply(552, "5.2.2", "full"), None),
        (Reply(550, "5.7.1", "your address is blocked"), None),
        (Reply(554, "", "go away"), None),
        (Reply(530, "", "authenticate"), None),
        (Reply(354, "", "what?"), None),
        (DOWN, None),
    ],
)
def test_what_an_answer_means(reply: Reply | ConnectFailed, known: bool | None) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.ask(reply) is known

    run(scenario)


def test_an_answer_is_remembered_for_its_time_and_whatever_the_case() -> None:
    async def scenario(bench: Bench) -> None:
        for reply, known, seconds in ((YES, True, KNOWN_SECONDS), (NO, False, UNKNOWN_SECONDS)):
            assert await bench.ask(reply) is known
            asked = len(bench.pool.probes)
            bench.clock.advance(seconds - 1)
            assert await bench.ask(LATER, "BOB@Example.com") is known
            assert len(bench.pool.probes) == asked
            bench.clock.advance(1)

    run(scenario)


def test_a_next_hop_that_is_down_is_not_asked_for_every_rcpt() -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.ask(DOWN) is None
        assert await bench.ask(YES) is None
        bench.clock.advance(UNDECIDED_SECONDS)
        assert await bench.ask(YES) is True

    run(scenario)


def test_a_mailbox_that_was_there_today_is_taken_while_the_next_hop_is_down() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.ask(YES)
        bench.clock.advance(STALE_SECONDS - 1)
        assert await bench.ask(DOWN) is True
        bench.clock.advance(UNDECIDED_SECONDS)
        assert await bench.ask(DOWN) is None

    run(scenario)


def test_a_mailbox_that_was_removed_is_unknown_as_soon_as_the_next_hop_says_so() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.ask(YES)
        bench.clock.advance(KNOWN_SECONDS)
        assert await bench.ask(NO) is False

    run(scenario)


def test_a_hundred_who_ask_at_once_are_one_probe() -> None:
    async def scenario(bench: Bench) -> None:
        bench.pool.replies["bob@example.com"] = YES
        answers = await asyncio.gather(*(bench.callout.known(address("bob@example.com")) for _ in range(100)))
        assert answers == [True] * 100
        assert len(bench.pool.probes) == 1

    run(scenario)


def test_a_dictionary_attack_on_us_is_not_passed_on() -> None:
    async def scenario(bench: Bench) -> None:
        names = [f"user{number}@example.com" for number in range(500)]
        bench.pool.replies.update(dict.fromkeys(names, NO))
        answers = await asyncio.gather(*(bench.callout.known(address(name)) for name in names))
        assert answers.count(False) == MAX_PROBES
        assert answers.count(None) == 500 - MAX_PROBES

    run(scenario)


def test_a_relay_domain_is_asked_at_its_route_and_at_every_address_of_it() -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.ask(YES, "x@branch.example") is True
        assert bench.pool.probes[0][0].host == "hub.branch.example"
        assert await bench.ask(DOWN, "y@branch.example") is None
        assert {target.address for target, who in bench.pool.probes if who.local == "y"} == {"10.1.0.5", "10.1.0.6"}

    run(scenario)


@pytest.mark.parametrize("to", ["x@files.example", "x@elsewhere.example", "x@lost.example"])
def test_where_nobody_can_be_asked_the_answer_is_unknown(to: str) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.ask(YES, to) is None
        assert bench.pool.probes == []

    run(scenario)


def test_a_reload_forgets_what_another_next_hop_may_have_said() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.ask(YES)
        bench.callout.reload(CONFIG)
        assert await bench.ask(NO) is False

    run(scenario)
