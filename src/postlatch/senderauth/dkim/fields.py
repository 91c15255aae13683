"""The fields of a header block exactly as they are, and which of them a signature covers. RFC 6376 section 5.4."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

_END: Final = re.compile(rb"\r\n(?![ \t])")


class RawField(NamedTuple):
    """``name`` in lower case without white space; ``raw`` the octets as they are, with name, folding and the final CRLF."""

    name: bytes
    raw: bytes


def split_fields(block: bytes) -> list[RawField]:
    """The fields of a header block (CRLF line ends, without the empty line). Lines that are no field are skipped."""
    fields: list[RawField] = []
    for text in _END.split(block):
        name, colon, _ = text.partition(b":")
        name = name.replace(b"\r\n", b"").rstrip(b" \t").lower()  # whoever folds a name is understood like everywhere
        if colon and name and name[0] not in b" \t":
            fields.append(RawField(name, text + b"\r\n"))
    return fields


def covered(fields: Sequence[RawField], names: Iterable[bytes], *, without: RawField | None = None) -> list[RawField]:
    """The fields that an ``h=`` of lower-case ``names`` stands for, in its order.

    A name that is there several times takes fields from the bottom up; one that finds none left stands for nothing
    (section 5.4.2). ``without`` is the signature itself, which did not exist yet when it was made.
    """
    left: dict[bytes, list[RawField]] = {}
    for field in fields:
        if field is not without:
            left.setdefault(field.name, []).append(field)
    found: list[RawField] = []
    for name in names:
        same = left.get(name)
        if same:
            found.append(same.pop())
    return found
