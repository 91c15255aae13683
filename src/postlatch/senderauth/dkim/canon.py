"""Canonicalisation of header fields and bodies, simple and relaxed. RFC 6376 section 3.4."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_RUN: Final = re.compile(rb"[ \t]+")
_CRLF: Final = b"\r\n"
_MANY: Final = _CRLF * 4096


def header(field: bytes, canonicalisation: str) -> bytes:
    """One raw field (name, colon, value with its folding, final CRLF) in canonical form, with its CRLF."""
    if canonicalisation == "simple":
        return field if field.endswith(_CRLF) else field + _CRLF
    name, _, value = field.partition(b":")
    value = value.replace(_CRLF, b"")
    if b"\t" in value or b"  " in value:
        value = _RUN.sub(b" ", value)
    if b"\r" in name:
        name = name.replace(_CRLF, b"")
    return b"%b:%b\r\n" % (name.rstrip(b" \t").lower(), value.strip(b" \t"))


class BodyHash:
    """The hash of a canonical body that comes in pieces: however it is cut, the digest is the same.

    Empty lines at the end do not count, but no one knows before the end which these are: they are counted, not kept. What
    is kept is at most a space and a CR, whose meaning the next piece decides.
    """

    def __init__(self, canonicalisation: str, algorithm: str = "sha256") -> None:
        self._relaxed = canonicalisation == "relaxed"
        self._hash = hashlib.new(algorithm)
        self._newlines = 0  # CRLFs that are hashed once something follows
        self._held = b""  # "", " ", CR or " " CR, behind these CRLFs
        self._content = False
        self._digest: bytes | None = None

    def feed(self, chunk: bytes) -> None:
        """The next octets of the body, with CRLF line ends."""
        data = self._held + chunk if self._held else chunk
        if self._relaxed:
            data = _relax(data)
        data, self._held = _hold_back(data, relaxed=self._relaxed)
        if data.endswith(_CRLF):
            data, newlines = _cut_newlines(data)
        else:
            newlines = 0
        if data:
            self._write(data)
        self._newlines += newlines

    def digest(self) -> bytes:
        """Of all that was fed; the body ends here. Asked again, it says the same."""
        if self._digest is not None:
            return self._digest
        if b"\r" in self._held:  # no line end after all
            self._write(self._held)
        self._held = b""
        if self._content or not self._relaxed:  # one CRLF, whether there were many or none
            self._hash.update(_CRLF)
        self._digest = self._hash.digest()
        return self._digest

    def _write(self, data: bytes) -> None:
        while self._newlines > 4096:
            self._hash.update(_MANY)
            self._newlines -= 4096
        if self._newlines:
            self._hash.update(_CRLF * self._newlines)
            self._newlines = 0
        self._hash.update(data)
        self._content = True


def _relax(data: bytes) -> bytes:
    """White space as section 3.4.4 a) wants it. Nothing is copied where nothing is to change, as in base64."""
    if b"\t" in data:
        data = data.replace(b"\t", b" ")
    elif b" " not in data:
        return data
    while b"  " in data:  # halves every run; several times faster than a regular expression
        data = data.replace(b"  ", b" ")
    return data.replace(b" \r\n", _CRLF) if b" \r\n" in data else data


def _hold_back(data: bytes, *, relaxed: bool) -> tuple[bytes, bytes]:
    """What can be judged now, and the end of it that cannot."""
    end = len(data)
    if data.endswith(b"\r"):
        end -= 1
    if relaxed and data.endswith(b" ", 0, end):
        end -= 1
    return (data, b"") if end == len(data) else (data[:end], data[end:])


def _cut_newlines(data: bytes) -> tuple[bytes, int]:
    """Without the CRLFs at the end, and how many these were. Linear also where a body is nothing but line ends."""
    tail = data[len(data.rstrip(_CRLF)) :].replace(_CRLF, b"\0")  # CR and LF alone are left beside the marks
    newlines = len(tail) - len(tail.rstrip(b"\0"))
    return data[: len(data) - 2 * newlines], newlines
