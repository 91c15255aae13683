"""The open-relay catalogue against the server room in memory: every vector, listener, family, greeting and position."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from memory_relay import MemoryRelay
from smtp_wire import Reply, ReplyReader
from vector_checks import ELSEWHERE, check, is_meant_for, playable
from vector_player import Player, Position, arranged
from vector_values import KNOWN, office

from postlatch.model.envelope import Role
from postlatch.testing.transcript import SessionPeer

CLIENTS = ("198.51.100.7", "2a0e:1234::7")
# How many cases there are at least: a change that silently plays fewer must not pass.
FLOOR = {Role.MX: 5500, Role.SUBMISSION: 5500, Role.SUBMISSIONS: 2700, Role.RELAY: 5500}


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
            if steps is None or not is_meant_for(case.vector, role, tls=tls):
                continue
            wire = relay.connect(role, client)
            outcome = Player(wire, case, steps, starttls=tls and role is not Role.SUBMISSIONS).play()
            check(case, outcome, role, tls=tls, hello=hello)
            played[case.vector] += 1
            messages += outcome.messages
    assert played.total() >= FLOOR[role]
    tls_states = (True,) if role is Role.SUBMISSIONS else (False, True)
    assert set(played) == {c.vector for c in cases if any(is_meant_for(c.vector, role, tls=tls) for tls in tls_states)}
    # The second opinion is the queue's: what was accepted on the wire is there, for mailboxes of ours and for nobody else.
    assert len(relay.accepted) == messages
    assert (messages > 2500) == (role is Role.MX)
    assert set(relay.destinations()) == ({"local"} if role is Role.MX else set())
    rows = relay.database.execute("SELECT DISTINCT address, grant_reason FROM recipients").fetchall()
    assert {address for address, _ in rows} <= {KNOWN, "postmaster", "postmaster@example.com", "alice@ExAmPlE.CoM"}
    assert {reason for _, reason in rows} <= {None}


def test_the_catalogue_is_played_whole(testdata: Path) -> None:
    vectors = json.loads((testdata / "relay_vectors.json").read_text("utf-8"))["vectors"]
    played = {case.vector for case in playable(testdata)}
    left = {vector["id"] for vector in vectors if vector["kind"] not in {"config", "smuggling"}} - played
    assert left == ELSEWHERE
    assert len(played) == 100


class YesWire:
    """A relay that is open on purpose: it says yes to whatever its parser can read (the control C0)."""

    def __init__(self) -> None:
        self._peer = SessionPeer({})
        self._reader = ReplyReader()
        self._heard: list[Reply] = []
        self.closed = self.tls = False

    def open(self) -> None:
        """It is."""

    def exchange(self, data: bytes, count: int) -> list[Reply]:
        """Send."""
        if data:
            self._peer.send(data, [])
        self._heard += self._reader.feed(self._peer.heard())
        found, self._heard = self._heard[:count], self._heard[count:]
        return found

    def handshake(self, *, certificate: bool = False) -> None:
        """It offers no TLS."""

    def unasked(self, seconds: float) -> list[Reply]:  # noqa: ARG002  (a Wire's signature)
        """Nothing."""
        return []

    def close(self) -> None:
        """Nothing to do."""


# No @ and domain, two of them, source routes, malformed paths: refused by the parser alone, whatever the policy is.
UNREADABLE = {
    *("A09", "A16", "B04", "B06", "B07", "B08", "B10", "B13", "B14", "B15", "B19"),
    *("C01", "C02", "C03", "C04", "C05", "C06", "D01", "D04", "D09", "D10", "D13", "D14"),
}


def test_a_server_that_says_yes_to_everything_is_found_open(testdata: Path) -> None:
    cases = [case for case in playable(testdata) if case.kind == "envelope"]
    found = set()
    for case in cases:
        outcome = Player(YesWire(), case, case.steps).play()
        try:
            check(case, outcome, Role.MX, tls=False)
        except AssertionError:
            found.add(case.vector)
    assert {case.vector for case in cases} - found == UNREADABLE
    assert len(found) == 42


def test_a_catch_all_takes_no_address_that_looks_like_a_route(testdata: Path, tmp_path: Path) -> None:
    """With a catch-all nothing is refused for being unknown, so here the form of the address alone must do it."""
    config = office("smtp://127.0.0.1:9").replace('["alice", "bob"]', '["alice", "bob"]\naliases = { "*" = ["alice"] }', 1)
    relay = MemoryRelay(tmp_path, config)
    cases = [case for case in playable(testdata) if case.kind == "envelope" and case.group in "ABCDJ"]
    taken = set()
    for case in cases:
        for position in (Position.FRESH, Position.LEGAL):
            steps = arranged(case, "EHLO", position)
            assert steps is not None
            taken |= set(Player(relay.connect(Role.MX, CLIENTS[0]), case, steps).play().recipients)
    assert taken == {
        *("alice@example.com", "alice@ExAmPlE.CoM", "qz7k@example.com", "list@example.com", "owner-list@example.com"),
        *("postmaster", "canary=canary.test@example.com", "prvs=0000000000=canary@example.com"),
        *("SRS0=hash=tt=canary.test=canary@example.com", "SRS1=hash=example.com==hash=tt=canary.test=canary@example.com"),
    }
    # What looks like a sender rewritten by somebody is no more than a name: it goes to the catch-all, and not to who it names.
    rows = relay.database.execute("SELECT DISTINCT lower(address), destination FROM recipients ORDER BY 1").fetchall()
    assert rows == [("alice@example.com", "local"), ("postmaster@example.com", "local")]
    relay.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_the_trace_shows_the_address_that_the_client_came_from(testdata: Path, relay: MemoryRelay, client: str) -> None:
    [case] = [case for case in playable(testdata) if case.vector == "I05"]
    outcome = Player(relay.connect(Role.MX, client), case, case.steps).play()
    assert outcome.messages == 1
    tag = "IPv6:" if ip_address(client).version == 6 else ""
    [body] = relay.bodies()
    assert f"[{tag}{client}]".encode() in body.partition(b"\r\n\r\n")[0]


def test_a_known_and_an_unknown_mailbox_are_told_apart_and_nothing_else(testdata: Path, relay: MemoryRelay) -> None:
    """The controls C+ and C-: without them a server that refuses everything would look closed."""
    cases = [case for case in playable(testdata) if case.vector == "J09"]
    answers = {}
    for case in cases:
        outcome = Player(relay.connect(Role.MX, CLIENTS[0]), case, case.steps).play()
        [[heard]] = outcome.judged
        answers[heard.path] = f"{heard.code} {heard.enhanced}"
    assert answers == {KNOWN: "250 2.1.5", "qz7k@example.com": "550 5.1.1"}
