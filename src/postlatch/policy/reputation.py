"""What is known of a stranger as a fact, and what the policy does with it: refuse or defer, never permit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class ReputationRules:
    """``refuse``: the score from which on recipients are refused on ``mx``; None: for no score."""

    refuse: int | None = None


class Standing(NamedTuple):
    """How a stranger stands. ``lists``: zones that list it, names of ours; ``why``: the parts of the score, printable.

    ``greylisted_until``: this sender and recipient are to come back then or later; None: there is no need.
    """

    score: int = 0
    why: str = ""
    lists: tuple[str, ...] = ()
    greylisted_until: float | None = None
