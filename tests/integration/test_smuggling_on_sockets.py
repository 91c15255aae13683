"""SMTP smuggling (group F): through the server room at every split, through the real program, and out again to a next hop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest
from memory_relay import MemoryRelay
from recording_sink import RecordingSink, Taken
from running_office import RunningOffice, running_office
from smtp_wire import Reply
from socket_wire import SocketWire
from vector_values import KNOWN
from vector_values import office as office_config

from postlatch.model.envelope import Role
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import ACCOUNT

END = b"\r\n.\r\n"
STRANGER = "probe@canary.test"
HEAD = b"From: <probe@canary.test>\r\nSubject: first"
# The second message, which must never come to be; without its end, as the vectors have it.
SECOND = b"MAIL FROM:<evil@canary.test>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\nSubject: canary\r\n\r\ny"
BAD_BODY = (554, "5.5.2")
GENUINE = "F11"  # CR LF . CR LF, then NUL: the message ends there, and must


@pytest.fixture(scope="module")
def sequences(testdata: Path) -> dict[str, bytes]:
    data = json.loads((testdata / "smuggling.json").read_text("utf-8"))
    found = {item["id"]: bytes.fromhex(item["bytes_hex"]) for item in data["sequences"]}
    assert len(found) == len(set(found.values())) == 16
    return found


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOffice]:
    with running_office(tmp_path_factory.mktemp("office")) as office:
        yield office


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Whole, octet by octet, and in two at every place."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for place in range(1, len(data)):
        yield [data[:place], data[place:]]


# In memory: every split


@pytest.mark.parametrize("lead", [HEAD + b"\r\n\r\nx", HEAD], ids=["in the body", "in the header"])
def test_at_most_one_message_comes_of_a_sequence_however_it_is_cut(
    tmp_path: Path, sequences: dict[str, bytes], lead: bytes
) -> None:
    relay = MemoryRelay(tmp_path, office_config("smtp://127.0.0.1:9"))
    tried = 0
    for name, sequence in sequences.items():
        before = len(relay.bodies())
        for pieces in cuts(lead + sequence + SECOND):
            tried += 1
            stored = len(relay.accepted)
            replies = play_in_memory(relay, pieces)
            stored = len(relay.accepted) - stored
            if name == GENUINE:
                assert [reply.code for reply in replies[:2]] == [250, 500]
                assert all(reply.code >= 500 for reply in replies[1:]), replies
                assert stored == 1
            else:
                assert [reply[:2] for reply in replies] == [BAD_BODY], (name, pieces)
                assert stored == 0
        check_bodies(relay.bodies()[before:], lead, expected=name == GENUINE)
    assert tried > 16 * 120
    assert relay.destinations() == {"local": len(relay.accepted)}
    relay.close()


def play_in_memory(relay: MemoryRelay, pieces: Sequence[bytes]) -> list[Reply]:
    wire = relay.connect(Role.MX, "198.51.100.7")
    wire.open()
    wire.exchange(b"", 1)
    for line in (b"EHLO client.example", b"MAIL FROM:<probe@canary.test>", b"RCPT TO:<alice@example.com>", b"DATA"):
        [reply] = wire.exchange(line + b"\r\n", 1)
        assert reply.code in {250, 354}
    for piece in (*pieces, END):
        wire.send(piece)
    replies = wire.exchange(b"", 20)
    wire.close()
    return replies


def check_bodies(bodies: Sequence[bytes], lead: bytes, *, expected: bool) -> None:
    assert bool(bodies) == expected
    for body in bodies:
        assert b"canary\r\n" not in body
        assert body.rstrip(b"\r\n").endswith(lead.rstrip(b"\r\n"))


# The real program


def hello(wire: SocketWire) -> None:
    wire.open()
    wire.exchange(b"", 1)
    wire.exchange(b"EHLO client.example\r\n", 1)


def begin(wire: SocketWire, sender: str, recipient: str, parameters: str = "") -> None:
    for line in (f"MAIL FROM:<{sender}>{parameters}", f"RCPT TO:<{recipient}>"):
        [reply] = wire.exchange(f"{line}\r\n".encode(), 1)
        assert reply.code == 250, (line, reply)


def deliver_smuggled(wire: SocketWire, pieces: Sequence[bytes]) -> list[Reply]:
    """DATA, the pieces in segments of their own, and the true end only when the server has had time to answer early."""
    assert wire.exchange(b"DATA\r\n", 1)[0].code == 354
    for number, piece in enumerate(pieces):
        if number:
            sleep(0.004)
        wire.send(piece)
    early = wire.unasked(0.05)
    wire.send(END)
    return early + wire.unasked(0.2)


def inner_cuts(lead: bytes, sequence: bytes) -> Iterator[list[bytes]]:
    """Whole, and in two at every place within the sequence and at its ends."""
    data = lead + sequence + SECOND
    yield [data]
    for place in range(len(lead), len(lead) + len(sequence) + 1):
        yield [data[:place], data[place:]]


@pytest.mark.slow
def test_a_mailbox_gets_at_most_one_message_of_a_sequence(sequences: dict[str, bytes], office: RunningOffice) -> None:
    lead = HEAD + b"\r\n\r\nx"
    expected = 0
    for name, sequence in sequences.items():
        for pieces in inner_cuts(lead, sequence):
            wire = office.wire(Role.MX)
            hello(wire)
            begin(wire, STRANGER, KNOWN)
            replies = deliver_smuggled(wire, pieces)
            if name == GENUINE:
                expected += 1
                assert [reply.code for reply in replies[:2]] == [250, 500]
            else:
                assert [reply[:2] for reply in replies] == [BAD_BODY], (name, pieces)
                assert wire.closed
            wire.close()
    assert expected == 8
    wait_until(lambda: len(office.relay.maildir(KNOWN)) >= expected, 30, "delivery")
    assert len(office.rows()) == expected
    for path in office.relay.maildir(KNOWN):
        message = path.read_bytes()
        assert message.count(b"Subject: first") == 1
        assert b"canary\r\n" not in message
        assert b"Subject: canary" not in message
        assert message.rstrip(b"\r\n").endswith(b"x")


# Out again: what the next hop is sent


@contextmanager
def outgoing(office: RunningOffice, way: str) -> Iterator[tuple[SocketWire, str, str]]:
    """A connection, a sender and a recipient whose mail leaves: for the account to anybody, for a stranger by the route."""
    if way == "account":
        wire, sender, recipient = office.logged_in(), ACCOUNT, "friend@canary.test"
    else:
        wire, sender, recipient = office.wire(Role.MX), STRANGER, "known@branch.example"
        hello(wire)
    yield wire, sender, recipient
    wire.close()


def sent_since(sink: RecordingSink, before: int, count: int) -> list[Taken]:
    """The ``count`` messages that came since; no more, and all that was on the wire is clean."""
    sink.wait_for(before + count)
    sleep(0.1)
    assert len(sink.messages) == before + count
    raw = sink.raw()
    assert raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n")
    assert b"\0" not in raw
    assert b"evil" not in b"".join(message.mail for message in sink.messages)
    found = sink.messages[before:]
    for message in found:
        lines = message.body.split(b"\r\n")
        assert all(line.startswith(b"..") for line in lines if line.startswith(b"."))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("way", ["account", "route"])
def test_no_sequence_gets_out_to_the_next_hop(sequences: dict[str, bytes], office: RunningOffice, way: str) -> None:
    before = len(office.sink.messages)
    expected = 0
    for name, sequence in sequences.items():
        with outgoing(office, way) as (wire, sender, recipient):
            begin(wire, sender, recipient)
            lead = f"From: <{sender}>\r\nSubject: first\r\n\r\nx".encode()
            replies = deliver_smuggled(wire, [lead + sequence + SECOND])
            assert replies[0][:2] == ((250, "2.0.0") if name == GENUINE else BAD_BODY)
            expected += name == GENUINE
    [message] = sent_since(office.sink, before, expected)
    assert message.unstuffed.endswith(b"\r\n\r\nx\r\n")


# What is content for us, and would be an end for a next hop that gets it as it is. By BDAT nothing is stuffed on the way in.
DANGEROUS = {
    "an end of data": b"x\r\n.\r\n" + SECOND + b"\r\n",
    "an end of data, at the end": b"x\r\n.\r\n",
    "a dot at the end": b"x\r\n.",
    "a dot alone": b".",
    "a dot first": b".\r\n" + SECOND,
    "stuffed already": b"x\r\n..\r\n" + SECOND + b"\r\n",
    "no line end": b"x",
    "nothing": b"",
    "empty lines": b"\r\n\r\n.\r\n\r\n",
    "U+0085 and U+2028": b"x\r\n.\xc2\x85\r\n.\xe2\x80\xa8\r\n",
    "dots across every buffer": b"".join(b".\r\n..\r\n\r\n.x" + b"y" * (n % 7) + b"\r\n" for n in range(6000)),
    "dots in a file": b"".join(b".\r\n..\r\n\r\n.x" + b"y" * (n % 11) + b"\r\n" for n in range(18_000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["account", "route"])
def test_what_goes_out_is_stuffed_and_ends_once(office: RunningOffice, way: str) -> None:
    for name, content in DANGEROUS.items():
        before = len(office.sink.messages)
        with outgoing(office, way) as (wire, sender, recipient):
            begin(wire, sender, recipient, " BODY=8BITMIME")
            message = f"From: <{sender}>\r\nSubject: first\r\n\r\n".encode() + content
            assert chunked(wire, [message]).code == 250, name
        check_sent(office, before, content, name)


@pytest.mark.slow
def test_a_chunk_that_is_cut_within_an_end_of_data_goes_out_the_same(office: RunningOffice) -> None:
    content = b"x\r\n.\r\n" + SECOND + b"\r\n"
    for place in range(1, 8):
        before = len(office.sink.messages)
        with outgoing(office, "account") as (wire, sender, recipient):
            begin(wire, sender, recipient)
            head = f"From: <{sender}>\r\nSubject: first\r\n\r\n".encode()
            assert chunked(wire, [head + content[:place], content[place:]]).code == 250
        check_sent(office, before, content, f"cut at {place}")


@pytest.mark.slow
def test_what_was_stuffed_on_the_way_in_is_stuffed_once_on_the_way_out(office: RunningOffice) -> None:
    before = len(office.sink.messages)
    with outgoing(office, "account") as (wire, sender, recipient):
        begin(wire, sender, recipient)
        assert wire.exchange(b"DATA\r\n", 1)[0].code == 354
        message = f"From: <{sender}>\r\n\r\n..\r\n...\r\n.x\r\na.\r\n..\r\n.\r\n".encode()
        assert wire.exchange(message, 1)[0].code == 250
    [taken] = sent_since(office.sink, before, 1)
    assert taken.body.endswith(b"\r\n\r\n..\r\n...\r\nx\r\na.\r\n..\r\n")


def chunked(wire: SocketWire, chunks: Sequence[bytes]) -> Reply:
    """Send by BDAT; the last reply."""
    replies: list[Reply] = []
    for number, chunk in enumerate(chunks, start=1):
        last = b" LAST" if number == len(chunks) else b""
        replies = wire.exchange(b"BDAT %d%s\r\n" % (len(chunk), last) + chunk, 1)
    return replies[0]


def check_sent(office: RunningOffice, before: int, content: bytes, name: str) -> None:
    [taken] = sent_since(office.sink, before, 1)
    _, _, sent = taken.unstuffed.partition(b"\r\n\r\n")
    # DATA ends with a line, so content that does not is given its CR LF; nothing else may change.
    whole = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert sent == whole, name
