"""The open-relay catalogue against the server room in memory: every vector, listener, family, greeting and position."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_relay import MemoryRelay
from vector_classes import UNDECIDED, accepted_classes, passes
from vector_player import Outcome, Player, Position, arranged
from vector_values import OURS, Case, cases_of, load_vectors, office

from postlatch.model.envelope import Role

CLIENTS = ("198.51.100.7", "2a0e:1234::7")
# Played elsewhere: I04 compares families, E14 and E15 look at ports (test_relay_vectors_on_sockets), F is smuggling.
ELSEWHERE = frozenset({"I04", "E14", "E15"})
KEEP_PLAINTEXT = frozenset({"E09", "E10", "E12", "G01"})  # what they do is about STARTTLS itself, or about not having it


def playable(testdata: Path) -> list[Case]:
    """Every case of the catalogue that has an envelope or steps, without smuggling."""
    vectors = load_vectors(testdata)
    wanted = [v for v in vectors if v["kind"] not in {"config", "smuggling"} and v["id"] not in ELSEWHERE]
    return [case for vector in wanted for case in cases_of(vector)]


def is_meant_for(case: Case, role: Role, *, tls: bool) -> bool:
    """False where the vector asks for what cannot be there."""
    if case.vector == "G10":
        return role in {Role.MX, Role.RELAY}
    return not (tls and case.vector in KEEP_PLAINTEXT) or (role is Role.SUBMISSIONS and case.vector != "G01")


def check(case: Case, outcome: Outcome, role: Role, *, tls: bool, hello: str) -> None:
    """The invariant, then the expected classes."""
    foreign = [path for path in outcome.recipients if path not in OURS or role is not Role.MX]
    assert not foreign, (case, outcome.log)
    if case.vector in UNDECIDED:
        return
    classes = accepted_classes(case, role, tls=tls, hello=hello)
    assert outcome.judged, (case, outcome.log)
    for candidates in outcome.judged:
        assert any(passes(heard, classes) for heard in candidates), (case, role, tls, candidates, classes, outcome.log)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[MemoryRelay]:
    relay = MemoryRelay(tmp_path, office("smtp://127.0.0.1:9"))
    yield relay
    relay.close()


def ways_in(role: Role) -> Iterator[tuple[bool, str, str, Position]]:
    for tls in (True,) if role is Role.SUBMISSIONS else (False, True):
        for client in CLIENTS:
            for hello in ("EHLO", "HELO"):
                for position in Position:
                    yield tls, client, hello, position


@pytest.mark.parametrize("role", list(Role))
def test_nothing_is_accepted_for_a_foreign_domain_in_any_state_of_a_session(
    testdata: Path, relay: MemoryRelay, role: Role
) -> None:
    cases = playable(testdata)
    played: Counter[str] = Counter()
    messages = 0
    for tls, client, hello, position in ways_in(role):
        for case in cases:
            steps = arranged(case, hello, position)
            if steps is None or not is_meant_for(case, role, tls=tls):
                continue
            wire = relay.connect(role, client)
            outcome = Player(wire, case, steps, starttls=tls and role is not Role.SUBMISSIONS).play()
            check(case, outcome, role, tls=tls, hello=hello)
            played[case.vector] += 1
            messages += outcome.messages
    print(role, played.total(), messages)
