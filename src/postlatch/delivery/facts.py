"""What delivery must know of a body before it sends it: its header block, and whether it needs eight clean bits."""

from __future__ import annotations

import re
from typing import NamedTuple

from postlatch.delivery.contract import Body
from postlatch.model.address import Address
from postlatch.model.headers import split_headers

MAX_HEADER = 256 * 1024  # octets looked at; what lies behind is treated as body
MAX_OWN_HOPS = 10  # times that mail which came by an alias may have passed this host before

_END = b"\r\n\r\n"
_STAMP = re.compile(rb"(?:\A|\s)by\s+([^\s;()]+)", re.IGNORECASE)


class BodyFacts(NamedTuple):
    """``header`` ends with the CRLF of its last field and holds no empty line."""

    header: bytes
    eight_bit: bool
    utf8_headers: bool


async def look(body: Body) -> BodyFacts:
    """Look at a body once. A body in memory costs a few microseconds; a file is read through in pieces."""
    data = body.data
    if data is not None:
        header = header_of(data)
        return BodyFacts(header, not data.isascii(), not header.isascii())
    head = bytearray()
    complete = eight_bit = False
    async for chunk in body.chunks():
        if not complete:
            seen = max(len(head) - 3, 0)
            head += chunk
            complete = head.find(_END, seen) >= 0 or len(head) >= MAX_HEADER or head.startswith(b"\r\n")
        eight_bit = eight_bit or not chunk.isascii()
        if complete and eight_bit:
            break
    header = header_of(bytes(head))
    return BodyFacts(header, eight_bit, not header.isascii())


def header_of(data: bytes) -> bytes:
    """The header block at the start of ``data``, at most `MAX_HEADER` octets."""
    if data.startswith(b"\r\n"):
        return b""
    end = data.find(_END, 0, MAX_HEADER)
    return data[: end + 2] if end >= 0 else data[:MAX_HEADER]


def was_delivered_to(header: bytes, mailbox: Address) -> bool:
    """True if a ``Delivered-To`` field names this mailbox: it was here before, and a forwarding rule sent it back."""
    if b"delivered-to" not in header.lower():
        return False
    names = {mailbox.key.encode(), mailbox.text.lower().encode()}
    return any(field.name == b"delivered-to" and field.value.lower() in names for field in split_headers(header))


def own_hops(header: bytes, hostname: str) -> int:
    """How many ``Received`` fields were written by this host."""
    name = hostname.lower().encode()
    stamps = (_STAMP.search(field.value) for field in split_headers(header) if field.name == b"received")
    return sum(1 for stamp in stamps if stamp is not None and stamp[1].lower() == name)
