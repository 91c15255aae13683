"""What the folds find out becomes bans in memory and on the disk; who may not be banned is not (RELIABILITY cases 28, 48)."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from app_world import CONFIG, in_loop, opened

from postlatch.app.ban_book import thresholds
from postlatch.app.break_ins import BreakIns
from postlatch.app.commands import ban as commands
from postlatch.app.relay import Relay
from postlatch.app.world import World
from postlatch.model.events import Event
from postlatch.monitor.thresholds import Thresholds
from postlatch.settings.load import load_text
from postlatch.store import bans

OUTSIDE = ip_address("203.0.113.9")


class Heard:
    """The part of a relay that break-ins need."""

    def __init__(self, world: World) -> None:
        self.events: list[Event] = []
        self.alerts: list[str] = []
        self.ended = 0
        self.submit = world.writer.submit
        self.notices = SimpleNamespace(alert=lambda sentence, _fields: self.alerts.append(sentence))
        self.server = SimpleNamespace(end_banned=self._end)

    def record(self, event: Event) -> None:
        self.events.append(event)

    def _end(self) -> None:
        self.ended += 1


def watcher(world: World) -> tuple[BreakIns, Heard]:
    heard = Heard(world)
    return BreakIns(world, cast("Relay", heard)), heard


def guess(watch: BreakIns, address: Any, tries: int, start: int = 0) -> None:
    for number in range(start, start + tries):
        watch.failed("alice", f"guess {number} of {address}", address)


async def rows(world: World) -> dict[str, bans.Ban]:
    await world.submit([])
    return {ban.network: ban for ban in await world.reader.read(bans.load)}


def test_the_thresholds_of_the_folds_are_the_defaults_of_the_settings() -> None:
    assert thresholds(load_text(CONFIG.replace("{folder}", "data"), Path("postlatch.toml"))) == Thresholds()


@in_loop
async def test_a_guesser_is_banned_at_once_and_on_the_disk_and_its_sessions_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        watch, heard = watcher(world)
        guess(watch, OUTSIDE, 9)
        assert world.bans.until(OUTSIDE, world.now()) is None
        guess(watch, OUTSIDE, 1, 9)
        assert world.bans.until(OUTSIDE, world.now()) is not None
        ban = (await rows(world))["203.0.113.9/32"]
        assert (ban.kind, ban.strikes, ban.until is not None and round(ban.until - ban.created_at)) == ("passwords", 1, 1800)
        assert heard.ended == 1
    async with opened(tmp_path) as world:  # and after a restart
        assert world.bans.until(OUTSIDE, world.now()) is not None


@in_loop
async def test_rotation_goes_to_the_64_and_then_to_the_48(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        watch, _ = watcher(world)
        start = int(IPv6Address("2001:db8::"))
        for number in range(10):
            guess(watch, IPv6Address(start + number * 977), 1, number)
        assert set(await rows(world)) == {"2001:db8::/64"}
        for number in range(1, 30):
            guess(watch, IPv6Address(start + (number << 64)), 1, number)
        assert "2001:db8::/48" in await rows(world)


@in_loop
async def test_where_somebody_logged_in_no_ban_hits_and_the_neighbours_are_banned_one_by_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        watch, heard = watcher(world)
        watch.hear(Event("auth.succeeded", world.now(), {"account": "alice", "client": "203.0.113.9"}))
        guess(watch, OUTSIDE, 12)
        assert world.bans.until(OUTSIDE, world.now()) is None
        assert [event.name for event in heard.events] == ["ban.refused"]
        assert "logged in from there" in str(heard.events[0].fields["why"])
        for number in range(30):
            guess(watch, ip_address(f"203.0.113.{20 + number % 6}"), 1, number)
        banned = set(await rows(world))
        assert "203.0.113.0/24" not in banned
        assert "203.0.113.21/32" in banned


@in_loop
async def test_even_a_row_that_hits_somebody_never_banned_does_not_hold(tmp_path: Path) -> None:
    async with opened(tmp_path, '[bans]\nnever = ["198.51.100.0/30"]\n') as world:
        await world.submit([bans.add(bans.Ban("198.51.100.0/24", None, "older", 1.0))])
        await world.reader.read(world.ban_book.load_bans)
        assert world.bans.until(ip_address("198.51.100.2"), world.now()) is None
        assert world.bans.until(ip_address("198.51.100.4"), world.now()) == float("inf")


@in_loop
async def test_bans_double_over_restarts(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        network = ip_network("203.0.113.9")
        passed = bans.Ban(str(network), world.now() - 60, "earlier", 1.0, "passwords", 3, world.now() + 1000)
        await world.submit([bans.add(passed)])
    async with opened(tmp_path) as world:
        watch, _ = watcher(world)
        await watch.every_minute()
        guess(watch, OUTSIDE, 10)
        ban = (await rows(world))[str(network)]
        assert (ban.strikes, ban.until is not None and round(ban.until - ban.created_at)) == (4, 1800 * 8)


@in_loop
async def test_who_is_known_stays_known_over_a_restart_until_the_account_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        watch, _ = watcher(world)
        watch.hear(Event("auth.succeeded", world.now(), {"account": "alice", "client": "203.0.113.9"}))
        await watch.every_ten_seconds()
    async with opened(tmp_path) as world:
        watch, _ = watcher(world)
        assert watch.known("alice", OUTSIDE)
        assert watch.somebody_known(OUTSIDE)
        assert not watch.known("bob", OUTSIDE)
        watch.hear(Event("account.deleted", world.now(), {"account": "alice"}))
        assert not watch.somebody_known(OUTSIDE)


@in_loop
async def test_guessing_where_an_account_is_known_slows_nobody_and_is_an_alert_in_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        watch, heard = watcher(world)
        watch.hear(Event("auth.succeeded", world.now(), {"account": "alice", "client": "203.0.113.9"}))
        for number in range(20):
            watch.failed("alice", f"elsewhere {number}", ip_address(f"192.0.2.{number}"))
        assert watch.failed("alice", "a slip", OUTSIDE) == 0
        assert watch.failed("alice", "a slip", ip_address("192.0.2.200")) > 0
        guess(watch, OUTSIDE, 50)
        assert not watch.known("alice", OUTSIDE)
        assert heard.alerts == ["somebody guesses the password of an account from an address where it logged in lately"]


@in_loop
async def test_a_spray_is_an_alert_and_a_ban_of_all_who_take_part(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        watch, heard = watcher(world)
        for number in range(10):
            watch.failed(f"user{number}", "Winter2026!", ip_address(f"11.{number}.0.1"))
        assert len(await rows(world)) == 10
        assert heard.alerts == ["somebody tries the same passwords at many accounts"]


@in_loop
async def test_without_automatic_bans_only_commands_ban(tmp_path: Path) -> None:
    async with opened(tmp_path, "[bans]\nautomatic = false\n") as world:
        watch, _ = watcher(world)
        guess(watch, OUTSIDE, 100)
        assert await rows(world) == {}


@in_loop
async def test_probing_for_recipients_is_banned_and_other_refusals_are_not(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        watch, _ = watcher(world)
        for _ in range(40):
            watch.refused("header size", OUTSIDE)
        assert world.bans.until(OUTSIDE, world.now()) is None
        for rule in ("relay", "foreign on mx", "recipient known") * 12:
            watch.refused(rule, OUTSIDE)
        assert world.bans.until(OUTSIDE, world.now()) is not None


@in_loop
async def test_the_helper_hears_what_has_changed_and_everything_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await commands.add(world, {"network": "203.0.113.9"})
        first = (await commands.changes(world, {})).data
        assert (first["whole"], first["bans"]) == (True, {"203.0.113.9/32": 0.0})
        assert {"127.0.0.0/8", "::1/128"} <= set(first["allowed"])
        asked = {"run": first["run"], "version": first["version"]}
        assert (await commands.changes(world, asked)).data["bans"] == {}
        await commands.add(world, {"network": "203.0.113.10", "seconds": 60})
        await commands.remove(world, {"network": "203.0.113.9"})
        then = (await commands.changes(world, asked)).data
        assert (then["whole"], set(then["bans"]), then["lifted"]) == (False, {"203.0.113.10/32"}, ["203.0.113.9/32"])
    async with opened(tmp_path) as world:
        again = (await commands.changes(world, asked)).data
        assert (again["whole"], set(again["bans"])) == (True, {"203.0.113.10/32"})


@in_loop
async def test_what_a_stranger_calls_itself_is_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        watch, _ = watcher(world)
        for number in range(8):
            watch.failed("x" * 100_000 + str(number), "p", OUTSIDE)
        assert watch.failed("y" * 100_000, None, OUTSIDE) == 0
