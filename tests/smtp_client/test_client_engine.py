"""What holds for the client engine whatever a server sends and whenever the driver acts."""

from __future__ import annotations

import re

import pytest
from client_script import To, mailbox
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.model.envelope import SenderParams
from postlatch.smtp.client import ClientSession
from postlatch.smtp.client_events import BodyWanted, Challenge, ClientEvent, Closed, Finished, Ready, TlsGo
from postlatch.smtp.client_states import TRANSITIONS, Action, Awaits, diagram
from postlatch.smtp.client_transaction import Transaction

GREETING = b"220 mx\r\n"
HELLO = b"250-mx\r\n250-STARTTLS\r\n250 PIPELINING\r\n"


def ready_engine(hello: bytes = HELLO) -> ClientSession:
    engine = ClientSession("me.example.org")
    engine.receive(GREETING)
    engine.receive(hello)
    assert isinstance(engine.take_events()[-1], Ready)
    engine.take_output()
    return engine


def message(*names: str) -> Transaction:
    recipients = [To(mailbox(f"{name}@example.net")) for name in names or ("bob",)]
    return Transaction(mailbox("alice@example.org"), SenderParams(), recipients)


@pytest.mark.parametrize("extra", [b"2", b"250 injected\r\n", b"\r\n", b"\x16\x03\x01"])
def test_octets_behind_the_220_to_starttls_end_the_session(extra: bytes) -> None:
    engine = ready_engine()
    engine.starttls()
    engine.receive(b"220 go\r\n" + extra)
    events = engine.take_events()
    assert [type(event) for event in events] == [Closed]
    assert "plaintext behind the 220" in str(events[0])


def test_octets_between_the_220_to_starttls_and_the_handshake_end_the_session() -> None:
    engine = ready_engine()
    engine.starttls()
    engine.receive(b"220 go\r\n")
    engine.receive(b"250 injected\r\n")
    assert [type(event) for event in engine.take_events()] == [TlsGo, Closed]


def test_after_the_handshake_nothing_can_begin_before_the_second_ehlo_is_answered() -> None:
    engine = ready_engine()
    engine.starttls()
    engine.receive(b"220 go\r\n")
    engine.tls_started()
    assert not engine.can_begin
    assert not engine.capabilities.pipelining
    with pytest.raises(RuntimeError):
        engine.begin(message())


def test_a_closed_session_takes_commands_without_effect() -> None:
    engine = ready_engine()
    engine.lost()
    engine.take_events()
    engine.quit()
    engine.starttls()
    engine.tls_started()
    engine.send_body(b"x")
    engine.end_body()
    engine.receive(b"250 ok\r\n")
    engine.lost()
    assert engine.take_output() == b""
    assert engine.take_events() == []


def test_too_many_recipients_may_follow_in_another_transaction() -> None:
    engine = ready_engine()
    transaction = message("a", "b", "c")
    engine.begin(transaction)
    engine.receive(b"250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n452 4.2.2 this one is full\r\n354 go\r\n")
    assert transaction.overflow == [1]


def test_the_same_code_is_no_invitation_if_nobody_was_taken() -> None:
    engine = ready_engine()
    transaction = message("a", "b")
    engine.begin(transaction)
    engine.receive(b"250 ok\r\n452 4.5.3 too many\r\n452 4.5.3 too many\r\n503 no\r\n")
    assert transaction.overflow == []


def test_every_action_of_the_table_is_used_and_in_the_diagram() -> None:
    assert set(TRANSITIONS.values()) == set(Action)
    assert all(f"do_{action.name}(" in diagram() for action in Action)


@pytest.mark.parametrize("awaits", [awaits for awaits in Awaits if awaits is not Awaits.NOTHING])
def test_no_state_takes_1xx_and_only_those_that_ask_for_more_take_3xx(awaits: Awaits) -> None:
    assert (awaits, 1) not in TRANSITIONS
    assert ((awaits, 3) in TRANSITIONS) == (awaits in {Awaits.AUTH, Awaits.DATA})


REPLIES = st.one_of(
    st.sampled_from(
        [b"250 ok\r\n"] * 4 + [b"354 go\r\n"] * 3 + [b"550 5.1.1 no\r\n", b"450 no\r\n", b"421 bye\r\n", b"220 x\r\n"]
    ),
    st.sampled_from([b"250-x\r\n", b"334 eA==\r\n", b"235 ok\r\n", b"999 x\r\n", b"250 o", b"k\r\n"]),
    st.binary(max_size=6),
)
MOVES = st.lists(st.one_of(st.sampled_from(["begin", "probe", "body", "end", "starttls", "auth", "respond", "quit"]), REPLIES))


class Driver:
    """Does what it is told whether it makes sense or not, and keeps the books."""

    def __init__(self, *, lmtp: bool) -> None:
        self.engine = ClientSession("me.example.org", lmtp=lmtp)
        self.begun: list[Transaction] = []
        self.events: list[ClientEvent] = []
        self.sent = b""

    def move(self, move: str | bytes) -> None:
        engine = self.engine
        if isinstance(move, bytes):
            engine.receive(move)
        elif move in {"begin", "probe"}:
            if engine.can_begin:
                self.begun.append(message("a", "b") if move == "begin" else message_probe())
                engine.begin(self.begun[-1])
        elif move == "body":
            engine.send_body(b"x\r\n")
        elif move == "end":
            engine.end_body()
        elif engine.quiet and not engine.closed:
            {
                "starttls": engine.starttls,
                "auth": lambda: engine.auth("PLAIN", b"x"),
                "respond": lambda: engine.auth_respond(b"x"),
                "quit": engine.quit,
            }[move]()
        self.events += engine.take_events()
        self.sent += engine.take_output()


def message_probe() -> Transaction:
    return Transaction(None, SenderParams(), [To(mailbox("bob@example.net"))], probe=True)


@settings(max_examples=300)
@given(st.booleans(), st.booleans(), MOVES)
def test_whatever_comes_nothing_raises_and_every_transaction_ends_exactly_once(
    lmtp: bool, pipelining: bool, moves: list[str | bytes]
) -> None:
    driver = Driver(lmtp=lmtp)
    for move in [GREETING, HELLO if pipelining else b"250 mx\r\n", *moves]:
        driver.move(move)
    driver.engine.lost()
    driver.events += driver.engine.take_events()
    finished = [event.transaction for event in driver.events if isinstance(event, Finished)]
    assert sorted(map(id, finished)) == sorted(map(id, driver.begun))
    assert [type(event) for event in driver.events].count(Closed) == 1
    assert isinstance(driver.events[-1], Closed)
    for transaction in driver.begun:
        assert None not in transaction.outcomes
        assert not (transaction.replayable and transaction.dot_sent)
        if not transaction.probe and any(outcome is not None and outcome.code < 300 for outcome in transaction.outcomes):
            assert transaction.dot_sent, "delivered without a final dot"


@settings(max_examples=300)
@given(st.booleans(), MOVES)
def test_what_is_sent_is_commands_and_bodies_and_nothing_else(pipelining: bool, moves: list[str | bytes]) -> None:
    driver = Driver(lmtp=False)
    for move in [GREETING, HELLO if pipelining else b"250 mx\r\n", *moves]:
        driver.move(move)
    assert re.fullmatch(
        rb"(EHLO me\.example\.org\r\n|MAIL FROM:<(alice@example\.org)?>\r\n|RCPT TO:<[a-z]+@example\.net>\r\n|DATA\r\n|RSET\r\n"
        rb"|STARTTLS\r\n|AUTH PLAIN eA==\r\n|eA==\r\n|QUIT\r\n|x\r\n|\.\r\n)*",
        driver.sent,
    )


@given(MOVES)
def test_the_events_do_not_depend_on_how_the_replies_are_split(moves: list[str | bytes]) -> None:
    whole, split = Driver(lmtp=False), Driver(lmtp=False)
    for move in [GREETING, HELLO, *moves]:
        whole.move(move)
        for part in [bytes((octet,)) for octet in move] if isinstance(move, bytes) else [move]:
            split.move(part)
    told = [[type(event) for event in driver.events if not isinstance(event, Challenge)] for driver in (whole, split)]
    if Closed not in told[0]:
        assert told[0] == told[1]
        assert whole.sent == split.sent


def test_a_body_is_wanted_only_once() -> None:
    engine = ready_engine()
    engine.begin(message())
    engine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert [type(event) for event in engine.take_events()] == [BodyWanted]
    engine.end_body()
    engine.end_body()
    engine.take_output()
    engine.receive(b"250 ok\r\n")
    assert [type(event) for event in engine.take_events()] == [Finished]
