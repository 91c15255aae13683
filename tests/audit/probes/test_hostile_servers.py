"""Servers that stall, drip, flood, lie and break off: every family comes back in time, raises nothing and finds nothing."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable

import pytest
from probe_support import Mailbox, bad, found_places, inquiry
from tiny_server import Listening

from postlatch.audit.probes import authentication, enumeration, neighbours, sessions, smuggling, spoofing, starttls, trust
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.values import Outcome
from postlatch.testing.dns import FakeResolver

FAMILIES = (sessions, starttls, trust, authentication, spoofing, smuggling, enumeration, neighbours)
BANNER = b"220 mx.local.test ESMTP\r\n"
OFFERS = b"250-mx\r\n250-STARTTLS\r\n250-AUTH PLAIN ANONYMOUS\r\n250-XCLIENT ADDR\r\n250-CHUNKING\r\n250 DSN\r\n"
LIMIT = 0.4  # seconds of an audit in these tests

Serve = Callable[[socket.socket], None]


def stalls(sock: socket.socket) -> None:
    sock.recv(1)
    time.sleep(LIMIT + 1)


def stalls_after_ehlo(sock: socket.socket) -> None:
    sock.sendall(BANNER)
    sock.recv(4096)
    sock.sendall(OFFERS)
    time.sleep(LIMIT + 1)


def drips(sock: socket.socket) -> None:
    for octet in BANNER * 3:
        sock.sendall(bytes([octet]))
        time.sleep(0.05)


def floods(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"250-" + b"x" * 900 + b"\r\n")


def floods_one_line(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"2" * 65536)


def answers_everything_at_once(sock: socket.socket) -> None:
    sock.sendall(BANNER + b"250 ok\r\n" * 500)
    while sock.recv(65536):
        sock.sendall(b"250 ok\r\n")


def speaks_http(sock: socket.socket) -> None:
    sock.recv(4096)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 99999999\r\n\r\n<html>")


def speaks_another_language(sock: socket.socket) -> None:
    sock.sendall("220 почта.example готов \x1b[2J\r\n".encode())
    while sock.recv(4096):
        sock.sendall(b"550 \xff\xfe\x80 \xe6\x8b\x92\x1b]0;owned\x07 " + "拒否".encode("shift_jis") + b"\r\n")


def lies_about_itself(sock: socket.socket) -> None:
    sock.sendall(BANNER)
    while sock.recv(4096):
        sock.sendall(b"250-SIZE 99999999999999999999999999\r\n354-\r\n550 5.7.1\r\n")


def hangs_up_on_tls(sock: socket.socket) -> None:
    sock.sendall(BANNER)
    while line := sock.recv(4096):
        if line.startswith(b"STARTTLS"):
            sock.sendall(b"220 go\r\n")
            sock.sendall(b"\x15\x03\x01\x00\x02\x02\x28" + b"\0" * 2000)
            return
        sock.sendall(OFFERS if line.startswith(b"EHLO") else b"550 no\r\n")


def answers_anything(sock: socket.socket) -> None:
    dice = random.Random(5)
    while True:
        sock.sendall(dice.randbytes(dice.randrange(1, 200)) + b"\r\n")
        sock.recv(4096)


def breaks_off_after(count: int) -> Serve:
    """A conversation that ends at this octet, wherever that is."""

    def serve(sock: socket.socket) -> None:
        left = count
        answers = iter([BANNER, OFFERS, *[b"250 ok\r\n"] * 30])
        while left > 0:
            answer = next(answers)[:left]
            sock.sendall(answer)
            left -= len(answer)
            sock.recv(4096)

    return serve


async def all_families(asked: Inquiry, port: int) -> list[Outcome]:
    """As they would be asked by who found it reachable, whatever it says of itself."""
    found = await found_places(asked)
    place = found.places[0]
    found.features.setdefault(place, {"STARTTLS": "", "AUTH": "PLAIN ANONYMOUS"})
    ports = [neighbours.Neighbour(port, "QMTP", inner=False)], [neighbours.Neighbour(port, "a filter")]

    async def beside(asked: Inquiry) -> list[Outcome]:
        return await neighbours.ask_at(asked, *ports)

    asks = [*(family.ask for family in FAMILIES), beside]
    return [outcome for found_by in await asyncio.gather(*(ask(found) for ask in asks)) for outcome in found_by]


def check(serve: Serve) -> list[Outcome]:
    listening = Listening(serve)
    try:
        resolver = FakeResolver({})
        asked = inquiry(listening.port, canary=Mailbox(), reader=Mailbox(), resolver=resolver, seconds=LIMIT, patience=0.08)
        began = time.monotonic()
        outcomes = asyncio.run(all_families(asked, listening.port))
        assert time.monotonic() - began < LIMIT + 1.5
    finally:
        listening.close()
    assert outcomes
    for outcome in outcomes:
        finding = outcome.finding
        texts = [outcome.why, outcome.how, *outcome.transcript, *((finding.message, finding.why) if finding else ())]
        assert all(text.isascii() and text.isprintable() and len(text) <= 1500 for text in texts), texts
    return outcomes


def _offered(outcome: Outcome) -> bool:
    return outcome.finding is not None and outcome.finding.id == "audit.xclient-offered"


# All of it by whole audits too, in test_hostile_audits: here what only shows in findings of single families.
@pytest.mark.parametrize(
    "serve",
    [
        *(pytest.param(one, marks=pytest.mark.soak) for one in (stalls, stalls_after_ehlo, drips, floods, floods_one_line)),
        *(pytest.param(one, marks=pytest.mark.soak) for one in (speaks_http, speaks_another_language)),
        lies_about_itself,
        hangs_up_on_tls,
        answers_anything,
    ],
)
def test_a_hostile_server_gets_no_finding_that_its_conversation_does_not_show(serve: Serve) -> None:
    found = [one for one in bad(check(serve)) if one.vector not in {"G10", "G01"} and not _offered(one)]
    assert not found, [(one.vector, one.why) for one in found]


@pytest.mark.parametrize("serve", [answers_everything_at_once, *(breaks_off_after(count) for count in (0, 20, 130))])
def test_a_conversation_may_end_at_any_octet(serve: Serve) -> None:
    check(serve)


def test_nobody_there_is_an_answer_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    asked = inquiry(port, seconds=LIMIT, patience=0.08)
    asked.features = {Place("", "127.0.0.1", port): {}}
    outcomes = asyncio.run(all_families(asked, port))
    assert not bad(outcomes)
