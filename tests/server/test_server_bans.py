"""The ban list against its plain definition, and logins under attack: late answers and places for strangers, both bounded."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.accounts.pool import Busy
from postlatch.model.envelope import IPAddress
from postlatch.server.attempts import PER_CLIENT, PLACES, QUEUE, Attempts
from postlatch.server.bans import REMEMBERED, BanList

HERE = ip_address("203.0.113.9")
NETWORK = st.tuples(st.integers(0, 15), st.integers(26, 32)).map(
    lambda drawn: ip_network((0x0A000000 + drawn[0], drawn[1]), strict=False)
)


@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "lapse"]), NETWORK, st.integers(0, 20)), max_size=30),
    st.integers(0, 20),
)
def test_a_look_up_is_the_latest_end_of_all_bans_around_an_address(steps: list[tuple[str, object, int]], now: int) -> None:
    listed, plain = BanList(), {}
    for what, network, end in steps:
        if what == "add":
            listed.add(network, float(end))  # type: ignore[arg-type]
            plain[network] = float(end)
        elif what == "remove":
            listed.remove(network)  # type: ignore[arg-type]
            plain.pop(network, None)
        else:
            listed.lapse(5.0)
            plain = {kept: until for kept, until in plain.items() if until > 5.0}
    for low in range(16):
        address = IPv4Address(0x0A000000 + low)
        ends = [end for network, end in plain.items() if address in network and end > now]  # type: ignore[operator]
        assert listed.until(address, float(now)) == max(ends, default=None)
    for network in plain:
        around = [end > now for other, end in plain.items() if network.subnet_of(other)]  # type: ignore[attr-defined]
        assert listed.holds(network, float(now)) == any(around)  # type: ignore[arg-type]
    assert len(listed) == len(plain)


def test_the_allow_list_wins_over_every_ban() -> None:
    listed = BanList([(ip_network("203.0.113.0/24"), 9.0)], allowed=lambda address: address == HERE)
    assert listed.until(HERE, 1.0) is None
    assert listed.until(ip_address("203.0.113.10"), 1.0) == 9.0


def test_a_follower_hears_each_change_once_and_everything_if_it_is_too_far_behind() -> None:
    listed = BanList()
    start = listed.version
    one, two = ip_network("10.0.0.1"), ip_network("10.0.0.2")
    listed.add(one, 5.0)
    listed.add(two, 6.0)
    listed.remove(one)
    found = listed.changes(start)
    assert (found.whole, found.networks) == (False, {"10.0.0.1/32": None, "10.0.0.2/32": 6.0})
    assert listed.changes(found.version).networks == {}
    assert listed.changes(-1).whole
    assert listed.changes(found.version + 1).whole  # another run's
    for number in range(REMEMBERED + 1):
        listed.add(ip_network((number, 32)), 9.0)
    assert listed.changes(found.version).whole


class Watcher:
    """Knows alice at home; doubles three times elsewhere; ``heard`` holds who pressed on."""

    def __init__(self) -> None:
        self.heard: list[IPAddress] = []

    def known(self, login: str, address: IPAddress) -> bool:
        return (login, address) == ("alice", HERE)

    def somebody_known(self, address: IPAddress) -> bool:
        return address == HERE

    def failed(self, login: str, _password: str | None, address: IPAddress) -> int:
        return 0 if self.known(login, address) else 3

    def pressed(self, address: IPAddress) -> None:
        self.heard.append(address)

    def refused(self, rule: str, address: IPAddress) -> None:
        raise AssertionError((rule, address))


def test_a_failure_waits_longer_elsewhere_up_to_the_longest() -> None:
    attempts = Attempts(Watcher(), slowest=30.0)
    elsewhere = ip_address("192.0.2.1")
    assert attempts.failed("alice", "x", HERE, 5.0) == 5.0
    assert attempts.failed("alice", "x", elsewhere, 1.0) == 8.0
    assert attempts.failed("alice", "x", elsewhere, 5.0) == 30.0
    assert Attempts().failed("alice", "x", elsewhere, 5.0) == 5.0
    assert Attempts(slowest=0.0).failed("alice", "x", elsewhere, 5.0) == 5.0


def test_only_so_many_answers_wait_at_once() -> None:
    async def run() -> None:
        attempts = Attempts(waiting=2)
        answered: list[int] = []
        assert attempts.later(0.0, answered.append, 1)
        assert attempts.later(0.0, answered.append, 2)
        assert not attempts.later(0.0, answered.append, 3)
        await asyncio.sleep(0.01)
        assert (answered, attempts.waiting) == ([1, 2], 0)
        assert attempts.later(0.0, answered.append, 4)

    asyncio.run(run())


def test_strangers_wait_for_places_and_who_is_known_does_not() -> None:
    async def run() -> None:
        watcher, release, inside = Watcher(), asyncio.Event(), []
        attempts = Attempts(watcher)

        async def check(login: str, client: str) -> None:
            async with attempts.place(login, ip_address("192.0.2.1"), client):
                inside.append(client)
                await release.wait()

        tasks = [asyncio.create_task(check("bob", f"client {number}")) for number in range(PLACES + QUEUE)]
        await asyncio.sleep(0)
        assert len(inside) == PLACES
        with pytest.raises(Busy):
            await check("bob", "one more")
        assert watcher.heard == [ip_address("192.0.2.1")]  # a guesser does not hide in the crowd of the others
        async with attempts.place("alice", HERE, "home"):
            inside.append("home")
        # Of those who wait, some go: their places are nobody's.
        for task in tasks[PLACES : PLACES + 10]:
            task.cancel()
        release.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(inside) == PLACES + QUEUE - 10 + 1
        assert "one more" not in inside
        await check("bob", "later")

    asyncio.run(run())


def test_one_client_has_only_so_many_checks_waiting() -> None:
    async def run() -> None:
        attempts, release = Attempts(), asyncio.Event()

        async def check() -> None:
            async with attempts.place("bob", HERE, "one"):
                await release.wait()

        tasks = [asyncio.create_task(check()) for _ in range(PER_CLIENT)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await check()
        async with attempts.place("bob", HERE, "another") if PER_CLIENT < PLACES else asyncio.timeout(1):
            release.set()
        await asyncio.gather(*tasks)
        await check()

    asyncio.run(run())


def test_a_place_that_came_when_its_client_had_just_gone_is_given_on() -> None:
    async def run() -> None:
        attempts, release = Attempts(), asyncio.Event()

        async def check(client: str) -> str:
            async with attempts.place("bob", HERE, client):
                await release.wait()
                return client

        first = [asyncio.create_task(check(f"{number}")) for number in range(PLACES)]
        await asyncio.sleep(0)
        unlucky, lucky = asyncio.create_task(check("unlucky")), asyncio.create_task(check("lucky"))
        await asyncio.sleep(0)
        release.set()
        first[0].cancel()  # its place goes to the unlucky one…
        await asyncio.sleep(0)
        unlucky.cancel()  # …who goes before it can take it
        await asyncio.gather(*first, unlucky, return_exceptions=True)
        assert await asyncio.wait_for(lucky, 5) == "lucky"
        await asyncio.gather(*(check(f"again {number}") for number in range(PLACES)))

    asyncio.run(run())
