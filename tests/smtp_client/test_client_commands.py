"""Nothing leaves that could be read as more than one command (case 31)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from client_script import To, feed_whole, mailbox
from hypothesis import given
from hypothesis import strategies as st

from postlatch.model.address import POSTMASTER, Address
from postlatch.model.envelope import RecipientParams, SenderParams
from postlatch.smtp.client import ClientSession
from postlatch.smtp.client_capabilities import Capabilities
from postlatch.smtp.client_commands import Unsendable, hello_line, mail_line, rcpt_line
from postlatch.smtp.client_events import Finished
from postlatch.smtp.client_transaction import Transaction

ALL = Capabilities(pipelining=True, eight_bit_mime=True, smtputf8=True, dsn=True, size=0)
BOB = To(mailbox("bob@example.net"))

HOSTILE = [
    "a@b\r\nRCPT TO:<victim@example.net>",
    "a@b\n",
    "\ra@b",
    "a@b\0",
    "a@b> NOTIFY=NEVER ORCPT=rfc822;<x",
    "a b@c",
    "<a@b>",
    'a"b@c',
    '"a\r\nb"@c',
    '"a\0b"@c',
    '"a"b@c',
    '"a@c',
    "",
    "a@b\x85",
    "a@b\x7f",
    "a@\ud800",
]


def forged(text: str) -> Address:
    """An address that the parser would never have made."""
    return Address("x", "example.net", text)


def envelope(sender: Address | None, params: SenderParams = SenderParams()) -> Transaction:
    return Transaction(sender, params, [BOB])


@pytest.mark.parametrize("text", HOSTILE)
def test_an_address_that_could_be_more_than_one_command_is_refused_before_the_wire(text: str) -> None:
    with pytest.raises(ValueError, match="recipient"):
        rcpt_line(To(forged(text)), ALL)
    with pytest.raises(Unsendable) as caught:
        mail_line(envelope(forged(text)), ALL)
    assert caught.value.outcome.enhanced == "5.1.7"


@pytest.mark.parametrize("text", ["x\r\nDATA", "x y", "x=y", "", "\0", "x\x7f", "\ud800"])
def test_a_parameter_that_could_be_more_than_one_is_refused_before_the_wire(text: str) -> None:
    with pytest.raises(Unsendable) as caught:
        mail_line(envelope(None, SenderParams(envid=text or "\n")), ALL)
    assert caught.value.outcome.enhanced == "5.6.0"
    with pytest.raises(Unsendable):
        mail_line(envelope(None, SenderParams(ret=text or "\n")), ALL)
    with pytest.raises(Unsendable):
        rcpt_line(To(BOB.address, RecipientParams(orcpt=text or "\n")), ALL)
    with pytest.raises(Unsendable):
        rcpt_line(To(BOB.address, RecipientParams(notify=frozenset({text}))), ALL)


@given(st.text(max_size=30), st.text(max_size=12), st.booleans())
def test_whatever_an_address_or_parameter_holds_a_command_is_one_line(text: str, value: str, utf8: bool) -> None:
    offered = Capabilities(dsn=True, smtputf8=utf8, size=0)
    makes: list[Callable[[], bytes]] = [
        lambda: mail_line(envelope(forged(text), SenderParams(envid=value, ret=value)), offered),
        lambda: rcpt_line(To(forged(text), RecipientParams(orcpt=value, notify=frozenset({value}))), offered),
    ]
    for make in makes:
        try:
            line = make()
        except ValueError:
            continue
        assert line.endswith(b"\r\n")
        assert not re.search(rb"[\r\n\0]", line[:-2])
        if not text.startswith('"'):
            assert re.fullmatch(rb"(MAIL FROM|RCPT TO):<[^<> ]*>( [A-Z0-9]+(=[^ =]+)?)*\r\n", line)


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        (mailbox("Bob.Smith+tag@Example.NET"), b"RCPT TO:<Bob.Smith+tag@Example.NET>\r\n"),
        (mailbox('"bob smith"@example.net'), b'RCPT TO:<"bob smith"@example.net>\r\n'),
        (mailbox('"a>b\\"c<"@example.net'), b'RCPT TO:<"a>b\\"c<"@example.net>\r\n'),
        (mailbox("bob@[192.0.2.1]"), b"RCPT TO:<bob@[192.0.2.1]>\r\n"),
        (mailbox("bob@[IPv6:2001:db8::1]"), b"RCPT TO:<bob@[IPv6:2001:db8::1]>\r\n"),
        (mailbox("jos\xe9@b\xfccher.example"), "RCPT TO:<jos\xe9@b\xfccher.example>\r\n".encode()),
        (POSTMASTER, b"RCPT TO:<postmaster>\r\n"),
    ],
)
def test_a_valid_address_is_passed_on_as_it_was_received(address: Address, wire: bytes) -> None:
    assert rcpt_line(To(address), ALL) == wire


def test_a_bad_recipient_fails_alone_and_nothing_of_it_is_sent() -> None:
    engine = ClientSession("me.example.org")
    feed_whole(engine, b"220 mx\r\n250-mx\r\n250 PIPELINING\r\n"[:8])
    feed_whole(engine, b"250-mx\r\n250 PIPELINING\r\n")
    engine.take_output()
    transaction = Transaction(None, SenderParams(), [To(forged("a@b\r\nQUIT")), BOB])
    engine.begin(transaction)
    assert engine.take_output() == b"MAIL FROM:<>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
    outcome = transaction.outcomes[0]
    assert outcome is not None
    assert (outcome.code, outcome.enhanced) == (501, "5.1.3")


def test_a_message_for_nobody_who_can_be_named_is_over_at_once() -> None:
    engine = ClientSession("me.example.org")
    feed_whole(engine, b"220 mx\r\n")
    feed_whole(engine, b"250 mx\r\n")
    engine.take_output()
    engine.take_events()
    transaction = Transaction(None, SenderParams(), [To(forged("a@b\r\nQUIT"))])
    engine.begin(transaction)
    assert engine.take_output() == b""
    assert engine.take_events() == [Finished(transaction)]
    assert engine.can_begin


@pytest.mark.parametrize("hostname", ["", "a b", "a\r\nMAIL FROM:<>", "caf\xe9.example", "x" * 256])
def test_a_host_name_that_is_not_one_word_is_refused(hostname: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        hello_line("EHLO", hostname)
    with pytest.raises(ValueError, match="host name"):
        ClientSession(hostname)


def test_a_mechanism_that_is_not_one_word_is_refused() -> None:
    engine = ClientSession("me.example.org")
    with pytest.raises(ValueError, match="mechanism"):
        engine.auth("PLAIN x\r\nQUIT", None)
