"""What a message tells of an audit: its token, and whether it is the message itself or an answer to one."""

from __future__ import annotations

import random

import pytest
from canary_support import OTHER, RUN, TOKEN, bounce, message
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.audit.canary.tokens import MAX_MESSAGE, Envelope, read_message, tokens
from postlatch.testing.clock import FakeClock

NULL = Envelope("")
HEX = st.text("0123456789abcdef", min_size=8, max_size=8)


def test_a_message_of_the_audit_is_itself_whoever_its_sender_is() -> None:
    for envelope in (Envelope("canary@canary.example"), NULL, None):  # A03 of the catalogue is sent with the null sender
        arrival = read_message(message(TOKEN), 7.0, RUN, envelope)
        assert (arrival.token, arrival.bounce, arrival.at) == (TOKEN, False, 7.0)


def test_a_bounce_quotes_the_message_and_is_none() -> None:
    for octets, envelope in ((bounce(TOKEN), NULL), (bounce(TOKEN), Envelope("daemon@target.example")), (bounce(TOKEN), None)):
        arrival = read_message(octets, 0.0, RUN, envelope)
        assert (arrival.token, arrival.bounce) == (TOKEN, True)


@pytest.mark.parametrize(
    "fields",
    [
        ["Subject: Re: Audit of this mail server TOKEN"],
        ["Subject: Automatische Antwort: Audit of this mail server TOKEN"],
        ["Subject: Audit of this mail server TOKEN", "Auto-Submitted: auto-replied"],
        ["Subject: Audit of this mail server TOKEN", "In-Reply-To: <TOKEN@canary.example>"],
        ["Subject: I am away", "References: <x@y>", "\t<TOKEN@canary.example>"],
        ["Subject: [Ticket 7] we have your mail", "", "> This is a message of that audit (TOKEN)."],
        ["Subject: quoted-printable", "", "a message of that audit (TOK=", "EN). It can be deleted"],
    ],
)
def test_an_answer_that_says_so_in_any_way_is_no_delivery(fields: list[str]) -> None:
    octets = "\r\n".join(["From: someone@target.example", *fields, ""]).replace("TOKEN", TOKEN)
    octets = octets.replace("TOK=\r\nEN", f"{TOKEN[:12]}=\r\n{TOKEN[12:]}")
    arrival = read_message(octets.encode(), 0.0, RUN, Envelope("someone@target.example"))
    assert (arrival.token, arrival.bounce) == (TOKEN, True)


def test_a_subject_is_enough_where_a_server_takes_fields_away() -> None:
    octets = f"Subject: [EXTERNAL] Audit of this mail server {TOKEN}\r\n\r\nx\r\n".encode()
    assert not read_message(octets, 0.0, RUN, Envelope("x@y.example")).bounce
    assert read_message(octets, 0.0, RUN, NULL).bounce  # nobody but a mail system sends without a sender


def test_a_message_that_holds_another_one_as_text_has_its_own_token() -> None:
    smuggled = f"\n.\r\nMAIL FROM:<x@y>\r\nDATA\r\nX-Postlatch-Audit: {RUN}-002-00000000\r\n\r\n"
    assert read_message(message(TOKEN, body=smuggled), 0.0, RUN).token == TOKEN


def test_tokens_of_other_audits_are_not_ours() -> None:
    assert read_message(message(OTHER), 0.0, RUN).token == ""
    assert read_message(message(OTHER), 0.0).token == OTHER
    assert read_message(message(OTHER, body=TOKEN), 0.0, RUN).token == TOKEN


@pytest.mark.parametrize(
    "text",
    [
        f"x{TOKEN}",
        f"{TOKEN}0",
        f"{RUN}-01-deadbeef",
        f"{RUN}-001-deadbee",
        f"{RUN}-001-deadbeeg",
        f"{RUN}_001_deadbeef",
        "plplpl",
        "pl",
    ],
)
def test_what_only_looks_like_a_token_is_none(text: str) -> None:
    assert list(tokens(text.encode())) == []


def test_a_mailbox_tells_the_envelope_in_its_fields() -> None:
    octets = (
        f"Return-Path: <>\nDelivered-To: canary@canary.example\nReceived: by b\nReceived: from a\n\tby b\n\n> {TOKEN}\n"
    ).encode()
    arrival = read_message(octets, 0.0, RUN)
    assert (arrival.sender, arrival.recipient, arrival.received, arrival.bounce) == (
        *("", "canary@canary.example"),
        ("by b", "from a by b"),
        True,
    )


@given(HEX, st.integers(0, 999_999), HEX, st.binary(max_size=40), st.binary(max_size=40))
def test_a_token_is_found_wherever_it_stands(run: str, number: int, last: str, before: bytes, after: bytes) -> None:
    token = f"pl{run}-{number:03d}-{last}"
    octets = before + b" " + token.encode() + b" " + after
    assert token in list(tokens(octets))
    assert list(tokens(octets, f"pl{run}"))[:1] == [token]


@given(st.binary(max_size=400), st.sampled_from(["", RUN]), st.sampled_from([None, NULL]))
def test_any_octets_give_printable_bounded_texts(octets: bytes, run: str, envelope: Envelope | None) -> None:
    arrival = read_message(octets, 0.0, run, envelope)
    for text in (arrival.token, arrival.sender, arrival.recipient, *arrival.received):
        assert len(text) <= 500
        assert not text or (text.isascii() and text.isprintable())


@given(
    st.lists(st.sampled_from(["received", "return-path", "subject", ":", " ", "\r\n", "\n", "\0", TOKEN, "\xff", "a" * 600]))
)
@settings(max_examples=200)
def test_any_header_gives_printable_bounded_texts(parts: list[str]) -> None:
    arrival = read_message("".join(parts).encode("latin-1"), 0.0, RUN)
    assert all(len(text) <= 500 and text.isascii() for text in (arrival.sender, *arrival.received))


def test_looking_through_the_worst_message_takes_a_moment() -> None:
    clock_limit = 2.0
    dice = random.Random(1)
    import time  # noqa: PLC0415 - the one test that measures

    for octets in (
        b"pl" * MAX_MESSAGE,
        b"pl00000000-" * MAX_MESSAGE,
        b"a:\n" * MAX_MESSAGE,
        b"a:b\n " * MAX_MESSAGE,
        dice.randbytes(MAX_MESSAGE),
    ):
        began = time.monotonic()
        read_message(octets, FakeClock().now(), RUN)
        assert time.monotonic() - began < clock_limit
