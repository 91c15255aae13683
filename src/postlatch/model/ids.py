"""Message ids: a 63-bit integer in the database, 13 characters of Crockford base32 for people. They sort by time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(
    high + low for high in _ALPHABET for low in _ALPHABET
)  # ten bits at a time: an id is made several times a message
_VALUES: Final = {c: i for i, c in enumerate(_ALPHABET)}
_EPOCH_MS: Final = 1_735_689_600_000  # 2025-01-01T00:00:00Z
_SEQUENCE_BITS: Final = 22
LENGTH: Final = 13


def format_id(number: int) -> str:
    """``number`` (63 bits) as 13 characters."""
    return (
        _ALPHABET[number >> 60 & 31]
        + _PAIRS[number >> 50 & 1023]
        + _PAIRS[number >> 40 & 1023]
        + _PAIRS[number >> 30 & 1023]
        + _PAIRS[number >> 20 & 1023]
        + _PAIRS[number >> 10 & 1023]
        + _PAIRS[number & 1023]
    )


def parse_id(text: str) -> int:
    """The number of a 13-character id, in either case; ValueError if it is none."""
    folded = text.strip().upper()
    if len(folded) != LENGTH or any(c not in _VALUES for c in folded):
        raise ValueError("a message id has 13 letters and digits, like 01K3F9Q2ZB7NM")
    number = 0
    for c in folded:
        number = number << 5 | _VALUES[c]
    if number >> 63:
        raise ValueError("this id is out of range")
    return number


class IdSource:
    """Makes ids that grow. ``now`` gives seconds since 1970; ``start`` (22 bits, random) keeps two processes apart."""

    def __init__(self, now: Callable[[], float], start: int) -> None:
        self._now = now
        self._last = 0
        self._start = start & ((1 << _SEQUENCE_BITS) - 1)

    def next(self) -> int:
        """The next id: unique in this process even if the clock goes back."""
        stamp = max(0, int(self._now() * 1000) - _EPOCH_MS) << _SEQUENCE_BITS | self._start
        self._last = stamp if stamp > self._last else self._last + 1
        return self._last
