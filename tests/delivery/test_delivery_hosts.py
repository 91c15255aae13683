from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.admission import BURST, FLOOR, MOST, START, Admission
from postlatch.delivery.hosts import AVOID, LEASE, LONGEST, PARKED_AFTER, RESTS, Health, Hosts, after_failure, rest_of
from postlatch.delivery.outlook import HOPEFUL_WAIT, PROBES, SILENT_HOSTS, SILENT_SECONDS, WAITS, Outlook
from postlatch.delivery.pauses import ALERT_AFTER, ALERT_AGAIN, Pause, Pauses, reply_of


def parked(hosts: Hosts[str], name: str, now: float = 0.0) -> float:
    """Fail until it is parked; when it is."""
    for rest in RESTS[:PARKED_AFTER]:
        hosts.failed(name, now, "connect timed out", 0.0)
        now += rest
    return now - RESTS[PARKED_AFTER - 1]


def test_rests_grow_to_an_hour() -> None:
    assert [rest_of(number, 0.0) for number in range(1, 12)] == [*RESTS, RESTS[-1], RESTS[-1]]
    assert RESTS[-1] == 3600
    assert rest_of(50, 0.0, 300.0) == 300


def test_failures_of_attempts_that_ran_side_by_side_count_once() -> None:
    first = after_failure(None, 100.0, "no", 0.0)
    assert first == Health(1, 101.0, "no")
    assert after_failure(first, 100.5, "no", 0.0) is first
    assert after_failure(first, 101.0, "no", 0.0).failures == 2


@given(st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 1), st.booleans()), max_size=100))
def test_a_rest_is_never_longer_than_an_hour_nor_shorter_than_its_step(steps: list[tuple[float, float, bool]]) -> None:
    health: Health | None = None
    now = 0.0
    for seconds, spread, answers in steps:
        now += seconds
        if answers:
            health = None
            continue
        new = after_failure(health, now, "no", spread)
        if new is not health:
            assert new.failures == (health.failures if health else 0) + 1
            assert 0.79 * min(RESTS[min(new.failures, len(RESTS)) - 1], LONGEST) <= new.until - now <= LONGEST + 0.01
        health = new


def test_after_its_rest_a_parked_host_is_tried_by_one_alone() -> None:
    hosts: Hosts[str] = Hosts()
    now = parked(hosts, "a")
    assert hosts.choose(("a",), now) == ()
    assert hosts.until(("a",)) == (now + RESTS[PARKED_AFTER - 1], "connect timed out")
    now += RESTS[PARKED_AFTER - 1]
    assert hosts.choose(("a",), now) == ("a",)
    assert hosts.choose(("a",), now) == ()
    hosts.failed("a", now + 30, "connect timed out", 0.0)
    assert hosts.until(("a",))[0] == now + 30 + RESTS[PARKED_AFTER]


def test_who_was_given_a_parked_host_and_says_nothing_does_not_keep_it() -> None:
    hosts: Hosts[str] = Hosts()
    now = parked(hosts, "a") + RESTS[PARKED_AFTER - 1]
    assert hosts.choose(("a",), now) == ("a",)
    assert hosts.choose(("a",), now + LEASE) == ("a",)


def test_one_that_answers_is_well_at_once() -> None:
    hosts: Hosts[str] = Hosts()
    parked(hosts, "a")
    hosts.worked("a")
    assert (hosts.choose(("a", "b"), 0.0), len(hosts)) == (("a", "b"), 0)


def test_the_others_come_first_and_a_host_gets_its_place_again_in_time() -> None:
    hosts: Hosts[str] = Hosts()
    hosts.failed("a", 0.0, "no", 0.0)
    assert hosts.choose(("a", "b"), 0.5) == ("b", "a")
    assert hosts.choose(("a", "b"), RESTS[0] + AVOID) == ("a", "b")
    now = parked(hosts, "a", 1000.0)
    assert hosts.choose(("a", "b"), now) == ("b",)


def test_what_is_remembered_is_bounded() -> None:
    hosts: Hosts[int] = Hosts(most=100)
    for number in range(1000):
        hosts.failed(number, 0.0, "no", 0.0)
    assert len(hosts) <= 100


def down(outlook: Outlook) -> bool:
    found = [outlook.silence(f"h{number}", number * 2.0) for number in range(SILENT_HOSTS)]
    assert found[:-1] == [False] * (SILENT_HOSTS - 1)
    return found[-1]


def test_when_many_hosts_are_silent_and_none_answers_the_network_is_down() -> None:
    outlook = Outlook()
    assert down(outlook)
    assert [outlook.down, outlook.answer(), outlook.down, outlook.answer()] == [True, True, False, False]


def test_one_silent_host_is_its_own_trouble_however_often_it_is_tried() -> None:
    outlook = Outlook()
    assert not any(outlook.silence("h", float(number)) for number in range(1000))


def test_silence_of_a_moment_proves_nothing() -> None:
    outlook = Outlook()
    assert not any(outlook.silence(f"h{number}", 0.0) for number in range(100))
    assert outlook.silence("h1", SILENT_SECONDS)


def test_one_answer_in_between_clears_the_network() -> None:
    outlook = Outlook()
    for number in range(100):
        assert not outlook.silence(f"h{number}", float(number))
        if number % (SILENT_HOSTS - 1) == 0:
            outlook.answer()


def test_while_the_network_is_down_a_few_probes_are_made_ever_more_rarely() -> None:
    outlook = Outlook()
    down(outlook)
    now = outlook.down_since
    made = [second for second in range(600) for _ in range(5) if outlook.probe(now + second, hopeful=False)]
    assert len(made) <= PROBES * (len(WAITS) + 600 / WAITS[-1] + 1)
    assert len([second for second in made if second >= 540]) == PROBES


def test_hops_that_have_not_failed_are_probed_steadily() -> None:
    outlook = Outlook()
    down(outlook)
    now = outlook.down_since + 1000
    while outlook.probe(now, hopeful=False):
        pass
    assert [outlook.probe(now + HOPEFUL_WAIT * step, hopeful=True) for step in range(3)] == [True] * 3


def test_a_backlog_is_let_in_at_a_rate_that_doubles_while_it_flows() -> None:
    admission, now, rates = Admission(0.0), 0.0, []
    admission.took(admission.room(now))
    for _ in range(5):
        now += 1.0
        room = admission.room(now)
        rates.append(room)
        admission.took(room)
        for _ in range(room):
            admission.good()
    assert rates == [500, 1000, 2000, 4000, 8000]


@given(st.lists(st.tuples(st.sampled_from(["good", "bad", "stall", "take"]), st.floats(0, 100)), max_size=300))
def test_admission_stays_within_its_bounds(steps: list[tuple[str, float]]) -> None:
    admission, now = Admission(0.0), 0.0
    assert admission.room(0.0) == BURST
    for step, seconds in steps:
        now += seconds
        room = admission.room(now)
        assert 0 <= room <= max(BURST, MOST)
        if step == "take":
            admission.took(room)
        else:
            getattr(admission, step)()
        assert FLOOR <= admission.rate <= MOST
    assert START > FLOOR


def test_a_pause_stops_its_domain_or_its_hop_and_nothing_else() -> None:
    one, two = Pause("a.example", 0.0), Pause("smtp://10.0.0.1:25", 0.0)
    pauses = Pauses([one, two])
    assert pauses.of("a.example", "x") is one
    assert pauses.of("b.example", "smtp://10.0.0.1:25") is two
    assert pauses.of("sub.a.example", "smtp://10.0.0.1:26") is None


def test_an_old_pause_is_told_once_a_day() -> None:
    pauses = Pauses([Pause("a.example", 0.0)])
    assert pauses.forgotten(ALERT_AFTER - 1) == []
    assert len(pauses.forgotten(ALERT_AFTER)) == 1
    assert pauses.forgotten(ALERT_AFTER + 60) == []
    assert len(pauses.forgotten(ALERT_AFTER + ALERT_AGAIN)) == 1


def test_the_reply_of_a_pause_fits_a_row() -> None:
    assert len(reply_of("x" * 1000)) == 500
