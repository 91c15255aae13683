"""Address patterns: ``user@domain``, ``@domain`` and ``<>``. Exact, without case, never by suffix."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from postlatch.model.address import Address

NULL_SENDER: Final = "<>"


def lists(patterns: AbstractSet[str], address: Address | None) -> bool:
    """True if one of ``patterns`` (in lower case) names ``address``; None is the null reverse-path."""
    if address is None:
        return NULL_SENDER in patterns
    return f"@{address.domain}" in patterns or address.key in patterns


def permits(patterns: AbstractSet[str], address: Address | None) -> bool:
    """As ``lists``, but no pattern at all permits every address: the reading of a right's scope."""
    return not patterns or lists(patterns, address)
