from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest

from postlatch.delivery.config import DeliveryConfig, parse_route
from postlatch.delivery.contract import Target, TlsPolicy
from postlatch.delivery.guard import OwnAddresses
from postlatch.delivery.mx import RoutingFailed
from postlatch.delivery.routes import Hop, UseMx
from postlatch.delivery.targets import AVOID, KEEP, MAX_TARGETS, Targets
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
        Target("8.8.1.1", 25, "a.example", tls=TlsPolicy.REQUIRED),
        Target("8.8.2.2", 25, "b.example", tls=TlsPolicy.REQUIRED),
    ]


def test_a_numeric_route_asks_no_dns() -> None:
    fixture = Fixture()
    route = parse_route("smtp://10.0.0.5:587", tls=TlsPolicy.VERIFY, username="me", password="secret")
    assert fixture.of(route) == [Target("10.0.0.5", 587, "10.0.0.5", tls=TlsPolicy.VERIFY, username="me", password="secret")]
    assert fixture.of(parse_route("smtp://[fd00::7]:25"))[0].address == "fd00::7"
    assert fixture.dns.queries == []


def test_a_socket_is_a_target_by_its_path() -> None:
    assert Fixture().of(parse_route("lmtp+unix:///run/lmtp")) == [Target(path="/run/lmtp", lmtp=True)]


def test_a_route_by_name_uses_its_addresses_and_not_its_mx() -> None:
    fixture = Fixture()
    assert fixture.of(parse_route("lmtp://hub.example:24")) == [
        Target("10.0.0.5", 24, "hub.example", lmtp=True),
        Target("fd00::5", 24, "hub.example", lmtp=True),
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


def test_a_target_that_failed_comes_last_until_it_works_or_time_passes() -> None:
    fixture = Fixture()
    first, second = fixture.of(UseMx("dest.example"))
    fixture.targets.failed(first)
    assert fixture.addresses(UseMx("dest.example")) == [second.address, first.address]
    fixture.targets.worked(first)
    assert fixture.addresses(UseMx("dest.example")) == [first.address, second.address]
    fixture.targets.failed(first)
    fixture.clock.advance(AVOID)
    assert fixture.addresses(UseMx("dest.example")) == [first.address, second.address]


def test_one_attempt_tries_a_handful_of_addresses_and_prefers_those_that_answer() -> None:
    fixture = Fixture()
    farm = parse_route("smtp://farm.example:25")
    tried = fixture.of(farm)
    assert len(tried) == MAX_TARGETS
    for target in tried:
        fixture.targets.failed(target)
    assert not set(fixture.of(farm)) & set(tried)
