"""What is said to mail servers, and what they may answer: the TLS of long ago, and everything that is no TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from posture_world import DOMAIN, HOST, World, anywhere, found, with_mail
from tls_server import Behaviour, Old, Server, answer, smtp_then

from postlatch.app.clock import SystemClock
from postlatch.audit.posture.run import PostureResult, as_data, examine
from postlatch.audit.posture.subject import Request, Tools
from postlatch.audit.posture.values import Check, State
from postlatch.audit.posture.wire import suites
from postlatch.audit.posture.wire.answer import AnswerReader, NotTls
from postlatch.audit.posture.wire.hello import SSL3, TLS10, TLS11, TLS12, TLS13, Hello, client_hello
from postlatch.audit.posture.wire.line import Place
from postlatch.audit.posture.wire.sight import Outcome, Sight
from postlatch.audit.posture.wire.sightings import Sightings

GOOD = (0xC02F, 0xC030)


def see(behave: Behaviour, *, seconds: float = 10.0, implicit: bool = False) -> Sight:
    with Server(behave) as server:
        return asyncio.run(_see(server.port, seconds, implicit=implicit))


async def _see(port: int, seconds: float, *, implicit: bool) -> Sight:
    clock = SystemClock()
    first = frozenset[int]() if implicit else frozenset({port})
    deadline = clock.monotonic() + seconds
    sightings = Sightings(clock, Random(5), helo="audit.test", deadline=deadline, speak_first=first, silent=0.05)
    try:
        return await sightings.see(Place(HOST, ip_address("127.0.0.1"), port))
    finally:
        await sightings.close()


def judge(behave: Behaviour, *, seconds: float = 10.0) -> dict[str, Check]:
    """All checks of a domain whose mail host behaves so."""
    return {check.id: check for check in run(behave, seconds).checks}


def run(behave: Behaviour, seconds: float) -> PostureResult:
    with Server(behave) as server:
        zone = with_mail({HOST: {"A": ["127.0.0.1"], "AAAA": []}})
        return asyncio.run(_run(zone, server.port, seconds))


async def _run(zone: Any, port: int, seconds: float) -> PostureResult:
    clock, dice, world = SystemClock(), Random(5), World(zone)
    sightings = Sightings(
        clock, dice, helo="audit.test", deadline=clock.monotonic() + seconds * 0.9, speak_first=frozenset({port})
    )
    tools = Tools(world, world, None, clock, dice, sightings, anywhere)
    return await examine(Request(DOMAIN, ports=(port,), smtp_port=port), tools, seconds)


# Servers of long ago


def test_all_that_was_ever_weak_is_seen_although_no_library_here_knows_it() -> None:
    weak = (0x0004, 0x000A, 0x0001, 0x0003, 0x0018, 0x002F)
    server = Old((SSL3, TLS10), weak, own_order=False, compression=1, secure=False)
    sight = see(smtp_then(server))
    assert sight.accepted == (SSL3, TLS10)
    assert {name for name, answers in sight.weak.items() if any(one.hello for one in answers)} == set(suites.WEAK)
    checks = judge(smtp_then(server))
    assert found(checks["tls.versions"]) == {"tls.ssl3", "tls.old-versions", "tls.no-modern"}
    assert found(checks["tls.ciphers"]) == {f"tls.cipher-{family}" for family in ("null", "export", "anonymous", "rc4", "3des")}
    assert found(checks["tls.forward-secrecy"]) == {"tls.no-forward-secrecy"}
    assert found(checks["tls.compression"]) == {"tls.compression"}
    assert found(checks["tls.renegotiation"]) == {"tls.insecure-renegotiation"}
    assert found(checks["tls.order"]) == {"tls.client-order"}


@pytest.mark.parametrize("own_order", [True, False])
def test_a_server_that_takes_good_suites_alone_has_no_findings(own_order: bool) -> None:
    checks = judge(smtp_then(Old((TLS12,), GOOD, own_order)))
    for name in ("ciphers", "forward-secrecy", "order", "compression", "renegotiation"):
        assert (checks[f"tls.{name}"].state, found(checks[f"tls.{name}"])) == (State.GOOD, set()), name
    assert found(checks["tls.versions"]) == {"tls.no-13"}
    # Nobody completes a handshake with it, so its certificate is not known.
    assert {checks[f"tls.{name}"].state for name in ("trust", "name", "expiry", "key", "chain")} == {State.UNKNOWN}
    assert checks["tls.client-renegotiation"].state is State.UNKNOWN


def test_a_server_that_refuses_without_a_word_refuses() -> None:
    server = Old((TLS12,), GOOD)

    def behave(client: socket.socket) -> None:
        if (hello := _up_to_tls(client)) and _taken(server, hello):
            client.sendall(_taken(server, hello))

    sight = see(behave)
    assert sight.versions[TLS10].outcome is Outcome.CLOSED
    assert sight.is_no(sight.versions[TLS10])
    assert sight.accepted == (TLS12,)


def test_a_server_that_closes_after_a_while_is_not_known() -> None:
    served: list[int] = []

    def behave(client: socket.socket) -> None:
        served.append(1)
        hello = _up_to_tls(client)
        if hello and len(served) < 4:
            client.sendall(_taken(Old((TLS12,), GOOD), hello))

    checks = judge(behave)
    assert checks["tls.versions"].state is checks["tls.ciphers"].state is State.UNKNOWN


def _up_to_tls(client: socket.socket) -> bytes:
    data = b""
    for words in (b"220 x\r\n", b"250 STARTTLS\r\n", b"220 go\r\n"):
        client.sendall(words)
        data = client.recv(5000)
    return data


def _taken(server: Old, hello: bytes) -> bytes:
    said = answer(server, hello)
    return said if said[0] == 0x16 else b""


def test_a_port_that_says_nothing_first_is_tried_with_tls_from_the_start() -> None:
    def behave(client: socket.socket) -> None:
        client.sendall(_taken(Old((TLS12,), GOOD), client.recv(5000)))

    sight = see(behave, implicit=True)
    assert sight.greeting.implicit
    assert sight.accepted == (TLS12,)


@pytest.mark.parametrize(
    ("greeting", "command", "good", "bad"),
    [
        (b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", b"a STARTTLS\r\n", b"* note\r\na OK go\r\n", b"a BAD no\r\n"),
        (b"+OK POP3 ready <1.2@host>\r\n", b"STLS\r\n", b"+OK go\r\n", b"-ERR no\r\n"),
    ],
)
def test_ports_where_mailboxes_are_read_begin_tls_in_their_own_way(
    greeting: bytes, command: bytes, good: bytes, bad: bytes
) -> None:
    def behave(client: socket.socket, reply: bytes = good) -> None:
        client.sendall(greeting)
        if client.recv(100) == command:
            client.sendall(reply)
            client.sendall(_taken(Old((TLS12,), GOOD), client.recv(5000)))

    sight = see(behave)
    assert sight.accepted == (TLS12,)
    assert not sight.greeting.implicit
    assert see(lambda client: behave(client, bad)).accepted == ()


# Everything that is no mail server


def _stalls(client: socket.socket) -> None:
    client.recv(1)
    client.recv(1)


def _drips(client: socket.socket) -> None:
    for octet in b"220-" + b"x" * 2000:
        client.sendall(bytes((octet,)))
        time.sleep(0.05)


def _floods(client: socket.socket) -> None:
    while True:
        client.sendall(b"220-more\r\n" * 6000)


def _floods_without_end_of_line(client: socket.socket) -> None:
    while True:
        client.sendall(b"2" * 60_000)


def _speaks_http(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>")


def _is_busy(client: socket.socket) -> None:
    client.sendall(b"421 \x1b[31mtoo many\x00 connections\r\n")


def _has_no_tls(client: socket.socket) -> None:
    client.sendall(b"220 plain.test\r\n")
    client.recv(1000)
    client.sendall(b"250-plain.test\r\n250 SIZE 1000\r\n")
    client.recv(1000)


def _stalls_in_tls(client: socket.socket) -> None:
    _up_to_tls(client)
    client.recv(1000)


def _floods_in_tls(client: socket.socket) -> None:
    _up_to_tls(client)
    while True:
        client.sendall(b"\x16\x03\x03\x40\x00" + os.urandom(0x4000))


def _sends_a_long_certificate(client: socket.socket) -> None:
    _up_to_tls(client)
    client.sendall(b"\x16\x03\x03\x00\x04\x02\xff\xff\xff")


@pytest.mark.parametrize(
    ("behave", "state"),
    [
        (_stalls, State.UNKNOWN),
        (_drips, State.UNKNOWN),
        (_floods, State.UNKNOWN),
        (_floods_without_end_of_line, State.UNKNOWN),
        (_speaks_http, State.UNKNOWN),
        (_is_busy, State.UNKNOWN),
        (_stalls_in_tls, State.UNKNOWN),
        (_floods_in_tls, State.UNKNOWN),
        (_sends_a_long_certificate, State.UNKNOWN),
        (_has_no_tls, State.BAD),
    ],
)
def test_a_server_that_misbehaves_is_unknown_within_the_time_limit(behave: Behaviour, state: State) -> None:
    began = time.monotonic()
    result = run(behave, 0.5)
    assert time.monotonic() - began < 1.2
    checks = {check.id: check for check in result.checks}
    assert checks["tls.offered"].state is state
    assert not any(name.endswith((".time", ".failed")) for name in checks)
    assert all(text.isascii() and text.isprintable() for check in result.checks for text in _texts(check))
    assert as_data(result)["grade"] in {"D", "F"}


def _texts(check: Check) -> list[str]:
    return [check.detail, *(text for one in check.findings for text in (one.message, one.why, one.fix))]


def test_one_host_that_refuses_is_told_and_all_of_them_are_perhaps_blocked_on_the_way() -> None:
    alone = with_mail({HOST: {"A": ["127.0.0.1"], "AAAA": []}})
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        result = asyncio.run(_run(alone, closed.getsockname()[1], 5.0))
    offered = next(check for check in result.checks if check.id == "tls.offered")
    assert (offered.state, found(offered)) == (State.UNKNOWN, set())
    assert "blocked on the way" in offered.detail
    both = with_mail(
        alone, {DOMAIN: {"MX": ["10 mx.example.com.", "20 b.example.com."]}, "b.example.com": {"A": ["127.0.0.9"]}}
    )
    with Server(smtp_then(Old((TLS12,), GOOD))) as server:
        result = asyncio.run(_run(both, server.port, 5.0))
    offered = next(check for check in result.checks if check.id == "tls.offered")
    assert (offered.state, found(offered)) == (State.BAD, {"tls.nobody"})


# Octets


@given(st.binary(max_size=400), st.booleans())
def test_any_octets_are_an_answer_or_no_tls(data: bytes, chain: bool) -> None:
    reader = AnswerReader(chain=chain)
    try:
        reader.feed(data)
    except NotTls:
        return
    assert reader.hello is None or 0 <= reader.hello.suite <= 0xFFFF


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), max_size=20))
def test_any_messages_in_whole_records_are_read_alike_in_one_piece_and_in_many(data: bytes, cuts: list[int]) -> None:
    body = b"\x03\x03" + bytes(32) + b"\x00\xc0\x2f\x00"
    octets = b"\x02" + len(body).to_bytes(3, "big") + body + data
    record = b"\x16\x03\x03" + len(octets).to_bytes(2, "big") + octets
    results = []
    for pieces in ([record], _cut(record, cuts)):
        reader = AnswerReader(chain=True)
        try:
            for piece in pieces:
                reader.feed(piece)
            results.append(str(reader.hello))
        except NotTls as error:
            results.append(str(error))
    assert results[0] == results[1]


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    pieces = []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    return [*pieces, data]


@pytest.mark.parametrize("version", [SSL3, TLS10, TLS11, TLS12, TLS13])
def test_a_hello_says_its_lengths_right(version: int) -> None:
    hello = client_hello(Hello(version, suites.EVERY, "mx.example.com"), Random(1))
    assert int.from_bytes(hello[3:5], "big") == len(hello) - 5
    assert int.from_bytes(hello[6:9], "big") == len(hello) - 9
    assert (b"mx.example.com" in hello) == (version > SSL3)


def test_no_suite_is_thought_of_in_two_ways() -> None:
    groups = (suites.TLS13, suites.FORWARD_SECRET, *suites.WEAK.values())
    numbers = [number for group in groups for number in group]
    assert len(numbers) == len(set(numbers))
