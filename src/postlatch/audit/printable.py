"""What a stranger wrote, made fit for a terminal, a page and a log."""

from __future__ import annotations

from typing import Final

MOST: Final = 500


def printable(text: bytes | str, most: int = MOST) -> str:
    """Printable ASCII alone, the rest as escapes; at most ``most`` characters, with dots where it was cut."""
    octets = _octets(text) if isinstance(text, str) else text
    shown = "".join(chr(octet) if 0x20 <= octet < 0x7F and octet != 0x5C else _escape(octet) for octet in octets[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def _octets(text: str) -> bytes:
    """Octets that did not decode as they were; a surrogate that never was an octet as the three octets of its number."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _escape(octet: int) -> str:
    return {0x5C: "\\\\", 0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t"}.get(octet, f"\\x{octet:02x}")
