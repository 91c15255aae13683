"""The reply parser: strict about framing, careful with text, the same at every split."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postlatch.smtp.client_replies import (
    MAX_LINE,
    MAX_LINES,
    MAX_TEXT,
    ReplyError,
    ReplyParser,
    WireReply,
    escape,
    to_outcome,
    to_reply,
)


def parse(pieces: Iterable[bytes]) -> list[WireReply | str]:
    """All replies, and the error that ended it."""
    parser = ReplyParser()
    found: list[WireReply | str] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (reply := parser.next_reply()) is not None:
                found.append(reply)
    except ReplyError as error:
        found.append(str(error))
    return found


@pytest.mark.parametrize(
    ("data", "replies"),
    [
        (b"250 ok\r\n", [(250, (b"ok",))]),
        (b"250\r\n", [(250, (b"",))]),
        (b"250 \r\n", [(250, (b"",))]),
        (b"250-a\r\n250-b\r\n250 c\r\n", [(250, (b"a", b"b", b"c"))]),
        (b"250-a\r\n250\r\n", [(250, (b"a", b""))]),
        (b"250-\r\n250 \r\n", [(250, (b"", b""))]),
        (b"250 a\r\n354 b\r\n", [(250, (b"a",)), (354, (b"b",))]),
        (b"599 \xff\x01\t\r\n", [(599, (b"\xff\x01\t",))]),
    ],
)
def test_a_reply_is_its_code_and_its_lines(data: bytes, replies: list[tuple[int, tuple[bytes, ...]]]) -> None:
    assert parse([data]) == replies


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"ok\r\n",
        b"25 ok\r\n",
        b"2500 ok\r\n",
        b"150 ok\r\n",
        b"650 ok\r\n",
        b"250_ok\r\n",
        b" 250 ok\r\n",
        b"250 ok\n",
        b"250 a\rb\r\n",
        b"250 a\0b\r\n",
        b"250 a\r\r\n",
        b"250-a\r\n251 b\r\n",
        b"250-a\r\n251-b\r\n",
        b"250-a\r\n\r\n",
        "\uff12\uff15\uff10 ok\r\n".encode(),
    ],
)
def test_anything_else_is_a_protocol_failure(data: bytes) -> None:
    result = parse([data])
    assert len(result) == 1
    assert isinstance(result[0], str)


def test_a_line_of_4096_octets_is_taken_and_one_more_is_not() -> None:
    line = b"250 " + b"x" * (MAX_LINE - 6) + b"\r\n"
    assert parse([line]) == [WireReply(250, (b"x" * (MAX_LINE - 6),))]
    assert parse([b"250 " + b"x" * (MAX_LINE - 5) + b"\r\n"]) == ["a reply line is longer than 4096 octets"]


def test_a_line_that_never_ends_is_given_up_at_the_limit() -> None:
    parser = ReplyParser()
    parser.feed(b"250 " + b"x" * (MAX_LINE - 4))
    assert parser.next_reply() is None
    parser.feed(b"x")
    with pytest.raises(ReplyError):
        parser.next_reply()


def test_a_reply_of_100_lines_is_taken_and_one_more_is_not() -> None:
    assert len(parse([b"250-x\r\n" * (MAX_LINES - 1) + b"250 x\r\n"])) == 1
    assert parse([b"250-x\r\n" * MAX_LINES]) == ["a reply has more than 100 lines"]


LINES = st.builds(
    lambda code, mark, text, end: b"%d%b%b%b" % (code, mark, text, end),
    st.sampled_from([220, 250, 250, 354, 421, 550, 99, 1000]),
    st.sampled_from([b" ", b"-", b"-", b"", b"_"]),
    st.binary(max_size=8),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]),
)
STREAMS = st.one_of(st.binary(max_size=60), st.lists(LINES, max_size=6).map(b"".join))


@given(STREAMS, st.lists(st.integers(0, 80), max_size=6))
@example(b"250-a\r\n250 b\r\n250 c\r\n", [8])
def test_the_replies_do_not_depend_on_how_the_stream_is_split(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert parse(pieces) == parse([data])
    assert parse([bytes((octet,)) for octet in data]) == parse([data])


@pytest.mark.parametrize(
    ("wire", "text", "enhanced"),
    [
        (WireReply(250, (b"2.0.0 ok",)), "250 2.0.0 ok", "2.0.0"),
        (WireReply(250, (b"2.0.0",)), "250 2.0.0", "2.0.0"),
        (WireReply(250, (b"ok",)), "250 ok", "2.0.0"),
        (WireReply(250, (b"",)), "250", "2.0.0"),
        (WireReply(550, (b"5.1.1 no such", b"5.1.1 user")), "550 5.1.1 no such user", "5.1.1"),
        (WireReply(550, (b"5.1.1 see", b"5.1.10 there")), "550 5.1.1 see 5.1.10 there", "5.1.1"),
        (WireReply(550, (b"4.1.1 of another class",)), "550 4.1.1 of another class", "5.0.0"),
        (WireReply(550, (b"5.1 too short",)), "550 5.1 too short", "5.0.0"),
        (WireReply(550, (b"5.1.1000 too long",)), "550 5.1.1000 too long", "5.0.0"),
        (WireReply(450, (b"\x1b]0;x\x07 \xe9 \\ \t.",)), "450 \\x1b]0;x\\x07 \\xe9 \\ \\x09.", "4.0.0"),
    ],
)
def test_the_outcome_of_a_reply_is_one_printable_line(wire: WireReply, text: str, enhanced: str) -> None:
    outcome = to_outcome(wire)
    assert (outcome.code, outcome.enhanced, outcome.text) == (wire.code, enhanced, text)


@given(st.integers(200, 599), st.lists(st.binary(max_size=300), min_size=1, max_size=8))
def test_what_is_kept_of_a_reply_is_printable_and_short(code: int, lines: list[bytes]) -> None:
    wire = WireReply(code, tuple(lines))
    for text in (to_outcome(wire).text, to_reply(wire).text, escape(lines[0])):
        assert text.isascii()
        assert not text or text.isprintable()
        assert len(text) <= MAX_TEXT
