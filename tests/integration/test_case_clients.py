"""Clients that talk nonsense, in the wrong order, without end or with an escape sequence in it: the program as they meet it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
from case_support import raw_data, resident
from recording_sink import RecordingSink
from running_support import BOB, STRANGER, client, events, eventually, holds, logged_in, queue_id, rows, states, submit
from smtp_wire import Reply
from socket_wire import SocketWire

from postlatch.testing.peers.fire import Fire
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import ACCOUNT, BASE, LOOPBACK_RIGHT, PASSWORD, RunningRelay

LOGIN = base64.b64encode(f"\0{ACCOUNT}\0{PASSWORD}".encode()).decode()
CONFIG = (
    BASE.replace("greeting_delay = 0", "greeting_delay = 0.05")
    + LOOPBACK_RIGHT
    + '\n[domains."refusing.example"]\ndeliver = "smtp://127.0.0.1:SINK"\nrecipients = ["carol"]\n'
    + '\n[outbound]\nsmarthost = "smtp://127.0.0.1:SINK"\n'
)


@pytest.fixture(scope="module")
def sink() -> Iterator[RecordingSink]:
    with RecordingSink() as running:
        yield running


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, sink: RecordingSink) -> Iterator[RunningRelay]:
    """All roles; whatever leaves, reports too, comes to the sink. In the end its log must hold no trace of an exception."""
    running = RunningRelay(tmp_path_factory.mktemp("relay"), CONFIG.replace("SINK", sink.url.rpartition(":")[2]))
    with running:
        running.add_account()
        yield running
    assert "Traceback" not in running.read_log()
    assert "internal error" not in running.read_log()


def wire(relay: RunningRelay, listener: str = "mx", *, hello: bool = True) -> SocketWire:
    """A session, after EHLO if wanted."""
    opened = SocketWire("127.0.0.1", relay.port(listener), implicit_tls=listener == "submissions")
    opened.open()
    assert opened.exchange(b"", 1)[0].code == 220
    if hello:
        assert say(opened, b"EHLO client.example").code == 250
    return opened


def say(opened: SocketWire, line: bytes) -> Reply:
    [reply] = opened.exchange(line + b"\r\n", 1)
    return reply


# Loops and backscatter


def test_a_message_that_has_been_through_a_hundred_hosts_is_refused(relay: RunningRelay) -> None:
    """554 5.4.6: somewhere two systems send it back and forth. A hundred `Received` fields are still taken."""
    hops = b"".join(
        b"Received: from h%d.example by h%d.example; Mon, 1 Jan 2024 00:00:00 +0000\r\n" % (n, n + 1) for n in range(101)
    )
    one_less = hops.partition(b"\r\n")[2]
    with client(relay.port("mx")) as session:
        assert raw_data(session, STRANGER, BOB, hops + b"Subject: loop\r\n\r\ntext\r\n").startswith("554 5.4.6 ")
        assert raw_data(session, STRANGER, BOB, one_less + b"Subject: far\r\n\r\ntext\r\n").startswith("250 ")


def test_no_report_goes_to_a_stranger_or_answers_a_report(tmp_path: Path) -> None:
    """Mail that fails is held for an operator, or its own sender is told: nobody else ever gets a report.

    A stranger's message and a report (null sender) are refused for good by their next hop. What reaches the outside in the end
    is the third message alone, which was to go there.
    """
    with RecordingSink() as outside, RecordingSink() as refusing:
        refusing.refuse = b"550 5.1.1 no such user here\r\n"
        port = refusing.url.rpartition(":")[2]
        config = CONFIG.replace('smtp://127.0.0.1:SINK"\nrecipients', f'smtp://127.0.0.1:{port}"\nrecipients')
        config = config.replace("SINK", outside.url.rpartition(":")[2])
        with RunningRelay(tmp_path, config) as relay:
            with client(relay.port("mx")) as session:
                strange = queue_id(submit(session, "strange", "victim@elsewhere.example", "carol@refusing.example"))
                null = queue_id(submit(session, "null", "", "carol@refusing.example"))
            eventually(lambda: states(relay, strange) == ["held"], "the stranger's mail to be held", 30)
            eventually(lambda: states(relay, null) == ["held"], f"the report to be held: {states(relay, null)}", 15)
            with client(relay.port("relay")) as session:
                assert submit(session, "control", ACCOUNT, "someone@elsewhere.example").startswith("250")
            outside.wait_for(1)
            assert len(rows(relay, "--state", "held")) == 2
        assert [taken.recipients for taken in outside.messages] == [[b"RCPT TO:<someone@elsewhere.example>"]]
        assert refusing.messages == []


# Commands that are none


@pytest.mark.parametrize(
    "line",
    [
        b"NO\0OP",
        b"EHLO a\0b",
        b"HELO \x1b[31mred",
        b"\xff\xfe\xfd",
        b"NOOP \xc3\x28",
        b"MAIL FROM:<a\0b@other.example>",
        b"MAIL FROM:<a@other.example> X=\xff",
        b"MAIL FROM:<a@other.example> BODY=8BITMIME\x1b[2J",
        b"HELO \x7f",
        b"\t\t\t",
        b"",
    ],
)
def test_control_octets_and_broken_utf8_in_a_command_are_an_error_and_the_session_goes_on(
    relay: RunningRelay, line: bytes
) -> None:
    """50x in plain ASCII, with nothing of what was sent in it; the next command works."""
    opened = wire(relay)
    reply = say(opened, line)
    assert 500 <= reply.code < 600
    say(opened, b"NOOP " + line.rpartition(b" ")[2])  # whose argument does not matter, and is not told either
    assert not re.search(rb"[^\r\n -~]|\[31m|\[2J", opened.raw)
    assert say(opened, b"MAIL FROM:<a@other.example>").code == 250
    assert say(opened, b"RCPT TO:<bob@example.com>").code == 250
    opened.close()


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<a@other.example>\rRCPT TO:<x@y.example>",
        b"MAIL FROM:<a@other.example\nRSET>",
        b"RCPT TO:<bob@example.com>\nDATA",
        b"EHLO x\ry",
    ],
)
def test_a_bare_cr_or_lf_never_makes_two_commands_of_one(relay: RunningRelay, line: bytes) -> None:
    """One error, or the end of the session; whatever stands behind the CR or LF is never done."""
    before = len(events(relay, "message.accepted"))
    opened = wire(relay)
    replies = opened.exchange(line + b"\r\n", 1)
    assert 500 <= replies[0].code < 600
    assert all(reply.code >= 400 for reply in opened.unasked(0.3))
    opened.close()
    assert len(events(relay, "message.accepted")) == before


def test_a_line_of_ten_million_octets_is_cut_off_at_the_limit_of_a_line(relay: RunningRelay) -> None:
    """500 and the end of the connection after a few kilobytes; the relay's memory does not notice."""
    pid = relay.children()["relay"]
    before = resident(pid)
    opened = wire(relay)
    with suppress(OSError):
        for _ in range(160):
            opened.send(b"x" * 65_536)
    heard = opened.rest()
    assert heard == b"" or heard.startswith(b"500 5.5.")
    assert resident(pid) - before < 8_000_000
    assert client(relay.port("mx")).noop()[0] == 250
    eventually(lambda: "line too long" in relay.read_log(), "the log to say why")


# Out of order


@pytest.mark.parametrize("listener", ["submission", "mx", "relay"])
def test_a_login_without_tls_is_never_begun(relay: RunningRelay, listener: str) -> None:
    """On submission 530 5.7.0 or 538: TLS first. Elsewhere logins do not exist: 502 or 503. The password is not looked at."""
    failed = len(events(relay, "auth.failed"))
    opened = wire(relay, listener)
    assert b"AUTH" not in opened.raw
    reply = say(opened, f"AUTH PLAIN {LOGIN}".encode())
    assert reply.code in ({530, 538} if listener == "submission" else {502, 503, 504})
    assert say(opened, b"NOOP").code == 250
    assert len(events(relay, "auth.failed")) == failed
    opened.close()


def test_a_login_before_ehlo_or_within_a_message_is_out_of_order(relay: RunningRelay) -> None:
    """503, and what was begun goes on: a login belongs between EHLO and MAIL."""
    early = wire(relay, "submissions", hello=False)
    assert say(early, f"AUTH PLAIN {LOGIN}".encode()).code == 503
    assert say(early, b"EHLO client.example").code == 250
    assert say(early, f"AUTH PLAIN {LOGIN}".encode()).code == 235
    assert say(early, f"AUTH PLAIN {LOGIN}".encode()).code == 503
    assert say(early, f"MAIL FROM:<{ACCOUNT}>".encode()).code == 250
    assert say(early, f"AUTH PLAIN {LOGIN}".encode()).code == 503
    assert say(early, b"RCPT TO:<bob@example.com>").code == 250
    early.close()


def test_rset_ends_the_message_and_keeps_the_login_and_a_new_ehlo_too(relay: RunningRelay) -> None:
    """After RSET or EHLO there are no sender and no recipients; whoever has logged in still is (RFC 4954)."""
    opened = wire(relay, "submissions")
    assert say(opened, f"AUTH PLAIN {LOGIN}".encode()).code == 235
    for end in (b"RSET", b"EHLO client.example"):
        assert say(opened, f"MAIL FROM:<{ACCOUNT}>".encode()).code == 250
        assert say(opened, b"RCPT TO:<bob@example.com>").code == 250
        assert say(opened, end).code == 250
        assert say(opened, b"RCPT TO:<bob@example.com>").code == 503
        assert say(opened, b"DATA").code == 503
    assert say(opened, f"MAIL FROM:<{ACCOUNT}>".encode()).code == 250
    assert say(opened, b"RCPT TO:<someone@elsewhere.example>").code == 250
    opened.close()


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nHost: relay.example.com\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 70\r\n\r\nEHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.com>\r\n",
        b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n",
    ],
    ids=["GET", "POST", "all at once"],
)
@pytest.mark.parametrize("early", [True, False], ids=["before the greeting", "behind the greeting"])
def test_what_is_no_smtp_or_does_not_wait_for_answers_is_thrown_out(relay: RunningRelay, octets: bytes, early: bool) -> None:
    """554 and the end of the connection; the journal says "early talker", "not SMTP" or "unauthorised pipelining"."""
    accepted = len(events(relay, "message.accepted"))
    opened = SocketWire("127.0.0.1", relay.port("mx"))
    opened.open()
    if not early:
        assert opened.exchange(b"", 1)[0].code == 220
    opened.send(octets)
    heard = opened.unasked(20)
    assert opened.closed
    assert heard[-1].code in {554, 500, 221, 421}
    assert not any(reply.code == 354 for reply in heard)
    assert len(events(relay, "message.accepted")) == accepted
    opened.close()


# Escape sequences


def test_line_ends_and_escapes_in_a_greeting_stay_one_record_that_harms_no_terminal(relay: RunningRelay) -> None:
    """The journal has one event, the log one line, the status page the text: nothing of it moves a cursor or begins a line."""
    names = [
        b"evil\x1b[2J\x1b]0;owned\x07.example",
        b"fake\\r\\n2026-01-01T00:00:00Z info policy.installed",
        b"<b>bold</b>.example",
    ]
    log = len(relay.read_log())
    for name in names:
        opened = wire(relay, hello=False)
        say(opened, b"HELO " + name)
        say(opened, b"MAIL FROM:<a@other.example>")
        say(opened, b"RCPT TO:<someone@elsewhere.example>")
        opened.close()
        raw = SocketWire("127.0.0.1", relay.port("mx"))
        raw.open()
        raw.exchange(b"", 1)
        raw.send(b"HELO " + name + b"\nMAIL FROM:<x@y.example>\r\n")
        raw.rest()
        raw.close()
    wait_until(lambda: relay.read_log().count("relaying denied", log) >= 1, 20, "the log")
    text = relay.read_log()[log:]
    assert all(character.isprintable() or character == "\n" for character in text)
    assert all(re.match(r"[0-9-]+T[0-9:.]+Z (info|warning) +[a-z]+\.[a-z]+ ", line) for line in text.splitlines())
    assert not any(line.split()[2] == "policy.installed" for line in text.splitlines())
    exported = relay.run("journal", "export").stdout
    assert "\x1b" not in exported
    assert "\x07" not in exported
    refused = [event for event in events(relay, "recipient.refused") if event.get("recipient") == "someone@elsewhere.example"]
    assert len({event["seq"] for event in refused}) == len(refused) >= 1
    shown = relay.run("journal", "search", "--event", "recipient.refused").stdout
    assert "\x1b" not in shown
    for path in ("/", "/metrics", "/status.json"):
        with suppress(OSError), urlopen(f"http://127.0.0.1:{relay.port('http')}{path}", timeout=20) as answer:
            page = answer.read()
            assert b"\x1b" not in page
            assert b"<b>bold" not in page


# Very many who are very slow


def test_hundreds_of_slow_clients_leave_room_for_one_that_works(relay: RunningRelay) -> None:
    """300 connections that say nothing, or an octet now and then, hold nobody up: a user's message is accepted as ever.

    The full size is `python benchmarks/under_fire.py`; this one shows that slow clients cost others nothing and are let go.
    """
    with Fire("slow", relay.port("mx"), 300) as fire:
        for number in range(5):
            with logged_in(relay.port("submission"), ACCOUNT, PASSWORD) as session:
                assert submit(session, f"among-{number}", ACCOUNT, BOB).startswith("250")
            with client(relay.port("mx")) as session:
                assert submit(session, f"stranger-{number}", STRANGER, BOB).startswith("250")
        counts = fire.stop()
    assert counts["opened"] >= 300
    wait_until(lambda: all(holds(relay, BOB, f"among-{number}") for number in range(5)), 30, "the deliveries")
