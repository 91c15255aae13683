"""RELIABILITY case 27 with a stopwatch: nobody can tell by the time who exists. The hash is argon2id as it is in the field."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from statistics import median

import pytest
from accounts_support import NOW, SECRET, Desk, counting_random

from postlatch.accounts import changes
from postlatch.accounts.authenticator import Authenticator, AuthSettings
from postlatch.accounts.changes import Scope
from postlatch.accounts.passwords import Argon2Hasher, HashSettings, make_credentials

ALICE = "alice@example.com"
KINDS = {
    "a user": ALICE,
    "nobody": "nobody@example.com",
    "no login": "no login at all",
    "an application password": f"{ALICE}/printer",
    "none of that name": f"{ALICE}/nothing",
    "of nobody": "nobody@example.com/printer",
}


def samples(count: int) -> Mapping[str, list[float]]:
    """Seconds that a wrong password takes, ``count`` of each kind, in a random order: the machine's moods fall on all."""
    settings = AuthSettings(hashing=HashSettings(memory=2048, passes=1, iterations=4096), workers=1)
    desk, chosen = Desk(), counting_random()
    for login in (ALICE, *(f"user{n}@example.com" for n in range(20))):
        desk.commit(changes.add(login, (), make_credentials("right", Argon2Hasher(settings.hashing), 4096, chosen), NOW))
    authenticator = Authenticator(desk.book, settings, clock=desk.clock, random=chosen, salt_secret=SECRET)
    for name in ("printer", *(f"n{n}" for n in range(30))):
        secret = authenticator.new_secret(ALICE)
        desk.commit(changes.add_app_password(ALICE, name, Scope(), secret, now=NOW, by="root"))
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}

    async def scenario() -> None:
        order = [kind for kind in KINDS for _ in range(count)]
        random.Random(27).shuffle(order)
        for number, kind in enumerate(order):
            started = time.perf_counter()
            assert await authenticator.verify(KINDS[kind], f"wrong {number}") is None
            found[kind].append(time.perf_counter() - started)

    asyncio.run(scenario())
    authenticator.close()
    return found


def effect(one: list[float], other: list[float]) -> float:
    """How often a time of the one is longer than one of the other (Mann and Whitney): 0.5 if they cannot be told apart."""
    merged = sorted([(seconds, 0) for seconds in one] + [(seconds, 1) for seconds in other])
    seen, longer = 0, 0
    for _, whose in merged:
        longer += seen if whose == 0 else 0
        seen += whose
    return longer / (len(one) * len(other))


@pytest.mark.soak
def test_a_thousand_samples_of_each_kind_do_not_tell_who_exists() -> None:
    """0.06 from one half is about four standard errors of this measure at a thousand samples of each."""
    found = samples(1000)
    for kind in KINDS:
        assert abs(effect(found["a user"], found[kind]) - 0.5) < 0.06, kind


def test_a_few_samples_show_no_short_cut() -> None:
    """Quick enough for every run: leaving out the hash for one of them would make it a hundred times quicker."""
    found = samples(25)
    middle = median(found["a user"])
    for kind, seconds in found.items():
        assert 0.5 < median(seconds) / middle < 2, kind
