"""Domain names as SPF needs them: which can be asked for, and which are no domain at all (RFC 7208 sections 4.3, 4.8, 7.3)."""

from __future__ import annotations

from typing import Final

from postlatch.model.address import AddressError, parse_domain

MAX_NAME: Final = 253  # characters without the final dot
MAX_LABEL: Final = 63
_MAX_UNICODE: Final = 1000  # characters: no name that is longer can have 253 as A-labels


def to_domain(text: str) -> str | None:
    """The lower-case A-labels of an identity's domain; None if it is malformed or has one label alone (section 4.3)."""
    if text.startswith("["):
        return None  # an address literal has no owner who could publish anything
    name = text.lower() if text.isascii() else _to_alabels(text)
    name = name.removesuffix(".")
    return name if "." in name and can_be_asked(name) else None


def _to_alabels(text: str) -> str:
    try:
        return parse_domain(text) if len(text) <= _MAX_UNICODE else ""
    except AddressError:
        return ""


def can_be_asked(name: str) -> bool:
    """True if a zone can hold this name: labels of 1 to 63 printable characters, 253 in all.

    A backslash is the escape character of zone files, and no name that means one is in use: it is refused as well, so that the
    name that is asked for is the one that was checked.
    """
    if not name or len(name) > MAX_NAME or not name.isascii() or not name.isprintable() or "\\" in name:
        return False
    return all(0 < len(label) <= MAX_LABEL for label in name.split("."))


def fitted(name: str) -> str:
    """The name without its final dot, and without as many labels on the left as make it longer than 253 (section 7.3)."""
    name = name.removesuffix(".")
    if len(name) <= MAX_NAME:
        return name
    dot = name.find(".", len(name) - MAX_NAME - 1)
    return name[dot + 1 :] if dot >= 0 else ""


def is_within(name: str, domain: str) -> bool:
    """True if ``name`` is ``domain`` or in it."""
    return name == domain or name.endswith("." + domain)
