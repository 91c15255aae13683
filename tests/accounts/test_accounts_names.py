"""Logins and send-as entries: one spelling of each, and errors that say what would be right."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postlatch.accounts.names import login_key, parse_login, parse_send_as, parse_sending
from postlatch.accounts.problem import AccountError


@pytest.mark.parametrize(
    ("text", "login"),
    [
        ("alice@example.com", "alice@example.com"),
        ("Alice@EXAMPLE.com", "alice@example.com"),
        ("alice+tag@example.com", "alice+tag@example.com"),
        ("alice@müller.example", "alice@xn--mller-kva.example"),
        ("JÜRGEN@example.com", "jürgen@example.com"),
        ("ju\u0308rgen@example.com", "jürgen@example.com"),  # decomposed, as macOS types it
        ("printer-3.floor_2", "printer-3.floor_2"),
        ("Scanner", "scanner"),
        ("a" * 64, "a" * 64),
    ],
)
def test_a_login_has_one_spelling(text: str, login: str) -> None:
    assert parse_login(text) == login
    assert login_key(text) == login
    assert parse_login(login) == login


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "alice\n",
        "alice\0",
        "a" * 65,
        "scänner",
        "\u212aate",  # the Kelvin sign, whose lower case is an ASCII k
        "@example.com",
        "<>",
        "alice@",
        "alice@example.com.",
        "alice@example\uff0ecom",
        "alice@example\u3002com",
        "alice\uff20example.com",
        "alice@@example.com",
        "alice@example.com\r\nbob@example.com",
        "<alice@example.com>",
        '"alice smith"@example.com',
        '"alice"@example.com',
        "alice@[192.0.2.1]",
        "alice@192.0.2.1",
        "alice@under_score.example",
        "\ud800@example.com",
        "ali\u202ece@example.com",
        "\U0001f600@example.com",
    ],
)
def test_what_can_be_no_login_is_an_account_error(text: str) -> None:
    with pytest.raises(AccountError):
        parse_login(text)


@pytest.mark.parametrize("text", ["", "a b", "alice\0", "\ud800", "x" * 5000, "alice@example.com.", "\u0627a"])
def test_what_can_be_no_login_finds_nobody(text: str) -> None:
    assert login_key(text) == text


@given(st.text(max_size=40) | st.from_regex(r"[^@]{1,8}@[a-zA-Zäöüß]{1,5}\.example", fullmatch=True))
@example("İ@example.com")
@example("ß@example.com")
@example("ϓ@example.com")
def test_any_text_is_a_settled_login_or_an_account_error(text: str) -> None:
    try:
        login = parse_login(text)
    except AccountError:
        return
    assert parse_login(login) == login == login_key(login)
    login.encode()


@pytest.mark.parametrize(
    ("entry", "canonical"),
    [
        ("<>", "<>"),
        ("@Example.COM", "@example.com"),
        ("@müller.example", "@xn--mller-kva.example"),
        ("Bob@Example.com", "bob@example.com"),
    ],
)
def test_a_send_as_entry_is_an_address_a_domain_or_the_null_sender(entry: str, canonical: str) -> None:
    assert parse_send_as(entry) == canonical
    assert parse_send_as(canonical) == canonical


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("", "no @"),
        ("bob", "no @"),
        ("@", "empty"),
        ("@*", "not a valid host name"),
        ("@.example.com", "not a valid host name"),
        ("@example.com ", "not a valid host name"),
        ("*@example.com.", "not a valid host name"),
        ("@[192.0.2.1]", "not a valid host name"),
        ("bob@[192.0.2.1]", "belongs to nobody"),
        ('"bob"@example.com', "quotation marks"),
        ("bob@example.com\x1b[31m", "control character"),
        ("\udcffbob@example.com", "not valid text"),
    ],
)
def test_a_bad_send_as_entry_says_what_is_wrong_and_shows_it_escaped(entry: str, says: str) -> None:
    with pytest.raises(AccountError, match=says) as caught:
        parse_send_as(entry)
    assert repr(entry) in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_an_address_needs_no_send_as_and_a_name_does() -> None:
    assert parse_sending("alice@example.com", []) == frozenset()
    assert parse_sending("alice@example.com", ["ALICE@example.com", "@example.com"]) == {"@example.com"}
    assert parse_sending("printer", ["<>"]) == {"<>"}
    with pytest.raises(AccountError, match="say what it may send as"):
        parse_sending("printer", [])
