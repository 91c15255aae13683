"""What a server offers: read without case, and never more than it said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.smtp.client_capabilities import Capabilities, parse_capabilities


def test_the_first_line_is_a_greeting_and_offers_nothing() -> None:
    assert parse_capabilities([b"PIPELINING"]) == Capabilities()
    assert parse_capabilities([b"STARTTLS", b"DSN"]) == Capabilities(dsn=True)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (b"size", Capabilities(size=0)),
        (b"SIZE 0", Capabilities(size=0)),
        (b"Size 52428800", Capabilities(size=52428800)),
        (b"SIZE many", Capabilities(size=0)),
        (b"SIZE -1", Capabilities(size=0)),
        (b"SIZE 999999999999999999999", Capabilities(size=0)),
        (b"SIZE \xd9\xa3", Capabilities(size=0)),
        (b"AUTH plain", Capabilities(mechanisms=frozenset({"PLAIN"}))),
        (b"AUTH=LOGIN PLAIN", Capabilities(mechanisms=frozenset({"LOGIN", "PLAIN"}))),
        (b"LIMITS RCPTMAX=50", Capabilities(rcpt_max=50)),
        (b"LIMITS rcptmax=50 mailmax=2", Capabilities(rcpt_max=50, mail_max=2)),
        (b"LIMITS RCPTMAX=0 MAILMAX=1234567 XMAILMAX=3 RCPTDOMAINMAX=1", Capabilities()),
        (b"XSTARTTLS", Capabilities()),
        (b"STARTTLSX", Capabilities()),
        (b"XXXXXXXA", Capabilities()),
        (b"", Capabilities()),
    ],
)
def test_each_keyword_is_read_by_its_own_syntax(line: bytes, offered: Capabilities) -> None:
    assert parse_capabilities([b"mx", line]) == offered


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=10))
def test_no_line_makes_it_raise(lines: list[bytes]) -> None:
    parse_capabilities(lines)
