"""A mailbox at an IMAP server is read: Dovecot's for real, and servers that stall, lie or talk nonsense."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator

import pytest
from canary_support import OTHER, RUN, TOKEN, bounce, message
from imap_server import PASSWORD, USER, Dripping, ImapServer, Pretender

from postlatch.app.clock import SystemClock
from postlatch.audit.canary.imap import ImapReader, Mailbox, mailbox
from postlatch.audit.canary.values import Arrival, CanaryError

real = pytest.mark.real


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImapServer]:
    with ImapServer(tmp_path_factory.mktemp("imap")) as running:
        yield running


def reader(where: Mailbox, password: str = PASSWORD, tls: ssl.SSLContext | None = None, patience: float = 5.0) -> ImapReader:
    return ImapReader(where, password, run=RUN, clock=SystemClock(), tls=tls, patience=patience, pause=0.0)


def trusting(server: ImapServer) -> ssl.SSLContext:
    context = ssl.create_default_context()
    server.ca.configure_trust(context)
    return context


def look(reading: ImapReader, between: Callable[[], None] = lambda: None, looks: int = 1) -> list[Arrival]:
    """Start, let something happen, and look."""

    async def run() -> list[Arrival]:
        try:
            await reading.start()
            between()
            for _ in range(looks - 1):
                await reading.arrivals()
            return await reading.arrivals()
        finally:
            await reading.close()

    return asyncio.run(run())


@real
def test_what_comes_after_the_start_is_seen_over_tls(server: ImapServer) -> None:
    server.deliver(message(TOKEN))  # it was there before

    def deliver() -> None:
        server.deliver(b"Received: from a\r\n\tby b\r\n" + message(f"{RUN}-002-00000000"))
        server.deliver(message(OTHER))
        server.deliver(b"Return-Path: <>\r\n" + bounce(f"{RUN}-003-00000000"))

    found = look(reader(Mailbox(USER, "127.0.0.1", server.tls_port, "INBOX"), tls=trusting(server)), deliver, looks=2)
    assert [(one.token[-12:], one.bounce) for one in found] == [("002-00000000", False), ("003-00000000", True)]
    assert found[0].received == ("from a by b",)


@real
def test_nothing_in_the_mailbox_is_changed(server: ImapServer) -> None:
    server.deliver(message(TOKEN))
    look(reader(Mailbox(USER, "127.0.0.1", server.port, "INBOX", encrypted=False)), lambda: server.deliver(message(TOKEN)))
    assert server.files()
    assert not [name for name in server.files() if "S" in name.partition(":2,")[2]]


@real
def test_a_big_message_is_read_from_its_beginning_alone(server: ImapServer) -> None:
    big = message(TOKEN, body="x" * 70 + "\r\n") + b"x" * 70 * 40_000
    where = Mailbox(USER, "127.0.0.1", server.port, "INBOX", encrypted=False)
    assert look(reader(where), lambda: server.deliver(big))[0].token == TOKEN


@real
def test_what_is_wrong_is_said(server: ImapServer) -> None:
    plain = Mailbox(USER, "127.0.0.1", server.port, "INBOX", encrypted=False)
    tls = Mailbox(USER, "127.0.0.1", server.tls_port, "INBOX")
    for where, password, context, text in (
        (plain, "wrong", None, "AUTHENTICATIONFAILED"),
        (plain._replace(folder='no "such" folder'), PASSWORD, None, 'there is no folder no "such" folder'),
        (tls, PASSWORD, None, "CERTIFICATE_VERIFY_FAILED"),
        (tls._replace(port=server.port), PASSWORD, trusting(server), "WRONG_VERSION_NUMBER|in time"),
        (plain._replace(port=1), PASSWORD, None, "refused"),
    ):
        with pytest.raises(CanaryError, match=text):
            look(reader(where, password, context, patience=3.0))


@real
def test_it_logs_in_again_where_the_server_ended_the_connection(server: ImapServer) -> None:
    reading = reader(Mailbox(USER, "127.0.0.1", server.port, "INBOX", encrypted=False))

    async def run() -> list[Arrival]:
        await reading.start()
        await reading.close()
        server.deliver(message(TOKEN))
        found = await reading.arrivals()
        await reading.close()
        return found

    assert [one.token for one in asyncio.run(run())] == [TOKEN]


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("imaps://canary%40x.example@imap.example/INBOX", Mailbox("canary@x.example", "imap.example", 993, "INBOX")),
        ("imaps://canary@x.example@imap.example:1993", Mailbox("canary@x.example", "imap.example", 1993, "INBOX")),
        ("imap://u@[::1]/Audit/Canary%20Mail", Mailbox("u", "::1", 143, "Audit/Canary Mail", encrypted=False)),
        ("IMAP://u@localhost:1143/", Mailbox("u", "localhost", 1143, "INBOX", encrypted=False)),
    ],
)
def test_a_mailbox_is_named_by_a_url(url: str, where: Mailbox) -> None:
    assert mailbox(url) == where


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://u@h/INBOX", "no IMAP mailbox: write imaps://USER@HOST/FOLDER"),
        ("alice", "no IMAP mailbox"),
        ("imaps://imap.example/INBOX", "lacks its user"),
        ("imaps://u@h:port/INBOX", "the port is no number"),
        ("imaps://u:secret@h/INBOX", "--password-file"),
        ("imap://u@imap.example/INBOX", r"in the clear: use imaps://"),
        ("imaps://u@h/Entw%C3%BCrfe", "in ASCII"),
        ("imaps://u@h/a%0D%0Ab", "in ASCII"),
    ],
)
def test_a_url_that_is_none_is_explained(url: str, text: str) -> None:
    with pytest.raises(CanaryError, match=text):
        mailbox(url)


def _good(tag: bytes, rest: bytes) -> bytes:
    if rest.startswith(b"CAPABILITY"):
        return b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n"
    if rest.startswith(b"EXAMINE"):
        return b"* 1 EXISTS\r\n* OK [UIDNEXT 5] x\r\n" + tag + b" OK done\r\n"
    if rest.startswith(b"UID SEARCH"):
        return b"* SEARCH 4 5\r\n" + tag + b" OK done\r\n"
    if rest.startswith(b"UID FETCH"):
        octets = message(TOKEN)
        return b"* 1 FETCH (UID 5 BODY[]<0> {%d}\r\n" % len(octets) + octets + b")\r\n" + tag + b" OK done\r\n"
    return tag + b" OK done\r\n"


def _instead(verb: bytes, answer: bytes | None) -> Callable[[bytes, bytes], bytes | None]:
    return lambda tag, rest: (answer and answer.replace(b"TAG", tag)) if rest.startswith(verb) else _good(tag, rest)


def test_a_server_without_sasl_gets_a_plain_login() -> None:
    with Pretender(_good) as server:
        found = look(reader(Mailbox("u", "127.0.0.1", server.port, "INBOX", encrypted=False), "x"))
    assert [one.token for one in found] == [TOKEN]


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        (b"CAPABILITY", b"\x00\xff\xfe\r\n" * 5),
        (b"CAPABILITY", None),
        (b"LOGIN", b"TAG NO \x1b[31mgo away\x07\r\n"),
        (b"LOGIN", b"TAG BYE\r\n"),
        (b"EXAMINE", b"TAG NO none\r\n"),
        (b"EXAMINE", b""),
        (b"UID SEARCH", b"x" * 2_000_000 + b"\r\n"),
        (b"UID SEARCH", b"TAG BAD what\r\n"),
        (b"UID FETCH", b"* 1 FETCH (UID 5 BODY[]<0> {9999999999}\r\nx"),
        (b"UID FETCH", b"* 1 FETCH (UID 5 BODY[]<0> {100}\r\nhalf"),
        (b"UID FETCH", None),
        (b"NOOP", b"* BYE\r\n"),
    ],
)
def test_a_server_that_lies_stalls_or_closes_is_a_canary_that_cannot_be_read(verb: bytes, answer: bytes | None) -> None:
    began = time.monotonic()
    with Pretender(_instead(verb, answer)) as server, pytest.raises(CanaryError) as caught:
        look(reader(Mailbox("u", "127.0.0.1", server.port, "INBOX", encrypted=False), "x", patience=0.2))
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert time.monotonic() - began < 2.5


@pytest.mark.parametrize(
    "answer",
    [b"* 1 FETCH ()\r\nTAG OK done\r\n", b"TAG OK done\r\n", b"* 1 FETCH (UID 5 BODY[]<0> {0}\r\n)\r\nTAG OK done\r\n"],
)
def test_a_server_that_gives_no_message_gives_no_arrival(answer: bytes) -> None:
    with Pretender(_instead(b"UID FETCH", answer)) as server:
        assert look(reader(Mailbox("u", "127.0.0.1", server.port, "INBOX", encrypted=False), "x")) == []


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_server_that_drips_is_cut_off_in_time(*, encrypted: bool) -> None:
    began = time.monotonic()
    with (
        Dripping(b"\x16\x03\x03\x40\x00" if encrypted else b"* OK") as server,
        pytest.raises(CanaryError, match=r"127\.0\.0\.1"),
    ):
        look(reader(Mailbox("u", "127.0.0.1", server.port, "INBOX", encrypted=encrypted), "x", patience=0.2))
    assert time.monotonic() - began < 2.5


def test_a_server_is_not_asked_more_often_than_it_should_be() -> None:
    asked: list[bytes] = []

    def count(tag: bytes, rest: bytes) -> bytes:
        asked.append(rest)
        return _good(tag, rest)

    async def run(reading: ImapReader) -> None:
        for _ in range(20):
            await reading.arrivals()
        await reading.close()

    with Pretender(count) as server:
        where = Mailbox("u", "127.0.0.1", server.port, "INBOX", encrypted=False)
        asyncio.run(run(ImapReader(where, "x", run=RUN, clock=SystemClock())))
    assert asked.count(b"NOOP") == 1
    assert sum(command.startswith(b"UID SEARCH") for command in asked) == 1
