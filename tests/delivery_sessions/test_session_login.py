"""The SASL mechanisms by themselves, against the RFC's vectors and against nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.login import Login, LoginBroken, Plain, Scram, choose


def vector(testdata: Path) -> dict[str, str]:
    """RFC 7677 section 3."""
    vectors = json.loads((testdata / "scram" / "scram_vectors.json").read_text("utf-8"))["vectors"]
    return next(v for v in vectors if v["mechanism"] == "SCRAM-SHA-256")


def test_scram_speaks_as_in_rfc_7677(testdata: Path) -> None:
    v = vector(testdata)
    scram = Scram(v["username"], v["password"], nonce=v["client_nonce"])
    assert scram.initial.decode() == v["client_first"]
    assert scram.answer(v["server_first"].encode()).decode() == v["client_final"]
    assert not scram.complete
    assert scram.answer(v["server_final"].encode()) == b""
    assert scram.complete


@pytest.mark.parametrize(
    ("old", "new"),
    [("i=4096", "i=1"), ("i=4096", "i=99999999"), ("r=rOpr", "r=XOpr"), ("s=W22Z", "s=!!!!"), (",s=", ",x="), ("r=", "")],
)
def test_scram_breaks_off_where_the_servers_first_message_is_wrong(old: str, new: str, testdata: Path) -> None:
    v = vector(testdata)
    scram = Scram(v["username"], v["password"], nonce=v["client_nonce"])
    with pytest.raises(LoginBroken):
        scram.answer(v["server_first"].replace(old, new).encode())


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_no_challenge_makes_scram_raise_anything_else_or_succeed(challenges: list[bytes]) -> None:
    scram = Scram("user", "pencil", nonce="abc")
    for challenge in challenges:
        try:
            scram.answer(challenge)
        except LoginBroken:
            break
    assert not scram.complete


@given(st.text("rsi=v,me0123456789+/abc", max_size=80))
def test_no_near_miss_makes_scram_raise_anything_else(challenge: str) -> None:
    with pytest.raises(LoginBroken):
        Scram("user", "pencil", nonce="abc").answer(challenge.encode())


def test_the_best_mechanism_on_offer_is_chosen() -> None:
    for offered, name in [
        ({"LOGIN", "PLAIN", "SCRAM-SHA-256"}, "SCRAM-SHA-256"),
        ({"LOGIN", "PLAIN", "CRAM-MD5"}, "PLAIN"),
        ({"LOGIN"}, "LOGIN"),
    ]:
        mechanism = choose(offered, "u", "p")
        assert mechanism is not None
        assert mechanism.name == name
    assert choose({"CRAM-MD5", "SCRAM-SHA-1"}, "u", "p") is None


def test_credentials_that_would_break_the_mechanism_are_refused() -> None:
    for name, password in [("a\0b", "p"), ("u", "p\0q")]:
        with pytest.raises(ValueError, match="NUL"):
            Plain(name, password)
        with pytest.raises(ValueError, match="SASLprep"):
            Scram(name, password)


def test_login_has_no_third_answer() -> None:
    login = Login("u", "p")
    assert [login.answer(b"Username:"), login.answer(b"Password:")] == [b"u", b"p"]
    with pytest.raises(LoginBroken):
        login.answer(b"Token:")
