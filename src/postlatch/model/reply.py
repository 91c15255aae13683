"""SMTP replies: code, enhanced status code (RFC 3463) and text of ours, never of the client's."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Reply(NamedTuple):
    """One reply. ``enhanced`` is like ``5.7.1`` or empty (greeting, EHLO, 354, 334: RFC 2034 section 4)."""

    code: int
    enhanced: str
    text: str

    @property
    def permanent(self) -> bool:
        """True for 5xx."""
        return self.code >= 500

    @property
    def temporary(self) -> bool:
        """True for 4xx."""
        return 400 <= self.code < 500

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}" if self.enhanced else f"{self.code} {self.text}"

    def encode(self) -> bytes:
        """The wire form with CRLF. Newlines in ``text`` become a multi-line reply, each line with the enhanced code."""
        return _encoded(self)


@lru_cache(maxsize=1024)  # nearly every reply is one of a few
def _encoded(reply: Reply) -> bytes:
    lead = f"{reply.enhanced} " if reply.enhanced else ""
    lines = reply.text.split("\n")
    out = [f"{reply.code}-{lead}{line}\r\n" for line in lines[:-1]]
    out.append(f"{reply.code} {lead}{lines[-1]}\r\n")
    return "".join(out).encode("ascii", "backslashreplace")
