"""Command lines out of a byte buffer: one look at each octet, however the lines arrive."""

from __future__ import annotations


class LineTooLong(Exception):
    """The line in the buffer is longer than permitted, or will be."""


class BareLineFeed(Exception):
    """The line in the buffer ends in LF without CR."""


class LineBuffer:
    """Octets received and not yet used. ``data`` may be consumed from its front by others between two lines."""

    __slots__ = ("_scanned", "data")

    def __init__(self) -> None:
        self.data = bytearray()
        self._scanned = 0  # so many octets from the front hold no LF

    def clear(self) -> None:
        """Forget everything."""
        self.data.clear()
        self._scanned = 0

    def line(self, limit: int) -> bytes | None:
        """The next line without its CR LF; None if it is not complete. ``limit`` counts octets with CR LF.

        Raises LineTooLong as soon as it is certain, so that no more than ``limit`` octets are ever kept for it, and
        BareLineFeed. In that order, whatever was received at once: a line has one fate.
        """
        data = self.data
        end = data.find(b"\n", self._scanned)
        if end >= limit or (end < 0 and len(data) >= limit):
            raise LineTooLong
        if end < 0:
            self._scanned = len(data)
            return None
        line = bytes(data[:end])
        del data[: end + 1]
        self._scanned = 0
        if not line.endswith(b"\r"):
            raise BareLineFeed
        return line[:-1]
