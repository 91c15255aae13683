"""Killed between the next hop's 250 and our own record of it, and clients that leave at any moment around the final dot."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from case_support import recipients, relayed, settled
from recording_sink import RecordingSink
from running_support import BOB, SAFE, STRANGER, client, events, eventually, holds, rows, submit, with_ports

from postlatch.testing.peers.fault_proxy import Fault, FaultProxy, Harm
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import BASE, LOOPBACK_RIGHT, RunningRelay

pytestmark = pytest.mark.soak

FRIEND, OTHER = "friend@elsewhere.example", "other@elsewhere.example"


def test_what_was_sent_and_not_recorded_is_sent_again_with_its_message_id_and_said_to_be_a_duplicate(tmp_path: Path) -> None:
    """The recipient may see a message twice, with one Message-ID; `queue show` and the journal say that it may be a duplicate.

    The next hop has taken the message and says 250; before that comes through, the relay is killed. Nothing else is sent twice.
    """
    with RecordingSink() as sink, FaultProxy(int(sink.url.rpartition(":")[2])) as proxy:
        route = f'\n[outbound.routes]\n"elsewhere.example" = "smtp://127.0.0.1:{proxy.port}"\n'
        relay = RunningRelay(tmp_path, BASE + LOOPBACK_RIGHT + route)
        relay.start()
        try:
            before = relayed(relay, "once", OTHER)
            settled(relay, [OTHER], "delivered")
            proxy.to_client = Fault(Harm.STALL, behind=b"354 go on\r\n")  # what comes behind it is the 250
            relay.stop()  # or it would use the connection that it has, which has no fault
            relay.start()
            message = relayed(relay, "twice", FRIEND)
            sink.wait_for(2)
            relay.kill()
            proxy.to_client = None
            assert recipients(relay)[FRIEND].state != "delivered"
            relay.start()
            found = settled(relay, [FRIEND], "delivered")
            shown = relay.json("queue", "show", message)["messages"][0]
            assert shown["recipients"][0]["possible_duplicate"] is True
            assert relay.json("queue", "show", before)["messages"][0]["recipients"][0]["possible_duplicate"] is False
            told = [event for event in events(relay, "delivery.delivered") if event["message"] == message]
            assert [event["possible_duplicate"] for event in told] == [True]
        finally:
            relay.stop()
    assert found[FRIEND].possible_duplicate
    assert not found[OTHER].possible_duplicate
    bodies = [taken.body for taken in sink.messages]
    assert [body.count(b"Message-ID: <twice@test.example>\r\n") for body in bodies] == [0, 1, 1]
    assert bodies[1] == bodies[2]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    with RunningRelay(tmp_path_factory.mktemp("relay"), with_ports(SAFE)[0]) as running:
        yield running


def message(token: str) -> bytes:
    """Short, with an end that shows whether it is whole."""
    return f"Subject: {token}\r\n\r\n..dots\r\nthe end\r\n.\r\n".encode()


def leave(connection: socket.socket, way: str) -> None:
    """Hang up."""
    if way == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif way == "half-close":
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


@pytest.mark.parametrize("way", ["close", "reset", "half-close"])
def test_a_client_that_leaves_at_any_octet_of_its_message_leaves_all_of_it_or_nothing(relay: RunningRelay, way: str) -> None:
    """The mailbox holds whole messages only, and whatever was answered 250. Cut behind every octet of the body and its dot."""
    whole = message(f"{way}-000")
    for size in range(len(whole) + 1):
        data = message(f"{way}-{size:03}")
        with socket.create_connection(("127.0.0.1", relay.port("mx")), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = connection.makefile("rb")
            for line in (
                b"",
                b"HELO client.example\r\n",
                b"MAIL FROM:<a@other.example>\r\n",
                b"RCPT TO:<bob@example.com>\r\n",
                b"DATA\r\n",
            ):
                connection.sendall(line)
                assert stream.readline()[:1] in {b"2", b"3"}
            connection.sendall(data[:size])
            stream.close()
            leave(connection, way)
    with client(relay.port("mx")) as session:
        assert submit(session, f"{way}-last", STRANGER, BOB).startswith("250")
    wait_until(lambda: holds(relay, BOB, f"{way}-last"), 30, "the last one")
    eventually(lambda: rows(relay) == [], "the queue to be empty")
    found = [path.read_bytes() for path in relay.maildir(BOB) if f"Subject: {way}-".encode() in path.read_bytes()]
    assert all(content.rstrip().endswith((b"\n.dots\nthe end", b"\r\n.dots\r\nthe end", b"text")) for content in found), found
    subjects = [line for content in found for line in content.splitlines() if line.startswith(b"Subject: ")]
    assert len(subjects) == len(set(subjects)) == len(found)
    # The dot itself came in the last of them; a client that half-closes has waited for the answer, so that one is there.
    assert set(subjects) <= {f"Subject: {way}-{len(whole):03}".encode(), f"Subject: {way}-last".encode()}
    assert way != "half-close" or len(found) == 2


def test_a_stop_in_the_middle_of_the_dot_leaves_all_or_nothing(tmp_path: Path) -> None:
    """Killed right behind the dot of each of three messages: after the start each is in the mailbox whole, or nowhere."""
    relay = RunningRelay(tmp_path, with_ports(SAFE)[0])
    relay.start()
    answered = []
    try:
        for number in range(3):
            with (
                socket.create_connection(("127.0.0.1", relay.port("mx")), timeout=30) as connection,
                connection.makefile("rb") as stream,
            ):
                for line in (
                    b"",
                    b"HELO client.example\r\n",
                    b"MAIL FROM:<a@other.example>\r\n",
                    b"RCPT TO:<bob@example.com>\r\n",
                    b"DATA\r\n",
                ):
                    connection.sendall(line)
                    assert stream.readline()[:1] in {b"2", b"3"}
                before = relay.children()["relay"]
                connection.sendall(message(f"killed-{number}"))
                if number % 2:
                    answered.append(f"killed-{number}") if stream.readline().startswith(b"250") else None
                os.kill(before, signal.SIGKILL)
            wait_until(lambda before=before: relay.children().get("relay") not in {None, before}, 30, "a new relay")  # type: ignore[misc]
            eventually(lambda: _serves(relay), "it to serve", 30)
        wait_until(lambda: all(holds(relay, BOB, token) for token in answered), 30, "what was answered")
        eventually(lambda: rows(relay) == [], "the queue to be empty")
        assert answered
        for path in relay.maildir(BOB):
            assert path.read_bytes().rstrip().endswith(b"the end")
    finally:
        relay.stop()


def _serves(relay: RunningRelay) -> bool:
    try:
        client(relay.port("mx")).close()
    except OSError:
        return False
    return True
