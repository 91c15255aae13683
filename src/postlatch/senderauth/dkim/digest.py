"""What a signature signs: the hash of the covered header fields and of the signature itself. RFC 6376 section 3.7."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from postlatch.senderauth.dkim.canon import header
from postlatch.senderauth.dkim.fields import RawField
from postlatch.senderauth.dkim.signature import without_value


def header_digest(fields: Iterable[RawField], signature: bytes, canonicalisation: str) -> bytes:
    """SHA-256 of these fields and then of the raw signature field, which is hashed without the value of b= and final CRLF."""
    hashed = sha256()
    for field in fields:
        hashed.update(header(field.raw, canonicalisation))
    hashed.update(header(without_value(signature), canonicalisation).removesuffix(b"\r\n"))
    return hashed.digest()
