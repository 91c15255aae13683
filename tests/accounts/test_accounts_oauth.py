"""OAUTHBEARER and XOAUTH2: the messages of RFC 7628, and every way to get them wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.accounts.mechanisms import Channel, make_mechanism
from postlatch.accounts.oauth import INSUFFICIENT_SCOPE, INVALID_TOKEN, Discovery, OAuthBearer, XOAuth2
from postlatch.accounts.sasl import Challenge, Failure, TokenMechanism, VerifyToken
from postlatch.accounts.scram import Found

DISCOVERY = Discovery("smtp", "https://login.example.com/.well-known/openid-configuration")
# RFC 7628 section 4.1
EXAMPLE = (
    b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
    b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
)
TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="


def test_the_example_of_rfc_7628() -> None:
    mechanism = OAuthBearer(DISCOVERY)
    assert mechanism.start(None) == Challenge(b"")
    assert mechanism.respond(EXAMPLE) == VerifyToken("user@example.com", TOKEN)


@pytest.mark.parametrize(
    ("message", "login"),
    [
        (b"n,,\x01auth=Bearer abc\x01\x01", ""),
        (b"y,,\x01auth=bearer abc\x01\x01", ""),
        (b"n,a=User@Example.com,\x01auth=BEARER   abc\x01\x01", "user@example.com"),
        (b"n,a=a=2Cb=3Dc,\x01auth=Bearer abc\x01\x01", "a,b=c"),
        (b"n,,\x01auth=Bearer abc\x01mutual=1\x01\x01", ""),
    ],
)
def test_forms_of_the_header_that_are_right(message: bytes, login: str) -> None:
    assert OAuthBearer(DISCOVERY).start(message) == VerifyToken(login, "abc")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"n,,",
        b"n,,\x01",
        b"n,\x01auth=Bearer abc\x01\x01",
        b"n,,x\x01auth=Bearer abc\x01\x01",
        b"q,,\x01auth=Bearer abc\x01\x01",
        b"n,b=c,\x01auth=Bearer abc\x01\x01",
        b"n,a=,\x01auth=Bearer abc\x01\x01",
        b"n,a=x=2,\x01auth=Bearer abc\x01\x01",
        b"n,a=x\x00,\x01auth=Bearer abc\x01\x01",
        b"n,,\x01auth=Bearer abc\x01",
        b"n,,\x01auth=Bearer abc",
        b"n,,\x01auth=Bearer abc\x01auth=Bearer other\x01\x01",
        b"n,,\x01=Bearer abc\x01\x01",
        b"n,,\x01auth\x01\x01",
        b"n,,\x01" + b"a=b\x01" * 40 + b"\x01",
        b"n,,\x01auth=Bearer \xff\x01\x01",
    ],
)
def test_messages_that_are_not_in_their_form(message: bytes) -> None:
    answer = OAuthBearer(DISCOVERY).start(message)
    assert isinstance(answer, Failure)
    assert answer.malformed


def test_channel_binding_is_not_ours_to_give() -> None:
    answer = OAuthBearer(DISCOVERY).start(b"p=tls-exporter,,\x01auth=Bearer abc\x01\x01")
    assert answer == Failure("", malformed=False, reason="it demanded channel binding")


def test_who_sends_no_token_is_told_what_would_be_right() -> None:
    """RFC 7628 section 4.3: the way to ask."""
    mechanism = OAuthBearer(DISCOVERY)
    answer = mechanism.start(b"n,a=user@example.com,\x01auth=\x01\x01")
    assert isinstance(answer, Challenge)
    assert json.loads(answer.data) == {
        "status": "invalid_request",
        "scope": "smtp",
        "openid-configuration": "https://login.example.com/.well-known/openid-configuration",
    }
    ended = mechanism.respond(b"\x01")
    assert isinstance(ended, Failure)
    assert (ended.login, ended.malformed) == ("user@example.com", False)


def test_a_refusal_is_told_before_the_failure() -> None:
    mechanism = OAuthBearer(DISCOVERY)
    mechanism.start(EXAMPLE)
    told = mechanism.denied("user@example.com", INVALID_TOKEN, "the token has expired")
    assert json.loads(told.data)["status"] == "invalid_token"
    assert mechanism.respond(b"\x01") == Failure("user@example.com", malformed=False, reason="the token has expired")
    assert mechanism.respond(EXAMPLE) == Failure("user@example.com", malformed=False, reason="the token has expired")


def test_without_settings_nothing_is_told_of_the_issuer() -> None:
    assert OAuthBearer(Discovery()).denied("", INVALID_TOKEN, "why").data == b'{"status":"invalid_token"}'


def test_xoauth2() -> None:
    mechanism = XOAuth2(DISCOVERY)
    assert mechanism.start(None) == Challenge(b"")
    step = mechanism.respond(b"user=User@example.com\x01auth=Bearer abc\x01\x01")
    assert step == VerifyToken("user@example.com", "abc")
    told = mechanism.denied("user@example.com", INVALID_TOKEN, "why")
    assert json.loads(told.data) == {"status": "401", "schemes": "bearer", "scope": "smtp"}
    assert json.loads(mechanism.denied("", INSUFFICIENT_SCOPE, "why").data)["status"] == "403"
    assert isinstance(mechanism.respond(b""), Failure)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"auth=Bearer abc\x01\x01",
        b"user=\x01auth=Bearer abc\x01\x01",
        b"user=x\x01user=y\x01auth=Bearer abc\x01\x01",
        b"user=x\x01auth=Bearer abc\x01",
        b"n,,\x01auth=Bearer abc\x01\x01",
    ],
)
def test_xoauth2_that_is_not_in_its_form(message: bytes) -> None:
    answer = XOAuth2(DISCOVERY).start(message)
    assert isinstance(answer, Failure)
    assert answer.malformed


@pytest.mark.parametrize(
    "token",
    ["", "Basic abc", "Bearer", "Bearer ", "Bearer a b", "Bearer a\tb", "Bearer ä", "Bearer =a", "Bearer " + "x" * 8193],
)
def test_what_is_no_bearer_token_is_refused_without_asking_anybody(token: str) -> None:
    answer = XOAuth2(DISCOVERY).start(f"user=x\x01auth={token}\x01\x01".encode())
    assert isinstance(answer, Challenge)
    assert json.loads(answer.data)["status"] == "401"


@given(
    st.sampled_from(["OAUTHBEARER", "XOAUTH2"]),
    st.lists(st.binary(max_size=40) | st.sampled_from([b"n,,\x01", b"auth=Bearer x\x01\x01", b"user=a\x01"]), max_size=5),
)
def test_hostile_bytes_never_raise(name: str, parts: list[bytes]) -> None:
    mechanism = make_mechanism(name, lambda _login: Found(None, known=False), bytes, Channel(tokens=DISCOVERY))  # type: ignore[arg-type]
    assert isinstance(mechanism, TokenMechanism)
    step = mechanism.start(b"".join(parts))
    assert isinstance(step, Challenge | Failure | VerifyToken)
    if isinstance(step, Challenge):
        assert isinstance(mechanism.respond(b""), Failure)
