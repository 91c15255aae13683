"""Parsers of streams: the same result for a whole input, octet by octet and cut anywhere; what follows stays for the next."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postlatch.app.answer import Answer
from postlatch.app.control import _ControlConnection
from postlatch.journal.codec import compress, decompress, pack, unpack
from postlatch.model.events import Event
from postlatch.server.headers import MAX_HEADER, HeaderCollector
from postlatch.smtp.body import ChunkDecoder, DataDecoder, End, dot_stuff
from postlatch.smtp.client_body import BodyFault, BodyWriter
from postlatch.smtp.client_replies import ReplyError, ReplyParser
from postlatch.smtp.lines import BareLineFeed, LineBuffer, LineTooLong
from postlatch.testing.transcript import SessionPeer

Pieces = Sequence[bytes]
Result = tuple[Any, bytes]  # what was read, and the octets that are left for whoever reads next


@dataclass(frozen=True, slots=True)
class Stream:
    """A parser: ``read`` reads one unit from pieces; ``units`` are whole units that must be read without a rest."""

    name: str
    read: Callable[[Pieces], Result]
    units: tuple[bytes, ...]
    alphabet: tuple[bytes, ...]


def _line(pieces: Pieces) -> Result:
    buffer, found = LineBuffer(), list[object]()
    for piece in pieces:
        buffer.data += piece
        try:
            while not found and (line := buffer.line(64)) is not None:
                found.append(line)
        except (LineTooLong, BareLineFeed) as error:
            return type(error).__name__, b""  # the session ends over it, whatever is left
    return found, bytes(buffer.data)


def _body(decoder: DataDecoder | ChunkDecoder, pieces: Pieces) -> Result:
    buffer, out, end = bytearray(), b"", End.NOTHING
    for piece in pieces:
        buffer += piece
        while end is End.NOTHING:
            found = decoder.take(buffer)
            out += found.data
            end = found.end
            if not found.data and end is End.NOTHING:
                break
    return (out, end), b"" if end is End.FAULT else bytes(buffer)


def _data(pieces: Pieces) -> Result:
    (out, end), rest = _body(DataDecoder(), pieces)
    return (out, end), rest if end is End.MESSAGE else b""  # before that the parser may hold back what may be an end


def _chunk(pieces: Pieces) -> Result:
    decoder = ChunkDecoder()
    decoder.open(12, last=True)
    return _body(decoder, pieces)


def _replies(pieces: Pieces) -> Result:
    parser, found = ReplyParser(), list[object]()
    try:
        for piece in pieces:
            parser.feed(piece)
            while (reply := parser.next_reply()) is not None:
                found.append(reply)
    except ReplyError as error:
        return [*found, str(error)], b""
    return found, b"rest" if parser.has_rest else b""


def _header(pieces: Pieces) -> Result:
    collector, rest = HeaderCollector(), b""
    for piece in pieces:
        if collector.complete:
            rest += piece
        elif not collector.too_long:
            collector.feed(piece)
            rest += collector.rest
    return (collector.block, collector.complete), rest


def _writer(pieces: Pieces) -> Result:
    writer, out = BodyWriter(), b""
    try:
        for piece in pieces:
            out += writer.feed(piece)
        return out + writer.finish(), b""
    except BodyFault as error:
        return str(error), b""


def _stuffed(pieces: Pieces) -> Result:
    out, start = b"", True
    for piece in pieces:
        stuffed, start = dot_stuff(piece, start)
        out += stuffed
    return (out, start), b""


def _auth(pieces: Pieces) -> Result:
    peer = SessionPeer({"tls_active": "yes", "mechanisms": "PLAIN,LOGIN"})
    peer.send(b"EHLO client.example\r\n", [])
    peer.send(b"AUTH LOGIN\r\n", ["334 Username:"])
    for piece in pieces:
        peer.send(piece, ["535 5.7.8 No"])
    return (peer.history, peer.heard()), b""


STREAMS = (
    Stream(
        "command line",
        _line,
        (b"NOOP\r\n", b"\r\n", b"\0\r\r\n", b"x" * 62 + b"\r\n"),
        (b"\r", b"\n", b"\r\n", b"x", b"x" * 63),
    ),
    Stream(
        "DATA",
        _data,
        (b".\r\n", b"a\r\n.\r\n", b"..\r\n...\r\n.\r\n", b"\r\n\r\n.\r\n", b".x\r\n.\r\n"),
        (b"\r\n", b".", b".\r\n", b"x", b"\r", b"\n", b"\0", b"\r\n.\r\n"),
    ),
    Stream("BDAT", _chunk, (b"123456789012", b"a\r\n.\r\nb\r\ncd."), (b"\r\n", b".\r\n", b"xyz", b"\r", b"\n", b"\0")),
    Stream(
        "replies of a server",
        _replies,
        (b"250 ok\r\n", b"250-a\r\n250-b\r\n250 c\r\n", b"250\r\n"),
        (b"250 ok\r\n", b"250-a\r\n", b"354 go\r\n", b"251 x\r\n", b"\r", b"\n", b"25", b"0 ", b"\xff"),
    ),
    Stream(
        "header block",
        _header,
        (b"A: b\r\n\r\n", b"\r\n", b"A: b\r\n c\r\nD: e\r\n\r\n"),
        (b"A: b\r\n", b"\r\n", b"\r", b"\n", b":", b" folded"),
    ),
    Stream("body to the next hop", _writer, (b"a\r\n.b\r\n", b"", b"."), (b"\r\n", b".", b"x", b"\r", b"\n", b"\0")),
    Stream("dot-stuffing", _stuffed, (b".a\r\n..\r\n",), (b"\r\n", b".", b"x")),
)


def cuts(data: bytes) -> list[list[bytes]]:
    """Octet by octet, and in two and in three at every place."""
    size = len(data)
    twos = [[data[:a], data[a:]] for a in range(size + 1)]
    threes = [[data[:a], data[a:b], data[b:]] for a in range(size + 1) for b in range(a, size + 1)] if size <= 24 else []
    return [[data[i : i + 1] for i in range(size)], *twos, *threes]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_unit_reads_the_same_at_every_cut(stream: Stream) -> None:
    for unit in stream.units:
        whole = stream.read([unit])
        assert whole[1] == b""
        for pieces in cuts(unit):
            assert stream.read(pieces) == whole, pieces


@pytest.mark.parametrize("stream", STREAMS[:5], ids=lambda stream: stream.name)
@pytest.mark.parametrize("tail", [b"QUIT\r\n", b".\r\n", b"\0", b"\r"], ids=repr)
def test_what_follows_a_unit_is_left_for_the_next_reader(stream: Stream, tail: bytes) -> None:
    if stream.name == "replies of a server":
        tail = b"25"  # the parser goes on to the next reply by itself
    for unit in stream.units:
        expected, rest = stream.read([unit])[0], tail if tail != b"25" else b"rest"
        for pieces in (
            [unit + tail],
            [unit, tail],
            *([data[:-1], data[-1:]] for data in [unit + tail]),
            *cuts(unit + tail)[:1],
        ):
            assert stream.read(pieces) == (expected, rest), pieces


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_hostile_octets_read_the_same_however_they_are_cut(stream: Stream) -> None:
    fragments = st.one_of(st.sampled_from(stream.alphabet), st.sampled_from(stream.alphabet), st.binary(max_size=3))

    @given(st.lists(fragments, max_size=12).map(b"".join), st.lists(st.integers(0, 100), max_size=6))
    @settings(max_examples=150, deadline=None)
    def attempt(data: bytes, places: list[int]) -> None:
        edges = [0, *sorted(place for place in places if place < len(data)), len(data)]
        whole = stream.read([data])
        assert stream.read([data[a:b] for a, b in pairwise(edges)]) == whole
        assert stream.read([data[i : i + 1] for i in range(len(data))]) == whole

    attempt()


@pytest.mark.parametrize("answer", [b"*\r\n", b"YQ==\r\n", b"\r\n", b"!\r\n", b"\xff\r\n", b"YQ=\r\n", b"Y" * 20 + b"\r\n"])
def test_a_response_to_a_challenge_reads_the_same_at_every_cut(answer: bytes) -> None:
    whole = _auth([answer])
    assert b"\r\n" in whole[0][1]
    for pieces in cuts(answer):
        assert _auth(pieces) == whole


def test_octets_behind_a_response_are_not_taken_for_a_command() -> None:
    (history, heard), _ = _auth([b"YQ==\r\nMAIL FROM:<a@example.org>\r\n"])
    assert history[-1] == "Closed reason=unauthorised pipelining"
    assert heard.endswith(b"554 5.5.0 SMTP protocol synchronisation error\r\n")
    assert not any(event.startswith("Mail") for event in history)


@pytest.mark.parametrize("octets", [MAX_HEADER - 1, MAX_HEADER, MAX_HEADER + 1, MAX_HEADER + 2, MAX_HEADER + 3])
def test_a_header_at_its_limit_is_judged_alike_however_it_is_cut(octets: int) -> None:
    block = (b"X: " + b"y" * (octets - 5) + b"\r\n")[:octets]
    message = block + b"\r\nbody"
    verdicts = set()
    for place in range(octets - 4, octets + 3):
        collector = HeaderCollector()
        for piece in (message[:place], message[place:]):
            if not (collector.complete or collector.too_long):
                collector.feed(piece)
        verdicts.add(collector.too_long)
    assert verdicts == {octets > MAX_HEADER}


# The control socket: one JSON line, and what came behind it is nobody's.


class _Wire(asyncio.Transport):
    """What the control connection writes to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.over = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002  (the transport's signature)
        return None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.over = True

    def abort(self) -> None:
        self.over = True

    def is_closing(self) -> bool:
        return self.over


def asked(pieces: Pieces) -> tuple[list[tuple[str, dict[str, Any]]], bytes]:
    """What the handler was asked, and what the client got."""
    calls: list[tuple[str, dict[str, Any]]] = []

    async def handler(command: str, arguments: dict[str, Any], _peer: str) -> Answer:
        calls.append((command, arguments))
        return Answer(0, {"got": command}, "")

    async def talk() -> bytes:
        failures: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        connection, wire = _ControlConnection(handler), _Wire()
        connection._peer, connection._transport = "test", wire
        for piece in pieces:
            connection.data_received(piece)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not failures, failures
        return wire.written

    return calls, asyncio.run(talk())


REQUEST = b'{"command": "check", "arguments": {"a": [1, "\\u00e9"]}}\n'


def test_a_control_message_reads_the_same_at_every_cut_and_only_once() -> None:
    whole = asked([REQUEST])
    assert whole[0] == [("check", {"a": [1, "\u00e9"]})]
    for pieces in ([REQUEST[:a], REQUEST[a:]] for a in range(1, len(REQUEST))):
        assert asked(pieces) == whole
    for behind in (b"x", b"\n", REQUEST, b"\0" * 1000):
        assert asked([REQUEST + behind]) == whole
        assert asked([REQUEST, behind]) == whole


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"{}\n",
        b"null\n",
        b"1e999\n",
        b'"command"\n',
        b'{"command": "check"}\n',
        b"\xff\xfe\n",
        b"\xef\xbb\xbf{}\n",
        b"[" * 100_000 + b"\n",
        b'{"a":' * 100_000 + b"\n",
        b"9" * 5000 + b"\n",
        b'"\\ud800"\n',
    ],
    ids=lambda line: repr(line[:20]),
)
def test_a_control_message_that_is_none_gets_an_answer_and_no_traceback(line: bytes) -> None:
    calls, written = asked([line])
    assert calls == []
    answer = json.loads(written)
    assert answer["status"] == 2
    assert "does not understand" in answer["message"]


# The journal: what was stored is whole or not at all.

BATCH = pack([Event("message.accepted", 1.0, {"helo": "a\nb"})] * 200, 1, 1.0).lines


@pytest.mark.parametrize("payload", [BATCH[:200].rpartition(b"\n")[0], compress(BATCH)], ids=["lines", "compressed"])
def test_a_stored_batch_with_anything_cut_off_or_added_is_noticed(payload: bytes) -> None:
    records = unpack(decompress(payload))
    for size in range(len(payload)):
        # A batch that ends between two of its lines is a batch too: the chain's hash is what notices that.
        if payload[:1] != b"{" or payload[size : size + 1] != b"\n":
            with pytest.raises(ValueError, match=r".*"):
                unpack(decompress(payload[:size]))
    for tail in (b"x", b"\0", b"{", b"]", b",", payload):
        with pytest.raises(ValueError, match=r".*"):
            unpack(decompress(payload + tail))
    assert unpack(decompress(payload)) == records


@given(st.binary(max_size=60))
@example(b"{" * 60_000)
@example(b'{"seq":' + b"9" * 5000 + b',"at":1,"event":"x"}')
@settings(max_examples=300, deadline=None)
def test_octets_that_are_no_batch_are_a_value_error(payload: bytes) -> None:
    try:
        records = unpack(decompress(payload))
    except ValueError:
        return
    assert all(type(record["seq"]) is int for record in records)
