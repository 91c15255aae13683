"""The pure side of overload: caps, admission, stress, who makes room, mail in flight, deadlines. Time is a number."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from postlatch.model.envelope import Role
from postlatch.server.admission import Admission, Shed, Ticket
from postlatch.server.caps import Cap, Caps, Machine, OverloadRules, derive
from postlatch.server.deadlines import Deadlines, Late
from postlatch.server.flight import Flight
from postlatch.server.overload import CALM_SECONDS, LATE_SECONDS, Facts, Stress, decide, excess, victims
from postlatch.testing.clock import FakeClock

RULES = OverloadRules()
SMALL = Caps(Cap(10, 8), Cap(5, 4), Cap(1_000_000, 800_000), Cap(5, 4))
GIB = 2**30


# Caps


def test_the_caps_leave_descriptors_for_delivery_and_for_every_body_that_may_become_a_file() -> None:
    for descriptors in (64, 256, 1024, 20_000, 1_000_000):
        caps = derive(RULES, Machine(descriptors, 64 * GIB), deliveries=100)
        ours = min(descriptors // 2, 96 + 200)
        assert caps.connections.most + caps.bodies.most + ours <= descriptors
        assert caps.connections.most >= descriptors // 4


def test_memory_caps_what_descriptors_would_allow() -> None:
    caps = derive(RULES, Machine(1_000_000, GIB), deliveries=100)
    assert caps.connections.most == GIB // 4 // (16 * 1024)
    assert 1000 < caps.tls.most < 2000
    assert caps.octets.most == GIB // 8


def test_a_configured_number_holds_but_never_beyond_the_descriptors() -> None:
    rules = OverloadRules(connections=5000, tls_sessions=100, memory=50_000_000, reserve=10)
    caps = derive(rules, Machine(20_000, GIB), deliveries=100)
    assert (caps.connections, caps.tls, caps.octets) == (Cap(5000, 4500), Cap(100, 90), Cap(50_000_000, 45_000_000))
    assert derive(rules, Machine(1024, GIB), deliveries=100).connections.most < 1024


# Admission


def enter(admission: Admission, address: str, role: Role = Role.MX, *, client: int = 100, network: int = 100) -> Ticket | Shed:
    return admission.admit(role.value, role, ip_address(address), client=client, network=network)


def test_strangers_cannot_take_the_reserve_and_it_serves_everybody_else() -> None:
    admission = Admission(SMALL)
    answers = [enter(admission, f"192.0.2.{n}") for n in range(9)]
    assert [isinstance(answer, Ticket) for answer in answers] == [True] * 8 + [False]
    refused = answers[-1]
    assert isinstance(refused, Shed)
    assert (refused.reason, str(refused.reply)) == ("listener", "421 4.3.2 too many connections here, try again later")
    assert isinstance(enter(admission, "198.51.100.1", Role.SUBMISSION), Ticket)
    assert isinstance(enter(admission, "198.51.100.1", Role.RELAY), Ticket)
    last = enter(admission, "198.51.100.1", Role.SUBMISSION)
    assert isinstance(last, Shed)
    assert last.reason == "total"


def test_two_mx_listeners_share_what_strangers_get() -> None:
    admission = Admission(SMALL)
    for n in range(8):
        assert isinstance(admission.admit(f"mx{n % 2}", Role.MX, ip_address("192.0.2.1"), client=99, network=99), Ticket)
    refused = admission.admit("mx0", Role.MX, ip_address("192.0.2.1"), client=99, network=99)
    assert isinstance(refused, Shed)
    assert refused.reason == "strangers"


@pytest.mark.parametrize(
    ("first", "same", "reason"),
    [
        ("192.0.2.7", "192.0.2.7", "client"),
        ("::ffff:192.0.2.7", "192.0.2.7", "client"),
        ("192.0.2.7", "192.0.2.8", "network"),
        ("2001:db8::1", "2001:db8::2", "client"),  # one /64 is one client
        ("2001:db8:0:1::1", "2001:db8:0:2::1", "network"),  # of one /48
    ],
)
def test_a_client_and_its_network_have_caps_of_their_own(first: str, same: str, reason: str) -> None:
    admission = Admission(SMALL)
    ticket = enter(admission, first, client=1, network=1 if reason == "network" else 9)
    assert isinstance(ticket, Ticket)
    refused = enter(admission, same, client=1, network=1 if reason == "network" else 9)
    assert isinstance(refused, Shed)
    assert (refused.reason, refused.reply.code, refused.reply.enhanced, refused.rule) == (
        reason,
        421,
        "4.7.0",
        "connection limit",
    )
    admission.release(ticket)
    admission.release(ticket)  # twice is once
    assert isinstance(enter(admission, same, client=1, network=1), Ticket)
    assert admission.open == 1


def test_tls_sessions_are_capped_by_themselves_and_given_back_with_the_ticket() -> None:
    admission = Admission(SMALL)
    strangers = [enter(admission, f"192.0.2.{n}") for n in range(5)]
    assert all(isinstance(ticket, Ticket) for ticket in strangers)
    answers = [admission.take_tls(ticket) for ticket in strangers if isinstance(ticket, Ticket)]
    assert [answer is None for answer in answers] == [True] * 4 + [False]
    user = enter(admission, "198.51.100.1", Role.SUBMISSION)
    assert isinstance(user, Ticket)
    assert admission.take_tls(user) is None
    assert admission.tls == 5
    for ticket in [*strangers, user]:
        assert isinstance(ticket, Ticket)
        admission.release(ticket)
    assert (admission.open, admission.tls, admission.strangers, admission.fullest()) == (0, 0, 0, 0.0)


# Stress

CALM = Facts(0.1, 0.1, 0.1, 0.01)


def test_stress_begins_at_the_high_mark_says_why_and_ends_only_after_a_calm_while_below_the_low_one() -> None:
    clock = FakeClock()
    state, whys = Stress(), []
    timeline = [*[0.79] * 2, 0.80, *[0.7] * 5, *[0.59] * 5, 0.61, *[0.59] * 11]
    for share in timeline:
        decision = decide(RULES, state, CALM._replace(connections=share), clock.monotonic())
        state = decision.state
        if decision.why:
            whys.append((decision.why, state.active))
        clock.advance(1)
    assert whys == [("80% of the connections are in use", True), ("all is well again after 22 seconds", False)]
    assert clock.monotonic() - 1000 == len(timeline)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (CALM._replace(connections=0.9), "90% of the connections are in use"),
        (CALM._replace(tls=0.85), "85% of the TLS sessions are in use"),
        (CALM._replace(memory=1.2), "120% of the memory are in use"),
        (CALM, ""),
        (CALM._replace(connections=0.79, tls=0.79, memory=0.79), ""),
    ],
)
def test_each_cap_alone_brings_stress(facts: Facts, why: str) -> None:
    decision = decide(RULES, Stress(), facts, 5.0)
    assert (decision.why, decision.state.active) == (why, bool(why))


def test_a_late_loop_brings_stress_only_if_it_stays_late() -> None:
    state = Stress()
    for lags, active in (((0.6, 0.6, 0.1), False), ((0.6,) * LATE_SECONDS, True)):
        for number, lag in enumerate(lags):
            state = decide(RULES, state, CALM._replace(lag=lag), float(number)).state
        assert state.active is active


def test_stress_holds_while_the_loop_is_late_though_nothing_is_full() -> None:
    state = Stress(since=0.0)
    for second in range(1, 60):
        state = decide(RULES, state, CALM._replace(lag=0.6), float(second)).state
    assert state.active
    for second in range(60, 62 + int(CALM_SECONDS)):
        state = decide(RULES, state, CALM, float(second)).state
    assert not state.active


@dataclass
class Somebody:
    """A candidate."""

    idle_since: float
    vouched: bool = False


def test_the_longest_idle_go_first_and_those_with_a_recipient_last() -> None:
    people = [Somebody(50), Somebody(10, vouched=True), Somebody(30), Somebody(99.5), Somebody(40)]
    assert [person.idle_since for person in victims(people, 3, now=100.0)] == [30, 40, 50]
    assert [person.idle_since for person in victims(people, 9, now=100.0)] == [30, 40, 50, 10]
    assert victims(people, 0, now=100.0) == []


def test_only_what_is_above_the_mark_must_go() -> None:
    assert [excess(used, 1000, 80) for used in (0, 800, 801, 1000)] == [0, 0, 1, 200]


# Mail in flight


def test_mail_beyond_the_budget_waits_and_comes_in_when_there_is_room() -> None:
    flight = Flight(SMALL, uncommitted=2)
    first = flight.begin(200_000, stranger=True)
    second = flight.begin(200_000, stranger=True)
    third = flight.begin(200_000, stranger=True)
    assert flight.shortage(0, stranger=True) == ""
    assert flight.shortage(250_000, stranger=True) == "600000 octets of mail are in memory, of 1000000"
    assert flight.shortage(250_000, stranger=False) == ""  # the reserve
    for held in (first, second, third):
        flight.end(held)
    assert (flight.octets, flight.bodies, flight.shortage(250_000, stranger=True)) == (0, 0, "")


def test_a_body_counts_what_is_in_memory_and_nearly_nothing_once_it_is_a_file() -> None:
    flight = Flight(SMALL, uncommitted=2)
    held = flight.begin(0, stranger=True)
    for octets, counted in ((4096, 16_384), (100_000, 100_000), (262_144, 262_144), (262_145, 16_384), (50_000_000, 16_384)):
        assert flight.grow(held, octets)
        assert flight.octets == counted
    flight.end(held)
    assert flight.octets == 0


def test_strangers_whose_bodies_outgrow_the_budget_are_cut_off_and_users_are_not() -> None:
    flight = Flight(Caps(SMALL.connections, SMALL.tls, Cap(400_000, 300_000), Cap(100, 80)), uncommitted=2)
    strangers = [flight.begin(0, stranger=True) for _ in range(3)]
    user = flight.begin(0, stranger=False)
    assert [flight.grow(held, 200_000) for held in strangers] == [True, True, False]
    assert flight.grow(user, 200_000)


def test_so_many_bodies_at_once_and_so_many_uncommitted() -> None:
    flight = Flight(SMALL, uncommitted=2)
    bodies = [flight.begin(0, stranger=True) for _ in range(4)]
    assert flight.shortage(0, stranger=True) == "4 messages are being received at once, of 5"
    assert flight.shortage(0, stranger=False) == ""
    for held in bodies[:2]:
        assert flight.backlog == ""
        flight.commit(held)
    assert flight.backlog == "2 messages wait for the disk"
    for held in bodies:
        flight.end(held)
    assert (flight.backlog, flight.committing, flight.fullest()) == ("", 0, 0.0)


# Deadlines


@dataclass
class Peer:
    """What is looked at of a connection."""

    started: float = 0.0
    last_read: float = 0.0
    body_started: float = 0.0
    body_octets: int = 0
    in_body: bool = False
    in_transaction: bool = False


def look(deadlines: Deadlines, peer: Peer, now: float, *, hurried: bool = False) -> Late | None:
    return deadlines.look(peer, now, idle=15 if hurried else 300, total=3600, rate=500, hurried=hurried)


@pytest.mark.parametrize(
    ("peer", "now", "hurried", "late"),
    [
        (Peer(), 300, False, None),
        (Peer(), 301, False, Late.IDLE),
        (Peer(), 15, True, None),
        (Peer(), 16, True, Late.IDLE),
        (Peer(last_read=3600), 3601, False, Late.TOTAL),
        (Peer(last_read=3600, in_transaction=True), 3601, False, None),
        (Peer(last_read=7200, in_transaction=True), 7201, False, Late.TOTAL),
    ],
)
def test_idle_and_endless_sessions_are_late(peer: Peer, now: float, hurried: bool, late: Late | None) -> None:
    assert look(Deadlines(), peer, now, hurried=hurried) is late


def test_a_body_must_keep_its_pace_in_every_window_and_cannot_live_on_a_quick_start() -> None:
    deadlines, peer = Deadlines(), Peer(body_started=100.0, in_body=True, in_transaction=True)
    pace = [2_000_000] + [600] * 60 + [499] * 40
    late: list[float] = []
    for second, octets in enumerate(pace, start=101):
        peer.body_octets += octets
        peer.last_read = second
        if look(deadlines, peer, float(second)) is Late.SLOW_BODY:
            late.append(second)
    assert late == [193]  # the first window with nothing quick in it: 31 seconds at 499


def test_the_windows_are_shorter_under_stress() -> None:
    deadlines, peer = Deadlines(), Peer(last_read=5.0, in_body=True, in_transaction=True, body_octets=4000)
    assert look(deadlines, peer, 10.0, hurried=True) is None
    assert look(deadlines, peer, 11.0, hurried=True) is Late.SLOW_BODY


def test_a_wait_for_us_is_no_delay_of_the_client() -> None:
    deadlines, peer = Deadlines(), Peer(in_body=True, in_transaction=True)
    for second in range(0, 500, 10):
        deadlines.excuse(peer, float(second))
        assert look(deadlines, peer, second + 9.0) is None


def test_a_client_that_reads_nothing_is_cut_off_and_so_is_one_that_does_not_let_go() -> None:
    deadlines, peer = Deadlines(), Peer(last_read=1000)
    deadlines.deaf_since = 1000.0
    assert look(deadlines, peer, 1060.0) is None
    assert look(deadlines, peer, 1061.0) is Late.SLOW_READER
    deadlines.closed_at = 1061.0
    assert look(deadlines, peer, 1071.0) is None
    assert look(deadlines, peer, 1072.0) is Late.LINGERS
