"""Headers and lines that are built to cost: bounded work, a reply, and a relay that goes on."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_relay import PRINTER, STRANGER, Client, HostileRelay
from hypothesis import given, settings
from hypothesis import strategies as st
from session_model import read_replies

from postlatch.journal.codec import pack
from postlatch.journal.logs import Style, configure, log_event
from postlatch.model.envelope import Role
from postlatch.model.events import Event
from postlatch.server.headers import MAX_FROM, MAX_HEADER, read_facts
from postlatch.testing.clock import FakeClock

LIMIT = 2.0  # seconds of this thread: what is quadratic takes minutes of these texts, and a busy machine counts double


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[HostileRelay]:
    relay = HostileRelay(tmp_path / "relay")
    yield relay
    relay.check_log()
    relay.close()


def ready(relay: HostileRelay, role: Role = Role.MX, address: str = STRANGER) -> Client:
    client = relay.connect(role, address)
    for line in ("EHLO client.example", "MAIL FROM:<a@canary.test>", "RCPT TO:<alice@example.com>", "DATA"):
        client.send(f"{line}\r\n".encode())
    assert [reply.code for reply in read_replies(client.heard())] == [220, 250, 250, 250, 354]
    return client


def sent(client: Client, message: bytes) -> int:
    """The code that answers the message."""
    began = time.thread_time()
    for start in range(0, len(message), 65_536):
        client.send(message[start : start + 65_536])
    client.send(b"\r\n.\r\n")
    assert time.thread_time() - began < LIMIT
    [reply] = read_replies(client.heard())
    return reply.code


FROMS = {
    "comments in comments": b"(" * 100_000,
    "closed comments": b"(" * 4000 + b")" * 4000 + b"a@example.com",
    "quotes": b'"' * 60_000,
    "addresses": b"a@b.example," * 10_000,
    "routes": b"<a@" * 30_000,
    "groups": b"a:;" * 30_000,
    "brackets": b"a@" + b"[" * 60_000,
    "folds": b"\r\n ".join([b"(x"] * 10_000),
    "encoded words": b"=?utf-8?q?a?= " * 8000,
}


@pytest.mark.parametrize("value", FROMS.values(), ids=FROMS.keys())
def test_a_from_field_that_is_built_to_cost_is_nobodys(relay: HostileRelay, value: bytes) -> None:
    message = b"Subject: x\r\nFrom: " + value + b"\r\n\r\nbody"
    assert read_facts(message).header_from is None
    client = ready(relay)
    assert sent(client, message) == 250  # on mx a From is only counted
    client.send(b"RSET\r\n")
    assert client.heard() == b"250 2.0.0 OK\r\n"
    assert relay.messages() == 1


def test_a_from_field_that_cannot_be_read_is_no_account_s_and_no_right_s() -> None:
    # The rules refuse None on submission and for a right that names senders: `one from` and `header scope`.
    assert read_facts(b"From: " + b"a@example.com," * 1000 + b"\r\n").header_from is None
    assert read_facts(b"From: " + b" " * (MAX_FROM - 20) + b"a@example.com\r\n").header_from is not None


def test_a_hundred_thousand_header_fields_are_refused_at_the_end(relay: HostileRelay) -> None:
    client = ready(relay)
    assert sent(client, b"X: y\r\n" * 100_000 + b"\r\nbody") == 552
    assert relay.messages() == 0
    client.send(b"NOOP\r\n")
    assert client.heard() == b"250 2.0.0 OK\r\n"


def test_as_many_header_fields_as_fit_are_read_in_time(relay: HostileRelay) -> None:
    assert sent(ready(relay), b"X:y\r\n" * ((MAX_HEADER - 10) // 5) + b"\r\nbody") == 250
    assert sent(ready(relay), b"Received: x\r\n" * 101 + b"\r\nbody") == 554


def test_ten_thousand_nested_parts_cost_no_more_than_their_octets(relay: HostileRelay) -> None:
    nest = b"".join(b"--%d\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n" % (i, i + 1) for i in range(10_000))
    assert sent(ready(relay), b"Content-Type: multipart/mixed; boundary=0\r\n\r\n" + nest) == 250


def test_a_hundred_thousand_parts_cost_no_more_than_their_octets(relay: HostileRelay) -> None:
    client = ready(relay, Role.RELAY, PRINTER)
    assert sent(client, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 100_000) == 250


def test_of_a_line_of_ten_megabytes_no_more_than_the_limit_is_kept(relay: HostileRelay) -> None:
    client = relay.connect(Role.MX, STRANGER)
    client.heard()
    client.send(b"x" * 4095)
    assert len(client.connection.session._lines.data) == 4095
    client.send(b"x" * 10_000_000)
    assert client.heard() == b"500 5.5.2 Line too long\r\n"
    assert client.closed
    assert len(client.connection.session._lines.data) == 0


def test_a_line_that_drips_in_is_bounded_in_octets_and_ends_with_the_session(relay: HostileRelay) -> None:
    client = relay.connect(Role.MX, STRANGER)
    client.heard()
    for second in range(0, 3600, 10):
        client.send(b"x")
        assert len(client.connection.session._lines.data) == second // 10 + 1
    client.wait(3601)
    assert client.heard().startswith(b"421 4.4.2 ")
    assert client.closed


HOSTILE_NAMES = st.text(st.sampled_from("a\n\r\x1b\x07\x00\x7f\x85\u2028\u202e\ud800\"'\\=[ "), max_size=30)


@given(HOSTILE_NAMES, st.sampled_from(["console", "json"]))
@settings(max_examples=200, deadline=None)
def test_a_newline_or_an_escape_in_helo_is_one_escaped_record(helo: str, style: Style) -> None:
    clock, stream = FakeClock(), io.StringIO()
    event = Event("recipient.refused", clock.now(), {"helo": helo, "recipient": [helo], helo: helo})
    configure(style, stream, clock)
    log_event(event)
    line = stream.getvalue()
    assert line.endswith("\n")
    for text in (line[:-1], pack([event], 1, clock.now()).lines.decode("ascii")):
        assert text.isascii()
        assert text.isprintable()


@pytest.mark.parametrize("name", [b"a\x1b[2Jb", b"a\x00b", b"a\rb", b"a\xffb", b"a b", b"\xe2\x80\xae", b"a" * 256])
def test_a_helo_that_is_no_name_reaches_no_log_and_no_reply(relay: HostileRelay, name: bytes) -> None:
    client = relay.connect(Role.MX, STRANGER)
    client.heard()
    client.send(b"EHLO " + name + b"\r\n")
    [reply] = read_replies(client.heard())
    assert reply.code in {500, 501}
    assert client.connection.session.helo == ""
    client.send(b"EHLO client.example\r\n")
    assert client.heard().startswith(b"250-")
