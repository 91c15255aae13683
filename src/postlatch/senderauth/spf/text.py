"""Texts of strangers, made safe to print."""

from __future__ import annotations

from typing import Final

MAX_TEXT: Final = 500  # characters of a text in a result


def printable(text: str, longest: int = MAX_TEXT) -> str:
    """``text`` as printable ASCII of bounded length: everything else is escaped as in Python, and the rest is cut off."""
    cut = text[: longest + 1]  # what is cut off anyway need not be escaped first
    shown = "".join(c if " " <= c <= "~" else _escaped(c) for c in cut)
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


def short(text: str) -> str:
    """The same for a sentence that goes on after it."""
    return printable(text, 100)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"
