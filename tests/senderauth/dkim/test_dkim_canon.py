"""Canonicalisation: RFC 6376 section 3.4, and every way to cut a body."""

from __future__ import annotations

import hashlib
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.senderauth.dkim.canon import BodyHash, header

# Pieces of which bodies are made that are hard to cut.
_HARD = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b"  ", b"a", b"bc", b"\r\n\r\n", b" \r\n", b"\x0b", b"\x00"])
)
BODIES = _HARD.map(b"".join) | st.binary(max_size=200)
KINDS = pytest.mark.parametrize("kind", ["simple", "relaxed"])


def whole(body: bytes, kind: str) -> bytes:
    """The canonical body, said as the RFC says it."""
    if kind == "relaxed":
        body = re.sub(rb"[ \t]+", b" ", body)
        body = re.sub(rb" (?=\r\n|\Z)", b"", body)
    while body.endswith(b"\r\n"):
        body = body[:-2]
    if not body:
        return b"\r\n" if kind == "simple" else b""
    return body + b"\r\n"


def digest(parts: list[bytes], kind: str) -> bytes:
    hashed = BodyHash(kind)
    for part in parts:
        hashed.feed(part)
    return hashed.digest()


@KINDS
@given(body=BODIES)
def test_a_body_has_the_hash_of_its_canonical_form(kind: str, body: bytes) -> None:
    assert digest([body], kind) == hashlib.sha256(whole(body, kind)).digest()


@KINDS
@given(body=BODIES, places=st.lists(st.integers(0, 200), max_size=8))
def test_every_split_has_the_same_hash(kind: str, body: bytes, places: list[int]) -> None:
    ends = sorted({min(place, len(body)) for place in places})
    parts = [body[a:b] for a, b in zip([0, *ends], [*ends, len(body)], strict=True)]
    assert digest(parts, kind) == digest([body], kind)


@KINDS
@given(body=BODIES)
def test_octet_by_octet_is_as_good_as_at_once(kind: str, body: bytes) -> None:
    assert digest([bytes([octet]) for octet in body], kind) == digest([body], kind)


@pytest.mark.parametrize(
    ("kind", "body", "canonical"),
    [
        ("relaxed", b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # section 3.4.6
        ("simple", b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n"),
        ("simple", b"", b"\r\n"),  # section 3.4.3
        ("relaxed", b"", b""),  # section 3.4.4
        ("relaxed", b" \t\r\n \r\n", b""),
        ("simple", b"no line end", b"no line end\r\n"),
        ("relaxed", b"no line end", b"no line end\r\n"),
    ],
)
def test_the_examples_of_the_rfc(kind: str, body: bytes, canonical: bytes) -> None:
    assert digest([body], kind) == hashlib.sha256(canonical).digest()


@KINDS
def test_a_digest_may_be_asked_for_twice(kind: str) -> None:
    hashed = BodyHash(kind)
    hashed.feed(b"a \r")
    assert hashed.digest() == hashed.digest()


@KINDS
@pytest.mark.parametrize("chunk", [b"\r\n" * 32_768, b" " * 65_536, b" \r\n" * 21_845, b"\r" * 65_536, b"\t \r" * 21_845])
def test_endless_white_space_is_not_kept(kind: str, chunk: bytes) -> None:
    hashed = BodyHash(kind)
    tracemalloc.start()
    try:
        for _ in range(200):
            hashed.feed(chunk)
        hashed.feed(b"end")
        hashed.digest()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("field", "canonical"),
    [
        (b"A: X\r\n", b"a:X\r\n"),  # section 3.4.5
        (b"B : Y\t\r\n\tZ  \r\n", b"b:Y Z\r\n"),
        (b"Subject:\r\n folded\r\n  again \r\n", b"subject:folded again\r\n"),
        (b"Empty:\r\n", b"empty:\r\n"),
        (b"Empty: \r\n \r\n", b"empty:\r\n"),
        (b"Page:\x0c a\x0b \r\n", b"page:\x0c a\x0b\r\n"),  # white space is space and tab, nothing else
        (b"X: a: b\r\n", b"x:a: b\r\n"),
    ],
)
def test_a_relaxed_field_is_on_one_line_with_single_spaces(field: bytes, canonical: bytes) -> None:
    assert header(field, "relaxed") == canonical
    assert header(field, "simple") == field


@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t", b"a", b":", b"b"])).map(b"".join))
def test_a_relaxed_field_stays_as_it_is_when_relaxed_again(value: bytes) -> None:
    once = header(b"X:" + value + b"\r\n", "relaxed")
    assert header(once, "relaxed") == once
    assert b"\r\n" not in once[:-2]
