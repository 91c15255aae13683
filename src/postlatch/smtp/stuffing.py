"""Dot-stuffing, and the check by counting. Apart from the decoders, for a program that starts for every mail it sends."""

from __future__ import annotations


def dot_stuff(data: bytes, at_line_start: bool) -> tuple[bytes, bool]:
    """Stuff one piece of a body for DATA (RFC 5321 section 4.5.2).

    ``at_line_start`` is True for the first piece and then what the last call returned. Pieces may be cut anywhere, even between
    CR and LF. The lines must end in CR LF: this is not checked here. The final ``.`` line is the caller's, and so is the CR LF
    before it if the last call returned False. Returns ``data`` itself when nothing needs stuffing.
    """
    if not data:
        return data, at_line_start
    stuffed = data.replace(b"\n.", b"\n..")  # CPython gives back the same object when nothing matches
    if at_line_start and stuffed[0] == 0x2E:
        stuffed = b"." + stuffed
    return stuffed, data[-1] == 0x0A


def is_clean(data: bytes) -> bool:
    """True if every CR and LF is in a CR LF and there is no NUL. By counting: three passes at memory speed."""
    lines = data.count(b"\n")
    return data.count(b"\r\n") == lines == data.count(b"\r") and b"\0" not in data
