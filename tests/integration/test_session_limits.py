"""The bounds of one session, on the real server room with the loop's time as an argument."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_relay import MemoryRelay, MemoryWire

from postlatch.model.envelope import Role
from postlatch.testing.running import BASE

SESSION = "[session]\nidle = 60\ntotal = 600\ndata_rate = 500\n"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[MemoryRelay]:
    running = MemoryRelay(tmp_path / "relay", BASE.replace("[session]\n", SESSION))
    yield running
    running.close()


@pytest.fixture
def wire(relay: MemoryRelay) -> Iterator[MemoryWire]:
    opened = relay.connect(Role.MX, "198.51.100.7")
    opened.open()
    opened.exchange(b"", 1)
    opened.exchange(b"EHLO client.example\r\n", 1)
    yield opened
    opened.close()


def later(relay: MemoryRelay, wire: MemoryWire, seconds: float) -> None:
    """Look at the session as the server's ticker would, so many seconds from now."""

    async def look() -> None:
        connection = wire.connection
        connection.check_time(relay.loop.time() + seconds)

    relay.loop.run_until_complete(look())


def gone(wire: MemoryWire) -> bool:
    """The server has hung up."""
    return wire.closed


def begin(wire: MemoryWire) -> None:
    wire.exchange(b"MAIL FROM:<a@world.example>\r\n", 1)
    wire.exchange(b"RCPT TO:<alice@example.com>\r\n", 1)
    wire.exchange(b"DATA\r\n", 1)


def test_an_idle_client_is_told_and_cut_off(relay: MemoryRelay, wire: MemoryWire) -> None:
    later(relay, wire, 59)
    assert not gone(wire)
    later(relay, wire, 61)
    assert gone(wire)
    assert [reply.code for reply in wire.exchange(b"", 9)] == [421]


def test_a_session_that_lasts_too_long_ends_between_messages(relay: MemoryRelay, wire: MemoryWire) -> None:
    wire.connection.last_read += 600
    later(relay, wire, 601)
    assert gone(wire)


def test_a_session_that_lasts_too_long_may_finish_its_message(relay: MemoryRelay, wire: MemoryWire) -> None:
    begin(wire)
    wire.connection.last_read += 600
    wire.connection.body_octets += 10**9
    later(relay, wire, 601)
    assert not gone(wire)
    [reply] = wire.exchange(b"Subject: x\r\n\r\nbody\r\n.\r\n", 1)
    assert reply.code == 250


def test_a_trickling_body_is_cut_off_and_nothing_is_stored(relay: MemoryRelay, wire: MemoryWire) -> None:
    begin(wire)
    wire.send(b"Subject: x\r\n\r\n" + b"y" * 1000 + b"\r\n")
    wire.connection.last_read += 50
    later(relay, wire, 50)
    assert gone(wire)
    assert relay.destinations() == {}


def test_a_body_that_keeps_its_pace_is_left_alone(relay: MemoryRelay, wire: MemoryWire) -> None:
    begin(wire)
    for _ in range(30):
        wire.send(b"y" * 998 + b"\r\n")
    wire.connection.last_read += 50
    later(relay, wire, 50)
    assert not gone(wire)
    wire.exchange(b".\r\n", 1)
