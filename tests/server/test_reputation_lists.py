"""Which lists can be trusted: none untested, none that lists everybody, none that refuses to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from postlatch.journal.counters import Counters
from postlatch.model.events import Event, JsonValue
from postlatch.senderauth.reputation.dnsbl import DnsList, ListAnswer, Said
from postlatch.senderauth.reputation.score import Asked
from postlatch.server.reputation_lists import DAILY, HOURLY, ListHealth
from postlatch.testing.dns import FakeResolver

NOW = 1_767_225_600.0
BL = DnsList("bl.example", 5)
GOOD = {"2.0.0.127.bl.example": {"A": ["127.0.0.2"]}}
ERROR = Asked(BL, ListAnswer(Said.ERROR, "198.51.100.7", ("127.255.255.254",), why="bl.example answers 127.255.255.254"))


class Watched:
    """The health of one list, and what was told of it."""

    def __init__(self, zone: Mapping[str, Any]) -> None:
        self.zone = dict(zone)
        self.alerts: list[str] = []
        self.events: list[Event] = []
        self.count = Counters()
        self.use(self.zone)

    def use(self, zone: Mapping[str, Any]) -> None:
        self.resolver = FakeResolver(zone)
        if not hasattr(self, "health"):
            self.health = ListHealth(self.resolver, self.events.append, self.alert, self.count)
            self.health.use([BL])
        self.health._resolver = self.resolver

    def alert(self, sentence: str, _fields: Mapping[str, JsonValue]) -> None:
        self.alerts.append(sentence)

    def look(self, now: float) -> list[DnsList]:
        asyncio.run(self.health.look(now))
        return self.health.usable()


def test_a_list_counts_only_after_its_test() -> None:
    watched = Watched(GOOD)
    assert watched.health.usable() == []
    assert watched.health.why_not(BL) == "not tested yet"
    assert watched.look(NOW) == [BL]
    assert watched.alerts == []


def test_a_list_that_lists_everybody_is_switched_off_with_one_alert_a_day_and_comes_back() -> None:
    watched = Watched(GOOD)
    watched.look(NOW)
    watched.use({**GOOD, "1.0.0.127.bl.example": {"A": ["127.0.0.2"]}})
    assert watched.look(NOW + HOURLY) == [BL], "it is tested once a day"
    assert watched.look(NOW + DAILY) == []
    assert watched.look(NOW + DAILY + HOURLY) == []
    assert watched.alerts == ["the DNS list bl.example cannot be used: it is not asked until it can"]
    watched.use(GOOD)
    assert watched.look(NOW + DAILY + 2 * HOURLY) == [BL]
    assert [event.name for event in watched.events] == ["list.disabled", "list.enabled"]


def test_an_error_code_in_an_answer_switches_it_off_until_it_is_tested() -> None:
    watched = Watched(GOOD)
    watched.look(NOW)
    watched.health.note([ERROR, ERROR], NOW + 1)
    assert watched.health.usable() == []
    assert "127.255.255.254" in watched.health.why_not(BL)
    assert len(watched.alerts) == 1
    assert watched.count.total("postlatch_dns_list_answers_total", "bl.example") == 2
    assert watched.look(NOW + 1 + HOURLY) == [BL]
    watched.health.note([ERROR], NOW + 2 + HOURLY)
    assert len(watched.alerts) == 1, "once a day"


def test_a_dns_that_does_not_answer_changes_nothing() -> None:
    watched = Watched({"2.0.0.127.bl.example": {"A": "SERVFAIL"}})
    assert watched.look(NOW) == []
    watched.use(GOOD)
    assert watched.look(NOW + 60) == [BL]
    watched.use({"2.0.0.127.bl.example": {"A": "TIMEOUT"}})
    assert watched.look(NOW + 60 + DAILY) == [BL]
    assert watched.alerts == []


def test_a_reload_keeps_what_is_known_of_lists_that_stay() -> None:
    watched = Watched(GOOD)
    watched.look(NOW)
    watched.health.use([BL, DnsList("other.example", 1)])
    assert watched.health.usable() == [BL]
