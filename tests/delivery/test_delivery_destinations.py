from __future__ import annotations

from delivery_fakes import claim, message, recipient

from postlatch.delivery.config import DeliveryConfig, parse_route
from postlatch.delivery.destinations import DEAD_AFTER, FORGET_AFTER, NEW, PROVEN, SUSPECT, Lane, Lanes, State
from postlatch.delivery.hosts import LONGEST_OF_ROUTE, RESTS
from postlatch.delivery.pace import Bounds, Said
from postlatch.delivery.routes import UseMx
from postlatch.spool.priority import NORMAL

CONFIG = DeliveryConfig("mx.example.com")


def lane(waiting: int = 0) -> Lane:
    made = Lane(UseMx("dest.example"), Bounds(5, 20))
    for number in range(waiting):
        made.line.put(claim(recipient(), message=message(number)), NORMAL)
    return made


def test_concurrency_grows_by_one_with_each_success_up_to_its_most() -> None:
    one = lane()
    for _ in range(100):
        one.succeeded(0.0)
    assert one.limit == 20


def test_after_a_failure_one_message_is_tried_and_then_half_of_what_went_before() -> None:
    one = lane()
    one.failed(0.0, "421 no", one.episode)
    assert one.limit == 1
    one.succeeded(2.0, None)
    assert one.limit == 2


def test_twenty_attempts_that_break_off_together_are_one_failure() -> None:
    one = lane()
    for _ in range(20):
        one.succeeded(0.0)
    began = one.episode
    counted = [one.failed(0.0, "421 no", began) for _ in range(20)]
    assert (counted.count(True), one.failures, one.pace.limit) == (1, 1, 10)


def test_twenty_complaints_about_one_moment_are_one_complaint() -> None:
    one = lane()
    for _ in range(20):
        one.succeeded(0.0)
    began = one.episode
    for _ in range(20):
        one.succeeded(1.0, Said.CROWDED, began)
    assert one.limit == 10


def test_a_hop_that_fails_rests_longer_each_time() -> None:
    one, now = lane(waiting=1), 0.0
    assert RESTS[-1] == 3600
    for rest in (*RESTS, RESTS[-1]):
        one.failed(now, "421 no", one.episode)
        assert one.resting(now + rest - 0.1)
        assert one.next(now + rest - 0.1) is None
        assert not one.wants_worker(now + rest - 0.1)
        now += rest
        assert one.wants_worker(now)


def test_only_a_hop_that_goes_on_failing_is_dead_and_only_while_it_rests() -> None:
    one = lane()
    for number in range(1, DEAD_AFTER + 1):
        one.failed(0.0, "421 no", one.episode)
        assert one.dead(0.1) is (number == DEAD_AFTER)
    assert not one.dead(RESTS[DEAD_AFTER - 1])


def test_one_success_forgets_the_failures() -> None:
    one = lane()
    for _ in range(5):
        one.failed(0.0, "421 no", one.episode)
    one.succeeded(0.0)
    one.failed(1e6, "421 no", one.episode)
    assert one.rest_until == 1e6 + RESTS[0]


def test_a_worker_above_the_limit_ends() -> None:
    one = lane(waiting=3)
    one.running = 5
    assert one.next(0.0) is not None
    one.failed(0.0, "421 no", one.episode)
    assert one.next(RESTS[0]) is None
    one.running = 1
    assert one.next(RESTS[0]) is not None


def test_what_waits_goes_first_come_first_served() -> None:
    one = lane(waiting=3)
    one.running = 1
    taken = [one.next(0.0), one.next(0.0), one.next(0.0), one.next(0.0)]
    assert [each.message.message_id if each else None for each in taken] == [0, 1, 2, None]


def test_a_lane_is_made_once_and_forgotten_when_it_has_had_nothing_to_do() -> None:
    lanes = Lanes()
    one = lanes.lane(CONFIG, UseMx("a.example"), 0.0)
    assert lanes.lane(CONFIG, UseMx("a.example"), 1.0) is one
    busy = lanes.lane(CONFIG, UseMx("busy.example"), 0.0)
    busy.running = 1
    sick = lanes.lane(CONFIG, UseMx("sick.example"), 0.0)
    sick.rest_until = 500.0
    lanes.tidy(FORGET_AFTER + 1.0)
    assert [each.hop for each in lanes] == [UseMx("busy.example"), UseMx("sick.example")]
    lanes.tidy(FORGET_AFTER + 500.0)
    assert len(lanes) == 1


def test_a_hop_that_answered_a_moment_ago_is_moving() -> None:
    one = lane()
    assert not one.moving(100.0)
    one.succeeded(100.0)
    assert one.moving(105.0)
    assert not one.moving(111.0)


def test_a_route_of_the_configuration_never_rests_for_long() -> None:
    one = Lane(parse_route("smtp://10.1.0.5:25"), Bounds())
    for _ in range(20):
        one.failed(0.0, "421 no", one.episode)
    assert one.rest_until == LONGEST_OF_ROUTE


def test_a_rate_lets_a_message_through_when_its_turn_comes() -> None:
    one = Lane(UseMx("dest.example"), Bounds(rate=2.0), 100.0)
    for number in range(3):
        one.line.put(claim(recipient(), message=message(number)), NORMAL)
    one.running = 1
    assert one.next(100.0) is not None
    assert one.next(100.1) is None
    assert one.next(100.5) is not None
    assert one.next(100.6) is None


def test_a_complaint_of_speed_sets_half_of_what_was_seen_as_the_rate() -> None:
    one = lane()
    for _ in range(100):
        one.succeeded(10.0)
    one.succeeded(10.0, Said.TOO_FAST, one.episode)
    assert one.pace.rate == 101 / 10 / 2


def test_what_a_hop_may_cost_depends_on_what_is_known_of_it() -> None:
    one = lane()
    seen = [one.standing]
    one.succeeded(0.0)
    seen.append(one.standing)
    one.failed(0.0, "421 no", one.episode)
    seen.append(one.standing)
    assert seen == [NEW, PROVEN, SUSPECT]


def test_a_hop_for_which_there_is_only_mail_that_failed_before_is_suspect() -> None:
    one, seen = lane(), []
    for attempts in (3, 2, 0, 5):
        one.meet(attempts)
        one.line.put(claim(recipient(), message=message()), NORMAL)
        seen.append(one.standing)
    assert seen == [SUSPECT, SUSPECT, NEW, NEW]


def test_a_lane_whose_hosts_are_all_parked_is_parked_with_them() -> None:
    one = lane()
    one.park(500.0, "connect timed out")
    assert (one.dead(499.0), one.state(499.0), one.dead(500.0)) == (True, State.PARKED, False)
    one.pardon(10.0)
    assert not one.dead(10.0)
