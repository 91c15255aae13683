"""xtext, the encoding of ESMTP parameter values (RFC 3461 section 4), for both engines."""

from __future__ import annotations

import re
from typing import Final

_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*+")
_HEXCHAR: Final = re.compile(rb"\+([0-9A-F]{2})")
_PLAIN: Final = frozenset(range(0x21, 0x7F)) - {ord("+"), ord("=")}


def encode(text: str) -> str:
    """``text`` as xtext: every octet of its UTF-8 form outside ``!`` to ``~``, and ``+`` and ``=``, becomes ``+HH``."""
    return "".join(chr(octet) if octet in _PLAIN else f"+{octet:02X}" for octet in text.encode("utf-8", "surrogatepass"))


def decode(text: str) -> str:
    """The text behind xtext; ValueError if it is not valid xtext or not UTF-8 behind it. May hold controls: look."""
    if not _XTEXT.fullmatch(text):
        raise ValueError("not xtext (RFC 3461 section 4)")
    return _HEXCHAR.sub(lambda match: bytes((int(match[1], 16),)), text.encode("ascii")).decode("utf-8")
