from __future__ import annotations

import asyncio
from ipaddress import ip_address
from random import Random

import pytest

from postlatch.delivery.guard import OwnAddresses
from postlatch.delivery.mx import MAX_HOSTS, MailHost, RoutingFailed, mail_hosts
from postlatch.model.reply import Reply
from postlatch.testing.dns import FakeResolver, Zone

OWN = OwnAddresses(hosts=frozenset({ip_address("93.184.216.34")}), listeners=frozenset({(ip_address("0.0.0.0"), 25)}))
HOSTS: Zone = {
    "a.example": {"A": ["8.8.1.1"]},
    "b.example": {"A": ["8.8.2.2"]},
    "c.example": {"A": ["8.8.3.3"]},
    "us.example": {"A": ["93.184.216.34"]},
    "inside.example": {"A": ["10.0.0.1"], "AAAA": ["fd00::1"]},
    "mixed.example": {"A": ["127.0.0.1", "8.8.4.4"]},
    "empty.example": {"TXT": ["nothing here"]},
    "broken.example": {"A": "SERVFAIL", "AAAA": "SERVFAIL"},
    "slow.example": {"A": "TIMEOUT", "AAAA": "TIMEOUT"},
    "six.example": {"AAAA": ["2600::1", "2600::2"], "A": ["8.8.5.5"]},
    "mx.ours.example": {"A": ["8.8.9.9"]},
}


def find(zone: Zone, domain: str = "dest.example", seed: int = 1) -> list[MailHost]:
    resolver = FakeResolver({**HOSTS, **zone})
    return asyncio.run(mail_hosts(resolver, domain, hostname="mx.ours.example", own=OWN, random=Random(seed)))


def names(*mx: str, seed: int = 1) -> list[str]:
    return [host.name for host in find({"dest.example": {"MX": list(mx)}}, seed=seed)]


def refusal(zone: Zone, domain: str = "dest.example") -> Reply:
    with pytest.raises(RoutingFailed) as failed:
        find(zone, domain)
    return failed.value.reply


def test_hosts_come_by_preference() -> None:
    assert names("30 c.example", "10 a.example", "20 b.example") == ["a.example", "b.example", "c.example"]


def test_hosts_of_equal_preference_share_the_load() -> None:
    firsts = {names("10 a.example", "10 b.example", "20 c.example", seed=seed)[0] for seed in range(20)}
    assert firsts == {"a.example", "b.example"}


def test_a_domain_without_mx_is_its_own_mail_host() -> None:
    assert find({"dest.example": {"A": ["8.8.7.7"]}}) == [MailHost("dest.example", (ip_address("8.8.7.7"),))]


def test_the_address_families_take_turns() -> None:
    [host] = find({"dest.example": {"MX": ["10 six.example"]}})
    assert [address.version for address in host.addresses] == [6, 4, 6]


def test_a_cname_is_followed() -> None:
    zone: Zone = {"dest.example": {"CNAME": "real.example"}, "real.example": {"MX": ["10 a.example"]}}
    assert [host.name for host in find(zone)] == ["a.example"]


@pytest.mark.parametrize(
    ("mx", "reply"),
    [
        (["0 ."], "556 5.1.10"),
        (["10 ."], "556 5.1.10"),
        (["0 .", "5 ."], "556 5.1.10"),
        (["10 missing.example"], "550 5.4.4"),
        (["10 empty.example"], "550 5.4.4"),
        (["10 inside.example"], "550 5.4.4"),
        (["10 inside.example", "20 missing.example"], "550 5.4.4"),
        (["10 us.example"], "550 5.4.6"),
        (["10 mx.ours.example"], "550 5.4.6"),
        (["10 us.example", "10 a.example", "20 b.example"], "550 5.4.6"),
        (["10 broken.example"], "451 4.4.3"),
        (["10 slow.example", "20 missing.example"], "451 4.4.3"),
        (["10 broken.example", "20 inside.example"], "451 4.4.3"),
        (["5 broken.example", "10 us.example"], "451 4.4.3"),
    ],
)
def test_why_there_is_no_host(mx: list[str], reply: str) -> None:
    assert str(refusal({"dest.example": {"MX": mx}})).startswith(reply)


@pytest.mark.parametrize(
    ("zone", "reply"),
    [
        ({}, "550 5.1.2"),
        ({"dest.example": {}}, "550 5.1.2"),
        ({"dest.example": {"A": ["192.168.1.1"]}}, "550 5.4.4"),
        ({"dest.example": {"A": ["93.184.216.34"]}}, "550 5.4.6"),
        ({"dest.example": {"A": ["127.0.0.1"]}}, "550 5.4.6"),
        ({"dest.example": {"MX": "SERVFAIL"}}, "451 4.4.3"),
        ({"dest.example": {"MX": "TIMEOUT"}}, "451 4.4.3"),
        ({"dest.example": {"A": "SERVFAIL"}}, "451 4.4.3"),
        ({"dest.example": {"CNAME": "loop.example"}, "loop.example": {"CNAME": "dest.example"}}, "451 4.4.3"),
        ({"dest.example": {"CNAME": "missing.example"}}, "550 5.1.2"),
    ],
)
def test_what_a_domain_without_usable_records_comes_to(zone: Zone, reply: str) -> None:
    assert str(refusal(zone)).startswith(reply)


def test_a_failing_mx_lookup_is_never_taken_for_no_mx() -> None:
    assert refusal({"dest.example": {"MX": "SERVFAIL", "A": ["8.8.7.7"]}}).temporary


def test_a_null_mx_beside_others_is_ignored() -> None:
    assert names("0 .", "10 a.example") == ["a.example"]


def test_this_host_ends_the_list() -> None:
    assert names("10 a.example", "20 us.example", "20 b.example", "30 c.example") == ["a.example"]
    assert names("10 a.example", "20 mx.ours.example", "30 c.example") == ["a.example"]


def test_a_host_that_fails_does_not_keep_mail_from_the_others() -> None:
    assert names("10 broken.example", "20 inside.example", "30 missing.example", "40 a.example") == ["a.example"]


def test_a_private_address_beside_a_public_one_is_left_out() -> None:
    zone: Zone = {"dest.example": {"MX": ["10 half.example"]}, "half.example": {"A": ["10.9.9.9", "8.8.4.4"]}}
    assert find(zone) == [MailHost("half.example", (ip_address("8.8.4.4"),))]


def test_a_host_with_a_loopback_address_is_us() -> None:
    assert refusal({"dest.example": {"MX": ["10 mixed.example"]}}).enhanced == "5.4.6"


def test_a_thousand_mail_hosts_are_not_all_looked_up() -> None:
    resolver = FakeResolver({**HOSTS, "dest.example": {"MX": [f"10 h{number}.example" for number in range(1000)]}})
    with pytest.raises(RoutingFailed):
        asyncio.run(mail_hosts(resolver, "dest.example", hostname="mx.ours.example", own=OWN, random=Random(1)))
    assert len({name for name, _ in resolver.queries}) == MAX_HOSTS + 1


def test_an_address_literal_is_connected_to_directly() -> None:
    assert find({}, "[8.8.4.4]") == [MailHost("8.8.4.4", (ip_address("8.8.4.4"),))]
    assert find({}, "[IPv6:2600::5]") == [MailHost("2600::5", (ip_address("2600::5"),))]


@pytest.mark.parametrize(
    ("literal", "enhanced"),
    [
        ("[10.0.0.1]", "5.4.4"),
        ("[169.254.169.254]", "5.4.4"),
        ("[IPv6:fd00::1]", "5.4.4"),
        ("[127.0.0.1]", "5.4.6"),
        ("[IPv6:::1]", "5.4.6"),
        ("[93.184.216.34]", "5.4.6"),
        ("[IPv6:::ffff:127.0.0.1]", "5.4.6"),
    ],
)
def test_an_address_literal_does_not_lead_inside(literal: str, enhanced: str) -> None:
    assert refusal({}, literal).enhanced == enhanced
