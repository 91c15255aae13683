"""The header block: collected as it streams, read strictly."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.server.headers import MAX_HEADER, HeaderCollector, read_facts

_MESSAGE = b"From: a@example.com\r\nSubject: x\r\n\r\nbody\r\n"


@given(st.lists(st.integers(0, len(_MESSAGE)), max_size=6))
def test_the_header_ends_at_the_same_place_however_the_message_is_split(cuts: list[int]) -> None:
    points = [0, *sorted(cuts), len(_MESSAGE)]
    collector = HeaderCollector()
    rest = b""
    for start, end in pairwise(points):
        if collector.complete:
            rest += _MESSAGE[start:end]
        else:
            collector.feed(_MESSAGE[start:end])
            rest += collector.rest
    assert collector.block == b"From: a@example.com\r\nSubject: x\r\n"
    assert rest == b"body\r\n"


def test_a_message_without_a_body_is_all_header() -> None:
    collector = HeaderCollector()
    collector.feed(b"From: a@example.com\r\n")
    collector.finish()
    assert collector.complete
    assert collector.block == b"From: a@example.com\r\n"
    assert collector.rest == b""


def test_a_message_that_starts_with_an_empty_line_has_no_header() -> None:
    collector = HeaderCollector()
    collector.feed(b"\r\nFrom: a@example.com\r\n\r\n")
    assert collector.block == b""
    assert collector.rest == b"From: a@example.com\r\n\r\n"


def test_a_header_past_the_limit_is_noticed_before_it_is_kept() -> None:
    collector = HeaderCollector()
    for _ in range(MAX_HEADER // 1000 + 2):
        collector.feed(b"X: " + b"y" * 995 + b"\r\n")
        if collector.too_long:
            break
    assert collector.too_long


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@example.com", ["a@example.com"]),
        (b"Alice <a@example.com>", ["a@example.com"]),
        (b'"Alice, of Example" <a@example.com>', ["a@example.com"]),
        (b"a@example.com, b@example.com", ["a@example.com", "b@example.com"]),
        (b'"x@y" <a@example.com>', ["a@example.com"]),
        (b"", None),
        (b"nobody", None),
        (b"<@away.example:a@example.com>", None),
        (b"a@example.com\x00@away.example", None),
        (b"\xff@example.com", None),
        (b"a@example.com <b@away.example>", None),
        (b"(a@example.com", None),
    ],
)
def test_a_from_field_is_read_whole_or_not_at_all(value: bytes, expected: list[str] | None) -> None:
    found = read_facts(b"From: " + value + b"\r\n").header_from
    assert ([a.text for a in found] if found is not None else None) == expected


def test_two_from_fields_are_counted_and_not_chosen_between() -> None:
    facts = read_facts(b"From: a@example.com\r\nFROM : b@example.com\r\n")
    assert facts.from_count == 2
    assert facts.header_from is None


def test_folded_fields_are_one_field() -> None:
    facts = read_facts(b"Received: from x\r\n\tby y;\r\n z\r\nFrom:\r\n a@example.com\r\nMessage-ID: <1@x>\r\n")
    assert facts.received_count == 1
    assert facts.header_from is not None
    assert facts.message_id == "<1@x>"


@given(st.binary(max_size=400))
def test_no_header_bytes_raise(block: bytes) -> None:
    read_facts(b"From: " + block)
