"""The client engine: whatever a server says, every transaction ends once, and nothing but commands and the body goes out.

Input: 8 octets of decisions, then the server's stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness import Bits, instrumented, pieces, run

with instrumented():
    from postlatch.model.address import Address, parse_address
    from postlatch.model.envelope import RecipientParams, SenderParams
    from postlatch.smtp.client import ClientSession
    from postlatch.smtp.client_events import BodyWanted, Challenge, ClientEvent, Closed, Finished, Ready, TlsGo
    from postlatch.smtp.client_replies import ReplyError, ReplyParser, WireReply
    from postlatch.smtp.client_transaction import Transaction

DECISIONS = 8
BODY = b"Subject: x\r\n\r\n.\r\nbody\r\n"
_COMMAND = re.compile(
    rb"(?:EHLO|HELO|LHLO|MAIL FROM:<|RCPT TO:<|DATA|RSET|QUIT|STARTTLS|AUTH )[^\r\n\0]*\r\n|[A-Za-z0-9+/=]*\r\n"
)
_TEXT = re.compile(r"[ -~]{0,500}")


@dataclass(frozen=True)
class To:
    """A recipient."""

    address: Address
    params: RecipientParams


TO = tuple(
    To(parse_address(text, smtputf8=True), RecipientParams(frozenset({"FAILURE"}), "rfc822;a+40b"))
    for text in ("a@example.org", '"a>b"@example.org', "jos\u00e9@b\u00fccher.example")
)


class Driver:
    """Asks for what may be asked, and counts what ends."""

    def __init__(self, bits: Bits) -> None:
        self._bits = bits
        self.engine = ClientSession("me.example.com", lmtp=bool(bits.take(1)))
        self._starttls, self._auth, self._probe = bits.take(1), bits.take(1), bits.take(1)
        self.begun: list[Transaction] = []
        self.finished: list[Transaction] = []
        self.closed = 0
        self.out = bytearray()

    def receive(self, data: bytes) -> None:
        """Feed, act, check."""
        self.engine.receive(data)
        self._act()
        self.out += self.engine.take_output()

    def _act(self) -> None:
        for _ in range(50):  # what it does may bring about more events
            events = self.engine.take_events()
            if not events:
                break
            for event in events:
                self._handle(event)
        if self.engine.can_begin and len(self.begun) < 3 and not (self._starttls or self._auth):
            to = TO[:1] if self._probe else TO  # a probe is about one recipient
            transaction = Transaction(TO[0].address, SenderParams(), to, size=len(BODY), probe=bool(self._probe))
            self.begun.append(transaction)
            self.engine.begin(transaction)
            self._act()

    def _handle(self, event: ClientEvent) -> None:
        assert not self.closed, "an event behind the end"
        match event:
            case Ready() if self._starttls:
                self._starttls = 0
                self.engine.starttls()
            case Ready() if self._auth:
                self._auth = 0
                self.engine.auth("LOGIN", b"user" if self._bits.take(1) else None)
            case TlsGo():
                self.engine.tls_started()
            case Challenge():
                self.engine.auth_respond(b"answer")
            case BodyWanted():
                cut = self._bits.take(5) % len(BODY)
                self.engine.send_body(BODY[:cut])
                self.engine.send_body(BODY[cut:])
                self.engine.end_body()
            case Finished(transaction):
                self.finished.append(transaction)
            case Closed():
                self.closed += 1
            case _:
                pass


def one_input(data: bytes) -> None:
    """One input."""
    bits, stream = Bits(data[:DECISIONS]), data[DECISIONS:]
    driver = Driver(bits)
    parts = pieces(stream, bits)
    for part in parts:
        driver.receive(part)
    driver.engine.lost()
    driver._act()
    check(driver)
    assert parsed(parts) == parsed([stream])


def check(driver: Driver) -> None:
    """Every transaction has ended, once, with an outcome for each recipient; the wire holds commands and bodies."""
    assert driver.closed == 1
    assert len(driver.begun) == len(driver.finished) == len(set(map(id, driver.finished)))
    for transaction in driver.begun:
        for outcome in transaction.outcomes:
            assert outcome is not None
            assert 200 <= outcome.code < 600
            assert _TEXT.fullmatch(outcome.text), outcome
            assert outcome.code >= 300 or transaction.dot_sent or transaction.probe, "delivered without a message"
    rest = bytes(driver.out).replace(b"Subject: x\r\n\r\n..\r\nbody\r\n.\r\n", b"").replace(b".\r\n", b"", 9)
    at = 0
    while at < len(rest):
        match = _COMMAND.match(rest, at)
        assert match is not None, rest[at : at + 100]
        at = match.end()


def parsed(parts: list[bytes]) -> list[WireReply | str]:
    """The replies, and the error that ended them."""
    parser, found = ReplyParser(), list[WireReply | str]()
    try:
        for part in parts:
            parser.feed(part)
            while (reply := parser.next_reply()) is not None:
                found.append(reply)
    except ReplyError as error:
        found.append(str(error))
    return found


def seeds() -> Iterator[bytes]:
    """Servers that behave, and some that do not."""
    offers = (b"mx", b"PIPELINING", b"SIZE 1000", b"DSN", b"STARTTLS", b"AUTH LOGIN")
    hello = b"220 mx ESMTP\r\n" + b"".join(b"250-%b\r\n" % offer for offer in offers) + b"250 SMTPUTF8\r\n"
    plain = b"220 mx\r\n250 mx\r\n"
    one = b"250 2.1.0 ok\r\n" + b"250 2.1.5 ok\r\n" * 3 + b"354 go\r\n250 2.0.0 queued\r\n"
    streams = [
        hello + one * 2,
        plain + one,
        hello + b"250 ok\r\n550 5.1.1 no\r\n452 4.5.3 many\r\n250 ok\r\n354 go\r\n250-2.0.0 a\r\n250 2.0.0 b\r\n",
        hello + b"550 no\r\n503 no\r\n503 no\r\n503 no\r\n503 no\r\n",
        hello + b"421 4.3.2 bye\r\n",
        hello + b"220 go\r\n" + hello,
        hello + b"334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 2.7.0 ok\r\n" + one,
        b"554 no\r\n",
        b"220 mx\r\n500 what\r\n250 mx\r\n" + one,
        b"220-a\r\n221 b\r\n",
        b"220 a\r250 b\r\n",
        hello + b"250 \xff\x1b[31m\r\n",
    ]
    for stream in streams:
        for decisions in (b"\x00", b"\x01", b"\x02", b"\x04", b"\x58\x01"):
            yield decisions.ljust(DECISIONS, b"\x05") + stream


if __name__ == "__main__":
    run(one_input, seeds)
