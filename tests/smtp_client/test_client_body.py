"""The body on its way out: CR LF only, dot-stuffed, the same at every split (case 16)."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postlatch.smtp.client_body import BodyFault, BodyWriter

PARTS = st.lists(st.sampled_from([b"\r\n", b"\r\n", b".", b"a", b"..", b"\r\n.\r\n", b"bc "]), max_size=12).map(b"".join)
BROKEN = st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r", b"\n", b"\0"]), max_size=8).map(b"".join)


def wire(pieces: list[bytes]) -> bytes | None:
    """What goes out, None if it is refused."""
    writer = BodyWriter()
    try:
        return b"".join([writer.feed(piece) for piece in pieces] + [writer.finish()])
    except BodyFault:
        return None


def received(data: bytes) -> bytes:
    """What a server that reads by lines makes of it; it must end at the only dot line."""
    lines = data.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2]
    return b"".join((line[1:] if line.startswith(b".") else line) + b"\r\n" for line in lines[:-2])


@given(PARTS)
@example(b"")
@example(b".")
@example(b".\r\n.\r\n..")
def test_a_server_gets_the_body_that_was_sent(body: bytes) -> None:
    data = wire([body])
    assert data is not None
    whole = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    assert received(data) == whole


@given(st.one_of(PARTS, BROKEN), st.lists(st.integers(0, 40), max_size=5))
def test_the_wire_does_not_depend_on_how_the_body_is_cut(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    pieces = [body[a:b] for a, b in pairwise(edges)]
    assert wire(pieces) == wire([body])
    assert wire([bytes((octet,)) for octet in body]) == wire([body])


@given(BROKEN)
def test_a_body_leaves_only_if_every_cr_and_lf_is_in_a_cr_lf(body: bytes) -> None:
    rest = body.replace(b"\r\n", b"")
    assert (wire([body]) is None) == any(octet in rest for octet in b"\r\n\0")


def test_no_smuggling_sequence_of_the_published_attacks_can_leave(testdata: Path) -> None:
    sequences = json.loads((testdata / "smuggling.json").read_text("utf-8"))["sequences"]
    for sequence in sequences:
        raw = bytes.fromhex(sequence["bytes_hex"])
        body = b"text" + raw + b"MAIL FROM:<x@example.org>\r\n"
        for cut in range(len(body)):
            data = wire([body[:cut], body[cut:]])
            if data is not None:
                assert received(data) == body, sequence["id"]


@pytest.mark.parametrize("pieces", [[b"a\r", b"b"], [b"a\r"], [b"\n"], [b"a\r", b""], [b"a\r", b"\r\n"]])
def test_a_cr_or_lf_alone_at_the_edge_of_a_piece_is_found(pieces: list[bytes]) -> None:
    assert wire(pieces) is None


def test_a_cr_lf_cut_in_two_is_whole_again() -> None:
    assert wire([b"a\r", b"\n.", b"b\r", b"\n"]) == b"a\r\n..b\r\n.\r\n"
