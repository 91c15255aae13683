"""Strangers at the receiver: they stall, flood, drip and break off, and it goes on for everybody else."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import tracemalloc

import pytest
from canary_support import RUN, TOKEN, Client, RunningCanary, message
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.audit.canary.session import Limits, Session
from postlatch.testing.peers.ports import wait_until


def works(canary: RunningCanary) -> bool:
    """Does it take mail of somebody else?"""
    before = len(canary.arrivals())
    with Client(canary.port) as client:
        client.begin()
        client.say(message(TOKEN) + b".")
    return len(canary.arrivals()) == before + 1


def closed(sock: socket.socket) -> bool:
    """Did the other side close, whatever it said before?"""
    sock.settimeout(10)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while sock.recv(65536):
            pass
    return True


def test_whoever_stalls_is_sent_away() -> None:
    with RunningCanary(limits=Limits(idle=0.1)) as canary:
        for begun in (b"", b"EHLO c\r\n", b"EHLO", b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@t>\r\nDATA\r\nhalf a mess"):
            with socket.create_connection(("127.0.0.1", canary.port), 10) as sock:
                sock.sendall(begun)
                assert b"421 4.4.2" in b"".join(iter(lambda: sock.recv(4096), b""))
        wait_until(lambda: not canary.receiver.connections, 5, "all connections to end")
        assert not canary.receiver.clients


def test_whoever_drips_is_sent_away_although_there_is_always_something_new() -> None:
    with RunningCanary(limits=Limits(idle=0.15)) as canary, socket.create_connection(("127.0.0.1", canary.port), 10) as sock:
        sock.settimeout(0.02)
        heard = b""
        for _ in range(500):
            with contextlib.suppress(TimeoutError):
                sock.send(b"x")
                got = sock.recv(4096)
                heard += got
                if not got:
                    break
        assert b"421 4.4.2" in heard


def test_a_session_ends_at_some_time_however_busy_it_is() -> None:
    with RunningCanary(limits=Limits(idle=0.05, session=0.3)) as canary, Client(canary.port) as client:
        client.reply()
        answers = 0
        with contextlib.suppress(ConnectionError):
            while client.say(b"NOOP"):
                answers += 1
        assert answers > 1


def test_whoever_never_listens_costs_no_memory() -> None:
    with RunningCanary(limits=Limits(idle=0.3, commands=10**9)) as canary, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", canary.port))
        sock.settimeout(0.2)
        tracemalloc.start()
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(400):
                sock.sendall(b"NOOP\r\n" * 10_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20_000_000
        wait_until(lambda: not canary.receiver.connections, 5, "it to be dropped")
        assert works(canary)


def test_a_line_of_ten_megabytes_is_neither_kept_nor_waited_for() -> None:
    session = Session(frozenset(), Limits(), lambda _: None)
    tracemalloc.start()
    piece, answers = b"x" * 65536, b""
    for _ in range(160):
        answers += session.feed(piece)
        if session.closed:
            break
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answers.startswith(b"500")
    assert session.closed
    assert peak < 1_000_000


def test_a_message_without_end_is_cut_off() -> None:
    with RunningCanary() as canary:
        with Client(canary.port) as client:
            client.begin()
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    client.sock.sendall(b"x" * 100_000)
                pytest.fail("ten megabytes were taken")
        assert works(canary)


def test_too_many_connections_are_told_so_and_others_go_on() -> None:
    with RunningCanary(limits=Limits(connections=6, of_one_client=4)) as canary:
        clients = [Client(canary.port) for _ in range(5)]
        assert [client.reply()[:3] for client in clients] == ["220"] * 4 + ["421"]
        for client in clients:
            client.__exit__()
        wait_until(lambda: not canary.receiver.connections, 5, "all connections to end")
        assert works(canary)


def test_the_arrivals_that_are_kept_have_an_end() -> None:
    with RunningCanary(limits=Limits(arrivals=3)) as canary:
        for _ in range(3):
            assert works(canary)
        with Client(canary.port) as client:
            client.begin()
            assert client.say(message(TOKEN) + b".").startswith("250")
        assert len(canary.arrivals()) == 3


def test_mistakes_and_commands_have_an_end() -> None:
    for line, limits in ((b"WRONG\r\n", Limits()), (b"NOOP\r\n", Limits(commands=50))):
        session = Session(frozenset(), limits, lambda _: None)
        answers = session.feed(line * 100)
        assert session.closed
        assert answers.endswith(b"421 4.7.0 Enough\r\n")
        assert session.feed(line) == b""


def test_it_survives_a_client_that_closes_or_resets_at_any_octet() -> None:
    octets = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@t>\r\nDATA\r\n" + message(TOKEN) + b".\r\nQUIT\r\n"
    with RunningCanary(run=RUN) as canary:
        for count in range(0, len(octets), 3):
            with socket.create_connection(("127.0.0.1", canary.port), 10) as sock:
                sock.sendall(octets[:count])
                if count % 2:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: not canary.receiver.connections, 5, "all connections to end")
        kept = len(canary.arrivals())
        assert kept <= 3  # only those that were sent whole
        assert works(canary)


@given(
    st.lists(
        st.sampled_from(
            [
                b"EHLO c",
                b"MAIL FROM:<x@y>",
                b"RCPT TO:<u@t>",
                b"DATA",
                b".",
                b"RSET",
                b"\r\n",
                b"\n",
                b"\r",
                b"\0",
                b"..",
                b"\xff",
                b"QUIT",
            ]
        ),
        max_size=60,
    )
)
@settings(max_examples=300)
def test_any_order_of_anything_is_answered_by_lines_of_our_own(parts: list[bytes]) -> None:
    session = Session(frozenset(), Limits(), lambda _: None)
    answers = session.greet() + b"".join(session.feed(part) for part in parts)
    assert answers.endswith(b"\r\n")
    assert all(line[:3].isdigit() and line.isascii() for line in answers.split(b"\r\n")[:-1])


def test_random_octets_leave_it_working() -> None:
    dice = random.Random(3)
    with RunningCanary() as canary:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", canary.port), 10) as sock, contextlib.suppress(ConnectionError):
                sock.sendall(dice.randbytes(dice.randrange(1, 5000)))
        with socket.create_connection(("127.0.0.1", canary.port), 10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 30 + b"\r\n")
            assert closed(sock)
        assert works(canary)
