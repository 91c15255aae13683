"""SHA-256 for short data, without giving the interpreter up."""

from __future__ import annotations

import hashlib
from typing import Final

_PIECE: Final = 2047  # octets: from 2048 on, hashlib lets another thread run, which is worth it only for long data
_LONG: Final = 32 * 1024


def sha256(data: bytes) -> bytes:
    """The digest, 32 octets.

    A few microseconds of work are no reason to hand the interpreter over and then wait for it: with a busy thread beside this
    one that wait is a hundred times longer. So short data is hashed in pieces that hashlib does not make way for.
    """
    if len(data) > _LONG:
        return hashlib.sha256(data).digest()
    digest, view = hashlib.sha256(), memoryview(data)
    for start in range(0, len(data), _PIECE):
        digest.update(view[start : start + _PIECE])
    return digest.digest()
