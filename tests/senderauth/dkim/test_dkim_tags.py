"""Tag lists: RFC 6376 section 3.2."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.senderauth.dkim.tags import TagError, parse_tags


def test_tags_come_in_their_order_without_the_white_space_around_them() -> None:
    assert list(parse_tags(b" v = 1;\r\n\ta= rsa-sha256 ; h=From : To;").items()) == [
        ("v", "1"),
        ("a", "rsa-sha256"),
        ("h", "From : To"),
    ]


def test_a_value_may_hold_equal_signs_and_be_empty() -> None:
    assert parse_tags("b=ab==;p=") == {"b": "ab==", "p": ""}


def test_a_folded_value_is_unfolded() -> None:
    assert parse_tags(b"b=abc\r\n def\r\n\tghi") == {"b": "abc def\tghi"}


def test_names_compare_with_case() -> None:
    assert parse_tags("a=1;A=2") == {"a": "1", "A": "2"}


def test_text_beyond_ascii_is_read_as_utf8() -> None:
    assert parse_tags("d=b\u00fccher.example".encode()) == {"d": "b\u00fccher.example"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "not name=value"),
        (b"v=1;;a=b", "not name=value"),
        (b"v=1;;", "not name=value"),
        (b"v", "not name=value"),
        (b"=1", "not name=value"),
        (b"1v=1", "not name=value"),
        (b"v v=1", "not name=value"),
        (b"v-x=1", "not name=value"),
        (b"v=1; v=1", "there twice"),
        (b"v=1\r\na=2", "control character"),
        (b"v=\x00", "control character"),
        (b"v=\x7f", "control character"),
        ("v=\x85".encode(), "control character"),
        (b"v=\xff", "not UTF-8"),
    ],
)
def test_what_is_no_tag_list_is_refused_with_the_reason(text: bytes, fault: str) -> None:
    with pytest.raises(TagError, match=fault):
        parse_tags(text)


@given(st.binary() | st.text())
def test_anything_is_a_tag_list_or_a_tag_error(text: bytes | str) -> None:
    try:
        tags = parse_tags(text)
    except TagError:
        return
    again = parse_tags(";".join(f"{name}={value}" for name, value in tags.items()))
    assert again == tags


@pytest.mark.parametrize("text", ["a=" + " " * 250_000 + "x", ";".join(f"t{n}=1" for n in range(30_000)), "a" * 250_000])
def test_the_longest_lists_are_read_at_once(text: str) -> None:
    began = time.thread_time()
    with contextlib.suppress(TagError):
        parse_tags(text)
    assert time.thread_time() - began < 0.5
