"""The fields of a header block exactly as they are, and which of them a signature covers. RFC 6376 section 5.4."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
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


def by_name(fields: Iterable[RawField]) -> dict[bytes, list[RawField]]:
    """The fields of each name, from the top."""
    index: dict[bytes, list[RawField]] = {}
    for field in fields:
        index.setdefault(field.name, []).append(field)
    return index


def covered(
    fields: Sequence[RawField] | Mapping[bytes, Sequence[RawField]],
    names: Iterable[bytes],
    *,
    without: RawField | None = None,
) -> list[RawField]:
    """The fields that an ``h=`` of lower-case ``names`` stands for, in its order. ``fields`` may be indexed already.

    A name that is there several times takes fields from the bottom up; one that finds none left stands for nothing
    (section 5.4.2). ``without`` is the signature itself, which did not exist yet when it was made.
    """
    index = fields if isinstance(fields, Mapping) else by_name(fields)
    places: dict[bytes, int] = {}
    found: list[RawField] = []
    for name in names:
        same = index.get(name)
        if same is None:
            continue
        place = places.get(name, len(same)) - 1
        if place >= 0 and same[place] is without:
            place -= 1
        if place >= 0:
            found.append(same[place])
        places[name] = place
    return found
