"""How entries of tables are compared. table(5)."""

from __future__ import annotations

from functools import lru_cache


def domain_matches(entry: str, domain: str) -> bool:
    """``*.example.com`` matches what is below it; a single star matches everything."""
    return _like(entry.lower(), domain.lower())


def mail_matches(entry: str, address: str) -> bool:
    """``user@domain``, ``@domain``, ``user@`` and ``domain``; stars stand for any text."""
    if not address:
        return not entry.strip("<>")
    local, _, domain = address.lower().rpartition("@")
    wanted_local, at, wanted_domain = entry.lower().rpartition("@")
    if not at:
        return _like(wanted_domain, domain)
    return (not wanted_local or _like(wanted_local, local)) and (not wanted_domain or _like(wanted_domain, domain))


@lru_cache(maxsize=4096)
def _pieces(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.split("*"))


def _like(pattern: str, text: str) -> bool:
    """A star stands for any text: the pieces between must follow each other. Linear."""
    pieces = _pieces(pattern[:1000])
    if len(pieces) == 1:
        return pattern == text
    if not text.startswith(pieces[0]) or not text.endswith(pieces[-1]) or len(pieces[0]) + len(pieces[-1]) > len(text):
        return False
    at, end = len(pieces[0]), len(text) - len(pieces[-1])
    for piece in pieces[1:-1]:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
