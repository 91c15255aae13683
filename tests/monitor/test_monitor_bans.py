"""How long a ban lasts, who is known where, and who is never banned (RELIABILITY case 48)."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from postlatch.monitor.allow import AllowList
from postlatch.monitor.known import KnownClients, Login
from postlatch.monitor.sentences import Sentence, sentence
from postlatch.monitor.thresholds import Thresholds

RULES = Thresholds()
HOME = ip_network("198.51.100.7")
WEEK = 7 * 86_400.0


def always(_login: str, _generation: int) -> bool:
    return True


def lengths(pauses: list[float]) -> list[float]:
    """The lengths of bans, each ``pause`` after the end of the one before."""
    passed: Sentence | None = None
    found, now = [], 0.0
    for pause in pauses:
        now = (passed.until if passed is not None else 0.0) + pause
        passed = sentence(passed, now, RULES)
        found.append(passed.until - now)
    return found


def test_bans_double_from_half_an_hour_up_to_a_week() -> None:
    assert lengths([1.0] * 12) == [1800.0 * 2**n for n in range(9)] + [WEEK] * 3


def test_a_week_of_peace_forgives_one_ban_and_a_long_peace_all() -> None:
    assert lengths([0.0, 0.0, 0.0, WEEK]) == [1800.0, 3600.0, 7200.0, 7200.0]
    assert lengths([0.0, 0.0, 0.0, 4 * WEEK]) == [1800.0, 3600.0, 7200.0, 1800.0]


def test_a_lapsed_ban_is_kept_as_long_as_it_counts() -> None:
    passed = sentence(Sentence(0.0, 3, 0.0), 1.0, RULES)
    assert sentence(passed, passed.forget_at - 1.0, RULES).strikes > 1
    assert sentence(passed, passed.forget_at, RULES).strikes == 1


def test_who_logged_in_is_known_there_until_the_time_is_over_or_the_password_is_another() -> None:
    generations = {"alice": 1}
    known = KnownClients(100.0, lambda login, generation: generations.get(login) == generation)
    known.saw("alice", HOME, 1, 0.0)
    assert known.knows("alice", HOME, 99.0)
    assert not known.knows("alice", HOME, 100.0)
    assert not known.knows("bob", HOME, 1.0)
    generations["alice"] = 2
    assert not known.knows("alice", HOME, 1.0)
    assert known.inside(ip_network("198.51.100.0/24"), 1.0) is None


@pytest.mark.parametrize("network", ["198.51.100.7/32", "198.51.100.0/24", "198.51.0.0/16", "198.51.100.4/30"])
def test_who_is_known_is_found_inside_every_network_around(network: str) -> None:
    known = KnownClients(100.0, always)
    known.saw("alice", HOME, 1, 0.0)
    assert known.inside(ip_network(network), 1.0) == "alice"
    assert known.inside(ip_network("203.0.113.0/24"), 1.0) is None


def test_an_address_inside_a_known_64_is_known() -> None:
    known = KnownClients(100.0, always)
    known.saw("alice", ip_network("2001:db8::/64"), 1, 0.0)
    assert known.inside(ip_network("2001:db8::5/128"), 1.0) == "alice"
    assert known.inside(ip_network("2001:db8::/48"), 1.0) == "alice"
    assert known.inside(ip_network("2001:db8:0:1::/64"), 1.0) is None


def test_what_is_known_is_bounded_kept_hourly_and_forgotten_with_its_account() -> None:
    known = KnownClients(1e9, always, most=3)
    for number in range(5):
        known.saw(f"user{number}", HOME, 1, float(number))
    assert len(known) == 3
    assert {entry.login for entry in known.unsaved()} == {"user2", "user3", "user4"}
    known.saw("user4", HOME, 1, 100.0)
    assert known.unsaved() == []
    known.saw("user4", HOME, 1, 4000.0)
    assert known.unsaved() == [Login("user4", HOME, 1, 4000.0)]
    known.forget("user4")
    assert not known.knows("user4", HOME, 4001.0)
    assert known.at(HOME, 4001.0) == "user2"


def test_a_ban_that_would_hit_us_a_proxy_an_administrator_or_a_user_is_refused_with_the_reason() -> None:
    known = KnownClients(100.0, always)
    known.saw("alice", HOME, 1, 0.0)
    allow = AllowList(known, [ip_address("192.0.2.1")], [ip_network("10.0.0.0/30")], [ip_network("203.0.113.4")])
    cases = {
        "127.0.0.0/8": "an address of this machine itself",
        "192.0.2.0/24": "192.0.2.1, an address of this machine itself",
        "10.0.0.1/32": "10.0.0.0/30, a proxy of ours",
        "203.0.113.4/32": "203.0.113.4, an address that the configuration never bans",
        "198.51.100.0/24": "'alice' logged in from there lately",
    }
    for network, words in cases.items():
        assert words in str(allow.refusal(ip_network(network), 1.0))
    assert allow.refusal(ip_network("198.51.101.0/24"), 1.0) is None
    assert allow.refusal(ip_network("198.51.100.0/24"), 200.0) is None
    assert allow.covers(ip_address("198.51.100.7"), 1.0)
    assert not allow.covers(ip_address("198.51.100.8"), 1.0)
    allow.renew([ip_address("198.51.100.8")])
    assert allow.covers(ip_address("198.51.100.8"), 1.0)
    assert not allow.covers(ip_address("192.0.2.1"), 1.0)
