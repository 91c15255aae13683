from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest

from postlatch.delivery.config import DeliveryConfig, parse_route
from postlatch.delivery.contract import Target, TlsPolicy
from postlatch.delivery.guard import OwnAddresses
from postlatch.delivery.hosts import AVOID, PARKED_AFTER, RESTS
from postlatch.delivery.mx import RoutingFailed
from postlatch.delivery.pace import Bounds
from postlatch.delivery.routes import Hop, UseMx
from postlatch.delivery.targets import KEEP, MAX_TARGETS, AllParked, Targets
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver, Zone

ZONE: Zone = {
    "dest.example": {"MX": ["10 a.example", "20 b.example"]},
    "a.example": {"A": ["8.8.1.1"]},
    "b.example": {"A": ["8.8.2.2"]},
    "hub.example": {"A": ["10.0.0.5"], "AAAA": ["fd00::5"]},
    "farm.example": {"A": [f"10.0.1.{number}" for number in range(1, 30)]},
    "self.example": {"A": ["127.0.0.1"]},
    "broken.example": {"A": "SERVFAIL"},
}
CONFIG = DeliveryConfig(
    "mx.example.com",
    own=OwnAddresses(listeners=frozenset({(ip_address("127.0.0.1"), 25)})),
    tls=TlsPolicy.REQUIRED,
)


class Fixture:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.dns = FakeResolver(ZONE)
        self.targets = Targets(self.dns, self.clock, Random(1))
        self.config = CONFIG

    def of(self, hop: Hop) -> list[Target]:
        return list(asyncio.run(self.targets.of(self.config, hop)))

    def addresses(self, hop: Hop) -> list[str]:
        return [target.address for target in self.of(hop)]


def test_mail_hosts_become_targets_with_their_names_and_the_tls_of_the_configuration() -> None:
    assert Fixture().of(UseMx("dest.example")) == [
        Target("8.8.1.1", 25, "a.example", tls=TlsPolicy.REQUIRED, connections=20),
        Target("8.8.2.2", 25, "b.example", tls=TlsPolicy.REQUIRED, connections=20),
    ]


def test_a_numeric_route_asks_no_dns() -> None:
    fixture = Fixture()
    route = parse_route("smtp://10.0.0.5:587", tls=TlsPolicy.VERIFY, username="me", password="secret")
    expected = Target("10.0.0.5", 587, "10.0.0.5", tls=TlsPolicy.VERIFY, username="me", password="secret", connections=20)
    assert fixture.of(route) == [expected]
    assert fixture.of(parse_route("smtp://[fd00::7]:25"))[0].address == "fd00::7"
    assert fixture.dns.queries == []


def test_a_socket_is_a_target_by_its_path() -> None:
    assert Fixture().of(parse_route("lmtp+unix:///run/lmtp")) == [Target(path="/run/lmtp", lmtp=True)]


def test_a_route_by_name_uses_its_addresses_and_not_its_mx() -> None:
    fixture = Fixture()
    assert fixture.of(parse_route("lmtp://hub.example:24")) == [
        Target("10.0.0.5", 24, "hub.example", lmtp=True, connections=20),
        Target("fd00::5", 24, "hub.example", lmtp=True, connections=20),
    ]
    assert ("hub.example", "MX") not in fixture.dns.queries


@pytest.mark.parametrize("text", ["smtp://missing.example:25", "smtp://broken.example:25", "smtp://self.example:25"])
def test_a_route_that_leads_nowhere_is_a_fault_of_ours_and_bounces_nothing(text: str) -> None:
    with pytest.raises(RoutingFailed) as failed:
        Fixture().of(parse_route(text))
    assert failed.value.reply.temporary


def test_a_route_to_our_own_listener_is_refused() -> None:
    with pytest.raises(RoutingFailed, match="leads back"):
        Fixture().of(parse_route("smtp://127.0.0.1:25"))
    assert Fixture().addresses(parse_route("lmtp://127.0.0.1:24")) == ["127.0.0.1"]


def test_what_was_found_is_kept_for_a_minute() -> None:
    fixture = Fixture()
    fixture.of(UseMx("dest.example"))
    asked = len(fixture.dns.queries)
    fixture.clock.advance(KEEP - 1)
    fixture.of(UseMx("dest.example"))
    assert len(fixture.dns.queries) == asked
    fixture.clock.advance(2)
    fixture.of(UseMx("dest.example"))
    assert len(fixture.dns.queries) == 2 * asked


def test_a_new_configuration_asks_anew() -> None:
    fixture = Fixture()
    fixture.of(UseMx("dest.example"))
    fixture.config = replace(CONFIG, tls=TlsPolicy.VERIFY)
    assert {target.tls for target in fixture.of(UseMx("dest.example"))} == {TlsPolicy.VERIFY}


HOP = UseMx("dest.example")


def test_a_target_that_failed_comes_last_until_it_works_or_time_passes() -> None:
    fixture = Fixture()
    first, second = fixture.of(HOP)
    fixture.targets.failed(HOP, first, "connect timed out")
    assert fixture.addresses(HOP) == [second.address, first.address]
    fixture.targets.worked(first)
    assert fixture.addresses(HOP) == [first.address, second.address]
    fixture.targets.failed(HOP, first, "connect timed out")
    fixture.clock.advance(AVOID + RESTS[0])
    assert fixture.addresses(HOP) == [first.address, second.address]


def _park(fixture: Fixture, hop: Hop, target: Target) -> None:
    for rest in RESTS[:PARKED_AFTER]:
        fixture.targets.failed(hop, target, "connect timed out")
        fixture.clock.advance(rest)
    fixture.clock.advance(-RESTS[PARKED_AFTER - 1])


def test_a_parked_target_is_not_tried_while_another_host_of_the_domain_answers() -> None:
    fixture = Fixture()
    first, second = fixture.of(HOP)
    _park(fixture, HOP, first)
    assert fixture.addresses(HOP) == [second.address]


def test_when_all_are_parked_nothing_is_tried_and_then_by_one_alone() -> None:
    fixture = Fixture()
    for target in fixture.of(HOP):
        _park(fixture, HOP, target)
    with pytest.raises(AllParked) as parked:
        fixture.of(HOP)
    assert parked.value.reply == "connect timed out"
    fixture.clock.advance(parked.value.until - fixture.clock.monotonic())
    [probed] = fixture.of(HOP)
    with pytest.raises(AllParked) as parked:
        fixture.of(HOP)  # the first who came has it alone
    fixture.targets.worked(probed)
    assert probed in fixture.of(HOP)


def test_a_host_that_is_dead_for_one_domain_is_dead_for_all() -> None:
    fixture = Fixture()
    fixture.targets = Targets(
        FakeResolver({"one.example": {"MX": ["10 a.example"]}, "two.example": {"MX": ["10 a.example"]}, **ZONE}),
        fixture.clock,
        Random(1),
    )
    [target] = fixture.of(UseMx("one.example"))
    _park(fixture, UseMx("one.example"), target)
    with pytest.raises(AllParked):
        fixture.of(UseMx("two.example"))


def test_an_operator_can_pardon_what_is_parked() -> None:
    fixture = Fixture()
    for target in fixture.of(HOP):
        _park(fixture, HOP, target)
    fixture.targets.pardon()
    assert len(fixture.of(HOP)) == 2


def test_a_callout_asks_a_parked_host_all_the_same() -> None:
    fixture = Fixture()
    fixture.targets = Targets(fixture.dns, fixture.clock, Random(1), parks=False)
    for target in fixture.of(HOP):
        _park(fixture, HOP, target)
    assert len(fixture.of(HOP)) == 2


def test_one_attempt_tries_a_handful_of_addresses_and_prefers_those_that_answer() -> None:
    fixture = Fixture()
    farm = parse_route("smtp://farm.example:25")
    tried = fixture.of(farm)
    assert len(tried) == MAX_TARGETS
    for target in tried:
        fixture.targets.failed(farm, target, "connect timed out")
    assert not set(fixture.of(farm)) & set(tried)


def test_a_destination_of_its_own_bounds_tells_its_targets() -> None:
    fixture = Fixture()
    fixture.config = replace(CONFIG, destinations={"dest.example": Bounds(most=3, per_connection=10)})
    assert {(target.connections, target.per_connection) for target in fixture.of(HOP)} == {(3, 10)}
