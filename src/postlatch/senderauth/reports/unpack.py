"""From a message to what its one report says, in pieces. Nothing is trusted: neither its types, nor its names, nor its sizes.

The media types and file names are those of RFC 9990 section 3.5.2, RFC 7489 section 7.2.1.1 (zip) and RFC 8460 section 5.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import chain
from typing import Final, NamedTuple

from postlatch.senderauth.reports.inflate import contents
from postlatch.senderauth.reports.mime import Part, leaves
from postlatch.senderauth.reports.values import ReportError, shown

MAX_MESSAGE: Final = 10 * 1024 * 1024  # octets
_TYPES: Final = frozenset(
    {
        *("application/gzip", "application/x-gzip", "application/zip", "application/x-zip-compressed", "application/x-zip"),
        *("application/tlsrpt+gzip", "application/tlsrpt+json", "text/xml", "application/xml", "application/json"),
    }
)
_NAMES: Final = (".xml.gz", ".json.gz", ".xml", ".json", ".zip", ".gz")
_MARK: Final = b"\xef\xbb\xbf"  # a byte order mark, which means nothing in UTF-8


class Format(StrEnum):
    """What a report is written in."""

    XML = "xml"
    JSON = "json"


class Unpacked(NamedTuple):
    """The report's octets in pieces; going on may raise ReportError at any piece."""

    format: Format
    pieces: Iterator[bytes]


def unpack(message: bytes | Iterable[bytes]) -> Unpacked:
    """Find the report in a raw message and begin to inflate it. ReportError, now or on the way, if there is none."""
    part = _attachment(_whole(message))
    pieces = contents(part.decoded())
    head = b""
    for piece in pieces:
        head += piece
        start = head.removeprefix(_MARK).lstrip()
        if start:
            return Unpacked(_format(start), chain([start], pieces))
    raise ReportError("the attachment is empty")


def _whole(message: bytes | Iterable[bytes]) -> bytes:
    size = 0
    gathered: list[bytes] = []
    for piece in (message,) if isinstance(message, bytes) else message:
        size += len(piece)
        if size > MAX_MESSAGE:
            raise ReportError(f"the message is larger than {MAX_MESSAGE // 2**20} MiB")
        gathered.append(piece)
    return b"".join(gathered)


def _attachment(message: bytes) -> Part:
    """The first part that a type or a name marks as a report."""
    for part in leaves(message):
        if part.type in _TYPES or part.name.strip().lower().endswith(_NAMES):
            return part
    raise ReportError("there is no report attached: neither its type nor the name of any part says so")


def _format(start: bytes) -> Format:
    if start[:1] == b"<":
        return Format.XML
    if start[:1] == b"{":
        return Format.JSON
    raise ReportError(f"the attachment is neither XML nor JSON: it begins with {shown(start[:12])}")
