"""Forged Authentication-Results are removed however they are written, and nothing else is touched. RFC 8601 section 5."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.senderauth.authres import strip

OURS = "mx.example.com"
BEFORE = b"Received: from x by y; date\r\n"
BEHIND = b"From: a@example.org\r\nSubject:  folded\r\n\tmore \r\n"

CLAIMS = [
    "Authentication-Results: mx.example.com; spf=pass",
    "authentication-results: MX.EXAMPLE.COM; spf=pass",
    "AUTHENTICATION-RESULTS:mx.example.com;spf=pass",
    "Authentication-Results : mx.example.com; spf=pass",
    "Authentication-Results\t \t:\tmx.example.com; spf=pass",
    "Authentication-Results\r\n : mx.example.com; spf=pass",
    "Authentication-Results:\r\n\tmx.example.com;\r\n\tspf=pass",
    "Authentication-Results:\r\n \r\n mx.example.com; spf=pass",
    "Authentication-Results: mx.example.com\r\n\t;spf=pass",
    "Authentication-Results: mx.example.com 1; spf=pass",
    "Authentication-Results: mx.example.com 99999999; spf=pass",
    "Authentication-Results: mx.example.com/1; spf=pass",
    "Authentication-Results: mx.example.com (Postfix) 1 (x); spf=pass",
    "Authentication-Results: (c) mx.example.com; spf=pass",
    "Authentication-Results: (c)mx.example.com(d); spf=pass",
    "Authentication-Results: (a (nested; (deep)) one)\r\n\tmx.example.com; spf=pass",
    "Authentication-Results: (a \\) b; c) mx.example.com; spf=pass",
    "Authentication-Results: mx.(c)example.com; spf=pass",
    "Authentication-Results: mx . example . com; spf=pass",
    'Authentication-Results: "mx.example.com"; spf=pass',
    'Authentication-Results: "mx\\.exam\\ple.com"; spf=pass',
    'Authentication-Results: " mx.example.com "; spf=pass',
    'Authentication-Results: "mx.example.com." 1; spf=pass',
    'Authentication-Results: (c) "MX.example.com" (d); spf=pass',
    'Authentication-Results: mx."example".com; spf=pass',
    "Authentication-Results: mx.example.com.; spf=pass",
    "Authentication-Results: mx.example.com..; spf=pass",
    "Authentication-Results: mx.example.com",
    "Authentication-Results: mx.example.com; none",
    "Authentication-Results: =?utf-8?q?mx.example.com?=; spf=pass",
    "Authentication-Results: <mx.example.com>; spf=pass",
    "Authentication-Results: @mx.example.com; spf=pass",
    "Authentication-Results: \uff4dx.example.com; spf=pass",
    "Authentication-Results: mx\u3002example.com; spf=pass",
    "Authentication-Results: other.example mx.example.com; spf=pass",
    "Authentication-Results: other.example (mx.example.com); spf=pass",
    "Authentication-Results: (mx.example.com) other.example; spf=pass",
    "Authentication-Results: (mx.example.com.) other.example; spf=pass",
    "Authentication-Results: (x\\) mx.example.com; (y) ) other.example; spf=pass",
    "\ufeffAuthentication-Results: mx.example.com; spf=pass",
    "\u00a0Authentication-Results\u00a0: mx.example.com; spf=pass",
    "\x0bAuthentication-Results\x0c: mx.example.com; spf=pass",
]

UNREADABLE = [
    "Authentication-Results:",
    "Authentication-Results: ;",
    "Authentication-Results: ; spf=pass",
    "Authentication-Results: spf=pass smtp.mailfrom=example.org; dkim=none",
    "Authentication-Results: dkim=none (message not signed)\r\n\theader.d=none;dmarc=none",
    "Authentication-Results: (never ends; other.example; spf=pass",
    'Authentication-Results: "never ends; spf=pass',
    'Authentication-Results: "other\r\n .example"; spf=pass',
    "Authentication-Results: other.example spf=pass",
    "Authentication-Results: other example; spf=pass",
    "Authentication-Results: other.example 1 2; spf=pass",
    "Authentication-Results: other.example/1; spf=pass",
    "Authentication-Results: other\u202e.example; spf=pass",
    "Authentication-Results: " + "(" * 2000,
    "Authentication-Results: " + "(x) " * 500 + "other.example; spf=pass",
    "Authentication-Results: " + "a" * 1200,
]

OTHERS = [
    "Authentication-Results: other.example; spf=pass smtp.mailfrom=mx.example.com",
    "Authentication-Results: other.example;\r\n\tdkim=pass (mx.example.com) header.d=mx.example.com",
    "Authentication-Results: example.com; spf=pass",
    "Authentication-Results: smx.example.com; spf=pass",
    "Authentication-Results: a.mx.example.com (a.mx.example.com); spf=pass",
    "Authentication-Results: mx.example.com.evil.example; spf=pass",
    "Authentication-Results: mx.example.comm 1; spf=pass",
    'Authentication-Results: "other id" 1; spf=pass',
    "Authentication-Results: (c (n) \u00e9) other.example (d) 1 (e); spf=pass",
    "Authentication-Results: b\u00fccher.example; spf=pass",
    "Authentication-Results:other.example",
    "Authentication-Results: other.example; " + "x=y; " * 1000,
    "ARC-Authentication-Results: i=1; mx.example.com; spf=pass",
    "X-Authentication-Results: mx.example.com; spf=pass",
    "Authentication-Results-Original: mx.example.com; spf=pass",
    "Subject: Authentication-Results: mx.example.com; spf=pass",
    "Subject: x\r\n Authentication-Results: mx.example.com; spf=pass",
    "Authentication-Results mx.example.com; spf=pass",
]


def raw(text: str) -> bytes:
    return text.encode() + b"\r\n"


@pytest.mark.parametrize("text", CLAIMS + UNREADABLE, ids=lambda text: text[:60].encode().decode("latin-1"))
def test_what_claims_to_be_ours_or_cannot_be_read_is_removed(text: str) -> None:
    assert strip(BEFORE + raw(text) + BEHIND, OURS) == (BEFORE + BEHIND, 1)
    assert strip(raw(text) + BEHIND, OURS) == (BEHIND, 1)
    assert strip(BEFORE + raw(text), OURS) == (BEFORE, 1)
    assert strip(raw(text).removesuffix(b"\r\n"), OURS) == (b"", 1)
    assert strip(raw(text) * 3 + BEHIND + raw(text), OURS) == (BEHIND, 4)


@pytest.mark.parametrize("text", OTHERS, ids=lambda text: text[:60])
def test_what_names_somebody_else_is_left_bit_for_bit(text: str) -> None:
    block = BEFORE + raw(text) + BEHIND
    assert strip(block, OURS) == (block, 0)


@pytest.mark.parametrize("octets", [b"\xff", b"mx.example.com\xff", b"\xc3", b"mx\x80.example.com", b"\xed\xa0\x80"])
def test_eight_bit_garbage_in_the_name_is_nobody_elses_name(octets: bytes) -> None:
    assert strip(b"Authentication-Results: " + octets + b"; spf=pass\r\n" + BEHIND, OURS) == (BEHIND, 1)
    garbage_behind = b"Authentication-Results: other.example; x=" + octets + b"\r\n"
    assert strip(garbage_behind, OURS) == (garbage_behind, 0)


@pytest.mark.parametrize(
    "ours", ["mx.b\u00fccher.example", "mx.xn--bcher-kva.example", "MX.B\u00dcCHER.example.", "mx.XN--bcher-kva.EXAMPLE"]
)
@pytest.mark.parametrize(
    "theirs", ["mx.b\u00fccher.example", "mx.xn--bcher-kva.example", "Mx.B\u00fcCHER.Example.", '"mx.b\u00fccher.example"']
)
def test_u_labels_and_a_labels_are_the_same_name(ours: str, theirs: str) -> None:
    assert strip(raw(f"Authentication-Results: {theirs}; spf=pass"), ours) == (b"", 1)


def test_lone_line_ends_hide_nothing() -> None:
    claim = b"Authentication-Results: mx.example.com; spf=pass"
    for end in (b"\n", b"\r", b"\r\r\n", b"\n\r\n "):
        block = b"Subject: x" + end + claim + b"\r\n" + BEHIND
        stripped, removed = strip(block, OURS)
        assert removed == 1
        assert b"mx.example.com" not in stripped
        assert stripped.endswith(BEHIND)


def test_the_body_is_not_looked_at() -> None:
    block = BEHIND + b"\r\nAuthentication-Results: mx.example.com; spf=pass\r\n"
    assert strip(block, OURS) == (block, 0)
    assert strip(block[len(BEHIND) :], OURS) == (block[len(BEHIND) :], 0)


def test_the_same_is_not_done_twice() -> None:
    block = b"".join(raw(text) for text in CLAIMS + OTHERS + UNREADABLE)
    once, removed = strip(block, OURS)
    assert removed == len(CLAIMS) + len(UNREADABLE)
    assert strip(once, OURS) == (once, 0)


FILL = st.text(st.sampled_from('( )\\"\r\n\t;aA1.='), max_size=8)


@given(FILL, FILL, st.sampled_from(["mx.example.com", "MX.example.COM.", '"mx.example.com"']))
@settings(deadline=None)
def test_whatever_stands_around_our_name_it_does_not_stay(before: str, behind: str, name: str) -> None:
    block = b"Authentication-Results: " + f"{before}{name}{behind}".encode() + b"\r\n"
    head = before.replace("\r", "").replace("\n", "")
    _, removed = strip(block, OURS)
    if removed == 0:
        # It only stays where the name is behind a semicolon, is a part of a longer name, or begins a line that is no field.
        longer = before[-1:].isalnum() or before[-1:] == "." or behind[:1].isalnum() or behind[:1] == "."
        assert ";" in head or longer or "\n" in before or "\r" in before
    assert removed in {0, 1}


@given(
    st.lists(
        st.one_of(st.binary(max_size=20), st.sampled_from([b"Authentication-Results:", b"\r\n", b"(", b'"', b"mx.example.com"]))
    )
)
@settings(deadline=None)
def test_any_octets_are_stripped_of_whole_lines_only(parts: list[bytes]) -> None:
    block = b"".join(parts)
    stripped, removed = strip(block, OURS)
    assert (stripped == block) == (removed == 0)
    left = iter(block.splitlines(keepends=True))
    assert all(line in left for line in stripped.splitlines(keepends=True))


@pytest.mark.parametrize(
    "text",
    [
        b"Authentication-Results: (((((((",
        b"Authentication-Results: " + b"(" * 200_000,
        b"Authentication-Results:\r\n " + b" \r\n" * 60_000,
        b'Authentication-Results: "' + b"\\a" * 100_000,
        b"Authentication-Results: " + b"mx.example.co" * 15_000,
        b"Authentication-Results: other.example; x\r\n" * 6000,
        b"Authentication-Results:x (" + b"mx.example.co " * 60 + b")\r\n" * 200,
    ],
    ids=lambda text: text[:40].decode() + str(len(text)),
)
def test_a_header_of_262144_octets_costs_little(text: bytes) -> None:
    began = time.thread_time()
    strip((text + b"\r\n") * max(1, 262_144 // (len(text) + 2)), OURS)
    assert time.thread_time() - began < 0.25


def test_what_goes_joins_no_octets_to_a_line_end_that_was_not_there() -> None:
    block = b"X: y\r\x05Authentication-Results: mx.example.com; spf=pass\n\n\r\n\r\nbody"
    left, removed = strip(block, "mx.example.com")
    assert removed == 1
    assert left == b"X: y\r\r\n\r\nbody"
