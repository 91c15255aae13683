"""``decide`` is a dry run of the policy: by role, and in the same words as the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from furnished_office import BOB, ELSEWHERE, STRANGER, WAYS, Office, running_office
from running_support import (
    client,
    submit,
)

from postlatch.testing.running import ACCOUNT


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A relay of the test's own, running."""
    with running_office(tmp_path) as office:
        yield office


@pytest.fixture(scope="module", params=[WAYS[0], pytest.param(WAYS[1], marks=pytest.mark.soak)])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One for all tests that only look."""
    with running_office(tmp_path_factory.mktemp("office"), request.param) as office:
        yield office


# decide


class Asked(NamedTuple):
    """An envelope, and what the policy must say of it."""

    words: str
    status: int
    reply: str
    grant: str | None = None
    destination: str = "foreign"


DECISIONS = {
    "mx: a mailbox": Asked(f"mx 198.51.100.7 {STRANGER} {BOB}", 0, "250 ", None, "local"),
    "mx: a tag": Asked(f"mx 198.51.100.7 {STRANGER} bob+news@example.com", 0, "250 ", None, "local"),
    "mx: another case": Asked(f"mx 198.51.100.7 {STRANGER} BOB@EXAMPLE.COM", 0, "250 ", None, "local"),
    "mx: a bounce": Asked(f"mx 198.51.100.7 <> {BOB}", 0, "250 ", None, "local"),
    "mx: bare postmaster": Asked(f"mx 198.51.100.7 {STRANGER} postmaster", 0, "250 ", None, "local"),
    "mx: nobody": Asked(f"mx 198.51.100.7 {STRANGER} nobody@example.com", 1, "550 5.1.1 ", None, "local"),
    "mx: a subdomain": Asked(f"mx 198.51.100.7 {STRANGER} bob@sub.example.com", 1, "550 5.7.1 "),
    "mx: elsewhere": Asked(f"mx 198.51.100.7 {STRANGER} {ELSEWHERE}", 1, "550 5.7.1 "),
    "mx: elsewhere, from here": Asked(f"mx 127.0.0.1 {STRANGER} {ELSEWHERE}", 1, "550 5.7.1 "),
    "mx: a right of another listener": Asked(f"mx 127.0.0.9 {STRANGER} {ELSEWHERE}", 1, "550 5.7.1 "),
    "mx: our own sender": Asked(f"mx 198.51.100.7 {ACCOUNT} {BOB}", 1, "550 5.7.1 ", None, "local"),
    "mx: percent hack": Asked(f"mx 198.51.100.7 {STRANGER} x%elsewhere.example@example.com", 1, "501 5.1.3 ", None, "local"),
    "mx: no address": Asked(f"mx 198.51.100.7 {STRANGER} bob", 1, "501 5.1.3 "),
    "mx: a literal": Asked(f"mx 198.51.100.7 {STRANGER} bob@[127.0.0.1]", 1, "550 5.7.1 "),
    "mx: a relay domain": Asked(f"mx 198.51.100.7 {STRANGER} dave@branch.example", 0, "250 ", "RELAY_DOMAIN", "relay"),
    "mx: nobody there": Asked(f"mx 198.51.100.7 {STRANGER} erin@branch.example", 1, "550 5.1.1 ", None, "relay"),
    "mx: a relay domain that lapsed": Asked(
        f"mx 198.51.100.7 {STRANGER} dave@branch.example --at 2099-07-01", 1, "550 5.7.1 ", None, "relay"
    ),
    "mx: a hop that cannot be asked": Asked(f"mx 198.51.100.7 {STRANGER} q@asked.example", 3, "451 4.3.0 ", None, "local"),
    "submission: not logged in": Asked(f"submission 198.51.100.7 {ACCOUNT} {ELSEWHERE}", 1, "530 5.7.0 "),
    "submission: elsewhere": Asked(f"submission 198.51.100.7 {ACCOUNT} {ELSEWHERE} --account {ACCOUNT}", 0, "250 ", "ACCOUNT"),
    "submission: to us": Asked(f"submission 198.51.100.7 {ACCOUNT} {BOB} --account {ACCOUNT}", 0, "250 ", "ACCOUNT", "local"),
    "submission: another's address": Asked(f"submission 198.51.100.7 {BOB} {ELSEWHERE} --account {ACCOUNT}", 1, "553 5.7.1 "),
    "submission: another's From": Asked(
        f"submission 198.51.100.7 {ACCOUNT} {ELSEWHERE} --account {ACCOUNT} --header-from {BOB}", 1, "553 5.7.1 "
    ),
    "submission: a bounce": Asked(f"submission 198.51.100.7 <> {ELSEWHERE} --account {ACCOUNT}", 1, "553 5.7.1 "),
    "submission: suspended": Asked(f"submission 198.51.100.7 {BOB} {ELSEWHERE} --account scanner", 1, "550 5.7.1 "),
    "relay: with a right": Asked(f"relay 127.0.0.9 {BOB} {ELSEWHERE}", 0, "250 ", "NETWORK"),
    "relay: with a right, mapped": Asked(f"relay ::ffff:127.0.0.9 {BOB} {ELSEWHERE}", 0, "250 ", "NETWORK"),
    "relay: with a right, to us": Asked(f"relay 127.0.0.9 {BOB} {BOB}", 0, "250 ", "NETWORK", "local"),
    "relay: without": Asked(f"relay 127.0.0.10 {BOB} {ELSEWHERE}", 1, "550 5.7.1 "),
    "relay: out of scope": Asked(f"relay 127.0.0.9 {STRANGER} {ELSEWHERE}", 1, "553 5.7.1 "),
    "relay: a right that lapsed": Asked(f"relay 127.0.0.9 {BOB} {ELSEWHERE} --at 2099-07-01T00:00:00Z", 1, "550 5.7.1 "),
    "relay: on its last day": Asked(f"relay 127.0.0.9 {BOB} {ELSEWHERE} --at 2099-06-30T23:59:59Z", 0, "250 ", "NETWORK"),
}


@pytest.mark.parametrize("asked", DECISIONS.values(), ids=DECISIONS)
def test_decide_says_what_the_policy_would(shared: Office, asked: Asked) -> None:
    listener, address, sender, recipient, *more = asked.words.split()
    words = ("--listener", listener, "--client", address, "--mail-from", sender, "--rcpt", recipient, *more)
    done = shared.relay.run("decide", *words, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == asked.status, found
    assert found["verdict"] == {0: "accept", 1: "refuse", 3: "defer"}[asked.status]
    assert found["reply"].startswith(asked.reply)
    assert (found["grant"], found["destination"]) == (asked.grant, asked.destination)
    assert found["why"]
    assert found["rule"]


def test_decide_agrees_with_what_the_wire_says(office: Office) -> None:
    relay = office.relay
    for listener, source, sender, recipient in (
        ("mx", "127.0.0.1", STRANGER, ELSEWHERE),
        ("mx", "127.0.0.1", STRANGER, "nobody@example.com"),
        ("mx", "127.0.0.1", ACCOUNT, BOB),
        ("mx", "127.0.0.1", STRANGER, "q@asked.example"),
        ("relay", "127.0.0.10", BOB, ELSEWHERE),
        ("relay", "127.0.0.9", STRANGER, ELSEWHERE),
    ):
        words = ("--listener", listener, "--client", source, "--mail-from", sender, "--rcpt", recipient)
        with client(relay.port(listener), source=source) as session:
            said = submit(session, "wire", sender, recipient)
        assert relay.json("decide", *words)["reply"] == said
