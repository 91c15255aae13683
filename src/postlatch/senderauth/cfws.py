"""White space and comments between the words of a structured field. RFC 5322 section 3.2.2."""

from __future__ import annotations

import re
from typing import Final

_COMMENT_TEXT: Final = re.compile(r"[^()\\]+")
_WHITE: Final = " \t\r\n"


def skip_cfws(text: str, start: int) -> int:
    """Behind the white space and comments at ``start``; ValueError if a comment does not end. Comments nest to any depth."""
    i, depth = start, 0
    while i < len(text):
        letter = text[i]
        if letter == "(":
            depth += 1
        elif letter == ")" and depth:
            depth -= 1
        elif depth:
            inside = _COMMENT_TEXT.match(text, i)
            i = inside.end() if inside else i + 2  # a quoted pair
            continue
        elif letter not in _WHITE:
            return i
        i += 1
    if depth:
        raise ValueError("a comment does not end")
    return min(i, len(text))


def without_comments(text: str) -> str:
    """``text`` with a space for each run of white space and comments outside quotes; ValueError if a comment does not end."""
    parts: list[str] = []
    i = 0
    while i < len(text):
        letter = text[i]
        if letter == "(" or letter in _WHITE:
            i = skip_cfws(text, i)
            parts.append(" ")
        elif letter == '"':
            end = _end_of_quotes(text, i)
            parts.append(text[i:end])
            i = end
        else:
            parts.append(letter)
            i += 1
    return "".join(parts).strip()


def _end_of_quotes(text: str, start: int) -> int:
    i = start + 1
    while i < len(text) and text[i] != '"':
        i += 2 if text[i] == "\\" else 1
    return min(i + 1, len(text))
