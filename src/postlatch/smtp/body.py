"""The body codec: dot-stuffing, DATA and BDAT decoding under a size limit, and the one check that stops smuggling.

A body line ends in CR LF and in nothing else. Other servers took a bare LF, a bare CR or a NUL for less than an error, and so
disagreed about where a message ends (CVE-2023-51764, -51765, -51766, CVE-2024-27305). Here such a body is a fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postlatch.smtp.stuffing import dot_stuff, is_clean

__all__ = ["PIECE", "ChunkDecoder", "DataDecoder", "End", "Piece", "dot_stuff", "is_clean"]

PIECE: Final = 65536  # octets of the largest piece that a decoder gives
_END: Final = b"\r\n.\r\n"
_FAULT: Final = re.compile(rb"\x00|\r(?!\n)|(?<!\r)\n")


class End(Enum):
    """What ends behind a piece."""

    NOTHING = 0
    CHUNK = 1
    MESSAGE = 2
    FAULT = 3  # not a line end, or NUL: nothing more can be trusted


@dataclass(init=False, slots=True, unsafe_hash=True)
class Piece:
    """What one step of a decoder found: content, and what ends behind it."""

    data: bytes
    end: End

    def __init__(self, data: bytes, end: End) -> None:
        self.data = data
        self.end = end


def _sound_part(data: bytes) -> bytes:
    """What comes before the first fault, so that a fault ends the same body at the same octet however it was split."""
    fault = _FAULT.search(data)
    return data[: fault.start()] if fault else data


class DataDecoder:
    """DATA: finds CR LF . CR LF, removes the stuffed dots. Takes from the front of a buffer that the caller appends to.

    Between calls the buffer holds back two octets at most (``.``, CR or ``.`` CR: the start of what may be the end), so no
    octet is looked at more than a few times, however slowly the body drips in.
    """

    __slots__ = ("_line_start",)

    def __init__(self) -> None:
        self._line_start = True

    def take(self, buffer: bytearray) -> Piece:
        """The next piece, removed from ``buffer``; empty if it needs more octets. Not to be called after end or fault."""
        raw = bytes(buffer) if len(buffer) <= PIECE else bytes(buffer[:PIECE])
        if self._line_start and raw.startswith(b".") and b".\r\n".startswith(raw[:3]):
            if len(raw) < 3:
                return Piece(b"", End.NOTHING)
            del buffer[:3]
            return Piece(b"", End.MESSAGE)
        dot = raw.find(b"\r\n.")  # one search finds that there is no end, or an end and no stuffed dot before it
        end = raw.find(_END, dot) if dot >= 0 else -1
        size = end + 2 if end >= 0 else len(raw) - _held_back(raw)
        content = raw[:size]
        del buffer[: end + len(_END) if end >= 0 else size]
        if is_clean(content):
            return Piece(self._unstuff(content, dot != end), End.MESSAGE if end >= 0 else End.NOTHING)
        return Piece(self._unstuff(_sound_part(content), True), End.FAULT)

    def _unstuff(self, content: bytes, dots_inside: bool) -> bytes:
        if not content:
            return content
        dot_first = self._line_start and content.startswith(b".")
        self._line_start = content.endswith(b"\n")
        data = content.replace(b"\r\n.", b"\r\n") if dots_inside else content
        return data[1:] if dot_first else data


def _held_back(raw: bytes) -> int:
    """How many octets at the end of ``raw`` may begin CR LF, or the dot of CR LF . CR LF."""
    if raw.endswith(b"\r"):
        return 2 if raw.endswith(b"\r\n.\r") else 1
    return 1 if raw.endswith(b"\r\n.") else 0


class ChunkDecoder:
    """BDAT: exact counts, no stuffing (RFC 3030 section 2). One decoder lives as long as the message.

    A chunk may end between CR and LF: the CR is then held back until the next chunk shows its LF.
    """

    __slots__ = ("_held_cr", "last", "left")

    def __init__(self) -> None:
        self.left = 0  # octets of the open chunk that are still to come
        self.last = False
        self._held_cr = False

    def open(self, count: int, *, last: bool) -> None:
        """The next ``count`` octets are a chunk."""
        self.left, self.last = count, last

    def take(self, buffer: bytearray) -> Piece:
        """The next piece, removed from ``buffer``."""
        size = min(len(buffer), self.left, PIECE)
        raw = bytes(buffer[:size])
        del buffer[:size]
        self.left -= size
        if self._held_cr:
            raw = b"\r" + raw
        end = End.NOTHING if self.left else End.MESSAGE if self.last else End.CHUNK
        self._held_cr = raw.endswith(b"\r") and end is not End.MESSAGE
        content = raw[:-1] if self._held_cr else raw
        if is_clean(content):
            return Piece(content, end)
        return Piece(_sound_part(content), End.FAULT)
