"""Clients that do not wait: what arrives where a reply had to be awaited ends the session, and never means anything."""

from __future__ import annotations

import pytest

from postlatch.model.envelope import Role
from postlatch.model.reply import Reply
from postlatch.smtp.events import BodyEnd, BodyStart, Closed, Mail, Reason, ServerEvent, StartTls, TransactionDropped
from postlatch.smtp.server import ServerConfig, ServerSession
from postlatch.testing.transcript import SessionPeer

OUT_OF_STEP = b"554 5.5.0 SMTP protocol synchronisation error\r\n"
OK = Reply(250, "2.0.0", "OK")
TLS = {"tls_active": "yes", "mechanisms": "PLAIN,LOGIN"}


def ready(settings: dict[str, str] | None = None, *before: bytes) -> SessionPeer:
    """A peer that has said EHLO and ``before``, line by line, with its output and events so far forgotten."""
    peer = SessionPeer(settings or {})
    for line in (b"EHLO client.example", *before):
        peer.send(line + b"\r\n", [])
    peer.heard()
    peer.told()
    return peer


TRANSACTION = (b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.org>")


@pytest.mark.parametrize("line", [b"EHLO again.example", b"HELO again.example", b"STARTTLS", b"AUTH PLAIN AGEAYg==", b"DATA"])
@pytest.mark.parametrize("behind", [b"N", b"NOOP\r\n", b"MAIL FROM:<a@example.com>\r\n", b"\r\n.\r\n"])
def test_nothing_may_be_pipelined_behind_a_command_whose_reply_matters(line: bytes, behind: bytes) -> None:
    peer = ready({"tls_offered": "yes", "mechanisms": "PLAIN"}, *TRANSACTION)
    peer.send(line + b"\r\n" + behind, [])
    assert peer.heard() == (b"" if line == b"STARTTLS" else OUT_OF_STEP)
    reason = "plaintext behind STARTTLS" if line == b"STARTTLS" else "unauthorised pipelining"
    assert peer.told() == [f"TransactionDropped reason={reason}", f"Closed reason={reason}"]


def test_replies_of_the_group_before_an_injection_still_go_out_and_nothing_else() -> None:
    peer = ready({"tls_offered": "yes"})
    peer.send(b"NOOP\r\nSTARTTLS\r\nNOOP\r\n", [])
    assert peer.heard() == b"250 2.0.0 OK\r\n"


@pytest.mark.parametrize("first", [b"NOOP", b"QUIT", b"FROBNICATE", b"MAIL FROM:<a@example.com>"])
def test_a_client_that_has_not_said_ehlo_may_not_pipeline_at_all(first: bytes) -> None:
    for hello in (b"", b"HELO old.example\r\n"):
        peer = SessionPeer({})
        peer.send(hello, [])
        peer.heard()
        peer.send(first + b"\r\nNOOP\r\n", [])
        assert peer.heard() == OUT_OF_STEP


def test_a_helo_client_may_not_pipeline_behind_its_message() -> None:
    peer = SessionPeer({})
    for line in (b"HELO old.example", *TRANSACTION, b"DATA"):
        peer.send(line + b"\r\n", [])
    peer.heard()
    peer.send(b"x\r\n.\r\nQUIT\r\n", [])
    assert peer.heard() == OUT_OF_STEP
    assert not any(event.startswith("BodyEnd") for event in peer.history)


def test_an_auth_response_stands_alone() -> None:
    peer = ready(TLS)
    peer.send(b"AUTH LOGIN\r\n", ["334 Username:"])
    peer.heard()
    peer.send(b"YQ==\r\nNOOP\r\n", [])
    assert peer.heard() == OUT_OF_STEP


def session(hello: bytes = b"EHLO client.example\r\n", **settings: bool | tuple[str, ...]) -> ServerSession:
    made = ServerSession(ServerConfig("mx.example.com", Role.MX, **settings))  # type: ignore[arg-type]
    made.start()
    made.receive(hello)
    assert drain(made)
    made.output()
    return made


def drain(session: ServerSession) -> list[ServerEvent]:
    return list(iter(session.next_event, None))


def in_transaction(hello: bytes = b"EHLO client.example\r\n") -> ServerSession:
    made = session(hello)
    for line in TRANSACTION:
        made.receive(line + b"\r\n")
        drain(made)
        made.answer(OK)
    made.output()
    return made


def test_octets_that_come_while_data_awaits_its_answer_end_the_session() -> None:
    talk = in_transaction()
    talk.receive(b"DATA\r\n")
    assert drain(talk) == [BodyStart(chunking=False)]
    talk.receive(b"Subject: early\r\n")
    talk.accept_body()
    assert talk.output() == OUT_OF_STEP
    assert drain(talk) == [TransactionDropped(Reason.PIPELINING), Closed(Reason.PIPELINING)]


def test_octets_that_come_while_a_login_is_checked_end_the_session_even_if_it_is_right() -> None:
    talk = session(tls_active=True, mechanisms=("PLAIN",))
    talk.receive(b"AUTH PLAIN AGEAYg==\r\n")
    drain(talk)
    talk.receive(b"MAIL FROM:<a@example.com>\r\n")
    talk.authenticated(Reply(235, "2.7.0", "Welcome"))
    assert talk.output() == OUT_OF_STEP


def test_octets_that_come_while_a_helo_client_awaits_an_answer_end_the_session() -> None:
    talk = session(b"HELO old.example\r\n")
    talk.receive(b"MAIL FROM:<a@example.com>\r\n")
    drain(talk)
    talk.receive(b"R")
    talk.answer(OK)
    assert talk.output() == OUT_OF_STEP
    assert drain(talk) == [Closed(Reason.PIPELINING)]


def test_the_reply_to_a_message_is_never_taken_back() -> None:
    talk = in_transaction(b"HELO old.example\r\n")
    talk.receive(b"DATA\r\n")
    drain(talk)
    talk.accept_body()
    talk.output()
    talk.receive(b"x\r\n.\r\n")
    assert drain(talk)[-1] == BodyEnd(3)
    talk.receive(b"QUIT\r\n")
    talk.answer(OK)
    assert talk.output() == b"250 2.0.0 OK\r\n"


def test_pipelined_commands_wait_in_order_while_a_question_is_open() -> None:
    talk = session()
    talk.receive(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nNOOP\r\n")
    assert isinstance(talk.next_event(), Mail)
    assert talk.waiting
    assert talk.next_event() is None
    assert talk.output() == b""
    talk.answer(OK)
    assert drain(talk)
    talk.answer(Reply(550, "5.7.1", "No"))
    assert drain(talk) == []
    assert talk.output() == b"250 2.0.0 OK\r\n550 5.7.1 No\r\n250 2.0.0 OK\r\n"


def test_what_is_received_behind_the_220_to_starttls_is_read_only_after_the_handshake() -> None:
    talk = session(tls_offered=True)
    talk.receive(b"STARTTLS\r\n")
    assert drain(talk) == [StartTls()]
    assert talk.output() == b"220 2.0.0 Ready to start TLS\r\n"
    talk.receive(b"NOOP\r\n")  # the first octets under TLS: asyncio gives them before start_tls() returns
    assert drain(talk) == []
    assert talk.output() == b""
    talk.tls_started()
    assert (talk.helo, talk.esmtp, talk.tls_active) == ("", False, True)
    assert drain(talk) == []
    assert talk.output() == b"250 2.0.0 OK\r\n"


def test_a_shutdown_in_the_handshake_says_nothing() -> None:
    talk = session(tls_offered=True)
    talk.receive(b"STARTTLS\r\n")
    drain(talk)
    talk.output()
    talk.shutdown(Reply(421, "4.3.2", "Shutting down"))
    assert talk.output() == b""
    assert drain(talk) == [Closed(Reason.SHUTDOWN)]
    talk.tls_started()
    assert drain(talk) == []


def test_nothing_follows_the_end() -> None:
    talk = session()
    talk.receive(b"QUIT\r\nNOOP\r\n")
    assert drain(talk) == [Closed(Reason.QUIT)]
    talk.output()
    talk.receive(b"NOOP\r\n")
    talk.start()
    talk.refuse(OK)
    talk.shutdown(OK)
    assert drain(talk) == []
    assert talk.output() == b""


def test_the_session_tells_where_it_is() -> None:
    talk = in_transaction()
    assert (talk.helo, talk.esmtp, talk.tls_active) == ("client.example", True, False)
    assert (talk.in_transaction, talk.in_body, talk.waiting) == (True, False, False)
    talk.receive(b"BDAT 3\r\n")
    drain(talk)
    assert (talk.in_body, talk.waiting) == (False, True)
    talk.accept_body()
    assert (talk.in_body, talk.waiting) == (True, False)
    talk.receive(b"abcRSET\r\n")
    drain(talk)
    assert (talk.in_transaction, talk.in_body) == (False, False)


@pytest.mark.parametrize("call", ["answer", "accept_body", "challenge", "authenticated", "tls_started"])
def test_an_answer_that_nothing_asked_for_is_a_mistake_of_the_owner(call: str) -> None:
    talk = session()
    arguments: dict[str, list[object]] = {"answer": [OK], "challenge": [b""], "authenticated": [OK]}
    with pytest.raises(RuntimeError):
        getattr(talk, call)(*arguments.get(call, []))


def test_a_body_is_not_accepted_by_a_reply() -> None:
    talk = in_transaction()
    talk.receive(b"DATA\r\n")
    drain(talk)
    with pytest.raises(RuntimeError):
        talk.answer(OK)
    talk.accept_body()
    assert talk.in_body
