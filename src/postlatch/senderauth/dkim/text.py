"""What a stranger wrote, for people and for programs: printable text, base64, domains as A-labels."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from postlatch.model.address import AddressError, parse_domain

_LONGEST_TEXT: Final = 255
_WHITE: Final = re.compile(r"[ \t]+")
_PADDED: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
# Stricter than the DNS, laxer than RFC 6376 section 3.1: selectors with an underscore are in use.
_SELECTOR: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")


def printable(text: str, limit: int = _LONGEST_TEXT) -> str:
    """Printable ASCII of at most so many characters: whatever else is escaped as in Python."""
    short = text[:limit]
    if not (short.isascii() and short.isprintable()):
        short = short.encode("ascii", "backslashreplace").decode("ascii")
        short = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in short)
    return short[:limit]


def without_white(text: str) -> str:
    """Without the white space that folding may put anywhere into base64 (RFC 6376 section 3.2)."""
    return _WHITE.sub("", text) if " " in text or "\t" in text else text


def decode_base64(text: str) -> bytes | None:
    """The octets, or None. RFC 6376 section 2.10: white space anywhere, and the padding may be absent."""
    packed = without_white(text)
    if _PADDED.fullmatch(packed) is None:
        return None
    packed = packed.rstrip("=")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def a_labels(domain: str) -> str | None:
    """A domain in lower-case A-labels (RFC 8616 section 4), or None if it is none."""
    if len(domain) > _LONGEST_TEXT:
        return None
    try:
        return parse_domain(domain)
    except AddressError:
        return None


def selector_labels(selector: str) -> str | None:
    """A selector in lower-case A-labels, or None if it is none."""
    if selector.isascii():
        lower = selector.lower()
        return lower if len(lower) <= _LONGEST_TEXT and _SELECTOR.fullmatch(lower) else None
    return a_labels(selector)
