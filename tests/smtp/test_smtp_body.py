"""The body codec by itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.smtp.body import PIECE, ChunkDecoder, DataDecoder, End, dot_stuff, is_clean

FAULT = re.compile(rb"\x00|\r(?!\n)|(?<!\r)\n")
lines = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"x", b"x.", b"\xc3\xa4", b"." * 5])).map(
    lambda found: b"".join(line + b"\r\n" for line in found)
)


def decode(decoder: DataDecoder | ChunkDecoder, pieces: list[bytes]) -> tuple[bytes, End, bytes]:
    """All content, how it ended, and what is left behind the end."""
    buffer = bytearray()
    content = b""
    end = End.NOTHING
    for piece in pieces:
        buffer += piece
        while end is End.NOTHING:
            found = decoder.take(buffer)
            content, end = content + found.data, found.end
            if not found.data:
                break
    return content, end, bytes(buffer)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    inside = sorted({place for place in places if place < len(data)})
    return [data[a:b] for a, b in zip([0, *inside], [*inside, len(data)], strict=True)]


places = st.lists(st.integers(0, 200), max_size=8)


@given(body=lines, stuffing=places, decoding=places)
def test_what_is_stuffed_in_pieces_comes_back_whole(body: bytes, stuffing: list[int], decoding: list[int]) -> None:
    wire = b""
    at_line_start = True
    for piece in cut(body, stuffing):
        stuffed, at_line_start = dot_stuff(piece, at_line_start)
        wire += stuffed
    assert at_line_start
    assert b"\r\n.\r\n" not in b"\r\n" + wire
    behind = b"RSET\r\n"
    assert decode(DataDecoder(), cut(wire + b".\r\n" + behind, decoding)) == (body, End.MESSAGE, behind)


def test_stuffing_costs_nothing_where_there_is_nothing_to_stuff() -> None:
    body = b"Subject: x\r\n\r\na.b\r\n"
    assert dot_stuff(body, at_line_start=True)[0] is body
    assert dot_stuff(b"", at_line_start=False) == (b"", False)
    assert dot_stuff(b".", at_line_start=False) == (b".", False)
    assert dot_stuff(b"\n.x", at_line_start=False) == (b"\n..x", False)


@given(data=st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\0", b"."])).map(b"".join))
def test_counting_finds_what_a_pattern_finds(data: bytes) -> None:
    assert is_clean(data) == (FAULT.search(data) is None)


@given(data=st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\0", b".", b"\r\n.\r\n"])).map(b"".join), at=places)
def test_a_fault_is_found_at_the_same_octet_however_the_body_is_cut(data: bytes, at: list[int]) -> None:
    whole = decode(DataDecoder(), [data])[:2]
    assert decode(DataDecoder(), cut(data, at))[:2] == whole
    assert decode(DataDecoder(), [data[i : i + 1] for i in range(len(data))])[:2] == whole


@given(data=st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\0", b"."])).map(b"".join), at=places, chunks=places)
def test_chunks_are_checked_as_one_body(data: bytes, at: list[int], chunks: list[int]) -> None:
    decoder = ChunkDecoder()
    content = b""
    end = End.CHUNK
    parts = cut(data, chunks)
    for number, part in enumerate(parts, start=1):
        decoder.open(len(part), last=number == len(parts))
        more, end, rest = decode(decoder, cut(part + b"QUIT", at))
        content += more
        if end is End.FAULT:
            break
        assert rest == b"QUIT"
    fault = FAULT.search(data)
    assert end is (End.FAULT if fault else End.MESSAGE)
    assert content == (data[: fault.start()] if fault else data)


@pytest.mark.parametrize("size", [PIECE - 3, PIECE - 2, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_large_body_comes_in_bounded_pieces(size: int) -> None:
    body = b"x" * size + b"\r\n.\r\n"
    buffer = bytearray(body)
    decoder = DataDecoder()
    pieces = []
    end = End.NOTHING
    while end is End.NOTHING:
        found = decoder.take(buffer)
        pieces.append(found.data)
        end = found.end
    assert b"".join(pieces) == b"x" * size + b"\r\n"
    assert max(map(len, pieces)) <= PIECE
    assert not buffer
