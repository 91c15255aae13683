"""PLAIN and LOGIN as conversations, every G03 and G04 vector of the audit catalogue, and hostile bytes."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from accounts_support import Desk, run
from hypothesis import given
from hypothesis import strategies as st

from postlatch.accounts.mechanisms import MECHANISMS
from postlatch.accounts.sasl import Challenge, Failure, Login, Mechanism, Plain, Step, Success, Verify

ALICE = "alice@example.com"
Say = bytes | None


def talk(mechanism: Mechanism, says: list[Say]) -> Step:
    """The client's messages, the first with the command (None: without one); the last answer."""
    step = mechanism.start(says[0])
    for data in says[1:]:
        assert isinstance(step, Challenge)
        assert data is not None
        step = mechanism.respond(data)
    return step


PLAIN: list[tuple[list[Say], Step]] = [
    ([None], Challenge(b"")),
    ([None, b"\0alice@example.com\0secret"], Verify(ALICE, "secret")),
    ([b"\0alice@example.com\0secret"], Verify(ALICE, "secret")),
    ([b"\0Alice@EXAMPLE.com\0secret"], Verify(ALICE, "secret")),
    ([b"alice@example.com\0alice@example.com\0secret"], Verify(ALICE, "secret")),
    ([b"ALICE@example.com\0alice@Example.com\0secret"], Verify(ALICE, "secret")),
    (["\0jürgen@example.com\0gehäm".encode()], Verify("jürgen@example.com", "gehäm")),
    ([b"\0no login at all\0secret"], Verify("no login at all", "secret")),
    ([b"\0alice@example.com\0" + b"x" * 1024], Verify(ALICE, "x" * 1024)),
    # CVE-2023-27582: the identity to act as is another's.
    (
        [b"victim@example.com\0alice@example.com\0secret"],
        Failure(ALICE, malformed=False, reason="it asked to act as another account"),
    ),
    ([b" \0alice@example.com\0secret"], Failure(ALICE, malformed=False, reason="it asked to act as another account")),
    ([b"\0\0"], Failure("", malformed=False, reason="the user name is empty")),
    ([b"\0\0secret"], Failure("", malformed=False, reason="the user name is empty")),
    ([b"\0alice@example.com\0"], Failure(ALICE, malformed=False, reason="the password is empty")),
    ([b"\0alice@example.com\0" + b"x" * 1025], Failure(ALICE, malformed=False, reason="the password is too long")),
    ([b""], Failure("", malformed=True, reason="PLAIN is not three parts of valid text")),
    ([None, b""], Failure("", malformed=True, reason="PLAIN is not three parts of valid text")),
    ([b"\0"], Failure("", malformed=True, reason="PLAIN is not three parts of valid text")),
    ([b"alice@example.com secret"], Failure("", malformed=True, reason="PLAIN is not three parts of valid text")),
    ([b"\0alice@example.com\0sec\0ret"], Failure("", malformed=True, reason="PLAIN is not three parts of valid text")),
    ([b"\0alice@example.com\0secret\0"], Failure("", malformed=True, reason="PLAIN is not three parts of valid text")),
    ([b"\0alice@example.com\0\xff"], Failure("", malformed=True, reason="PLAIN is not three parts of valid text")),
    ([b"\0\xc0\x80\0secret"], Failure("", malformed=True, reason="PLAIN is not three parts of valid text")),
    ([b"\0\xed\xa0\x80\0secret"], Failure("", malformed=True, reason="PLAIN is not three parts of valid text")),
]

LOGIN: list[tuple[list[Say], Step]] = [
    ([None], Challenge(b"Username:")),
    ([None, b"alice@example.com"], Challenge(b"Password:")),
    ([None, b"Alice@example.com", b"secret"], Verify(ALICE, "secret")),
    ([b"alice@example.com", b"secret"], Verify(ALICE, "secret")),
    ([None, b"", b"secret"], Failure("", malformed=False, reason="the user name is empty")),
    ([None, b"alice@example.com", b""], Failure(ALICE, malformed=False, reason="the password is empty")),
    ([None, b"alice@example.com", b"x" * 1025], Failure(ALICE, malformed=False, reason="the password is too long")),
    ([None, b"\xff"], Failure("", malformed=True, reason="LOGIN is not valid text")),
    ([None, b"alice\0@example.com"], Failure("", malformed=True, reason="LOGIN is not valid text")),
    ([None, b"alice@example.com", b"sec\0ret"], Failure("", malformed=True, reason="LOGIN is not valid text")),
]


@pytest.mark.parametrize(("says", "answer"), PLAIN)
def test_plain(says: list[Say], answer: Step) -> None:
    assert talk(Plain(), says) == answer


@pytest.mark.parametrize(("says", "answer"), LOGIN)
def test_login(says: list[Say], answer: Step) -> None:
    assert talk(Login(), says) == answer


def test_a_password_is_not_shown_by_repr() -> None:
    assert "secret" not in repr(Verify("alice", "secret"))


def vector(testdata: Path, name: str) -> dict[str, list[str]]:
    catalogue = json.loads((testdata / "relay_vectors.json").read_text("utf-8"))
    params: dict[str, list[str]] = next(v for v in catalogue["vectors"] if v["id"] == name)["params"]
    return params


def g03_octets(value: str) -> bytes:
    """``AA==`` or ``base64(…{NUL}…)`` of the catalogue, with an account of the test's own."""
    if not value.startswith("base64("):
        return base64.b64decode(value)
    text = value.removeprefix("base64(").removesuffix(")")
    return text.replace("{NUL}", "\0").replace("{test_user}", ALICE).replace("{test_password}", "correct horse").encode()


def test_no_g03_vector_authenticates(testdata: Path) -> None:
    """Empty, NUL-only and authzid-mismatch PLAIN; ``victim`` and ``user`` exist here, and the password is right."""
    desk = Desk()
    for login in (ALICE, "victim", "user"):
        desk.add(login, send_as=["@example.com"])
    values = vector(testdata, "G03")["value"]
    assert len(values) == 4
    for value in values:
        mechanism = desk.authenticator().mechanism("PLAIN")
        assert mechanism is not None
        answer = mechanism.start(g03_octets(value))
        assert isinstance(answer, Failure), value
    assert desk.hasher.verified == []


def test_no_g04_mechanism_exists(testdata: Path) -> None:
    authenticator = Desk().authenticator()
    names = [text.split(" ")[0] for text in vector(testdata, "G04")["mech"]]
    assert names == ["ANONYMOUS", "EXTERNAL", "XOAUTH2", "CRAM-MD5"]
    for name in [*names, "", "PLAIN ", "DIGEST-MD5", "NTLM", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "PL\u0100IN"]:
        assert authenticator.mechanism(name) is None


def test_the_offered_mechanisms_exist_in_any_case() -> None:
    authenticator = Desk().authenticator()
    assert MECHANISMS == ("SCRAM-SHA-256", "PLAIN", "LOGIN")
    for name in MECHANISMS:
        first, second = authenticator.mechanism(name), authenticator.mechanism(name.lower())
        assert first is not None
        assert type(first) is type(second)
        assert first is not second


@given(
    st.sampled_from(MECHANISMS), st.lists(st.binary(max_size=60) | st.text(max_size=40).map(str.encode), min_size=1, max_size=4)
)
def test_hostile_bytes_never_succeed_and_never_raise(name: str, says: list[bytes]) -> None:
    desk = Desk()
    desk.add(ALICE)
    authenticator = desk.authenticator()
    mechanism = authenticator.mechanism(name)
    assert mechanism is not None
    step = mechanism.start(says[0])
    for data in says[1:]:
        if not isinstance(step, Challenge):
            break
        step = mechanism.respond(data)
    assert not isinstance(step, Success)
    if isinstance(step, Verify):
        assert run(authenticator.verify(step.login, step.password)) is None
    authenticator.close()


FRAGMENTS = [
    "n,,",
    "y,,",
    "p=tls-unique,,",
    "n,a=x,",
    "n=alice@example.com",
    "n=x",
    "r=abc",
    "m=1",
    "a=1",
    "p=AAAA",
    "c=biws",
    ",",
]
pieces = st.lists(st.sampled_from(FRAGMENTS), max_size=6)


@given(gs2=st.sampled_from(["", "n,,", "y,,"]), first=pieces, final=pieces)
def test_almost_scram_never_succeeds_and_never_raises(gs2: str, first: list[str], final: list[str]) -> None:
    desk = Desk()
    desk.add(ALICE)
    mechanism = desk.authenticator().mechanism("SCRAM-SHA-256")
    assert mechanism is not None
    step = mechanism.start((gs2 + ",".join(first)).encode())
    if isinstance(step, Challenge):
        step = mechanism.respond(",".join(final).encode())
    assert isinstance(step, Failure)
