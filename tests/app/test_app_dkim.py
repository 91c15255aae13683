"""The life of signing keys, from keygen to gone, with a clock and a DNS of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from postlatch.app.answer import CommandError
from postlatch.app.dkim import DkimKeys
from postlatch.app.dkim_files import path_of
from postlatch.app.dkim_life import DAY, SETTLE, new_selector, problem
from postlatch.app.dkim_servers import Ask, look
from postlatch.app.dkim_watch import DkimWatch
from postlatch.app.world import World, open_world
from postlatch.delivery.signing import DomainKeys
from postlatch.journal import read as journal
from postlatch.model.dns import DnsError
from postlatch.model.envelope import IPAddress
from postlatch.model.events import JsonValue
from postlatch.settings.load import load_text
from postlatch.store.dkim_keys import StoredKey
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

CONFIG = """
hostname = "mx.example.com"
data_dir = "data"

[[listeners]]
name = "mx"
address = "127.0.0.1:0"
role = "mx"

[domains."example.com"]
deliver = "maildir:data/mail"
recipients = ["alice"]

[domains."mail.example.org"]
deliver = "maildir:data/mail"
recipients = ["alice"]
"""
KEEP = 15 * DAY  # outbound.max_age and dkim.valid, as they are by default
SERVERS = {"192.0.2.1": "ns1.dns.example", "192.0.2.2": "ns2.dns.example"}

Records = dict[str, dict[str, Any]]


class Silent(FakeResolver):
    """A server that does not answer."""

    async def txt(self, name: str) -> list[bytes]:
        raise DnsError(f"no answer for {name}", temporary=True)


class Dns:
    """Two name servers for both zones, each with records of its own; ``down`` do not answer."""

    def __init__(self) -> None:
        self.servers: dict[str, Records] = {address: {} for address in SERVERS}
        self.down: set[str] = set()
        self.asked: list[str] = []
        names = sorted(SERVERS.values())
        zone: Records = {name: {"A": [address]} for address, name in SERVERS.items()}
        self.resolver = FakeResolver(
            {**zone, "example.com": {"NS": names}, "example.org": {"NS": names}, "mail.example.org": {}}
        )

    def ask(self, address: IPAddress) -> FakeResolver:
        self.asked.append(str(address))
        records = self.servers[str(address)]
        if str(address) in self.down:
            return Silent({})
        return FakeResolver(records)

    def publish(self, key: StoredKey, *addresses: str) -> None:
        for address in addresses or SERVERS:
            self.servers[address][key.name] = {"TXT": [key.record]}

    def remove(self, key: StoredKey) -> None:
        for records in self.servers.values():
            del records[key.name]


class Bench:
    """Keys with everything around them."""

    def __init__(self, world: World, clock: FakeClock) -> None:
        self.world, self.clock, self.dns = world, clock, Dns()
        self.used: Mapping[str, DomainKeys] = {}
        self.alerts: list[tuple[str, Mapping[str, JsonValue]]] = []
        self.keys = DkimKeys(world, self.dns.resolver, self.dns.ask, self._use)
        self.watch = DkimWatch(world, self.keys, lambda text, fields: self.alerts.append((text, fields)))

    def _use(self, keys: Mapping[str, DomainKeys], valid: float) -> None:
        assert valid == 10 * DAY
        self.used = keys

    @property
    def states(self) -> dict[str, str]:
        return {key.selector: key.state for key in self.keys.rows}

    @property
    def signing(self) -> list[str]:
        return sorted(key.selector for found in self.used.values() for key in found.usable)

    @property
    def told(self) -> list[str]:
        return [text for text, _ in self.alerts]

    def settings(self, **dkim: Any) -> None:
        chosen = self.world.settings.dkim.model_copy(update=dkim)
        self.world.settings = self.world.settings.model_copy(update={"dkim": chosen})

    async def minutes(self, number: int = 1) -> None:
        for _ in range(number):
            self.clock.advance(60)
            await self.watch.every_minute()

    async def days(self, number: float) -> None:
        self.clock.advance(number * DAY - 60)
        await self.minutes()

    async def activated(self, domain: str = "example.com") -> list[StoredKey]:
        made = await self.keys.make(domain, "root")
        for key in made:
            self.dns.publish(key)
        await self.minutes(2)
        assert {self.states[key.selector] for key in made} == {"active"}
        return [key for key in self.keys.rows if key.domain == domain]

    async def events(self) -> list[tuple[str, str]]:
        """Names and selectors, from the journal."""
        found = await self.world.reader.read(lambda connection: journal.read(connection, 0, 1000))
        return [(one["event"], one["selector"]) for one in found if one["event"].startswith("dkim.")]


@asynccontextmanager
async def _bench(folder: Path, config: str = CONFIG) -> AsyncIterator[Bench]:
    """A world in a folder, with a clock of ours."""
    settings = load_text(config, folder / "postlatch.toml")
    settings.data_dir.mkdir(exist_ok=True)
    world = await open_world(settings, serving=False)
    try:
        world.policy.install(world.policy.candidate(), starting=True)
        clock = FakeClock()
        found = Bench(replace(world, clock=clock), clock)
        await found.keys.load()
        yield found
    finally:
        await world.close()


def on_a_loop(test: Callable[[Bench], Awaitable[None]]) -> Callable[[Path], None]:
    """Run a test that awaits, with a bench of its own."""

    @wraps(test)
    def run(tmp_path: Path) -> None:
        async def whole() -> None:
            async with _bench(tmp_path) as found:
                await test(found)

        asyncio.run(whole())

    del run.__wrapped__  # pytest would look there for the fixtures
    return run


# Made


@on_a_loop
async def test_keygen_makes_a_key_of_each_algorithm_and_none_signs_before_it_is_published(bench: Bench) -> None:
    made = await bench.keys.make("example.com", "root")
    assert [(key.algorithm, key.state) for key in made] == [("ed25519", "new"), ("rsa", "new")]
    assert [key.selector for key in made] == ["pl20260101e", "pl20260101r"]
    assert made[0].name == "pl20260101e._domainkey.example.com"
    assert all(key.record.startswith(f"v=DKIM1; k={key.algorithm}; p=") for key in made)
    await bench.minutes(3)
    assert set(bench.states.values()) == {"new"}
    assert bench.signing == []
    assert await bench.events() == [("dkim.key_made", "pl20260101e"), ("dkim.key_made", "pl20260101r")]


@on_a_loop
async def test_private_keys_are_files_that_nobody_else_can_read(bench: Bench) -> None:
    for key in await bench.keys.make("example.com", "root"):
        path = path_of(bench.world.settings.data_dir, key.domain, key.selector)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
        assert {folder.stat().st_mode & 0o777 for folder in (path.parent, path.parent.parent)} == {0o700}
        assert {entry.suffix for entry in path.parent.iterdir()} == {".pem"}, "nothing else is left there"


@on_a_loop
async def test_keygen_twice_says_what_there_is(bench: Bench) -> None:
    await bench.keys.make("example.com", "root")
    with pytest.raises(CommandError, match=r"has keys already: pl20260101e \(ed25519, new\), .*dkim rotate example.com"):
        await bench.keys.make("example.com", "root")
    with pytest.raises(CommandError, match="has keys that wait for their publication already"):
        await bench.keys.make("example.com", "root", rotate=True)


@on_a_loop
async def test_keys_are_made_for_our_own_domains_only(bench: Bench) -> None:
    for domain in ("elsewhere.example", "sub.example.com"):
        with pytest.raises(CommandError, match=f"{domain} is not one of our domains"):
            await bench.keys.make(domain, "root")
    assert not (bench.world.settings.data_dir / "dkim").exists()


@on_a_loop
async def test_an_algorithm_that_is_added_to_the_settings_gets_its_key_by_keygen(bench: Bench) -> None:
    bench.settings(algorithms=("rsa",))
    assert [key.algorithm for key in await bench.keys.make("example.com", "root")] == ["rsa"]
    bench.settings(algorithms=("ed25519", "rsa"))
    assert [key.algorithm for key in await bench.keys.make("example.com", "root")] == ["ed25519"]


@on_a_loop
async def test_a_file_that_a_crash_has_left_is_never_overwritten(bench: Bench) -> None:
    left = path_of(bench.world.settings.data_dir, "example.com", "pl20260101e")
    left.parent.mkdir(parents=True)
    left.write_text("of a key whose row was never written")
    made = await bench.keys.make("example.com", "root")
    assert [key.selector for key in made] == ["pl20260101e2", "pl20260101r"]
    assert left.read_text() == "of a key whose row was never written"


def test_selectors_of_one_day_have_numbers() -> None:
    taken: set[str] = set()
    for _ in range(3):
        taken.add(new_selector(taken, "rsa", 1_795_000_000.0))
    assert taken == {"pl20261118r", "pl20261118r2", "pl20261118r3"}


# Published


@on_a_loop
async def test_a_key_signs_once_all_name_servers_have_it_and_a_minute_has_passed(bench: Bench) -> None:
    made = await bench.keys.make("example.com", "root")
    bench.dns.publish(made[0], "192.0.2.1")
    await bench.minutes(2)
    assert bench.states["pl20260101e"] == "new", "one server of two has it"
    bench.dns.publish(made[0], "192.0.2.2")
    await bench.minutes()
    assert bench.states == {"pl20260101e": "published", "pl20260101r": "new"}
    assert bench.signing == []
    await bench.minutes()
    assert bench.states == {"pl20260101e": "active", "pl20260101r": "new"}
    assert bench.signing == ["pl20260101e"]
    assert [name for name, _ in await bench.events()][2:] == ["dkim.key_seen", "dkim.key_active"]


@on_a_loop
async def test_two_looks_in_one_minute_are_one(bench: Bench) -> None:
    for key in await bench.keys.make("example.com", "root"):
        bench.dns.publish(key)
    for _ in range(3):
        await bench.keys.look(all_waiting=True)
        assert set(bench.states.values()) == {"published"}
    bench.clock.advance(SETTLE)
    await bench.keys.look(all_waiting=True)
    assert set(bench.states.values()) == {"active"}


@on_a_loop
async def test_a_record_that_goes_away_again_takes_the_key_back_to_new(bench: Bench) -> None:
    made = await bench.keys.make("example.com", "root")
    for key in made:
        bench.dns.publish(key)
    await bench.minutes()
    bench.dns.servers["192.0.2.2"].clear()
    await bench.minutes()
    assert set(bench.states.values()) == {"new"}
    assert bench.signing == []


@on_a_loop
async def test_a_server_that_is_silent_changes_nothing(bench: Bench) -> None:
    for key in await bench.keys.make("example.com", "root"):
        bench.dns.publish(key)
    bench.dns.down.add("192.0.2.2")
    await bench.minutes(2)
    assert set(bench.states.values()) == {"new"}
    bench.dns.down.clear()
    await bench.minutes()
    bench.dns.down.add("192.0.2.2")
    await bench.minutes()
    assert set(bench.states.values()) == {"published"}


@on_a_loop
async def test_the_servers_are_asked_each_minute_at_first_and_less_often_later(bench: Bench) -> None:
    await bench.keys.make("example.com", "root")

    async def asked(minutes: int) -> int:
        bench.dns.asked.clear()
        await bench.minutes(minutes)
        return len(bench.dns.asked) // 4  # two servers, two keys

    assert await asked(30) == 30
    await bench.minutes(40)
    assert await asked(60) == 6
    await bench.days(1)
    assert await asked(120) == 2


@on_a_loop
async def test_the_zone_is_that_of_the_nearest_name_servers_above(bench: Bench) -> None:
    """mail.example.org is in the zone example.org."""
    await bench.activated("mail.example.org")
    assert [found.usable[0].domain for found in bench.used.values()] == ["mail.example.org"]


def looked(zone: Records, servers: Mapping[str, Records], record: str = "v=DKIM1; k=rsa; p=AAAA") -> Any:
    ask: Ask = lambda address: FakeResolver(servers[str(address)])  # noqa: E731
    return asyncio.run(look(FakeResolver(zone), ask, "s._domainkey.a.example", record))


def test_a_zone_of_its_own_for_the_keys_is_asked_at_its_own_servers() -> None:
    zone: Records = {
        "_domainkey.a.example": {"NS": ["ns.keys.example."]},
        "a.example": {"NS": ["ns.a.example."]},
        "ns.keys.example": {"A": ["192.0.2.9"]},
    }
    key = {"s._domainkey.a.example": {"TXT": ["v=DKIM1; p=AAAA"]}}
    assert looked(zone, {"192.0.2.9": key}).seen


def test_an_alias_is_followed_to_the_servers_of_its_target_and_not_in_a_circle() -> None:
    zone: Records = {
        "a.example": {"NS": ["ns.a.example."]},
        "b.example": {"NS": ["ns.b.example."]},
        "ns.a.example": {"A": ["192.0.2.1"]},
        "ns.b.example": {"A": ["192.0.2.2"]},
    }

    class Stub(FakeResolver):
        """A server that knows its own zone only: it tells the alias and no more."""

        async def txt(self, name: str) -> list[bytes]:
            return [text.encode() for text in self._zone.get(name, {}).get("TXT", [])]

        async def records(self, name: str, kind: str) -> list[str]:
            return list(self._zone.get(name, {}).get(kind, []))

    def seen(there: Records) -> bool:
        mine = {"s._domainkey.a.example": {"CNAME": ["k.b.example."]}}
        servers = {"192.0.2.1": Stub(mine), "192.0.2.2": Stub(there)}
        found = look(
            FakeResolver(zone), lambda address: servers[str(address)], "s._domainkey.a.example", "v=DKIM1; k=rsa; p=AAAA"
        )
        return asyncio.run(found).seen

    assert seen({"k.b.example": {"TXT": ["v=DKIM1; k=rsa; p=AAAA"]}})
    assert not seen({})
    assert not seen({"k.b.example": {"CNAME": ["s._domainkey.a.example."]}})


def test_one_address_of_a_server_is_enough_but_none_may_say_something_else() -> None:
    zone: Records = {"a.example": {"NS": ["ns.a.example."]}, "ns.a.example": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]}}
    right: Records = {"s._domainkey.a.example": {"TXT": ["v=DKIM1; k=rsa; p=AAAA"]}}
    silent: Records = {"s._domainkey.a.example": {"TXT": "TIMEOUT"}}
    assert looked(zone, {"192.0.2.1": right, "2001:db8::1": silent}).seen
    assert not looked(zone, {"192.0.2.1": right, "2001:db8::1": {}}).seen
    nobody = looked(zone, {"192.0.2.1": silent, "2001:db8::1": silent})
    assert (nobody.seen, nobody.sure) == (False, False)
    assert not looked({}, {}).sure, "without name servers nothing is certain"


@pytest.mark.parametrize(
    "published",
    [
        ["v=DKIM1; k=rsa; p=AAAA"],
        ["p=AA AA ; k = rsa;v=DKIM1"],
        ["v=DKIM1; p=AAAA; s=email; h=sha256; t=s; n=ours"],
    ],
)
def test_a_record_may_be_written_in_other_ways(published: list[str]) -> None:
    assert problem([text.encode() for text in published], "v=DKIM1; k=rsa; p=AAAA") == ""


@pytest.mark.parametrize(
    ("published", "why"),
    [
        ([], "has no record"),
        (["v=DKIM1; k=rsa; p=AAAA", "v=spf1 -all"], "has 2 TXT records where there must be one"),
        (["v=DKIM1; k=rsa; p=AAAB"], "has another record"),
        (["v=DKIM1; k=ed25519; p=AAAA"], "has another record"),
        (["v=DKIM2; k=rsa; p=AAAA"], "has another record"),
        (["v=DKIM1; k=rsa; p=AAAB; p=AAAA"], "has another record"),
        (["\xff\x00;;;=;p"], "has another record"),
        (["v=DKIM1; k=rsa; p="], "says that the key is revoked"),
        (["v=DKIM1; k=rsa; h=sha1; p=AAAA"], "has a record that does not permit our signatures"),
        (["v=DKIM1; k=rsa; s=tlsrpt; p=AAAA"], "has a record that does not permit our signatures"),
        (["v=DKIM1; k=rsa; t=y:s; p=AAAA"], "has a record in test mode (t=y)"),
    ],
)
def test_any_other_record_is_not_this_key(published: list[str], why: str) -> None:
    assert problem([text.encode("latin-1") for text in published], "v=DKIM1; k=rsa; p=AAAA") == why


# Replaced


@on_a_loop
async def test_a_rotation_goes_on_signing_with_the_old_key_until_the_new_one_is_everywhere(bench: Bench) -> None:
    old = await bench.activated()
    await bench.days(30)
    new = await bench.keys.make("example.com", "root", rotate=True)
    await bench.minutes(5)
    assert bench.signing == ["pl20260101e", "pl20260101r"]
    bench.dns.publish(new[1])
    await bench.minutes(2)
    assert bench.signing == ["pl20260101e", "pl20260131r"], "each algorithm by itself"
    bench.dns.publish(new[0])
    await bench.minutes(2)
    assert bench.signing == ["pl20260131e", "pl20260131r"]
    assert {bench.states[key.selector] for key in old} == {"retired"}
    assert ("dkim.key_retired", "pl20260101r") in await bench.events()


@on_a_loop
async def test_the_record_of_a_retired_key_stays_until_nothing_it_signed_holds(bench: Bench) -> None:
    old = await bench.activated()
    for key in await bench.keys.make("example.com", "root", rotate=True):
        bench.dns.publish(key)
    await bench.minutes(2)
    paths = [path_of(bench.world.settings.data_dir, key.domain, key.selector) for key in old]
    await bench.days(14.9)
    assert {bench.states[key.selector] for key in old} == {"retired"}
    assert all(path.exists() for path in paths)
    await bench.days(0.2)
    assert {bench.states[key.selector] for key in old} == {"removable"}
    assert not any(path.exists() for path in paths)
    await bench.days(2)
    assert {bench.states.get(key.selector) for key in old} == {"removable"}, "its record is still there"
    for key in old:
        bench.dns.remove(key)
    await bench.days(2)
    assert not {key.selector for key in old} & bench.states.keys()
    assert bench.told == []
    assert ("dkim.key_removed", old[0].selector) in await bench.events()


@on_a_loop
async def test_the_calendar_rotates_and_says_so_until_it_is_published(bench: Bench) -> None:
    await bench.activated()
    bench.settings(rotate=int(90 * DAY))
    await bench.days(89.9)
    assert len(bench.keys.rows) == 2
    await bench.days(0.2)
    assert sorted(bench.states.values()) == ["active", "active", "new", "new"]
    assert bench.told == ["a new signing key waits for its publication in the DNS"] * 2
    await bench.minutes(10)
    assert len(bench.keys.rows) == 4
    assert len(bench.told) == 2
    await bench.days(1)
    assert len(bench.told) == 4
    for key in bench.keys.rows:
        bench.dns.publish(key)
    await bench.minutes(61)
    assert sorted(bench.states.values()) == ["active", "active", "retired", "retired"]
    await bench.days(1)
    assert len(bench.told) == 4


@on_a_loop
async def test_a_key_that_was_made_by_command_is_reminded_of_after_a_day(bench: Bench) -> None:
    await bench.keys.make("example.com", "root")
    await bench.minutes(10)
    assert bench.told == []
    await bench.days(1)
    assert bench.told == ["a new signing key waits for its publication in the DNS"] * 2


@on_a_loop
async def test_a_record_that_is_missing_or_wrong_is_told_once_a_day(bench: Bench) -> None:
    made = await bench.activated()
    await bench.days(1)
    assert bench.told == []
    bench.dns.servers["192.0.2.2"][made[1].name] = {"TXT": ["v=spf1 -all"]}
    await bench.days(1)
    [(text, fields)] = bench.alerts
    assert text == "the record of a signing key is missing or wrong in the DNS"
    assert fields["why"] == "the name server ns2.dns.example has another record"
    assert fields["selector"] == made[1].selector
    await bench.minutes(30)
    assert len(bench.alerts) == 1
    await bench.days(1)
    assert len(bench.alerts) == 2
    assert bench.signing == ["pl20260101e", "pl20260101r"]


# Lost


@on_a_loop
async def test_a_domain_signs_with_the_key_that_it_has_left(bench: Bench) -> None:
    made = await bench.activated()
    path_of(bench.world.settings.data_dir, "example.com", made[0].selector).unlink()
    await _restart(bench)
    assert bench.signing == [made[1].selector]
    assert "is missing" in bench.keys.lost[made[0].name]


@pytest.mark.parametrize("harm", ["missing", "garbage", "open to others", "another key"])
def test_a_file_that_cannot_be_used_is_a_loss_that_heals(tmp_path: Path, harm: str) -> None:
    async def whole() -> None:
        async with _bench(tmp_path) as bench:
            await _harmed(bench, harm)

    asyncio.run(whole())


async def _harmed(bench: Bench, harm: str) -> None:
    made = await bench.activated()
    paths = [path_of(bench.world.settings.data_dir, key.domain, key.selector) for key in made]
    before = [path.read_bytes() for path in paths]
    for path, other in zip(paths, reversed(before), strict=True):
        if harm == "missing":
            path.unlink()
        elif harm == "open to others":
            path.chmod(0o644)
        else:
            path.write_bytes(b"-----BEGIN\xff" if harm == "garbage" else other)
    await _restart(bench)
    assert bench.signing == []
    assert bench.used["example.com"].lost.startswith(str(paths[0]))
    for path, content in zip(paths, before, strict=True):
        path.write_bytes(content)
        path.chmod(0o600)
    await bench.minutes()
    assert bench.signing == [key.selector for key in made]
    assert bench.keys.lost == {}


@on_a_loop
async def test_keygen_takes_the_place_of_lost_keys(bench: Bench) -> None:
    made = await bench.activated()
    for key in made:
        path_of(bench.world.settings.data_dir, key.domain, key.selector).unlink()
    new = await bench.keys.make("example.com", "root")
    assert {bench.states[key.selector] for key in made} == {"retired"}
    assert [key.selector for key in new] == ["pl20260101e2", "pl20260101r2"]
    assert bench.used == {}, "nothing waits for keys that will not come back"


async def _restart(bench: Bench) -> None:
    bench.keys = DkimKeys(bench.world, bench.dns.resolver, bench.dns.ask, bench._use)
    bench.watch = DkimWatch(bench.world, bench.keys, lambda text, fields: bench.alerts.append((text, fields)))
    await bench.keys.load()


# The settings


@on_a_loop
async def test_the_settings_of_now_decide_who_signs(bench: Bench) -> None:
    await bench.activated()
    bench.settings(algorithms=("rsa",))
    await bench.keys.refresh()
    assert bench.signing == ["pl20260101r"]
    bench.settings(sign=False)
    await bench.keys.refresh()
    assert bench.used == {}
    bench.settings(sign=True, algorithms=("ed25519", "rsa"))
    await bench.keys.refresh()
    assert bench.signing == ["pl20260101e", "pl20260101r"]


@on_a_loop
async def test_what_is_read_back_from_the_database_is_what_was_written(bench: Bench) -> None:
    await bench.activated()
    before = list(bench.keys.rows)
    await _restart(bench)
    assert bench.keys.rows == before
    assert bench.signing == ["pl20260101e", "pl20260101r"]
