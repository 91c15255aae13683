"""What delivery must know of a message's header block: has it been here before?"""

from __future__ import annotations

import re
from typing import Final

from postlatch.delivery.contract import Body
from postlatch.model.address import Address
from postlatch.model.headers import split_headers

MAX_HEADER: Final = 256 * 1024  # octets looked at; what lies behind is treated as body
MAX_OWN_HOPS: Final = 10  # times that mail which came by an alias may have passed this host before

_END: Final = b"\r\n\r\n"
_STAMP: Final = re.compile(rb"(?:\A|\s)by\s+([^\s;()]+)", re.IGNORECASE)


async def read_header(body: Body) -> bytes:
    """The header block of a body; of a file no more is read than it takes."""
    data = body.data
    if data is not None:
        return header_of(data)
    head = bytearray()
    async for chunk in body.chunks():
        seen = max(len(head) - len(_END) + 1, 0)
        head += chunk
        if head.find(_END, seen) >= 0 or len(head) >= MAX_HEADER or head.startswith(b"\r\n"):
            break
    return header_of(bytes(head))


def header_of(data: bytes) -> bytes:
    """The header block at the start of ``data``, at most `MAX_HEADER` octets: with its last CRLF, without the empty line."""
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
