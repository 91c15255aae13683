"""One conversation with the canary's receiver: octets in, octets out. It takes mail, looks at it, and forgets it.

There is no relay behind it and no spool, so nothing that a stranger says can make it send anything anywhere; and no answer
repeats what a stranger wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from postlatch.audit.canary.tokens import MAX_MESSAGE


class Limits(NamedTuple):
    """What one client, and all of them, may take. Octets and seconds."""

    connections: int = 100
    of_one_client: int = 50
    size: int = 1_048_576
    line: int = 2048  # RFC 5321 section 4.5.3.1.4 wants 512, and its extensions more
    skipped: int = 65_536  # of a line that is longer
    commands: int = 5000
    errors: int = 20
    recipients: int = 100
    idle: float = 30.0
    session: float = 600.0
    arrivals: int = 10_000


class Message(NamedTuple):
    """One that was taken: the envelope, and its first octets."""

    sender: str
    recipient: str
    octets: bytes


_DATA: Final = b"354 End with a line that is a dot alone\r\n"
_OK: Final = b"250 2.0.0 OK\r\n"
_NO_COMMAND: Final = b"500 5.5.2 This is no command\r\n"
_TOO_LONG: Final = b"500 5.5.2 The line is too long\r\n"
_NOT_HERE: Final = b"502 5.5.1 Not here: this receiver takes mail, looks for tokens of audits, and forgets it\r\n"
_NOT_NOW: Final = b"503 5.5.1 Not now\r\n"
_NO_PATH: Final = b"501 5.1.7 An address stands in angle brackets\r\n"
_NO_PARAMETER: Final = b"555 5.5.4 This parameter was not offered\r\n"
_TOO_BIG: Final = b"552 5.3.4 The message is too big\r\n"
_NOT_OURS: Final = b"550 5.7.1 This receiver takes mail for its own domains, and relays for nobody\r\n"
_TOO_MANY: Final = b"452 4.5.3 Too many recipients\r\n"
_ENOUGH: Final = b"421 4.7.0 Enough\r\n"
_END: Final = b"\r\n.\r\n"
_PARAMETERS: Final = ("size=", "body=", "smtputf8")


class Session:
    """``feed`` what came, and send what it returns. ``closed``: then the connection is over.

    ``domains``: whose mail is taken, with their subdomains; empty: anybody's. ``taken`` is told of every message. ``progress``
    grows with every whole command and every whole message: a client that only drips is idle.
    """

    def __init__(self, domains: frozenset[str], limits: Limits, taken: Callable[[Message], None]) -> None:
        self.closed = False
        self.progress = 0
        self._domains = domains
        self._limits = limits
        self._taken = taken
        self._buffer = bytearray()
        self._skipped = 0  # octets of a line that is too long
        self._errors = 0
        self._greeted = False
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._data: bytearray | None = None  # None outside of DATA
        self._size = 0

    def greet(self) -> bytes:
        """The banner."""
        return b"220 canary ESMTP: takes mail of an audit, and forgets it\r\n"

    def feed(self, octets: bytes) -> bytes:
        """The answers to what is whole by now."""
        self._buffer += octets
        answers = bytearray()
        while not self.closed:
            answer = self._line() if self._data is None else self._content()
            if answer is None:
                break
            answers += answer
        return bytes(answers)

    # Commands

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return self._skip()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        too_long, self._skipped = self._skipped > 0 or end > self._limits.line, 0
        self.progress += 1
        if self.progress > self._limits.commands:
            return self._close(_ENOUGH)
        answer = _TOO_LONG if too_long else self._command(line)
        self._errors += answer[:1] == b"5"
        return answer if self._errors <= self._limits.errors or self.closed else answer + self._close(_ENOUGH)

    def _skip(self) -> bytes | None:
        """Forget what is in front of the line end of a line that is too long."""
        if len(self._buffer) <= self._limits.line:
            return None
        self._skipped += len(self._buffer) - 1
        del self._buffer[:-1]  # its CR, it may be
        return self._close(_TOO_LONG) if self._skipped > self._limits.skipped else None

    def _command(self, line: bytes) -> bytes:
        if any(octet in line for octet in b"\0\r\n"):
            return _NO_COMMAND
        verb, _, rest = line.partition(b" ")
        argument = rest.decode("utf-8", "surrogateescape").strip()
        match verb.upper():
            case b"EHLO" | b"HELO" if argument:
                return self._hello(extended=verb.upper() == b"EHLO")
            case b"MAIL":
                return self._mail(argument)
            case b"RCPT":
                return self._rcpt(argument)
            case b"DATA" if not argument:
                return self._begin_data()
            case b"RSET":
                self._reset()
                return _OK
            case b"NOOP":
                return _OK
            case b"VRFY":
                return b"252 2.5.0 Send it, and see\r\n"
            case b"QUIT":
                return self._close(b"221 2.0.0 Bye\r\n")
            case b"STARTTLS" | b"AUTH" | b"BDAT" | b"EXPN" | b"HELP" | b"ETRN" | b"TURN":
                return _NOT_HERE
        return _NO_COMMAND

    def _hello(self, *, extended: bool) -> bytes:
        self._greeted = True
        self._reset()
        if not extended:
            return b"250 canary\r\n"
        offers = (f"SIZE {self._limits.size}", "8BITMIME", "SMTPUTF8", "PIPELINING")
        return "".join(("250-canary\r\n", *(f"250-{offer}\r\n" for offer in offers), "250 ENHANCEDSTATUSCODES\r\n")).encode()

    def _mail(self, argument: str) -> bytes:
        if not self._greeted or self._sender is not None:
            return _NOT_NOW
        path, parameters = _path(argument, "FROM:")
        if path is None:
            return _NO_PATH
        if not all(word.lower().startswith(_PARAMETERS) for word in parameters):
            return _NO_PARAMETER
        announced = next((word[5:] for word in parameters if word.lower().startswith("size=")), "0")
        if not (announced.isascii() and announced.isdigit()):
            return _NO_PARAMETER
        if len(announced) > len(str(self._limits.size)) or int(announced) > self._limits.size:
            return _TOO_BIG
        self._sender = path
        return b"250 2.1.0 OK\r\n"

    def _rcpt(self, argument: str) -> bytes:
        if self._sender is None:
            return _NOT_NOW
        path, parameters = _path(argument, "TO:")
        if not path:
            return _NO_PATH
        if parameters:
            return _NO_PARAMETER
        if not self._is_ours(path):
            return _NOT_OURS
        if len(self._recipients) >= self._limits.recipients:
            return _TOO_MANY
        self._recipients.append(path)
        return b"250 2.1.5 OK\r\n"

    def _is_ours(self, path: str) -> bool:
        if not self._domains or path.lower() == "postmaster":  # RFC 5321 section 4.5.1
            return True
        domain = _ascii(path.rpartition("@")[2]).lower().rstrip(".")
        return any(domain == mine or domain.endswith(f".{mine}") for mine in self._domains)

    # A message

    def _begin_data(self) -> bytes:
        if not self._recipients:
            return _NOT_NOW
        self._data, self._size = bytearray(), 0
        self._buffer[:0] = b"\r\n"  # that of the DATA line: a message may be empty (RFC 5321 section 4.1.1.4)
        return _DATA

    def _content(self) -> bytes | None:
        """Take up the message's octets. Only CR LF . CR LF ends it: any other form of a line end is a part of it."""
        assert self._data is not None
        end = self._buffer.find(_END)
        taken = end + 2 if end >= 0 else max(0, len(self._buffer) - len(_END) + 1)
        self._data += self._buffer[: min(taken, max(0, MAX_MESSAGE + 2 - len(self._data)))]
        self._size += taken
        del self._buffer[: taken if end < 0 else end + len(_END)]
        if end >= 0:
            return self._end_data()
        if self._size > 2 * self._limits.size:  # one that does not care is not read for ever
            return self._close(_TOO_BIG)
        return None

    def _end_data(self) -> bytes:
        octets, self._data = bytes(self._data or b"")[2:], None
        message = Message(self._sender or "", self._recipients[0], octets)
        too_big = self._size - 2 > self._limits.size
        self._reset()
        self.progress += 1
        if too_big:
            return _TOO_BIG
        self._taken(message)
        return b"250 2.0.0 Taken, and forgotten\r\n"

    def _reset(self) -> None:
        self._sender, self._recipients = None, []

    def _close(self, answer: bytes) -> bytes:
        self.closed = True
        self._buffer.clear()
        return answer


def _path(argument: str, word: str) -> tuple[str | None, list[str]]:
    """The path of MAIL or RCPT without its brackets and route, and the parameters; None: it is none."""
    if not argument.upper().startswith(word):
        return None, []
    text = argument[len(word) :].lstrip()
    if not text.startswith("<"):
        return None, []
    quoted = escaped = False
    for place, letter in enumerate(text):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif letter == ">" and not quoted:
            route, colon, mailbox = text[1:place].partition(":")
            return (mailbox if colon and route.startswith("@") else text[1:place]), text[place + 1 :].split()
    return None, []


def _ascii(domain: str) -> str:
    """A domain in A-labels, or as it is if it is none."""
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return domain
