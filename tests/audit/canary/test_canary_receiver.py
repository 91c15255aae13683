"""The receiver takes mail of an audit, for its own domains, and neither repeats nor relays anything."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from canary_support import OTHER, RUN, TOKEN, Client, RunningCanary, bounce, message

from postlatch.audit.canary.receiver import Receiver
from postlatch.audit.canary.session import Limits, Message, Session
from postlatch.audit.canary.values import CanaryError
from postlatch.testing.clock import FakeClock


@pytest.fixture(scope="module")
def canary() -> Iterator[RunningCanary]:
    with RunningCanary() as running:
        yield running


def talk(octets: bytes, *domains: str, limits: Limits | None = None) -> tuple[list[str], list[Message]]:
    """The codes that a session answers, and what it took."""
    taken: list[Message] = []
    session = Session(frozenset(domains), limits or Limits(), taken.append)
    answers = session.greet() + session.feed(octets)
    return [line[:3].decode() for line in answers.split(b"\r\n")[:-1] if line[3:4] == b" "], taken


def transaction(content: bytes, sender: bytes = b"<x@y.example>") -> bytes:
    return b"EHLO c\r\nMAIL FROM:%s\r\nRCPT TO:<u@canary.example>\r\nDATA\r\n%s\r\n.\r\n" % (sender, content)


def test_a_message_with_a_token_is_an_arrival(canary: RunningCanary) -> None:
    with Client(canary.port) as client:
        client.begin(b"x@canary.example", b"canary@canary.example")
        assert client.say(message(TOKEN, "Received: from here\r\n\tby there") + b".").startswith("250 2.0.0")
        assert client.say(b"QUIT").startswith("221")
    arrival = canary.arrivals()[-1]
    assert arrival[:6] == (TOKEN, "x@canary.example", "canary@canary.example", False, ("from here by there",), "127.0.0.1")
    assert arrival.at > 1.7e9


def test_a_bounce_is_told_from_the_message(canary: RunningCanary) -> None:
    with Client(canary.port) as client:
        client.begin(b"")
        client.say(bounce(TOKEN) + b".")
    arrival = canary.arrivals()[-1]
    assert (arrival.token, arrival.sender, arrival.bounce) == (TOKEN, "", True)


def test_only_the_mail_of_its_own_audit_is_kept() -> None:
    with RunningCanary(run=RUN) as canary:
        for token in (OTHER, TOKEN, "nothing"):
            with Client(canary.port) as client:
                client.begin()
                client.say(message(token) + b".")
        assert [arrival.token for arrival in canary.arrivals()] == [TOKEN]


def test_it_offers_what_a_server_may_need_and_no_encryption(canary: RunningCanary) -> None:
    with Client(canary.port) as client:
        client.reply()
        offered = client.say(b"EHLO client").upper()
    assert all(word in offered for word in ("SIZE 1048576", "8BITMIME", "SMTPUTF8", "PIPELINING"))
    assert "STARTTLS" not in offered
    assert "AUTH" not in offered


def test_named_domains_are_the_only_ones_and_their_subdomains_belong_to_them() -> None:
    begun = b"EHLO c\r\nMAIL FROM:<x@y.example>\r\n"
    for path, code in (
        (b"u@canary.example", "250"),
        (b"u@CANARY.example.", "250"),
        (b"u@sub.canary.example", "250"),
        (b"@route.example,@b.example:u@canary.example", "250"),
        (b"postmaster", "250"),
        (b"u@notcanary.example", "550"),
        (b"u@elsewhere.example", "550"),
        (b"u%canary.example@elsewhere.example", "550"),
        (b"u@canary.example@elsewhere.example", "550"),
        (b"@canary.example:u@elsewhere.example", "550"),
        (b'"u@canary.example"', "550"),
        (b"u", "550"),
        (b"", "501"),
    ):
        assert talk(begun + b"RCPT TO:<%s>\r\n" % path, "canary.example")[0][-1] == code, path


def test_an_international_domain_is_the_same_in_both_forms() -> None:
    octets = "EHLO c\r\nMAIL FROM:<x@y.example> SMTPUTF8\r\nRCPT TO:<u@bücher.example>\r\n".encode()
    assert talk(octets, "xn--bcher-kva.example")[0][-1] == "250"


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n..\r\n"]
)
def test_nothing_but_crlf_dot_crlf_ends_a_message(end: bytes) -> None:
    inner = b"MAIL FROM:<evil@y.example>\r\nRCPT TO:<u@canary.example>\r\nDATA\r\nX: y"
    codes, taken = talk(transaction(b"A: b\r\n\r\ntext" + end + inner))
    assert codes == ["220", "250", "250", "250", "354", "250"]
    assert len(taken) == 1
    assert inner in taken[0].octets


def test_an_empty_message_is_one() -> None:
    codes, taken = talk(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@t>\r\nDATA\r\n.\r\nQUIT\r\n")
    assert codes[-2:] == ["250", "221"]
    assert taken == [Message("", "u@t", b"")]


def test_it_is_the_same_in_pieces_of_any_size() -> None:
    octets = transaction(message(TOKEN)) + transaction(b"second\r\n..dot", b"<>") + b"QUIT\r\n"
    whole: list[Message] = []
    session = Session(frozenset(), Limits(), whole.append)
    answer = session.feed(octets)
    for size in (1, 2, 3, 7):
        taken: list[Message] = []
        session = Session(frozenset(), Limits(), taken.append)
        answers = b"".join(session.feed(octets[start : start + size]) for start in range(0, len(octets), size))
        assert (answers, taken) == (answer, whole)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"MAIL FROM:<x@y>", "503"),  # before EHLO
        (b"EHLO", "500"),
        (b"EHLO c\r\nRCPT TO:<u@t>", "503"),
        (b"EHLO c\r\nDATA", "503"),
        (b"EHLO c\r\nMAIL FROM:x@y", "501"),
        (b"EHLO c\r\nMAIL FROM:<x@y", "501"),
        (b"EHLO c\r\nMAIL FROM:<x@y> SIZE=1048577", "552"),
        (b"EHLO c\r\nMAIL FROM:<x@y> SIZE=" + b"9" * 1500, "552"),
        (b"EHLO c\r\nMAIL FROM:<x@y> SIZE=-1", "555"),
        (b"EHLO c\r\nMAIL FROM:<x@y> RET=FULL", "555"),
        (b"EHLO c\r\nMAIL FROM:<x@y> SIZE=9 BODY=8BITMIME SMTPUTF8", "250"),
        (b"EHLO c\r\nMAIL FROM:<x@y>\r\nRCPT TO:<u@t> NOTIFY=SUCCESS", "555"),
        (b"STARTTLS", "502"),
        (b"AUTH PLAIN AA==", "502"),
        (b"BDAT 10 LAST", "502"),
        (b"ETRN example.com", "502"),
        (b"VRFY root", "252"),
        (b"GET / HTTP/1.0", "500"),
        (b"NOOP\n", "500"),
        (b"NOOP\0", "500"),
        (b"NO\xffOP", "500"),
        (b"X" * 3000, "500"),
    ],
)
def test_what_it_does_not_do_it_says(line: bytes, code: str) -> None:
    assert talk(line + b"\r\n")[0][-1] == code


def test_no_answer_repeats_what_a_stranger_wrote() -> None:
    session = Session(frozenset({"canary.example"}), Limits(errors=99), lambda _: None)
    words = (
        b"EHLO %s",
        b"HELO %s",
        b"MAIL FROM:<%s>",
        b"RCPT TO:<%s@x>",
        b"RCPT TO:<%s@canary.example>",
        b"%s",
        b"VRFY %s",
        b"NOOP %s",
    )
    answers = b"".join(session.feed(word % b"sesame" + b"\r\n") for word in words)
    assert answers.count(b"\r\n") > len(words)
    assert b"sesame" not in answers.lower()


def test_a_message_that_is_too_big_is_refused_and_nothing_of_it_kept() -> None:
    limits = Limits(size=1000)
    codes, taken = talk(transaction(b"x" * 1001) + b"NOOP\r\n", limits=limits)
    assert codes[-2:] == ["552", "250"]
    codes, more = talk(transaction(b"x" * 998), limits=limits)  # and its last line end
    assert codes[-1] == "250"
    assert (taken, len(more)) == ([], 1)


def test_a_canary_that_others_reach_needs_a_domain() -> None:
    async def start() -> None:
        await Receiver(FakeClock()).start("0.0.0.0", 0)

    with pytest.raises(CanaryError, match=r"must not take mail for anybody at 0\.0\.0\.0:0.*name its domain"):
        asyncio.run(start())


def test_it_says_why_it_cannot_listen() -> None:
    async def start(host: str, port: int) -> None:
        await Receiver(FakeClock(), domains=["canary.example"]).start(host, port)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        for host, port, text in (
            ("127.0.0.1", number, f"cannot listen on 127.0.0.1:{number}: something else listens there"),
            ("192.0.2.1", 0, "this machine does not have that address"),
            ("127.0.0.1", 70000, "a port is a number"),
            ("no such host", 25, "no such host is no address to listen on"),
        ):
            with pytest.raises(CanaryError, match=text):
                asyncio.run(start(host, port))


def test_it_listens_on_ipv6_too() -> None:
    with RunningCanary(host="::1") as canary:
        assert canary.receiver.address == f"[::1]:{canary.port}"
        with Client(canary.port, "::1") as client:
            client.begin()
            client.say(message(TOKEN) + b".")
        assert canary.arrivals()[0].client == "::1"
