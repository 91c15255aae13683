"""What holds for every conversation, found by trying many."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.testing.transcript import SessionPeer

SETTINGS = {
    "tls_active": "yes",
    "mechanisms": "PLAIN,LOGIN",
    "max_size": "60",
    "max_errors": "8",
    "max_recipients": "3",
    "max_transactions": "5",
    "max_commands": "12",
    "max_line": "100",
}
CANARY = b"ZQXV"  # in many inputs, and in no reply

# What may be anywhere in a pipelined group, and what must be its last line.
ANYWHERE = [
    b"MAIL FROM:<ZQXV@example.com>\r\n",
    b"MAIL FROM:<> BODY=8BITMIME SIZE=10\r\n",
    b"MAIL FROM:<ZQXV@example.com> ZQXV=1\r\n",
    b"RCPT TO:<ZQXV@example.org>\r\n",
    b"RCPT TO:<postmaster>\r\n",
    b"RCPT TO:<ZQXV>\r\n",
    b"RSET\r\n",
    b"NOOP ZQXV\r\n",
    b"ZQXV\r\n",
    b"VRFY ZQXV\r\n",
    b"NOOP \xff\r\n",
    b"NOOP \x00ZQXV\r\n",
    b"NOOP \rZQXV\r\n",
    b"NOOP ZQXV\n",
    b"BDAT 5\r\na\r\n.\r",
    b"BDAT 6 LAST\r\n\nZQXV.",
    b"BDAT 0 LAST\r\n",
    b"BDAT 7 LAST\r\na\r\n.\r\nb",
    b"BDAT 70\r\n" + b"x" * 70,
    b"BDAT 3\r\na\nb",
    b"BDAT ZQXV\r\n",
    b"NOOP " + b"ZQXV" * 30 + b"\r\n",
]
LAST = [
    b"EHLO ZQXV.example\r\n",
    b"HELO ZQXV.example\r\n",
    b"DATA\r\n",
    b"AUTH PLAIN AGEAYg==\r\n",
    b"AUTH LOGIN\r\n",
    b"QUIT\r\n",
    b"STARTTLS\r\n",
    b"GET /ZQXV HTTP/1.1\r\n",
]
BODY = [
    b"ZQXV\r\n",
    b".ZQXV\r\n",
    b"..\r\n",
    b".\r\r\n",
    b"a\nb\r\n",
    b"\r\n",
    b"x" * 30 + b"\r\n",
    b"\x00",
    b"\n.\n",
    b"\r",
    b". \r\n",
]
ANSWERS = ["", "", "", "", "550 5.7.1 No", "451 4.3.0 Later", "421 4.3.2 Bye", "close 550 5.7.1 No", "shutdown 421 4.3.2 Bye"]


def cut(draw: st.DataObject, data: bytes) -> list[bytes]:
    places = sorted(draw.draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=6)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def groups(draw: st.DataObject, peer: SessionPeer, answers: Sequence[str]) -> list[bytes]:
    """Play a conversation that a well-timed client might have, group by group, and give its groups."""
    played = []
    for _ in range(draw.draw(st.integers(1, 12))):
        anywhere = st.lists(st.sampled_from(ANYWHERE), max_size=4).map(b"".join)
        if peer.session.in_body:
            lines = st.lists(st.sampled_from(BODY), max_size=4).map(b"".join)
            group = draw.draw(lines) + b"\r\n.\r\n"
            group += draw.draw(anywhere) if peer.session.esmtp else b""
        elif peer.session.esmtp:
            group = draw.draw(anywhere) + draw.draw(st.sampled_from(LAST))
        else:
            group = draw.draw(st.sampled_from([*LAST, *(line for line in ANYWHERE if line.find(b"\n") == len(line) - 1)]))
        peer.send(group, answers[len(peer.given()) :])
        played.append(group)
    return played


@given(draw=st.data(), answers=st.lists(st.sampled_from(ANSWERS), max_size=30))
@settings(max_examples=105, deadline=None)
def test_what_the_server_says_and_tells_does_not_depend_on_how_the_octets_are_cut(
    draw: st.DataObject, answers: list[str]
) -> None:
    whole = SessionPeer(SETTINGS)
    played = groups(draw, whole, answers)
    pieces = SessionPeer(SETTINGS)
    octets = SessionPeer(SETTINGS)
    for group in played:
        for piece in cut(draw, group):
            pieces.send(piece, answers[len(pieces.given()) :])
        for octet in group:
            octets.send(bytes((octet,)), answers[len(octets.given()) :])
    heard = whole.heard()
    assert pieces.heard() == octets.heard() == heard
    assert pieces.history == octets.history == whole.history
    assert CANARY not in heard


def hostile() -> st.SearchStrategy[bytes]:
    fragments = st.sampled_from(
        [*ANYWHERE, *LAST, *BODY, b".\r\n", b"\r\n.\r\n", b"\r\n", b"*\r\n", b"YQ==\r\n", b"\x16\x03\x01", b"PROXY "]
    )
    return st.lists(st.one_of(fragments, fragments, fragments, st.binary(max_size=20)), max_size=25).map(b"".join)


@given(draw=st.data(), data=hostile(), answers=st.lists(st.sampled_from(ANSWERS), max_size=30), greeted=st.booleans())
@settings(max_examples=140, deadline=None)
def test_no_octets_raise_or_are_echoed_and_every_transaction_ends_once(
    draw: st.DataObject, data: bytes, answers: list[str], greeted: bool
) -> None:
    peer = SessionPeer(SETTINGS)
    if greeted:
        peer.send(b"EHLO client.example\r\n", [])
    for piece in cut(draw, data):
        peer.send(piece, answers[len(peer.given()) :])
    heard = peer.heard()
    assert CANARY not in heard
    assert all(line[:3].isdigit() and line.isascii() for line in heard.split(b"\r\n")[:-1])
    check_transactions(peer)
    closed = [event for event in peer.history if event.startswith("Closed")]
    assert len(closed) <= 1
    assert not closed or peer.history[-1] == closed[0]


QUESTIONS = {"Mail", "Rcpt", "BodyStart", "BodyEnd", "AuthStart", "AuthResponse", "StartTls"}


def check_transactions(peer: SessionPeer) -> None:
    """Every accepted MAIL ends in exactly one BodyEnd or TransactionDropped, and a body begins at most once in it."""
    answers = iter(peer.given())
    is_open = has_body = False
    for event in peer.history:
        name = event.split(" ", 1)[0]
        answer = next(answers) if name in QUESTIONS else ""
        if name == "Mail":
            assert not is_open
            is_open, has_body = answer.startswith(("250", "shutdown")), False
        elif name == "Rcpt":
            assert is_open
        elif name == "BodyStart":
            assert is_open
            assert not has_body
            has_body = True
        elif name in {"BodyEnd", "TransactionDropped"}:
            assert is_open
            assert has_body or name == "TransactionDropped"
            is_open = False
    assert is_open == peer.session.in_transaction
