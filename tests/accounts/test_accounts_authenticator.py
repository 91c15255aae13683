"""Verifying passwords: the same work for everyone, caches that a change empties, and a queue that says no."""

from __future__ import annotations

import asyncio
import threading

import pytest
from accounts_support import NOW, PASSWORD, SECRET, SETTINGS, CountingHasher, Desk, counting_random, run

from postlatch.accounts import changes
from postlatch.accounts.app_passwords import Claim
from postlatch.accounts.authenticator import Authenticator, AuthSettings, Busy
from postlatch.accounts.passwords import Argon2Hasher, HashSettings, make_credentials
from postlatch.accounts.problem import AccountError
from postlatch.accounts.recent import Recent
from postlatch.testing.clock import FakeClock

ALICE = "alice@example.com"
CLIENT = "192.0.2.7"


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.add(ALICE)
    return desk


def test_the_right_password_gives_the_canonical_login_and_all_else_gives_none(desk: Desk) -> None:
    authenticator = desk.authenticator()
    assert run(authenticator.verify("Alice@Example.COM", PASSWORD)) == Claim(ALICE)
    for login, password in (
        (ALICE, "wrong"),
        (ALICE, PASSWORD.upper()),
        (ALICE, PASSWORD + " "),
        (ALICE, ""),
        (ALICE, "x" * 1025),
        (ALICE, PASSWORD + "\0"),
        (ALICE, "\ud800"),
        ("bob@example.com", PASSWORD),
        ("alice", PASSWORD),
        ("", PASSWORD),
        ("\ud800", PASSWORD),
        (ALICE + "\0", PASSWORD),
    ):
        assert run(authenticator.verify(login, password)) is None, (login, password)


def test_with_real_argon2_too() -> None:
    settings = AuthSettings(hashing=HashSettings(iterations=4096))
    desk = Desk()
    random = counting_random()
    credentials = make_credentials(PASSWORD, Argon2Hasher(settings.hashing), 4096, random)
    desk.commit(changes.add(ALICE, (), credentials, NOW))
    authenticator = Authenticator(desk.book, settings, clock=desk.clock, random=random, salt_secret=SECRET)
    assert run(authenticator.verify(ALICE, PASSWORD)) == Claim(ALICE)
    assert run(authenticator.verify(ALICE, "wrong")) is None
    assert run(authenticator.verify("nobody", PASSWORD)) is None
    authenticator.close()


def test_a_password_is_prepared_alike_when_set_and_when_tried(desk: Desk) -> None:
    desk.add("bob@example.com", "geha\u0308m\u00a0\u2168")
    authenticator = desk.authenticator()
    assert run(authenticator.verify("bob@example.com", "geh\u00e4m IX")) == Claim("bob@example.com")


@pytest.mark.parametrize(("password", "checks"), [("wrong", 2), ("x" * 1024, 2), ("", 0), ("a\0b", 0), ("x" * 1025, 0)])
def test_known_and_unknown_users_cost_the_same_hashes(desk: Desk, password: str, checks: int) -> None:
    """RELIABILITY case 27, without a stopwatch: as many checks, each with the same parameters."""
    work = []
    for login in ("nobody@example.com", ALICE, "not a login"):
        desk.hasher.verified.clear()
        run(desk.authenticator().verify(login, password, CLIENT))
        run(desk.authenticator().verify(login, password))
        work.append(list(desk.hasher.verified))
    assert work[0] == work[1] == work[2]
    assert work[0] == ["$argon2id$v=19$m=8,t=1,p=1"] * checks


def test_while_accounts_have_old_parameters_unknown_users_have_them_too(desk: Desk) -> None:
    desk.hasher.parameters = "m=999,t=9,p=9"
    authenticator = desk.authenticator()
    run(authenticator.verify(ALICE, "wrong"))
    run(authenticator.verify("nobody@example.com", "wrong"))
    assert desk.hasher.verified == ["$argon2id$v=19$m=8,t=1,p=1"] * 2


def test_a_decoy_is_a_hash_that_argon2_checks_and_denies() -> None:
    hasher = Argon2Hasher(HashSettings(memory=8, passes=1))
    desk = Desk()
    authenticator = Authenticator(
        desk.book, AuthSettings(), clock=desk.clock, random=desk.random, salt_secret=SECRET, hasher=hasher
    )
    assert run(authenticator.verify("nobody@example.com", PASSWORD)) is None
    authenticator.close()


def test_an_unknown_user_is_denied_even_if_the_hash_were_right(desk: Desk) -> None:
    desk.hasher.agrees = True
    authenticator = desk.authenticator()
    for _ in range(2):
        assert run(authenticator.verify("nobody@example.com", PASSWORD, CLIENT)) is None


def test_a_right_password_is_remembered_for_five_minutes(desk: Desk) -> None:
    authenticator = desk.authenticator()
    for _ in range(3):
        assert run(authenticator.verify(ALICE, PASSWORD, CLIENT)) == Claim(ALICE)
    assert len(desk.hasher.verified) == 1
    desk.clock.jump(86_400)
    assert run(authenticator.verify(ALICE, PASSWORD)) == Claim(ALICE)
    assert len(desk.hasher.verified) == 1, "a jump of the wall clock is not time"
    desk.clock.advance(300)
    assert run(authenticator.verify(ALICE, PASSWORD)) == Claim(ALICE)
    assert len(desk.hasher.verified) == 2


def test_no_cache_means_no_cache(desk: Desk) -> None:
    authenticator = desk.authenticator(AuthSettings(hashing=SETTINGS.hashing, cache_seconds=0))
    for _ in range(3):
        assert run(authenticator.verify(ALICE, PASSWORD)) == Claim(ALICE)
    assert len(desk.hasher.verified) == 3


def test_a_new_password_ends_the_old_one_at_once(desk: Desk) -> None:
    authenticator = desk.authenticator()
    assert run(authenticator.verify(ALICE, PASSWORD)) == Claim(ALICE)
    desk.commit(changes.set_password(ALICE, desk.credentials("new"), NOW))
    assert run(authenticator.verify(ALICE, PASSWORD)) is None
    assert run(authenticator.verify(ALICE, "new")) == Claim(ALICE)


def test_a_suspension_empties_the_cache_and_a_suspended_account_still_verifies(desk: Desk) -> None:
    authenticator = desk.authenticator()
    run(authenticator.verify(ALICE, PASSWORD))
    desk.commit(changes.suspend(ALICE, "sent spam", NOW))
    assert run(authenticator.verify(ALICE, PASSWORD)) == Claim(ALICE)
    assert len(desk.hasher.verified) == 2
    desk.commit(changes.restore(ALICE, NOW))
    assert run(authenticator.verify(ALICE, PASSWORD)) == Claim(ALICE)
    assert len(desk.hasher.verified) == 3


def test_an_account_made_anew_knows_nothing_of_the_one_before(desk: Desk) -> None:
    authenticator = desk.authenticator()
    run(authenticator.verify(ALICE, PASSWORD))
    desk.commit(changes.delete(ALICE))
    assert run(authenticator.verify(ALICE, PASSWORD)) is None
    desk.add(ALICE, "another")
    assert run(authenticator.verify(ALICE, PASSWORD)) is None
    assert run(authenticator.verify(ALICE, "another")) == Claim(ALICE)


def test_other_addresses_leave_the_cache_alone(desk: Desk) -> None:
    authenticator = desk.authenticator()
    run(authenticator.verify(ALICE, PASSWORD))
    desk.commit(changes.set_send_as(ALICE, ["@example.com"], NOW))
    run(authenticator.verify(ALICE, PASSWORD))
    assert len(desk.hasher.verified) == 1


def test_a_clients_own_wrong_password_is_answered_from_memory(desk: Desk) -> None:
    authenticator = desk.authenticator()
    for login in (ALICE, "nobody@example.com"):
        desk.hasher.verified.clear()
        assert not authenticator.known_wrong(login, "old password", CLIENT)
        for _ in range(5):
            assert run(authenticator.verify(login, "old password", CLIENT)) is None
        assert authenticator.known_wrong(login, "old password", CLIENT)
        assert not authenticator.known_wrong(login, "older password", CLIENT)
        assert len(desk.hasher.verified) == 1
        # Another client learns nothing of it, not even from the time.
        assert not authenticator.known_wrong(login, "old password", "198.51.100.1")
        assert run(authenticator.verify(login, "old password", "198.51.100.1")) is None
        assert len(desk.hasher.verified) == 2
    assert not authenticator.known_wrong(ALICE, "", CLIENT)


def test_a_wrong_password_that_becomes_right_is_right(desk: Desk) -> None:
    authenticator = desk.authenticator()
    assert run(authenticator.verify(ALICE, "new", CLIENT)) is None
    assert run(authenticator.verify("bob@example.com", "new", CLIENT)) is None
    desk.commit(changes.set_password(ALICE, desk.credentials("new"), NOW))
    desk.add("bob@example.com", "new")
    assert run(authenticator.verify(ALICE, "new", CLIENT)) == Claim(ALICE)
    assert run(authenticator.verify("bob@example.com", "new", CLIENT)) == Claim("bob@example.com")


def test_a_hash_that_cannot_be_computed_is_busy_and_never_wrong_or_right(desk: Desk) -> None:
    authenticator = desk.authenticator()
    desk.hasher.fails = True
    for password in (PASSWORD, "wrong"):
        with pytest.raises(Busy):
            run(authenticator.verify(ALICE, password, CLIENT))
        assert not authenticator.known_wrong(ALICE, password, CLIENT)
    desk.hasher.fails = False
    assert run(authenticator.verify(ALICE, PASSWORD, CLIENT)) == Claim(ALICE)


async def until(condition: object, *, attempts: int = 2000) -> None:
    """Let the loop and the threads go on until ``condition()`` holds."""
    assert callable(condition)
    for _ in range(attempts):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to that")


def test_a_full_queue_is_busy_for_known_and_unknown_alike_and_empties_again(desk: Desk) -> None:
    async def scenario() -> None:
        authenticator = desk.authenticator(AuthSettings(hashing=SETTINGS.hashing, workers=1, queue=2))
        gate = desk.hasher.gate = threading.Event()
        waiting = [asyncio.create_task(authenticator.verify(ALICE, f"wrong {i}")) for i in range(3)]
        await until(lambda: desk.hasher.verified)
        for login in (ALICE, "nobody@example.com"):
            with pytest.raises(Busy):
                await authenticator.verify(login, PASSWORD)
        gate.set()
        assert await asyncio.gather(*waiting) == [None] * 3
        assert await authenticator.verify(ALICE, PASSWORD) == Claim(ALICE)
        authenticator.close()

    run(scenario())


def test_one_client_cannot_fill_the_queue(desk: Desk) -> None:
    async def scenario() -> None:
        authenticator = desk.authenticator(AuthSettings(hashing=SETTINGS.hashing, workers=1, queue=50, per_client=3))
        gate = desk.hasher.gate = threading.Event()
        flood = [asyncio.create_task(authenticator.verify(ALICE, f"wrong {i}", CLIENT)) for i in range(40)]
        await until(lambda: sum(task.done() for task in flood) == 37)
        honest = asyncio.create_task(authenticator.verify(ALICE, PASSWORD, "198.51.100.1"))
        await asyncio.sleep(0)
        gate.set()
        assert await honest == Claim(ALICE)
        results = await asyncio.gather(*flood, return_exceptions=True)
        assert sum(isinstance(result, Busy) for result in results) == 37
        assert await authenticator.verify(ALICE, "wrong", CLIENT) is None
        authenticator.close()

    run(scenario())


def test_who_hangs_up_while_waiting_gives_the_place_back(desk: Desk) -> None:
    async def scenario() -> None:
        authenticator = desk.authenticator(AuthSettings(hashing=SETTINGS.hashing, workers=1, queue=1, per_client=2))
        gate = desk.hasher.gate = threading.Event()
        waiting = [asyncio.create_task(authenticator.verify(ALICE, f"wrong {i}", CLIENT)) for i in range(2)]
        await until(lambda: desk.hasher.verified)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        gate.set()
        assert await authenticator.verify(ALICE, PASSWORD, CLIENT) == Claim(ALICE)
        authenticator.close()

    run(scenario())


@pytest.mark.parametrize("password", [PASSWORD, "new"])
@pytest.mark.parametrize("becomes", ["another password", "deleted", "added"])
def test_an_account_that_changes_while_its_password_is_checked_is_undecided(desk: Desk, becomes: str, password: str) -> None:
    async def scenario() -> None:
        authenticator = desk.authenticator()
        gate = desk.hasher.gate = threading.Event()
        login = "bob@example.com" if becomes == "added" else ALICE
        task = asyncio.create_task(authenticator.verify(login, password, CLIENT))
        await until(lambda: desk.hasher.verified)
        if becomes == "another password":
            desk.commit(changes.set_password(ALICE, desk.credentials("new"), NOW))
        elif becomes == "deleted":
            desk.commit(changes.delete(ALICE))
        else:
            desk.add(login, "new")
        gate.set()
        with pytest.raises(Busy):
            await task
        assert not authenticator.known_wrong(login, password, CLIENT)
        authenticator.close()

    run(scenario())


def test_after_a_success_old_parameters_are_brought_up_to_date(desk: Desk) -> None:
    async def scenario() -> None:
        authenticator = desk.authenticator(AuthSettings(hashing=HashSettings(iterations=8000)))
        desk.hasher.parameters = "m=16,t=2,p=1"
        assert await authenticator.verify(ALICE, PASSWORD) == Claim(ALICE)
        operation = await authenticator.rehash(Claim(ALICE), PASSWORD)
        assert operation is not None
        before = desk.book.get(ALICE)
        change = desk.commit(operation)
        after = desk.book.get(ALICE)
        assert before is not None
        assert after is not None
        assert change is not None
        assert after.credentials.password_hash.startswith("$argon2id$v=19$m=16,t=2,p=1$")
        assert after.credentials.scram.iterations == 8000
        assert after.generation == before.generation, "open sessions go on"
        assert await authenticator.verify(ALICE, PASSWORD) == Claim(ALICE)
        assert await authenticator.rehash(Claim(ALICE), PASSWORD) is None
        authenticator.close()

    run(scenario())


def test_rehashing_a_wrong_password_changes_nothing(desk: Desk) -> None:
    authenticator = desk.authenticator()
    desk.hasher.parameters = "m=16,t=2,p=1"
    for login, password in ((ALICE, "wrong"), (ALICE, ""), ("nobody@example.com", PASSWORD)):
        assert run(authenticator.rehash(Claim(login), password)) is None
    desk.hasher.fails = True
    assert run(authenticator.rehash(Claim(ALICE), PASSWORD)) is None


def test_a_rehash_that_comes_after_a_new_password_is_dropped(desk: Desk) -> None:
    authenticator = desk.authenticator()
    desk.hasher.parameters = "m=16,t=2,p=1"
    operation = run(authenticator.rehash(Claim(ALICE), PASSWORD))
    assert operation is not None
    desk.commit(changes.set_password(ALICE, desk.credentials("new"), NOW))
    assert desk.commit(operation) is None
    assert run(authenticator.verify(ALICE, "new")) == Claim(ALICE)
    assert run(authenticator.verify(ALICE, PASSWORD)) is None


def test_credentials_are_made_off_the_loops_thread(desk: Desk) -> None:
    authenticator = desk.authenticator()
    desk.commit(changes.set_password(ALICE, run(authenticator.credentials("new")), NOW))
    assert run(authenticator.verify(ALICE, "new")) == Claim(ALICE)
    with pytest.raises(AccountError, match="empty"):
        run(authenticator.credentials(""))


def test_what_was_seen_lately_is_bounded_in_time_and_number() -> None:
    clock = FakeClock()
    recent = Recent(clock, 10, 3)
    for name in (b"a", b"b", b"c", b"d"):
        recent.add(name)
        clock.advance(1)
    assert (b"a" in recent, b"b" in recent, b"d" in recent, len(recent)) == (False, True, True, 3)
    recent.add(b"b")  # again: now the newest
    recent.add(b"e")
    assert (b"c" in recent, b"b" in recent) == (False, True)
    clock.advance(10)
    assert b"b" not in recent
    recent.add(b"f")
    assert len(recent) == 1


def test_the_counting_hasher_is_a_hasher() -> None:
    hasher = CountingHasher()
    assert hasher.verify(hasher.hash(b"x", b"salt"), b"x")
    assert not hasher.verify(hasher.hash(b"x", b"salt"), b"y")
