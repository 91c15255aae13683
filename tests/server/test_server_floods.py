"""Floods of refusals are folded, and every one is counted exactly once (DESIGN section 4, Journal)."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.journal.counters import Counters
from postlatch.model.events import EVENTS, Event
from postlatch.model.reply import Reply
from postlatch.model.verdict import Defer, Refuse
from postlatch.server.floods import SAMPLE_SIZE, FloodGate, everybody, prefix_of, wider
from postlatch.server.refusals import tell
from postlatch.server.refused import Refusals
from postlatch.server.services import Services
from postlatch.testing.clock import FakeClock

REPLY = Reply(550, "5.7.1", "Relaying denied")


class Desk:
    """What ``tell`` needs, and what came of it."""

    def __init__(self, gate: FloodGate) -> None:
        self.clock = FakeClock()
        self.counters = Counters()
        self.events: list[Event] = []
        self.refusals = Refusals()
        self.refusals.floods = gate
        parts = {"clock": self.clock, "record": self.events.append, "count": self.counters, "refusals": self.refusals}
        self.services = cast("Services", SimpleNamespace(**parts))

    def refuse(self, client: str, rule: str = "relay", name: str = "recipient.refused", *, listener: str = "mx") -> None:
        facts: dict[str, Any] = {"listener": listener, "client": client, "helo": "h", "account": "", "sender": "a@b.example"}
        tell(self.services, name, Refuse(REPLY, rule, "no right"), facts)

    def defer(self, client: str) -> None:
        tell(
            self.services,
            "sender.refused",
            Defer(Reply(451, "4.3.0", "Later"), "store", "down"),
            {"listener": "mx", "client": client},
        )

    def flush(self) -> None:
        self.events += self.refusals.floods.flush()

    def told(self) -> Counter[tuple[str, str, str]]:
        """How many refusals there were by listener, event and rule, as the journal has it."""
        found: Counter[tuple[str, str, str]] = Counter()
        for event in self.events:
            fields = cast("dict[str, Any]", event.fields)
            name, count = (fields["refusal"], fields["count"]) if event.name == "refusals.aggregated" else (event.name, 1)
            found[fields["listener"], name, fields["rule"]] += count
        return found


_refusal = st.tuples(
    st.sampled_from(["mx", "relay"]),
    st.one_of(
        st.builds("{}.{}.{}.{}".format, *[st.integers(0, 3)] * 4),
        st.builds("2001:db8:{:x}:{:x}::{:x}".format, *[st.integers(0, 3)] * 3),
    ),
    st.sampled_from(["relay", "syntax", "limit"]),
    st.sampled_from(["connection.refused", "sender.refused", "recipient.refused", "message.refused"]),
    st.integers(1, 12),  # how often in a row
    st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.3, 1.0, 5.0]),  # seconds until the next
    st.booleans(),  # flushed then?
)


@given(st.lists(_refusal, max_size=120), st.integers(0, 6), st.integers(1, 5), st.integers(1, 4))
def test_what_is_told_and_what_is_folded_add_up_to_every_refusal(
    refusals: list[tuple[str, str, str, str, int, float, bool]], limit: int, prefixes: int, folds: int
) -> None:
    desk = Desk(FloodGate(limit, prefixes, folds))
    expected: Counter[tuple[str, str, str]] = Counter()
    for listener, client, rule, name, times, pause, flushed in refusals:
        for _ in range(times):
            desk.refuse(client, rule, name, listener=listener)
        expected[listener, name, rule] += times
        desk.clock.advance(pause)
        if flushed:
            desk.flush()
    desk.flush()
    assert desk.told() == expected
    counted: Counter[str] = Counter()
    for (_, _, rule), count in expected.items():
        counted[rule] += count
    assert desk.refusals.counts == dict(counted)
    metrics = sum(sample["value"] for sample in desk.counters.snapshot())
    assert metrics == expected.total()
    assert all(event.name in EVENTS for event in desk.events)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=300), st.integers(1, 5), st.integers(1, 5))
def test_memory_is_bounded_whoever_takes_part(addresses: list[int], prefixes: int, folds: int) -> None:
    gate = FloodGate(0, prefixes, folds)
    for number, address in enumerate(addresses):
        client = f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"
        gate.folds("sender.refused", "refuse", "relay", {"listener": "mx", "client": client}, float(number), 1.0)
    events = gate.flush()
    assert len(events) <= 2 * folds + 1
    assert sum(cast("int", event.fields["count"]) for event in events) == len(addresses)


def test_up_to_the_limit_each_refusal_is_told_by_itself() -> None:
    desk = Desk(FloodGate())
    for number in range(1000):
        desk.refuse(f"192.0.2.{number % 250}")
    desk.flush()
    assert [event.name for event in desk.events] == ["recipient.refused"] * 1000
    desk.refuse("192.0.2.1")
    desk.refuse("198.51.100.1")
    desk.flush()
    assert [event.name for event in desk.events[1000:]] == ["recipient.refused", "refusals.aggregated"]
    assert desk.events[1000].fields["client"] == "198.51.100.1", "the neighbour of a flood is told as ever"


def test_an_aggregate_says_who_what_when_and_how_often() -> None:
    desk = Desk(FloodGate(limit=2))
    begin = desk.clock.now()
    for number in range(7):
        desk.refuse(f"2001:db8::{number}")
        desk.clock.advance(0.1)
    desk.flush()
    aggregate = desk.events[-1]
    sample = aggregate.fields["sample"]
    assert dict(aggregate.fields) | {"sample": None} == {
        "listener": "mx",
        "client": "2001:db8::/64",
        "refusal": "recipient.refused",
        "verdict": "refuse",
        "rule": "relay",
        "count": 5,
        "first_at": pytest.approx(begin + 0.2),
        "last_at": pytest.approx(begin + 0.6),
        "sample": None,
    }
    assert isinstance(sample, list)
    assert [json.loads(str(text))["client"] for text in sample] == ["2001:db8::2", "2001:db8::3", "2001:db8::4"]


def test_a_flood_stays_folded_until_a_second_passes_below_the_limit() -> None:
    desk = Desk(FloodGate(limit=2))
    for expected in (2, 2, 2, 3):  # told one by one: the first two, none in the second second, then none, then as ever
        for _ in range(3 if expected == 2 and desk.clock.monotonic() < 1001.5 else 1):
            desk.refuse("192.0.2.1")
        assert len(desk.events) == expected
        desk.clock.advance(1)
    desk.flush()
    assert desk.told().total() == 3 + 3 + 1 + 1


def test_after_a_pause_a_flood_of_before_is_forgotten() -> None:
    desk = Desk(FloodGate(limit=2))
    for _ in range(9):
        desk.refuse("192.0.2.1")
    desk.clock.advance(3600)
    desk.refuse("192.0.2.1")
    assert [event.name for event in desk.events] == ["recipient.refused"] * 3


def test_deferrals_are_folded_too_and_say_so() -> None:
    desk = Desk(FloodGate(limit=1))
    for _ in range(4):
        desk.defer("192.0.2.1")
    desk.flush()
    assert [(e.name, e.fields["verdict"]) for e in desk.events] == [
        ("sender.refused", "defer"),
        ("refusals.aggregated", "defer"),
    ]
    assert desk.events[1].fields["count"] == 3


def test_a_clock_that_jumps_changes_no_count() -> None:
    desk = Desk(FloodGate(limit=2))
    for seconds in (0, -86_400, 86_400, 1e6, -1e6):
        desk.clock.jump(seconds)
        for _ in range(3):
            desk.refuse("192.0.2.1")
    desk.flush()
    assert desk.told().total() == 15
    assert len(desk.events) == 3


def test_what_a_client_said_stays_escaped_and_short_in_a_sample() -> None:
    gate = FloodGate(limit=0)
    facts = {"listener": "mx", "client": "192.0.2.1", "helo": "\r\n\x1b[2J\u202e" * 500}
    gate.folds("sender.refused", "refuse", "relay", facts, 1.0, 1.0)
    [text] = cast("list[str]", gate.flush()[0].fields["sample"])
    assert len(text) == SAMPLE_SIZE
    assert text.isascii()
    assert text.isprintable()


def test_prefixes_are_those_of_one_client_and_widen_to_everybody() -> None:
    assert [prefix_of("198.51.100.7"), wider("198.51.100.0/24"), everybody("198.51.100.0/24")] == [
        "198.51.100.0/24",
        "198.51.0.0/16",
        "0.0.0.0/0",
    ]
    assert [prefix_of("2001:db8:1:2:3::4"), wider("2001:db8:1:2::/64"), everybody("2001:db8:1:2::/64")] == [
        "2001:db8:1:2::/64",
        "2001:db8:1::/48",
        "::/0",
    ]
