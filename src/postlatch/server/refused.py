"""What was refused: how often by each rule, and the latest of each, for the status page."""

from __future__ import annotations

from typing import NamedTuple

from postlatch.server.floods import FloodGate


class LastRefusal(NamedTuple):
    """The latest refusal by one rule, for the status page. ``at`` is seconds since 1970."""

    at: float
    listener: str
    client: str
    why: str


class Refusals:
    """How often each rule has refused, and when last. Rules are names of ours, so this is bounded.

    ``floods`` decides which refusals are told one by one, and holds the others until somebody flushes it.
    """

    def __init__(self) -> None:
        self.floods = FloodGate()
        self.counts: dict[str, int] = {}
        self.last: dict[str, LastRefusal] = {}

    def note(self, rule: str, refusal: LastRefusal) -> None:
        """Count one."""
        self.counts[rule] = self.counts.get(rule, 0) + 1
        self.last[rule] = refusal
