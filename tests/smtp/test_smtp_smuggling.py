"""No sequence but CR LF . CR LF ends a message, whatever it looks like and however it is cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from postlatch.smtp.body import dot_stuff
from postlatch.testing.transcript import SessionPeer

BAD_BODY = b"554 5.5.2 Message holds NUL, or a line end that is not CR LF\r\n"
QUEUED = b"250 2.0.0 Queued\r\n"
SECOND = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nSubject: second\r\n\r\nx\r\n.\r\n"
END = b"\r\n.\r\n"


@pytest.fixture(scope="module")
def sequences(testdata: Path) -> dict[str, bytes]:
    data = json.loads((testdata / "smuggling.json").read_text("utf-8"))
    return {item["id"]: bytes.fromhex(item["bytes_hex"]) for item in data["sequences"]}


def in_data() -> SessionPeer:
    peer = SessionPeer({})
    for line in (b"EHLO client.example", b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>", b"DATA"):
        peer.send(line + b"\r\n", [])
    assert peer.heard().endswith(b"354 End data with <CR><LF>.<CR><LF>\r\n")
    return peer


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Whole, octet by octet, and in two at every place."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for place in range(1, len(data)):
        yield [data[:place], data[place:]]


def messages(peer: SessionPeer) -> int:
    return sum(event.startswith("BodyEnd") for event in peer.history)


def test_at_most_one_message_comes_of_a_smuggling_sequence(sequences: dict[str, bytes]) -> None:
    assert len(sequences) == 16
    for name, sequence in sequences.items():
        body = b"Subject: first\r\n\r\nfirst" + sequence
        for pieces in cuts(body + SECOND):
            peer = in_data()
            for piece in pieces:
                peer.send(piece, [])
            heard = peer.heard()
            if name == "F11":  # a genuine end comes first: that is one message, and the NUL spoils the next command
                assert messages(peer) == 1
                assert heard.startswith(QUEUED + b"500 5.5.2 NUL or bare CR in a command\r\n503 5.5.1 Send MAIL first\r\n")
            else:
                assert messages(peer) == 0, (name, pieces)
                assert heard == BAD_BODY, name
                assert peer.history[-2:] == [
                    "TransactionDropped reason=bad line end or NUL in body",
                    "Closed reason=bad line end or NUL in body",
                ]


def test_at_most_one_message_comes_of_a_smuggling_sequence_in_bdat(sequences: dict[str, bytes]) -> None:
    for name, sequence in sequences.items():
        body = b"first" + sequence + b"second\r\n"
        for cut in range(len(body) + 1):
            peer = SessionPeer({})
            peer.send(b"EHLO client.example\r\n", [])
            peer.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n", [])
            peer.send(b"BDAT %d\r\n" % cut + body[:cut] + b"BDAT %d LAST\r\n" % (len(body) - cut) + body[cut:], [])
            assert messages(peer) == 0, name
            assert peer.heard().endswith(BAD_BODY)


@pytest.mark.parametrize(
    "sequence", [b"\r\n.\xc2\x85", b"\r\n.\xe2\x80\xa8", b"\r\n.\x0b\r\n", b"\r\n.\x0c\r\n", b"\r\n. \r\n"]
)
def test_other_line_ends_are_content(sequence: bytes) -> None:
    for pieces in cuts(b"first" + sequence + SECOND.replace(END, b"\r\n", 1) + b".\r\n"):
        peer = in_data()
        for piece in pieces:
            peer.send(piece, [])
        assert messages(peer) == 1


def test_a_stuffed_dot_is_unstuffed_once_and_stuffed_again_on_the_way_out() -> None:
    wire = b"..\r\n...\r\n.x\r\na.\r\n..\r\n"
    for pieces in cuts(wire + b".\r\n"):
        peer = in_data()
        for piece in pieces:
            peer.send(piece, [])
        assert peer.history[-2:] == [r"BodyChunk data=.\r\n..\r\nx\r\na.\r\n.\r\n", "BodyEnd size=17"]
    assert dot_stuff(b".\r\n..\r\nx\r\na.\r\n.\r\n", at_line_start=True) == (b"..\r\n...\r\nx\r\na.\r\n..\r\n", True)


@pytest.mark.parametrize("command", [b"NOOP\n", b"MAIL FROM:<a@example.com>\nRCPT TO:<b@example.org>\r\n", b"\n", b"BDAT 5\n"])
def test_a_command_line_that_ends_in_a_bare_lf_ends_the_session(command: bytes) -> None:
    peer = SessionPeer({})
    peer.send(b"EHLO client.example\r\n", [])
    peer.heard()
    peer.send(command, [])
    assert peer.heard() == b"500 5.5.2 Lines must end in CR LF\r\n"
    assert peer.history[-1] == "Closed reason=bare line feed"
