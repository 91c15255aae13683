"""One signature and many recipients: counted in bounded memory, told once, deferred where the configuration says so."""

from __future__ import annotations

from postlatch.limits.limit import Limit
from postlatch.senderauth.results import DkimResult, Result
from postlatch.server.replays import MAX_SIGNATURES, TOLD, Replays

NOW = 1_767_225_600.0


def signature(body: str = "bh", mark: str = "b", result: Result = Result.PASS) -> DkimResult:
    return DkimResult(result, "good.example", "sel", "rsa-sha256", "", signature=mark, body_hash=body)


def test_without_a_limit_it_is_told_once_an_hour_and_nothing_is_late() -> None:
    replays = Replays()
    found = [replays.note([signature()], 50, NOW + number) for number in range(6)]
    assert found[:4] == [None] * 4
    assert found[4] is not None
    assert (found[4].recipients, found[4].messages, found[4].late, found[4].first) == (250, 5, None, True)
    assert found[5] is not None
    assert not found[5].first
    assert replays.note([signature()], 50, NOW + TOLD.seconds) is None, "the next hour begins anew"


def test_what_is_beyond_the_limit_is_late_and_not_counted() -> None:
    replays = Replays(Limit(10, 3600, "10/hour"))
    assert replays.note([signature()], 8, NOW) is None
    late = replays.note([signature()], 3, NOW + 60)
    assert late is not None
    assert (late.late, late.recipients) == (NOW + 3600, 8)
    assert replays.note([signature()], 2, NOW + 70) is None, "ten are allowed"
    assert replays.note([signature()], 1, NOW + 80) is not None
    assert replays.note([signature()], 1, NOW + 3600) is None


def test_one_message_to_many_is_no_replay() -> None:
    replays = Replays(Limit(10, 3600, "10/hour"))
    assert replays.note([signature()], 500, NOW) is None
    assert replays.note([signature()], 1, NOW + 1) is not None


def test_the_same_text_with_a_signature_for_each_is_no_replay_either() -> None:
    replays = Replays(Limit(10, 3600, "10/hour"))
    for number in range(100):
        assert replays.note([signature(mark=f"b{number}")], 1, NOW) is None


def test_only_signatures_that_pass_are_counted() -> None:
    replays = Replays(Limit(1, 3600, "1/hour"))
    for _ in range(5):
        assert replays.note([signature(result=Result.FAIL)], 5, NOW) is None
    assert len(replays) == 0


def test_the_memory_is_bounded() -> None:
    replays = Replays()
    for number in range(MAX_SIGNATURES + 100):
        replays.note([signature(body=str(number))], 1, NOW)
    assert len(replays) == MAX_SIGNATURES
