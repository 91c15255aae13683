"""Removes Authentication-Results that claim to be ours: nobody else may write what readers trust. RFC 8601 section 5.

What a field claims, readers see differently if it is written oddly. So only fields that are in the RFC's own form and name
somebody else are left, untouched to the bit, for the sake of signatures; what is in doubt is removed.
"""

from __future__ import annotations

import re
from typing import Final

from postlatch.model.address import AddressError, parse_domain
from postlatch.senderauth.cfws import skip_cfws

_NAME: Final = b"authentication-results"
_NOT_NAME: Final = bytes(octet for octet in range(256) if not chr(octet).isalnum() or octet > 127)
_MAX_HEAD: Final = 1000  # octets up to the first semicolon, with comments
_TOKEN: Final = re.compile(r"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]+")  # RFC 2045, with RFC 8601's leave for non-ASCII
_QUOTED: Final = re.compile(r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\x20-\x7e])*)"')
_PAIR: Final = re.compile(r"\\(.)")
_VERSION: Final = re.compile(r"[0-9]{1,9}")


def strip(block: bytes, authserv_id: str) -> tuple[bytes, int]:
    """A raw header block without the fields that claim ``authserv_id``, and how many these were."""
    if _NAME not in block.lower():
        return block, 0
    ours = _normal(authserv_id) or authserv_id.lower()
    kept: list[bytes] = []
    removed = 0
    end = 0 if block.startswith(b"\r\n") else block.find(b"\r\n\r\n") + 2
    header, rest = (block, b"") if end == 1 else (block[:end], block[end:])
    for raw in _fields(header):
        if _is_results(raw) and _is_claimed(raw.partition(b":")[2], ours):
            removed += 1
        elif not (kept and kept[-1].endswith(b"\r") and raw.startswith(b"\n")):
            # Else what stood between the two is gone, and together they would be a line end, or the end of the header.
            kept.append(raw)
    return b"".join(kept) + rest, removed


def without(block: bytes, name: bytes) -> bytes:
    """A raw header block without the fields of that name (lower case), also with garbage around the name."""
    if name not in block.lower():
        return block
    end = 0 if block.startswith(b"\r\n") else block.find(b"\r\n\r\n") + 2
    header, rest = (block, b"") if end == 1 else (block[:end], block[end:])
    return b"".join(raw for raw in _fields(header) if _name_of(raw) != name) + rest


def _fields(header: bytes) -> list[bytes]:
    """Each field with its continuation lines. A lone CR or LF ends a line too, as it does for some readers."""
    fields: list[list[bytes]] = []
    for line in header.splitlines(keepends=True):
        if line[:1] in {b" ", b"\t"} and fields:
            fields[-1].append(line)
        else:
            fields.append([line])
    return [b"".join(parts) for parts in fields]


def _is_results(raw: bytes) -> bool:
    """Also with white space or any other garbage around the name: somebody may overlook it."""
    return _name_of(raw) == _NAME


def _name_of(raw: bytes) -> bytes:
    name, colon, _ = raw.partition(b":")
    return name.strip(_NOT_NAME).lower() if colon else b""


def _is_claimed(value: bytes, ours: str) -> bool:
    text = value[: _MAX_HEAD + 1].decode("utf-8", "surrogateescape")
    try:
        name, end = _head(text)
    except ValueError:
        return True
    normal = _normal(name)
    return normal is None or normal == ours or _mentions(text[:end].lower(), ours)


def _head(text: str) -> tuple[str, int]:
    """The authserv-id, and where the part of it ends; ValueError if the text is not of the form of RFC 8601 section 2.2."""
    start = skip_cfws(text, 0)
    quoted = _QUOTED.match(text, start)
    found = quoted or _TOKEN.match(text, start)
    if found is None:
        raise ValueError("no authserv-id")
    name = _PAIR.sub(r"\1", quoted.group(1)) if quoted else found.group()
    end = skip_cfws(text, found.end())
    version = _VERSION.match(text, end)
    if version is not None and end > found.end():
        end = skip_cfws(text, version.end())
    if end >= _MAX_HEAD or (end < len(text) and text[end] != ";"):
        raise ValueError("something else behind the authserv-id")
    return name, end


def _normal(name: str) -> str | None:
    """A name to compare: lower-case A-labels without a final dot; None if nobody can say which name it is."""
    bare = name.strip().lower().rstrip(".")
    if bare.isascii():
        return bare or None
    try:
        return parse_domain(bare)
    except AddressError:
        return None


def _mentions(text: str, ours: str) -> bool:
    """Our name as a whole word, be it in a comment: readers may disagree where a comment ends."""
    at = text.find(ours)
    while at >= 0:
        before, behind = text[at - 1 : at] if at else "", text[at + len(ours) : at + len(ours) + 2]
        if not _continues(before) and not _continues(behind[1:] if behind[:1] == "." else behind[:1]):
            return True
        at = text.find(ours, at + 1)
    return False


def _continues(letter: str) -> bool:
    return letter.isalnum() or letter in {"-", "."}
