"""The one address parser: what it takes, what it refuses, and that nothing is normalised into something else."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.model.address import AddressError, parse_address, parse_domain


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("alice@example.com", "alice", "example.com"),
        ("Alice+Tag@EXAMPLE.Com", "Alice+Tag", "example.com"),
        ('"a b"@example.com', "a b", "example.com"),
        ('"a\\"@\\\\b"@example.com', 'a"@\\b', "example.com"),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
        ("a@[ipv6:2001:DB8:0::1]", "a", "[IPv6:2001:db8::1]"),
        ("a!b%c@example.com", "a!b%c", "example.com"),
        ("a@localhost", "a", "localhost"),
    ],
)
def test_mailboxes_are_split_and_the_domain_is_compared_in_one_form(text: str, local: str, domain: str) -> None:
    address = parse_address(text)
    assert (address.local, address.domain, address.text) == (local, domain, text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "@@", "alice", "@example.com", "alice@", "a@b@c.example", '"a@b"', '"a"b@example.com', "a@b.example."),
        *("a@b..example", ".a@example.com", "a.@example.com", "a..b@example.com", "a b@example.com", "a@[1.2.3]"),
        *("a@[0x7f.1]", "a@[::1]", "a@[IPv6:::1%lo]", "a@192.0.2.1", "a@exa_mple.com", "a@-b.example", "a@b.example:25"),
        *("a@b.example/..", "@h.example:a@b.example", "a\x00@b.example", "a\r\n@b.example", "a@b.example\t"),
        *("a@" + "x" * 64 + ".example", "a" * 65 + "@b.example", "a@" + "x." * 126 + "example", "a@\u00e9xample.com"),
        "\u00e9@example.com",
    ],
)
def test_what_is_not_exactly_one_mailbox_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


def test_non_ascii_needs_smtputf8_and_its_domain_becomes_a_labels() -> None:
    with pytest.raises(AddressError) as raised:
        parse_address("\u00fcser@b\u00fccher.example")
    assert raised.value.non_ascii
    address = parse_address("\u00fcser@b\u00fccher.example", smtputf8=True)
    assert address.domain == "xn--bcher-kva.example"
    assert address.needs_smtputf8


@pytest.mark.parametrize("dot", ["\u3002", "\uff0e", "\uff61"])
def test_a_character_that_looks_like_a_dot_is_none(dot: str) -> None:
    with pytest.raises(AddressError):
        parse_domain(f"example{dot}com")


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = parse_address(text, smtputf8=True)
    except AddressError:
        return
    assert address.text == text
    assert "@" not in address.domain
    assert not any(c in address.domain for c in " \r\n\x00")


def test_the_vectors_of_others_that_smtp_forbids_are_refused(testdata: Path) -> None:
    """isemail's ERR category is invalid everywhere; what it calls valid for SMTP and has no CFWS must pass."""
    wrong = []
    for case in ET.parse(testdata / "address" / "tests.xml").getroot().iter("test"):
        raw = case.findtext("address") or ""
        text = "".join(chr(ord(c) - 0x2400) if 0x2400 <= ord(c) <= 0x241F else c for c in raw)
        category = case.findtext("category") or ""
        try:
            parse_address(text)
            accepted = True
        except AddressError:
            accepted = False
        if category == "ISEMAIL_ERR" and accepted:
            wrong.append((text, category))
        if category == "ISEMAIL_VALID_CATEGORY" and not accepted:
            wrong.append((text, category))
    assert not wrong
