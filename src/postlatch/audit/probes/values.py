"""What a probe finds out, before it is a verdict."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from postlatch.audit.probes.place import Place
from postlatch.audit.values import Evidence, Finding


class Stand(StrEnum):
    """How a server stood a question."""

    HELD = "held"  # it did what it must
    TAKEN = "taken"  # it took what it must not; only the canary can say whether it also delivers it
    BROKE = "broke"  # a fault that this conversation proves; the finding says which
    UNDECIDED = "undecided"  # it may hold or not: greylisted, cut off, late
    ABSENT = "absent"  # the question does not arise here


class Outcome(NamedTuple):
    """The answer to one question at one place.

    ``vector``: the question's name in the catalogue (``A01``). ``how``: what was special about it (``HELO``, ``second
    transaction``, an address), printable. ``token``: of the message that was sent, if one was, to ask the canary for.
    ``why`` is a sentence; ``finding`` what to tell the owner in any case. ``foreign``: the recipient is beyond doubt not the
    target's own, so that taking it needs an explanation.
    """

    vector: str
    place: Place
    stand: Stand
    evidence: Evidence = Evidence.E0
    how: str = ""
    why: str = ""
    token: str = ""
    transcript: tuple[str, ...] = ()
    finding: Finding | None = None
    foreign: bool = False
