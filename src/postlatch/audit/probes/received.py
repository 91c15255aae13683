"""Whom a server says that it took a message from: the client of a Received field (RFC 5321 section 4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_MAX_LENGTH: Final = 500
_GREETING: Final = ("helo", "ehlo")
_SPACES: Final = str.maketrans(dict.fromkeys("[]<>;,@", " "))


def client(field: str) -> IPv4Address | IPv6Address | None:
    """The address of the client that a Received field names; None if it names none.

    Servers write it in a comment, in brackets or bare: ``from NAME (NAME [ADDRESS])`` is Postfix's, ``from [ADDRESS]
    (helo=NAME)`` Exim's, ``from NAME (HELO NAME) (ADDRESS)`` qmail's. The client's own greeting may be an address too; where
    the server's word stands beside it, that counts.
    """
    outside, comments = _clause(field[:_MAX_LENGTH].lower())
    for words in (_without_greeting(comments), outside):
        if found := list(_addresses(words)):
            return found[-1]
    return None


def _clause(field: str) -> tuple[list[str], list[str]]:
    """The words up to ``by``: outside of comments, and in them."""
    outside: list[str] = []
    comments: list[str] = []
    depth = 0
    for word in field.replace("(", " ( ").replace(")", " ) ").split():
        if word in {"(", ")"}:
            depth = max(0, depth + (1 if word == "(" else -1))
        elif depth:
            comments.append(word)
        elif word == "by":
            break
        else:
            outside.append(word)
    return outside, comments


def _without_greeting(words: Sequence[str]) -> list[str]:
    pairs = zip(["", *words], words, strict=False)
    return [word for before, word in pairs if before not in _GREETING and not word.startswith(("helo=", "ehlo="))]


def _addresses(words: Iterable[str]) -> Iterable[IPv4Address | IPv6Address]:
    for word in " ".join(words).translate(_SPACES).split():
        try:
            address = ip_address(word.removeprefix("ipv6:").partition("%")[0])
        except ValueError:
            continue
        yield plain(address)


def plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address that was written as IPv6 (RFC 4291 section 2.5.5.2) as itself."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
