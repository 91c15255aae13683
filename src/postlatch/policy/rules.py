"""What a rule is, and how a list of rules decides: the first verdict wins, none refuses, a fault defers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from postlatch.model.envelope import Destination, GrantReason
from postlatch.model.verdict import Defer, Refuse
from postlatch.policy.replies import NO_RULE, UNDECIDED

F = TypeVar("F")
V = TypeVar("V")


@dataclass(init=False, slots=True, unsafe_hash=True)
class Unknown:
    """A rule lacks a fact that it needs: the client is told to try again later, never "accept"."""

    why: str

    def __init__(self, why: str) -> None:
        self.why = why


@dataclass(init=False, slots=True, unsafe_hash=True)
class Permit:
    """A rule would take this recipient. Only ``decide_recipient`` turns it into an acceptance, after checks of its own.

    ``reason`` and ``ref`` say who answers for it; both are empty only for a stranger's mail to a mailbox of ours.
    """

    destination: Destination
    reason: GrantReason | None
    ref: str
    rule: str
    why: str

    def __init__(self, destination: Destination, reason: GrantReason | None, ref: str, rule: str, why: str) -> None:
        self.destination = destination
        self.reason = reason
        self.ref = ref
        self.rule = rule
        self.why = why


# A rule that can only tighten has no way to say "accept"; mypy holds every rule but the last ones to it.
Tightening: TypeAlias = Callable[[F], "Refuse | Defer | Unknown | None"]
Rule: TypeAlias = Callable[[F], "V | Refuse | Defer | Unknown | None"]


def run(rules: Sequence[Rule[F, V]], facts: F) -> V | Refuse | Defer:
    """The first verdict of ``rules``; Refuse at the end of the list; Defer if a rule is undecided or raises."""
    current: Rule[F, V] | None = None
    try:
        for current in rules:
            verdict = current(facts)
            if verdict is None:
                continue
            if isinstance(verdict, Unknown):
                return Defer(UNDECIDED, name_of(current), verdict.why)
            return verdict
    except Exception as fault:  # noqa: BLE001 - whatever is wrong with a rule, the answer is "not now"
        # Only the type: its text may hold what the client sent.
        return Defer(UNDECIDED, name_of(current), f"the rule failed with {type(fault).__name__}")
    return Refuse(NO_RULE, "no rule", "no rule permits this")


def name_of(rule: Callable[..., object] | None) -> str:
    """The name of a rule in verdicts, journal and pages: that of its function, with spaces."""
    return getattr(rule, "__name__", "rules").replace("_", " ")
