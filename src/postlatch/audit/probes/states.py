"""Which envelopes are asked in which states of a conversation."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.vectors import BASE, VECTORS, Question, questions


class Position(StrEnum):
    """Where in a conversation a question is asked."""

    FRESH = ""  # first, or after RSET
    AFTER_LEGAL = "after a recipient of the server's own"
    SECOND = "in a second transaction"


class State(NamedTuple):
    """One state in which questions are asked."""

    place: Place
    verb: str = "EHLO"
    position: Position = Position.FRESH

    @property
    def how(self) -> str:
        """For a table: empty for the usual state."""
        return ", ".join(filter(None, ("" if self.verb == "EHLO" else self.verb, self.position.value)))


def asked(inquiry: Inquiry) -> list[tuple[State, Question]]:
    """Everything once at the first place, what is typical in every other state and place; deep, everything everywhere."""
    everything = [question for vector in VECTORS for question in questions(vector, inquiry.names.placeholders)]
    typical = _typical(everything)
    first, *others = [State(place) for place in inquiry.places]
    states = [*_variants(first), *(variant for state in others for variant in (state, *_variants(state)[: 3 * inquiry.deep]))]
    wanted = [(first, question) for question in everything]
    wanted += [(state, question) for state in states for question in (everything if inquiry.deep else typical)]
    return wanted


def _variants(state: State) -> list[State]:
    return [
        state._replace(verb="HELO"),
        state._replace(position=Position.AFTER_LEGAL),
        state._replace(position=Position.SECOND),
    ]


def _typical(everything: Iterable[Question]) -> list[Question]:
    """The first question of each vector that stands for its idea."""
    first: dict[str, Question] = {}
    for question in everything:
        if question.vector in BASE:
            first.setdefault(question.vector, question)
    return list(first.values())
