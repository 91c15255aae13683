from __future__ import annotations

import asyncio

import pytest
from delivery_fakes import MemoryBody, StreamBody, address
from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.headers import MAX_HEADER, header_of, own_hops, read_header, was_delivered_to


def header(*pieces: bytes) -> bytes:
    """The same by both ways, which must agree."""
    whole = asyncio.run(read_header(MemoryBody(b"".join(pieces))))
    assert asyncio.run(read_header(StreamBody(pieces))) == whole
    return whole


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"From: a@example.com\r\nSubject: x\r\n\r\nbody\r\n\r\nmore", b"From: a@example.com\r\nSubject: x\r\n"),
        (b"\r\nbody", b""),
        (b"", b""),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A: b", b"A: b"),
        (b"A: b\r\n\r\n", b"A: b\r\n"),
    ],
)
def test_the_header_ends_before_the_first_empty_line(data: bytes, found: bytes) -> None:
    assert header(data) == found


@given(st.lists(st.sampled_from([b"A: b\r\n", b"\r\n", b"\r", b"\n", b"x" * 50, b"\xff"]), max_size=12))
def test_it_does_not_matter_how_a_body_is_cut(pieces: list[bytes]) -> None:
    whole = asyncio.run(read_header(MemoryBody(b"".join(pieces))))
    assert asyncio.run(read_header(StreamBody([bytes((octet,)) for octet in b"".join(pieces)]))) == whole


def test_a_header_without_end_is_looked_at_only_so_far() -> None:
    assert len(header(b"A: " + b"x" * (3 * MAX_HEADER))) == MAX_HEADER
    assert len(header_of(b"A: " + b"x" * MAX_HEADER + b"\r\n\r\n")) == MAX_HEADER


def test_no_more_of_a_file_is_read_than_the_header_takes() -> None:
    assert asyncio.run(read_header(StreamBody([b"A: b\r\n\r", b"\nbody"], fails=True))) == b"A: b\r\n"


@pytest.mark.parametrize(
    ("field", "seen"),
    [
        (b"Delivered-To: alice@example.com\r\n", True),
        (b"DELIVERED-TO:   Alice@Example.COM  \r\n", True),
        (b"Delivered-To:\r\n alice@example.com\r\n", True),
        (b"Delivered-To: alice2@example.com\r\n", False),
        (b"X-Delivered-To: alice@example.com\r\n", False),
        (b"Subject: Delivered-To: alice@example.com\r\n", False),
        (b"Delivered-To : alice@example.com\r\n", True),
    ],
)
def test_a_mailbox_recognises_what_was_in_it_before(field: bytes, seen: bool) -> None:
    assert was_delivered_to(b"From: x@y.example\r\n" + field, address("alice@example.com")) is seen


def test_a_quoted_mailbox_recognises_itself_as_it_is_written() -> None:
    assert was_delivered_to(b'Delivered-To: "a b"@example.com\r\n', address('"a b"@example.com'))


def test_only_our_own_stamps_are_counted() -> None:
    block = (
        b"Received: from a.example by mx.example.com with ESMTP; now\r\n"
        b"Received: from mx.example.com (by b) by other.example; now\r\n"
        b"Received: by MX.Example.com (Postlatch)\r\n\tid 1; now\r\n"
        b"Received: from x\r\n by mx.example.com; now\r\n"
        b"X-Received: by mx.example.com; now\r\n"
    )
    assert own_hops(block, "mx.example.com") == 3
