"""Conditions of which some the client decides, and some nobody knows beforehand.

For each outcome: 2, a client can bring it about; 1, it may come, nobody knows; 0, it cannot come.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple


class May(NamedTuple):
    """What a condition may come to."""

    true: int
    false: int


YES: Final = May(2, 0)
NO: Final = May(0, 2)
EITHER: Final = May(2, 2)  # the client has the choice
UNSURE: Final = May(1, 1)


def known(value: bool | None) -> May:
    """None: nobody knows."""
    return UNSURE if value is None else YES if value else NO


def negated(may: May) -> May:
    """The condition turned round."""
    return May(may.false, may.true)


def chosen(may: May, if_true: int, if_false: int) -> int:
    """How far an outcome can be brought about: ``if_true`` where the condition holds, ``if_false`` where not."""
    best = max(if_true if may.true == 2 else 0, if_false if may.false == 2 else 0)
    if may.true and may.false and 1 in may:
        best = max(best, if_true if if_true == if_false else 1)
    elif 1 in may:  # or something else happens that is neither
        best = max(best, min(1, if_true if may.true else if_false))
    return best


def branch(may: May, if_true: May, if_false: May) -> May:
    """The condition decides between two others."""
    return May(chosen(may, if_true.true, if_false.true), chosen(may, if_true.false, if_false.false))


def first_match(items: Iterable[tuple[bool, May]], at_end: May) -> May:
    """A list in which the first item that matches decides: (whether it is negated, whether it matches)."""
    value = at_end
    for is_negated, may in reversed(list(items)):
        value = branch(may, NO if is_negated else YES, value)
    return value
