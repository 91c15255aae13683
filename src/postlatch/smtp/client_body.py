"""The body on its way out: dot-stuffed, ended, and checked once more for what smuggles mail."""

from __future__ import annotations

from postlatch.smtp.stuffing import dot_stuff, is_clean


class BodyFault(ValueError):
    """A body with a NUL, or with a CR or LF that is not part of a CR LF. No more of it may be sent, least of all the dot."""


class BodyWriter:
    """Turns the pieces of one body into what follows 354. Pieces may be cut anywhere.

    The spool holds only bodies that passed the server's check. It is made again, by counting, because a next hop that takes a
    bare LF for a line end would let one message of ours become two (CVE-2023-51764): that must not hang on one check.
    """

    __slots__ = ("_at_line_start", "_held_cr")

    def __init__(self) -> None:
        self._at_line_start = True
        self._held_cr = False

    def feed(self, piece: bytes) -> bytes:
        """The next octets to send; BodyFault if the body must not go on. A CR at the end waits for its LF."""
        if self._held_cr:
            piece = b"\r" + piece
        self._held_cr = piece.endswith(b"\r")
        if self._held_cr:
            piece = piece[:-1]
        if not is_clean(piece):
            raise BodyFault("the body holds a bare CR, a bare LF or a NUL")
        stuffed, self._at_line_start = dot_stuff(piece, self._at_line_start)
        return stuffed

    def finish(self) -> bytes:
        """The end: the final dot, behind a line end if the body lacks one."""
        if self._held_cr:
            raise BodyFault("the body ends in a bare CR")
        return b".\r\n" if self._at_line_start else b"\r\n.\r\n"
