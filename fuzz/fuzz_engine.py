"""The server engine: any octets, any cuts, any answers of its owner. Nothing is raised, and no message is smuggled.

Input: 16 octets of decisions, then the client's stream. The reference that counts messages knows no state: the octets of each
message, stuffed again and with their end, must stand in the stream as they are, one behind the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness import Bits, instrumented, pieces, run

with instrumented():
    from postlatch.model.envelope import Role
    from postlatch.model.reply import Reply
    from postlatch.smtp import events as ev
    from postlatch.smtp.server import ServerConfig, ServerSession

DECISIONS = 16
_LINE = re.compile(rb"[2-5][0-9]{2}[ -][\x20-\x7e]*\r\n")
_YES = Reply(250, "2.0.0", "Yes")
_NO = (Reply(550, "5.7.1", "No"), Reply(451, "4.3.0", "Later"), Reply(421, "4.3.2", "Bye"))
_DONE = Reply(235, "2.7.0", "Authenticated")


class Owner:
    """Answers questions by the decisions, and keeps the messages."""

    def __init__(self, bits: Bits) -> None:
        roles = list(Role)
        self.session = ServerSession(
            ServerConfig(
                hostname="mx.example.com",
                role=roles[bits.take(2)],
                tls_offered=bool(bits.take(1)),
                tls_active=bool(bits.take(1)),
                mechanisms=("PLAIN", "LOGIN") if bits.take(1) else (),
                max_size=2000 if bits.take(1) else 100_000,
                max_line=512,
                max_errors=10 if bits.take(1) else 1000,
                max_commands=20 if bits.take(1) else 1000,
            )
        )
        self._bits = bits
        self._body = bytearray()
        self._chunked = False
        self._open = False
        self._recipients = 0
        self.messages: list[tuple[bytes, bool]] = []  # content, and whether it came in chunks
        self.closed: ev.Closed | None = None
        self.out = bytearray()

    def receive(self, data: bytes) -> None:
        """Feed, answer, check."""
        self.session.receive(data)
        while (event := self.session.next_event()) is not None:
            assert self.closed is None, "an event behind the end"
            self._handle(event)
        self.out += self.session.output()

    def _handle(self, event: ev.ServerEvent) -> None:
        session = self.session
        match event:
            case ev.Closed():
                assert not self._open
                self.closed = event
            case ev.BodyChunk(data):
                self._body += data
            case ev.TransactionDropped():
                assert self._open
                self._open = False
            case ev.StartTls():
                session.tls_started()
            case ev.AuthStart() | ev.AuthResponse():
                self._authenticate()
            case ev.Mail() | ev.Rcpt() | ev.BodyStart() | ev.BodyEnd():
                self._answer(event)
            case _:
                pass

    def _authenticate(self) -> None:
        match self._bits.take(2):
            case 0:
                self.session.challenge(b"more")
            case 1:
                self.session.answer(_NO[0])
            case _:
                self.session.authenticated(_DONE)

    def _answer(self, event: ev.Mail | ev.Rcpt | ev.BodyStart | ev.BodyEnd) -> None:
        no = self._bits.take(3)
        reply = _NO[no - 5] if no >= 5 else _YES
        match event:
            case ev.Mail():
                assert not self._open
                self._open, self._recipients = reply is _YES, 0
            case ev.Rcpt():
                assert self._open
                self._recipients += reply is _YES
            case ev.BodyStart(chunking):
                assert self._open
                assert self._recipients > 0, "a body for nobody"
                self._body.clear()
                self._chunked = chunking
                if reply is _YES:
                    self.session.accept_body()
                    return
            case ev.BodyEnd(size):
                assert self._open
                assert size == len(self._body)
                self.messages.append((bytes(self._body), self._chunked))
                self._open = False
        self.session.answer(reply)


def one_input(data: bytes) -> None:
    """One input."""
    bits, stream = Bits(data[:DECISIONS]), data[DECISIONS:]
    owner = Owner(bits)
    if bits.take(3):
        owner.session.start()
    for piece in pieces(stream, bits):
        owner.receive(piece)
    check_replies(bytes(owner.out))
    check_messages(owner.messages, stream)


def check_replies(out: bytes) -> None:
    """Well-formed, short, and of our own words."""
    at = 0
    while at < len(out):
        match = _LINE.match(out, at)
        assert match is not None, out[at : at + 100]
        assert len(match[0]) <= 512
        at = match.end()


def check_messages(messages: list[tuple[bytes, bool]], stream: bytes) -> None:
    """Each message stands in the stream as it was taken, behind the one before it."""
    at = 0
    for content, chunked in messages:
        rest = content.replace(b"\r\n", b"")
        assert not any(octet in rest for octet in (b"\r", b"\n", b"\0")), content
        if chunked:
            at = _behind_chunks(content, stream, at)
            continue
        wire = content.replace(b"\r\n.", b"\r\n..")
        wire = (b"." if wire.startswith(b".") else b"") + wire + b".\r\n"
        found = stream.find(wire, at)
        assert found >= 0, (content, stream)
        at = found + len(wire)
    # However it was read, a message more than there are ends would be one that nobody sent.
    assert len(messages) <= stream.count(b".\r\n") + len(re.findall(rb"(?i)BDAT +[0-9]+ +LAST", stream))


def _behind_chunks(content: bytes, stream: bytes, at: int) -> int:
    """A chunked message is there piece by piece; only its longest run without a command line can be looked for."""
    last = re.compile(rb"(?i)BDAT +[0-9]+ +LAST[ \t]*\r\n").search(stream, at)
    assert last is not None, (content, stream)
    tail = content[-1:]
    assert not tail or tail in stream[at:]
    return last.end()


HEAD = b"EHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n"
_SMUGGLED = (
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\r\n.\r\r\n",
    b".\r\n",
)


def seeds() -> Iterator[bytes]:
    """Sessions of every kind, with all said yes to and cut in three ways."""
    streams = [
        HEAD + b"DATA\r\n",
        HEAD + b"DATA\r\nSubject: x\r\n\r\n..\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n.\r\n",
        HEAD + b"BDAT 5\r\na\r\nb\rBDAT 2 LAST\r\n\nc" + b"QUIT\r\n",
        HEAD + b"BDAT 3\r\nabcRSET\r\nBDAT 4 LAST\r\nabcd" + b"NOOP\r\n",
        b"EHLO a.example\r\nSTARTTLS\r\nEHLO a.example\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b.example> SIZE=9\r\n",
        b"EHLO a.example\r\nAUTH LOGIN\r\nYQ==\r\n*\r\nHELP\r\nVRFY a\r\nEXPN a\r\n",
        b"HELO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx\r\n.\r\n",
        (
            b"EHLO a\r\nMAIL FROM:<\xc3\xa9@b.example> SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=a+2Bb\r\n"
            b"RCPT TO:<a@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b\r\n"
        ),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\0\x05",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 25\r\n",
        b"NOOP " + b"x" * 600 + b"\r\n",
        *(HEAD + b"DATA\r\nfirst" + sequence + HEAD[20:] + b"DATA\r\nsecond\r\n.\r\n" for sequence in _SMUGGLED),
    ]
    for stream in streams:
        for kind in (b"\x00", b"\xff\x13", b"\x24\x07\x10\x08"):
            yield kind.ljust(DECISIONS, b"\0")[:DECISIONS] + stream


if __name__ == "__main__":
    run(one_input, seeds)
