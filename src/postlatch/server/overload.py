"""Stress: when it begins, when it ends, who is shed. Pure decisions on numbers that the server gathers once a second.

Under stress strangers get less time and fewer mistakes, and idle ones make room, the longest idle first; accounts and clients
with a network right keep what they have. Postfix does the same (STRESS_README): a server that is full of slow clients serves
nobody, and one that hurries everybody always would lose honest slow ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from typing import Final, NamedTuple, Protocol, TypeVar

from postlatch.server.caps import OverloadRules

LATE_SECONDS: Final = 3  # one late second is a page fault or a backup; three are a state
CALM_SECONDS: Final = 10.0  # all must be well for so long, or the relay would swing between the two states
SHED_IDLE: Final = 2.0  # seconds: who said something just now is not idle


class Facts(NamedTuple):
    """The used shares of the caps, from 0 to 1, and by how many seconds the loop was late at worst in the last second."""

    connections: float
    tls: float
    memory: float
    lag: float


class Stress(NamedTuple):
    """``since`` is None in calm. ``late``: seconds in a row in which the loop was late. ``calm_since``: all is well since."""

    since: float | None = None
    late: int = 0
    calm_since: float | None = None

    @property
    def active(self) -> bool:
        """The relay is under stress."""
        return self.since is not None


class Decision(NamedTuple):
    """The next state; ``why`` is a sentence where it began or ended just now, else empty."""

    state: Stress
    why: str = ""


def decide(rules: OverloadRules, state: Stress, facts: Facts, now: float) -> Decision:
    """One step a second. ``now`` is any clock that only goes forward."""
    late = state.late + 1 if facts.lag >= rules.lag else 0
    pressing = _pressing(rules, facts, late)
    if state.since is None:
        if pressing:
            return Decision(Stress(now, late), pressing)
        return Decision(Stress(None, late))
    if pressing or not _well(rules, facts):
        return Decision(Stress(state.since, late))
    calm = now if state.calm_since is None else state.calm_since
    if now - calm < CALM_SECONDS:
        return Decision(Stress(state.since, late, calm))
    return Decision(Stress(None, late), f"all is well again after {now - state.since:.0f} seconds")


def _pressing(rules: OverloadRules, facts: Facts, late: int) -> str:
    for name, share in (("connections", facts.connections), ("TLS sessions", facts.tls), ("memory", facts.memory)):
        if share * 100 >= rules.high:
            return f"{share:.0%} of the {name} are in use"
    return f"the event loop was {facts.lag:.1f} seconds late" if late >= LATE_SECONDS else ""


def _well(rules: OverloadRules, facts: Facts) -> bool:
    return max(facts.connections, facts.tls, facts.memory) * 100 < rules.low and facts.lag < rules.lag


def excess(used: int, cap: int, high: int) -> int:
    """How many are above the mark at which stress begins."""
    return max(0, used - cap * high // 100)


class Candidate(Protocol):
    """Somebody who may have to make room."""

    @property
    def idle_since(self) -> float:
        """When it last did something."""
        ...

    @property
    def vouched(self) -> bool:
        """It has a recipient that was accepted, so it is probably no idler by trade."""
        ...


C = TypeVar("C", bound=Candidate)


def victims(candidates: Iterable[C], count: int, now: float) -> list[C]:
    """Up to ``count`` of the idle: those without an accepted recipient first, of each kind the longest idle first."""
    if count <= 0:
        return []
    idle = [candidate for candidate in candidates if now - candidate.idle_since >= SHED_IDLE]
    return nsmallest(count, idle, key=lambda candidate: (candidate.vouched, candidate.idle_since))
