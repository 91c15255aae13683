"""The dispatcher with the real queue, the real writer, the real connections and a small next hop on loopback.

It also shows the application how to join them: `Relay.notify` is the shape of its callback.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from email import message_from_bytes
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import cast

from delivery_fakes import HEADER, MAIL, Alerts, address

from postlatch.delivery.config import DeliveryConfig, parse_route
from postlatch.delivery.dispatcher import Dispatcher
from postlatch.delivery.notice import Notice
from postlatch.delivery.pool import SessionPool
from postlatch.delivery.ports import PoolPort, PreparedNotice, SpoolPort
from postlatch.delivery.session_setup import connect_directly
from postlatch.model.address import Address
from postlatch.model.envelope import Client, Destination, Envelope, EnvelopeRecipient, GrantReason, Role
from postlatch.model.events import Event
from postlatch.model.ids import IdSource
from postlatch.policy.decide import AcceptRecipient, decide_recipient
from postlatch.policy.facts import RecipientFacts
from postlatch.policy.grant import RelayGrant, notify_delay, notify_dsn
from postlatch.policy.snapshot import Account, Listener, LocalDomain, Snapshot
from postlatch.spool.spool import Spool
from postlatch.store.database import open_database
from postlatch.store.meta import begin_run
from postlatch.store.reader import Reader
from postlatch.store.writer import Writer
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

SNAPSHOT = Snapshot(
    1,
    "mx.example.com",
    {"submission": Listener("submission", Role.SUBMISSION, tls=True), "mx": Listener("mx", Role.MX)},
    {"example.com": LocalDomain("example.com", frozenset({"alice", "bob"}))},
    {},
    (),
    {"alice@example.com": Account("alice@example.com", frozenset({"alice@example.com"}))},
)


class Sink(asyncio.Protocol):
    """A next hop that takes everything but mail for ``nobody``."""

    def __init__(self, taken: list[bytes]) -> None:
        self.taken = taken
        self.buffer = b""
        self.in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end, length = (b"\r\n.\r\n", 5) if self.in_data else (b"\r\n", 2)
            line, found, self.buffer = self.buffer.partition(end)
            if not found:
                self.buffer = line
                return
            self.transport.write(self.answer(line + end[: length - 3] if self.in_data else line))

    def answer(self, line: bytes) -> bytes:
        if self.in_data:
            self.in_data = False
            self.taken.append(line)
            return b"250 2.0.0 taken\r\n"
        verb = line[:4].upper()
        if verb == b"EHLO":
            return b"250-sink.example\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n"
        if verb == b"RCPT" and b"nobody@" in line:
            return b"550 5.1.1 no such user here\r\n"
        self.in_data = verb == b"DATA"
        return b"354 go on\r\n" if self.in_data else b"250 2.0.0 ok\r\n"


class Relay:
    """As the application joins the rooms."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.alerts = Alerts()
        self.writer = Writer(lambda: open_database(folder / "db", create=True), self.seal)
        self.config = DeliveryConfig(
            "mx.example.com",
            local={"example.com": parse_route(f"maildir:{folder / 'mail'}")},
            smarthost=parse_route(f"smtp://127.0.0.1:{port}"),
        )

    def seal(self, _connection: sqlite3.Connection, events: Sequence[Event]) -> None:
        self.events += events

    def classify(self, domain: str) -> Destination:
        return SNAPSHOT.classify(domain)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.writer.start()
        [run] = await self.writer.submit([begin_run])
        reader = Reader(self.folder / "db", monotonic=self.clock.monotonic)
        ids = IdSource(self.clock.now, 0)
        bodies = self.folder / "bodies"
        self.spool = Spool(bodies, self.classify, ids, run.epoch, now=self.clock.now, reader=reader)
        pool = SessionPool("mx.example.com", self.clock, connect_directly)
        port: tuple[SpoolPort, PoolPort] = (self.spool, pool)
        self.dispatcher = Dispatcher(
            self.config,
            spool=port[0],
            pool=port[1],
            resolver=FakeResolver({}),
            clock=self.clock,
            random=Random(1),
            submit=self.writer.submit,
            notify=self.notify,
            alert=self.alerts,
            classify=self.classify,
            recheck=lambda _recipient, _message: None,
        )
        task = asyncio.create_task(self.dispatcher.run())
        try:
            yield
        finally:
            await self.dispatcher.stop(2.0)
            await task
            await pool.close()
            await self.writer.close()
            self.spool.close()
            reader.close()

    async def notify(self, notice: Notice) -> PreparedNotice | None:
        transaction = object()
        mint = notify_delay if notice.kind == "delay" else notify_dsn
        note = mint(SNAPSHOT, transaction, notice.grant_reason, notice.recipient)
        draft = self.spool.open(self.clock.now())
        draft.write(notice.content)
        draft.utf8_headers = notice.smtputf8
        await draft.prepare()
        destination = self.classify(note.recipient.domain)
        recipient = EnvelopeRecipient(note.recipient, destination, GrantReason.NOTIFICATION, note.grant.ref)
        envelope = Envelope(note.sender, (recipient,), self.clock.now())
        operation = draft.commit(envelope, [note.grant], transaction, [note.recipient], kind=note.kind)

        def committed(_results: Sequence[object]) -> None:
            self.spool.committed(draft)
            self.dispatcher.wake()

        return PreparedNotice([operation], [], committed, draft.abort)

    async def submit(self, sender: Address, to: Sequence[Address], body: bytes = MAIL, *, listener: str = "submission") -> None:
        """Accept a message as the server does."""
        transaction, account = object(), "alice@example.com" if listener == "submission" else None
        client = Client(ip_address("8.8.8.8"), 1234)
        grants: list[RelayGrant | None] = []
        rows: list[EnvelopeRecipient] = []
        for one in to:
            facts = RecipientFacts(
                SNAPSHOT,
                listener,
                client,
                self.clock.now(),
                True,
                account,
                sender,
                one,
                transaction,
                None,
            )
            verdict = decide_recipient(facts)
            assert isinstance(verdict, AcceptRecipient), verdict
            grants.append(verdict.grant)
            reason = verdict.grant.reason if verdict.grant is not None else None
            rows.append(EnvelopeRecipient(one, verdict.destination, reason, verdict.ref))
        draft = self.spool.open(self.clock.now())
        draft.write(body)
        await draft.prepare()
        envelope = Envelope(sender, tuple(rows), self.clock.now(), account=account or "")
        await self.writer.submit([draft.commit(envelope, grants, transaction, to)])
        self.spool.committed(draft)
        self.dispatcher.wake()

    def states(self) -> list[tuple[str, str]]:
        connection = open_database(self.folder / "db", create=False)
        try:
            return sorted(connection.execute("SELECT address, state FROM recipients").fetchall())
        finally:
            connection.close()

    def mailbox(self, name: str) -> list[bytes]:
        folder = self.folder / "mail" / "example.com" / name / "new"
        return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def with_relay(folder: Path, scenario: Callable[[Relay, list[bytes]], object]) -> Relay:
    async def whole() -> Relay:
        taken: list[bytes] = []
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Sink(taken), "127.0.0.1", 0)
        relay = Relay(folder, server.sockets[0].getsockname()[1])
        async with relay.running():
            result = scenario(relay, taken)
            assert asyncio.iscoroutine(result)
            await result
        server.close()
        await server.wait_closed()
        return relay

    return asyncio.run(whole())


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(2500):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not happen in five seconds")


def test_an_accounts_message_leaves_and_what_is_refused_comes_back_as_a_report(tmp_path: Path) -> None:
    async def scenario(relay: Relay, taken: list[bytes]) -> None:
        people = [address(f"{name}@elsewhere.example") for name in ("carl", "nobody", "dora")] + [address("bob@example.com")]
        await relay.submit(address("alice@example.com"), people)
        await eventually(lambda: bool(relay.mailbox("alice")) and bool(relay.mailbox("bob")))
        assert taken == [MAIL]

    relay = with_relay(tmp_path, scenario)
    [report] = relay.mailbox("alice")
    assert report.startswith(b"Return-Path: <>\nDelivered-To: alice@example.com\n")
    assert message_from_bytes(report).get_content_type() == "multipart/report"
    assert b"Final-Recipient: rfc822; nobody@elsewhere.example\n" in report
    assert b"Diagnostic-Code: smtp; 550 5.1.1 no such user here\n" in report
    assert HEADER.replace(b"\r\n", b"\n") in report
    assert b"The body" not in report
    assert relay.states() == [
        ("alice@example.com", "delivered"),
        ("bob@example.com", "delivered"),
        ("carl@elsewhere.example", "delivered"),
        ("dora@elsewhere.example", "delivered"),
        ("nobody@elsewhere.example", "bounced"),
    ]
    assert sorted({event.name for event in relay.events}) == ["delivery.bounced", "delivery.delivered"]
    assert relay.alerts.told == []


def test_a_large_message_of_a_stranger_reaches_the_maildir_and_its_file_is_removed(tmp_path: Path) -> None:
    body = HEADER + b"\r\n" + b"a line of text\r\n" * 50_000

    async def scenario(relay: Relay, _taken: list[bytes]) -> None:
        await relay.submit(address("s@stranger.example"), [address("bob@example.com")], body, listener="mx")
        await eventually(lambda: relay.states() == [("bob@example.com", "delivered")])
        await eventually(lambda: not [path for path in (tmp_path / "bodies").rglob("*") if path.is_file()])

    relay = with_relay(tmp_path, scenario)
    [mail] = relay.mailbox("bob")
    assert mail.endswith(body.replace(b"\r\n", b"\n"))


def test_what_was_waiting_at_a_stop_is_delivered_after_the_next_start(tmp_path: Path) -> None:
    async def accept(relay: Relay, _taken: list[bytes]) -> None:
        await relay.dispatcher.stop(0.1)
        await relay.submit(address("s@stranger.example"), [address("bob@example.com")], listener="mx")

    assert with_relay(tmp_path, accept).states() == [("bob@example.com", "queued")]

    async def deliver(relay: Relay, _taken: list[bytes]) -> None:
        relay.dispatcher.recover()
        await eventually(lambda: relay.states() == [("bob@example.com", "delivered")])

    assert len(with_relay(tmp_path, deliver).mailbox("bob")) == 1
