"""Replies of a remote server: a strict parser, and what may be kept of them. RFC 5321 section 4.2, RFC 2034.

The remote is a stranger. Its reply is framed strictly, because a reply that can be read in two ways shifts every later reply by
one; and its text is escaped, because it ends in logs, in pages and in delivery reports.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from postlatch.model.reply import Reply

MAX_LINE: Final = 4096  # octets with CR LF; RFC 5321 section 4.5.3.1.5 wants 512, real servers send longer ones
MAX_LINES: Final = 100
MAX_TEXT: Final = 500  # characters that are kept

_LINE: Final = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n\0]*))?\r\n")
_ENHANCED: Final = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|\Z)")
_UNPRINTABLE: Final = re.compile(r"[^ -~]")


class ReplyError(ValueError):
    """Bytes that are no SMTP reply. The message is fixed text and holds nothing that the server sent."""


class WireReply(NamedTuple):
    """A reply as it was received: the code and the text of each line behind it, raw."""

    code: int
    lines: tuple[bytes, ...]


class Outcome(NamedTuple):
    """How it ended for one recipient. ``code`` 2xx, 4xx or 5xx: the server's, or ours where there was no reply.

    ``enhanced`` is the RFC 3463 code, ``class.0.0`` where the server gave none. ``text`` is for people: the whole reply with
    its code, or a sentence of ours; printable ASCII of at most 500 characters.
    """

    code: int
    enhanced: str
    text: str


def escape(text: bytes | str) -> str:
    """Printable ASCII: each octet outside space to tilde becomes ``\\xNN``; at most 500 characters."""
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    line = text[:MAX_TEXT].decode("latin-1")
    if not (line.isascii() and line.isprintable()):
        line = _UNPRINTABLE.sub(lambda match: f"\\x{ord(match[0]):02x}", line)
    return line[:MAX_TEXT]


def to_reply(wire: WireReply) -> Reply:
    """The reply as one line of text: its lines joined by a space, the enhanced code taken out, the rest escaped.

    The enhanced code must have the class of the reply code (RFC 2034 section 4); otherwise it is text like any other.
    """
    lines = wire.lines
    match = _ENHANCED.match(lines[0])
    if match is None or match[1][0] != 0x30 + wire.code // 100:
        return Reply(wire.code, "", escape(b" ".join(lines).strip()))
    code = match[1]
    # Section 4 has the code repeated on every line.
    bare = [line[found.end() :] if (found := _ENHANCED.match(line)) and found[1] == code else line for line in lines]
    return Reply(wire.code, code.decode("ascii"), escape(b" ".join(bare).strip()))


def to_outcome(wire: WireReply) -> Outcome:
    """The outcome that this reply means for a recipient."""
    reply = to_reply(wire)
    return Outcome(reply.code, reply.enhanced or f"{reply.code // 100}.0.0", str(reply).rstrip()[:MAX_TEXT])


class ReplyParser:
    """Cuts a stream of bytes into replies. Buffers at most one line and the lines of one reply."""

    __slots__ = ("_at", "_buffer", "_code", "_lines", "_scanned")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0  # where the next line starts
        self._scanned = 0  # up to here there is no line end
        self._code = 0
        self._lines: list[bytes] = []

    @property
    def has_rest(self) -> bool:
        """True if bytes are buffered that belong to no reply that was given out."""
        return self._at < len(self._buffer) or bool(self._lines)

    def feed(self, data: bytes) -> None:
        """Take bytes. Call ``next_reply`` until it gives None before feeding again, so that the buffer stays one line long."""
        if self._at == len(self._buffer):
            self._buffer = data
            self._scanned = 0
        else:
            self._scanned -= self._at
            self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def next_reply(self) -> WireReply | None:
        """The next whole reply, None if more bytes are needed; ReplyError if it is none."""
        while True:
            end = self._buffer.find(b"\n", self._scanned) + 1
            if (end or len(self._buffer)) - self._at > MAX_LINE:
                raise ReplyError("a reply line is longer than 4096 octets")
            if not end:
                self._scanned = len(self._buffer)
                return None
            match = _LINE.fullmatch(self._buffer, self._at, end)
            self._at = self._scanned = end
            if match is None:
                raise ReplyError("a line is no SMTP reply")
            code = int(match[1])
            if match[2] == b"-":
                self._continue(code, match[3])
            elif not self._lines:
                return WireReply(code, (match[3] or b"",))
            else:
                return self._last(code, match[3] or b"")

    def _continue(self, code: int, text: bytes) -> None:
        if self._lines and code != self._code:
            raise ReplyError("the lines of a reply have different codes")
        if len(self._lines) >= MAX_LINES - 1:
            raise ReplyError("a reply has more than 100 lines")
        self._code = code
        self._lines.append(text)

    def _last(self, code: int, text: bytes) -> WireReply:
        if code != self._code:
            raise ReplyError("the lines of a reply have different codes")
        lines = (*self._lines, text)
        self._lines.clear()
        return WireReply(code, lines)
