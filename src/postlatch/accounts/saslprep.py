"""SASLprep (RFC 4013): the one spelling of a password or user name that every client and every mechanism agrees on."""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable

# RFC 4013 section 2.3.
_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class PrepError(ValueError):
    """A text that SASLprep refuses. The message is fixed and holds nothing of it."""


def saslprep(text: str, *, stored: bool) -> str:
    """Prepare ``text``; PrepError if it holds what must not be in it. May return an empty text.

    ``stored``: it will be kept and compared with later, so code points that Unicode 3.2 did not know (most emoji) are refused:
    a later version may normalise them otherwise (RFC 4013 section 2.5).
    """
    if text.isascii() and text.isprintable():
        return text
    # Section 2.1: non-ASCII spaces to spaces, and what is commonly mapped to nothing to nothing.
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)  # section 2.2; the tables are those of Unicode 3.2
    for c in prepared:
        if any(prohibits(c) for prohibits in _PROHIBITED):
            raise PrepError("holds a control, private or other character that is not permitted")
        if stored and stringprep.in_table_a1(c):
            raise PrepError("holds a character that is newer than Unicode 3.2, like most emoji, and not every client can send")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """RFC 3454 section 6: a text with a right-to-left letter has no left-to-right letter, and has one at both its ends."""
    if not any(stringprep.in_table_d1(c) for c in text):
        return
    if any(stringprep.in_table_d2(c) for c in text):
        raise PrepError("mixes writing from left to right and from right to left")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise PrepError("holds writing from right to left, but not at both ends")
