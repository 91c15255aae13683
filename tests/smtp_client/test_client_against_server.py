"""Our client and our server, in memory: what one sends is what the other gets, however the octets are cut."""

from __future__ import annotations

from client_script import To, mailbox
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.model.envelope import RecipientParams, Role, SenderParams
from postlatch.model.reply import Reply
from postlatch.smtp import events as server_events
from postlatch.smtp.client import ClientSession
from postlatch.smtp.client_events import BodyWanted, Closed
from postlatch.smtp.client_transaction import Transaction
from postlatch.smtp.server import ServerConfig, ServerSession

OK = Reply(250, "2.0.0", "ok")
REPLIES = {
    "ok": OK,
    "no": Reply(550, "5.1.1", "unknown"),
    "busy": Reply(450, "4.2.0", "busy"),
    "lost": Reply(550, "", "no code"),
}
NAMES = st.sampled_from(sorted(REPLIES))
BODIES = st.lists(st.sampled_from([b".", b"..", b"\r\n", b"\r\n.\r\n", b"text", b"caf\xc3\xa9"]), max_size=8).map(b"".join)
MESSAGES = st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=4), BODIES), min_size=1, max_size=5)


class Receiver:
    """The server with an owner that judges recipients by their local part."""

    def __init__(self) -> None:
        self.session = ServerSession(ServerConfig("mx.example.net", Role.MX))
        self.session.start()
        self.senders: list[server_events.Mail] = []
        self.recipients: list[server_events.Rcpt] = []
        self.bodies: list[bytes] = []
        self._body = b""

    def receive(self, data: bytes) -> None:
        self.session.receive(data)
        while (event := self.session.next_event()) is not None:
            self._handle(event)

    def _handle(self, event: server_events.ServerEvent) -> None:
        session = self.session
        match event:
            case server_events.Mail():
                self.senders.append(event)
                session.answer(OK)
            case server_events.Rcpt():
                self.recipients.append(event)
                session.answer(REPLIES.get(event.recipient.local.rstrip("0123456789"), OK))
            case server_events.BodyStart():
                self._body = b""
                session.accept_body()
            case server_events.BodyChunk(data):
                self._body += data
            case server_events.BodyEnd():
                self.bodies.append(self._body)
                session.answer(Reply(250, "2.0.0", "queued"))
            case server_events.Rejected() | server_events.Closed():
                # 503 to a pipelined DATA without recipients is the one thing that may be rejected.
                assert isinstance(event, server_events.Rejected), event
                assert event.reply.code in {503, 554}, event
            case _:
                pass


def converse(client: ClientSession, server: Receiver, waiting: list[tuple[Transaction, bytes]], size: int) -> None:
    """Carry octets until nothing moves."""
    bodies = dict(waiting)
    while True:
        for event in client.take_events():
            if isinstance(event, BodyWanted):
                client.send_body(bodies[event.transaction])
                client.end_body()
            assert not isinstance(event, Closed)
        while waiting and client.can_begin:
            client.begin(waiting.pop(0)[0])
        out = client.take_output()
        replies = server.session.output()
        if not (out or replies or waiting):
            return
        for at in range(0, len(out), size):
            server.receive(out[at : at + size])
        for at in range(0, len(replies), size):
            client.receive(replies[at : at + size])


@settings(max_examples=200, deadline=None)
@given(MESSAGES, st.sampled_from([1, 2, 3, 7, 100_000]))
def test_bodies_arrive_unchanged_and_outcomes_are_the_servers(messages: list[tuple[list[str], bytes]], size: int) -> None:
    waiting = []
    for names, body in messages:
        recipients = [To(mailbox(f"{name}{n}@example.net")) for n, name in enumerate(names)]
        waiting.append((Transaction(mailbox("alice@example.org"), SenderParams(), recipients, size=len(body)), body))
    transactions = [transaction for transaction, _ in waiting]
    client, server = ClientSession("me.example.org"), Receiver()
    converse(client, server, waiting, size)
    sent = [body if body.endswith(b"\r\n") or not body else body + b"\r\n" for names, body in messages if "ok" in names]
    assert server.bodies == sent
    for (names, _), transaction in zip(messages, transactions, strict=True):
        assert [outcome and outcome.code for outcome in transaction.outcomes] == [REPLIES[name].code for name in names]


def test_parameters_arrive_as_they_were_given() -> None:
    sender = SenderParams(smtputf8=True, ret="HDRS", envid="id+2B1")
    recipient = RecipientParams(frozenset({"SUCCESS", "DELAY"}), "rfc822;jos+40example.net")
    transaction = Transaction(
        mailbox("jos\xe9@example.org"), sender, [To(mailbox("ok@b\xfccher.example"), recipient)], size=5, eight_bit=True
    )
    client, server = ClientSession("me.example.org"), Receiver()
    converse(client, server, [(transaction, b"body\r\n")], 100_000)
    mail, rcpt = server.senders[0], server.recipients[0]
    assert mail.sender == mailbox("jos\xe9@example.org")
    assert mail.params == SenderParams(size=5, body="8BITMIME", smtputf8=True, ret="HDRS", envid="id+2B1")
    assert rcpt.recipient == mailbox("ok@b\xfccher.example")
    assert rcpt.params == recipient
