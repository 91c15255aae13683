from __future__ import annotations

from delivery_fakes import claim, message, recipient

from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.destinations import DEAD_AFTER, FORGET_AFTER, RESTS, Lane, Lanes
from postlatch.delivery.routes import UseMx

CONFIG = DeliveryConfig("mx.example.com")


def lane(waiting: int = 0) -> Lane:
    made = Lane(UseMx("dest.example"), limit=5, most=20)
    for number in range(waiting):
        made.waiting.append(claim(recipient(), message=message(number)))
    return made


def test_concurrency_grows_by_one_with_each_success_up_to_its_most() -> None:
    one = lane()
    for _ in range(100):
        one.succeeded(0.0)
    assert one.limit == 20


def test_concurrency_halves_with_each_failure_down_to_one() -> None:
    one = lane()
    seen = []
    for attempt in range(4):
        one.failed(float(attempt), "421 no", one.episode)
        seen.append(one.limit)
    assert seen == [2, 1, 1, 1]


def test_twenty_attempts_that_break_off_together_are_one_failure() -> None:
    one = lane()
    one.limit = 20
    began = one.episode
    for _ in range(20):
        one.failed(0.0, "421 no", began)
    assert (one.failures, one.limit) == (1, 10)


def test_a_hop_that_fails_rests_longer_each_time() -> None:
    one, now = lane(waiting=1), 0.0
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
    one.running = 2
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
    lanes.forget_idle(FORGET_AFTER + 1.0)
    assert [each.hop for each in lanes] == [UseMx("busy.example"), UseMx("sick.example")]
    lanes.forget_idle(FORGET_AFTER + 500.0)
    assert len(lanes) == 1


def test_a_hop_that_answered_a_moment_ago_is_moving() -> None:
    one = lane()
    assert not one.moving(100.0)
    one.succeeded(100.0)
    assert one.moving(105.0)
    assert not one.moving(111.0)
