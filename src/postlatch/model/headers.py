"""The header block as the relay needs it: split, counted, read; never rewritten. RFC 5322 section 2.2."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(init=False, slots=True, unsafe_hash=True)
class Header:
    """One field: ``name`` in lower case, ``value`` unfolded and stripped, both as raw bytes."""

    name: bytes
    value: bytes

    def __init__(self, name: bytes, value: bytes) -> None:
        self.name = name
        self.value = value


def split_headers(block: bytes) -> list[Header]:
    """The fields of a header block (CRLF line ends, without the empty line). Lines that are no field are skipped."""
    headers: list[Header] = []
    for line in block.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t").split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and name:
            headers.append(Header(name.rstrip(b" \t").lower(), value.strip()))
    return headers
