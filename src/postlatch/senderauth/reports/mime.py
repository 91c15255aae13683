"""Just enough of MIME (RFC 2045, 2046) to find one attachment: linear, and bounded in depth and in parts.

The standard library's parser keeps every part as an object and takes time that grows with depth times length; what a stranger
sends to a public address must not have that.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from typing import Final, NamedTuple

from postlatch.senderauth.reports.values import ReportError

MAX_DEPTH: Final = 5
MAX_PARTS: Final = 100
MAX_HEADER: Final = 64 * 1024  # octets of one part's header
_MAX_VALUE: Final = 4096  # octets of one field; what is beyond is not looked at
_MAX_MARKS: Final = 10_000  # that look like a boundary, in one multipart
_FIELDS: Final = frozenset({b"content-type", b"content-transfer-encoding", b"content-disposition"})


class Part(NamedTuple):
    """One leaf. ``type`` is lower-case; ``name`` the file name that was given, or empty; ``body`` is still encoded."""

    type: str
    name: str
    encoding: str
    body: memoryview

    def decoded(self) -> bytes:
        """The content. ReportError if the encoding is unknown or broken."""
        if self.encoding in ("", "7bit", "8bit", "binary"):
            return bytes(self.body)
        try:
            if self.encoding == "base64":
                return binascii.a2b_base64(self.body)
            if self.encoding == "quoted-printable":
                return binascii.a2b_qp(self.body)
        except binascii.Error:
            raise ReportError("the attachment's base64 is broken") from None
        raise ReportError("the attachment has an unknown Content-Transfer-Encoding")


def leaves(message: bytes) -> Iterator[Part]:
    """The parts that hold no other parts, in their order. ReportError if they are too deep or too many."""
    waiting: list[tuple[int, int, int]] = [(0, len(message), 1)]
    found = 0
    while waiting:
        start, end, depth = waiting.pop()
        found += 1
        if found > MAX_PARTS:
            raise ReportError(f"the message has more than {MAX_PARTS} parts")
        fields, body = _header(message, start, end)
        kind, parameters = parameterised(fields.get(b"content-type", b"text/plain"))
        boundary = parameters.get("boundary", "")
        if kind.startswith("multipart/") and boundary:
            if depth >= MAX_DEPTH:
                raise ReportError(f"the message has parts in parts, more than {MAX_DEPTH} deep")
            inner = list(_between(message, body, end, boundary.encode("ascii", "replace")))
            waiting.extend((a, b, depth + 1) for a, b in reversed(inner))
            continue
        _, disposition = parameterised(fields.get(b"content-disposition", b""))
        encoding, _ = parameterised(fields.get(b"content-transfer-encoding", b""))
        name = disposition.get("filename") or parameters.get("name", "")
        yield Part(kind, name, encoding, memoryview(message)[body:end])


def _header(message: bytes, start: int, end: int) -> tuple[dict[bytes, bytes], int]:
    """The fields that matter, unfolded, and where the body begins."""
    fields: dict[bytes, bytes] = {}
    name, position = b"", start
    while position < end:
        stop = message.find(b"\n", position, end)
        after = end if stop < 0 else stop + 1
        if after - start > MAX_HEADER:
            raise ReportError(f"the message has a header of more than {MAX_HEADER} octets")
        line = message[position:after].rstrip(b"\r\n")
        position = after
        if not line:
            break
        if line[:1] in b" \t":
            if name and len(fields[name]) < _MAX_VALUE:
                fields[name] += b" " + line.strip()[:_MAX_VALUE]
            continue
        head, colon, value = line.partition(b":")
        name = head.strip().lower() if colon else b""
        name = name if name in _FIELDS and name not in fields else b""  # the first of each counts
        if name:
            fields[name] = value.strip()[:_MAX_VALUE]
    return fields, position


def _between(message: bytes, start: int, end: int, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Where the parts of a multipart are (RFC 2046 section 5.1.1); one that is not closed ends with what it is in."""
    delimiter = b"--" + boundary
    opened = -1
    position = start
    parts = marks = 0
    while (found := message.find(delimiter, position, end)) >= 0:
        position = found + len(delimiter)
        marks += 1
        if marks > _MAX_MARKS:
            raise ReportError(f"the message has more than {_MAX_MARKS} boundaries")
        if found > start and message[found - 1] != 0x0A:
            continue
        stop = message.find(b"\n", position, end)
        rest = message[position : min(end if stop < 0 else stop, position + 100)].rstrip(b" \t\r")
        if rest not in (b"", b"--"):
            continue  # a longer boundary that begins alike
        if opened >= 0:
            yield opened, found
            parts += 1
        opened = -1 if rest or stop < 0 else stop + 1
        if opened < 0 or parts > MAX_PARTS:
            return
        position = opened
    if opened >= 0:
        yield opened, end


def parameterised(value: bytes) -> tuple[str, dict[str, str]]:
    """``text/xml; name="x.xml"`` as its value and parameters, both without RFC 2231's marks; of each name the first counts."""
    text = value.decode("ascii", "replace")
    pieces = _split(text)
    parameters: dict[str, str] = {}
    for piece in pieces[1:]:
        name, _, content = piece.partition("=")
        base, star, number = name.strip().lower().partition("*")
        content = _unquoted(content.strip())
        if star and number.rstrip("*") not in ("", "0"):
            if base in parameters:
                parameters[base] += content  # a further piece of a long name (RFC 2231 section 3)
            continue
        parameters.setdefault(base, content.rpartition("'")[2] if star else content)
    return _uncommented(pieces[0]).strip().lower(), parameters


def _split(text: str) -> list[str]:
    """At each semicolon outside of quotes."""
    pieces: list[str] = []
    start, position, quoted = 0, 0, False
    while position < len(text):
        match text[position]:
            case "\\" if quoted:
                position += 1
            case '"':
                quoted = not quoted
            case ";" if not quoted:
                pieces.append(text[start:position])
                start = position + 1
            case _:
                pass
        position += 1
    pieces.append(text[start:])
    return pieces


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text.partition(" ")[0]
    inner = text[1:]
    result: list[str] = []
    escaped = False
    for character in inner:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
            continue
        elif character == '"':
            break
        result.append(character)
    return "".join(result)


def _uncommented(text: str) -> str:
    """Without a comment behind the value, as in ``base64 (by hand)``."""
    return text.partition("(")[0]
